package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"seuss/lineage"
)

// WriteLayout puts a bundle under a name into the image layout in dir, which is
// made if it does not exist. Blobs that are there already are not written again.
func WriteLayout(dir, name string, b *Bundle) error {
	p, err := layout.FromPath(dir)
	if err != nil {
		if entries, listErr := os.ReadDir(dir); listErr == nil && len(entries) > 0 {
			return fmt.Errorf("write image layout %s: the directory holds something else: %w", dir, err)
		}
		if p, err = layout.Write(dir, empty.Index); err != nil {
			return fmt.Errorf("write image layout %s: %w", dir, err)
		}
	}
	if err := p.ReplaceImage(b, match.Name(name), layout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: name})); err != nil {
		return fmt.Errorf("write image layout %s: %w", dir, err)
	}
	return nil
}

// OpenLayout opens the image of a name in the image layout in dir; with name empty
// the only one there is.
func OpenLayout(dir, name string) (*Source, error) {
	if err := bounded(filepath.Join(dir, "index.json"), maxManifestBytes); err != nil {
		return nil, err
	}
	if err := bounded(filepath.Join(dir, "oci-layout"), maxManifestBytes); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	if err := checkCounts(raw); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	p, err := layout.FromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	index, err := p.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("index.json: %w: %w", err, ErrFormat)
	}
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		if name == "" || d.Annotations[ocispec.AnnotationRefName] == name {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("no image %q among %d: %w", name, len(m.Manifests), lineage.ErrNotFound)
	case len(found) > 1:
		return nil, fmt.Errorf("%d images; say which by name: %w", len(found), lineage.ErrAmbiguous)
	}
	return &Source{blobs: layoutSource{p, dir, found[0]}}, nil
}

// bounded reports a file that is not regular or larger than limit.
func bounded(path string, limit int64) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, ErrFormat)
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is not a file but %v: %w", path, fi.Mode().Type(), ErrFormat)
	case fi.Size() > limit:
		return fmt.Errorf("%s has %d bytes, at most %d: %w", path, fi.Size(), limit, ErrTooLarge)
	}
	return nil
}

// layoutSource reads blobs by their digest, which has been parsed: it cannot lead
// out of the directory.
type layoutSource struct {
	p        layout.Path
	dir      string
	manifest v1.Descriptor
}

func (l layoutSource) readManifest() ([]byte, error) {
	r, err := l.blob(l.manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer r.Close()
	if l.manifest.Size > maxManifestBytes {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d: %w", l.manifest.Size, maxManifestBytes, ErrTooLarge)
	}
	b, err := io.ReadAll(checked(r, l.manifest))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return b, nil
}

func (l layoutSource) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" || !blobName.MatchString("blobs/sha256/"+d.Digest.Hex) {
		return nil, fmt.Errorf("digest %v: %w", d.Digest, ErrFormat)
	}
	// Not through a link: what it leads to is not this archive's.
	if err := bounded(filepath.Join(l.dir, "blobs", "sha256", d.Digest.Hex), max(d.Size, 0)); err != nil {
		return nil, err
	}
	return l.p.Blob(d.Digest)
}
