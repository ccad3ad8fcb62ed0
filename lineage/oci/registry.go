package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"seuss/lineage"
)

// Registries are spoken to as docker does: over HTTPS, or HTTP on loopback, with
// the credentials of `docker login` where there are any.
func options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithTransport(boundedTransport{remote.DefaultTransport}), remote.WithUserAgent("seuss"),
	}
}

// Push sends a bundle to a registry under a reference, as host/repository:tag.
// Layers that the registry has are not sent.
func Push(ctx context.Context, reference string, b *Bundle) error {
	ref, err := name.ParseReference(reference, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("push to %q: %w: %w", reference, err, lineage.ErrInvalid)
	}
	if err := remote.Write(ref, b, options(ctx)...); err != nil {
		return fmt.Errorf("push to %s: %w", reference, err)
	}
	return nil
}

// OpenRegistry opens an image of a registry. Nothing but what Import or Send needs
// is fetched. Requests end with ctx.
func OpenRegistry(ctx context.Context, reference string) (*Source, error) {
	ref, err := name.ParseReference(reference, name.StrictValidation)
	if err != nil {
		return nil, fmt.Errorf("reference %q: %w: %w", reference, err, lineage.ErrInvalid)
	}
	return &Source{blobs: registrySource{ctx, ref}}, nil
}

type registrySource struct {
	ctx context.Context
	ref name.Reference
}

func (r registrySource) readManifest() ([]byte, error) {
	d, err := remote.Get(r.ref, options(r.ctx)...)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", r.ref, err)
	}
	return d.Manifest, nil
}

func (r registrySource) blob(d v1.Descriptor) (io.ReadCloser, error) {
	l, err := remote.Layer(r.ref.Context().Digest(d.Digest.String()), options(r.ctx)...)
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

// boundedTransport cuts manifests that are too large: the library reads them whole
// into memory.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	a, err := t.next.RoundTrip(q)
	if err != nil || !strings.Contains(q.URL.Path, "/manifests/") {
		return a, err
	}
	if a.ContentLength > maxManifestBytes {
		a.Body.Close()
		return nil, fmt.Errorf("manifest of %d bytes, at most %d: %w", a.ContentLength, maxManifestBytes, ErrTooLarge)
	}
	a.Body = &boundedBody{a.Body, maxManifestBytes}
	return a, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("manifest of more than %d bytes: %w", maxManifestBytes, ErrTooLarge)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
