package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// stallTimeout ends a request that is not answered, and a transfer that stands still, for
// so long.
var stallTimeout = time.Minute

// registry is the store of a repository.
type registry struct {
	ctx    context.Context
	ref    name.Reference
	puller *remote.Puller
}

// parseReference reads what follows "docker:". A tag before a digest is for people: the
// digest says what is meant.
func parseReference(text string, insecure []string) (name.Reference, error) {
	text, ok := strings.CutPrefix(text, "//")
	if !ok {
		return nil, errors.New("want docker://HOST/REPO[:TAG][@DIGEST]")
	}
	ref, err := name.ParseReference(text)
	if err == nil && slices.Contains(insecure, ref.Context().RegistryStr()) {
		ref, err = name.ParseReference(text, name.Insecure)
	}
	if err != nil {
		return nil, err
	}
	if d, ok := ref.(name.Digest); ok {
		h, err := v1.NewHash(d.DigestStr())
		if err == nil {
			err = checkDigest(h)
		}
		if err != nil {
			return nil, err
		}
	}
	return ref, nil
}

func openRegistry(ctx context.Context, ref name.Reference, insecure []string) (*registry, error) {
	host := ref.Context().RegistryStr()
	next := remote.DefaultTransport.(*http.Transport).Clone()
	next.ResponseHeaderTimeout = stallTimeout
	if slices.Contains(insecure, host) {
		next.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user names the host
	}
	puller, err := remote.NewPuller(
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(&guarded{next, insecure}), remote.WithUserAgent("seuss"),
	)
	return &registry{ctx, ref, puller}, err
}

// head asks which manifest the reference leads to.
func (r *registry) head() (v1.Hash, error) {
	if d, ok := r.ref.(name.Digest); ok {
		return v1.NewHash(d.DigestStr())
	}
	d, err := r.puller.Head(r.ctx, r.ref)
	if err != nil {
		return v1.Hash{}, r.explain(err)
	}
	return d.Digest, checkDigest(d.Digest)
}

func (r *registry) explain(err error) error {
	return explain(r.ctx, r.ref.Context().RegistryStr(), err)
}

func (r *registry) manifest(d v1.Descriptor) ([]byte, error) {
	got, err := r.puller.Get(r.ctx, r.ref.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, r.explain(err)
	}
	return got.Manifest, nil
}

// mediaType says what a manifest is, which only its own document tells of what is named by
// its digest alone.
func mediaType(raw []byte) (types.MediaType, error) {
	var doc struct {
		MediaType types.MediaType
		Manifests []struct{}
		Layers    []struct{}
		FSLayers  []struct{}
	}
	if err := decode(raw, &doc, "manifest"); err != nil {
		return "", err
	}
	switch {
	case doc.MediaType != "":
		return doc.MediaType, nil
	case doc.FSLayers != nil:
		return types.DockerManifestSchema1, nil
	case doc.Manifests != nil:
		return types.OCIImageIndex, nil
	}
	return types.OCIManifestSchema1, nil
}

func (r *registry) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	l, err := r.puller.Layer(ctx, r.ref.Context().Digest(d.Digest.String()))
	if err == nil {
		var body io.ReadCloser
		if body, err = l.Compressed(); err == nil {
			return newWatched(body, func(err error) error { return explain(ctx, r.ref.Context().RegistryStr(), err) }, cancel), nil
		}
	}
	cancel(nil)
	return nil, r.explain(err)
}

// watched ends a transfer that stands still.
type watched struct {
	io.ReadCloser
	explain func(error) error
	cancel  context.CancelCauseFunc
	timer   *time.Timer
}

func newWatched(body io.ReadCloser, explain func(error) error, cancel context.CancelCauseFunc) *watched {
	return &watched{body, explain, cancel, time.AfterFunc(stallTimeout, func() { cancel(ErrStalled) })}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(stallTimeout)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop() // who reads may take his time
	if err != nil && err != io.EOF {
		err = w.explain(err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	defer w.cancel(nil)
	return w.ReadCloser.Close()
}

// guarded refuses plain HTTP but to loopback and to hosts that the user named, wherever
// a registry or its answers lead, and bounds what the library reads whole into memory.
type guarded struct {
	next     http.RoundTripper
	insecure []string
}

func (g *guarded) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.URL.Scheme != "https" && !isLoopback(q.URL.Hostname()) && !slices.Contains(g.insecure, q.URL.Host) {
		return nil, fmt.Errorf("registry %s: %w; name it with --insecure-registry %s if that is meant", q.URL.Host, ErrInsecure, q.URL.Host)
	}
	a, err := g.next.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	for first := q; ; first = first.Response.Request { // a redirection names the answer that led there
		if strings.Contains(first.URL.Path, "/blobs/") {
			return a, nil // it streams
		}
		if first.Response == nil || first.Response.Request == nil {
			break
		}
	}
	a.Body = struct {
		io.Reader
		io.Closer
	}{&bounded{a.Body, maxDocument, fmt.Errorf("answer of more than %d bytes: %w", maxDocument, ErrTooLarge)}, a.Body}
	return a, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
