package oci

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"seuss/lineage"
)

// Stream writes a bundle as an archive of an image layout, whose only image it is. It
// keeps nothing on disk, and no more than a piece of a layer in memory.
func Stream(w io.Writer, b *Bundle) error {
	src := &Source{blobs: bundleSource{b}}
	return src.Send(w, func(string) bool { return false })
}

// bundleSource reads the blobs of a bundle.
type bundleSource struct{ b *Bundle }

func (s bundleSource) readManifest() ([]byte, error) { return s.b.RawManifest() }

func (s bundleSource) blob(d v1.Descriptor) (io.ReadCloser, error) {
	if name, err := s.b.ConfigName(); err != nil {
		return nil, err
	} else if name == d.Digest {
		b, err := s.b.RawConfigFile()
		return io.NopCloser(bytes.NewReader(b)), err
	}
	l, err := s.b.LayerByDigest(d.Digest)
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

// OpenBundle takes a bundle from an archive that Stream has written: it is unpacked
// into a temporary directory, files of at most limit bytes, of DefaultMaxBytes if that
// is 0. What Import would check is not checked.
func OpenBundle(r io.Reader, limit int64) (_ *Bundle, err error) {
	src, err := OpenArchive(r, "", limit)
	if err != nil {
		return nil, err
	}
	b := &Bundle{temp: src.temp}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	index, err := layout.ImageIndexFromPath(src.temp)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%d images: %w", len(m.Manifests), lineage.ErrAmbiguous)
	}
	if b.Image, err = index.Image(m.Manifests[0].Digest); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	return b, nil
}
