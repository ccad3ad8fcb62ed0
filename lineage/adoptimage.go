package lineage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"seuss/guest"
	"seuss/images/layer"
	"seuss/lineage/nodefile"
)

// PagePadding is how many bytes a file of so many lacks to whole pages.
func PagePadding(bytes int64) int64 { return -bytes & (PageSize - 1) }

// ImageFiles returns the files that an image consists of: its own, and those of its layers.
// It travels as these files, one behind the other, each padded to whole pages.
func (s Transfer) ImageFiles(digest string) ([]string, error) {
	path := s.store.ImagePath(digest)
	m, err := readImageLayersOf(path)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	files := []string{path}
	for _, l := range m.layers {
		files = append(files, s.store.layerStore().Path(layer.Digest(l.Digest)))
	}
	return files, nil
}

// AdoptImage stores an image under its digest, if there is none yet: its files as
// ImageFiles lists them, size bytes in all. Layers that are there already are not stored
// again. check is asked about the complete image before it gets its name: the store does
// not know how digests of images are made.
func (s Transfer) AdoptImage(digest string, r io.Reader, size int64, check func(path string) error) error {
	if err := s.adoptImage(digest, r, size, check); err != nil {
		return fmt.Errorf("adopt image %s: %w", digest, err)
	}
	return nil
}

func (s Transfer) adoptImage(digest string, r io.Reader, size int64, check func(path string) error) error {
	if err := s.store.writable(); err != nil {
		return err
	}
	if !nodefile.ValidDigest(digest) {
		return fmt.Errorf("not 64 lower-case hex digits: %w", nodefile.ErrInvalid)
	}
	if _, err := os.Stat(s.store.ImagePath(digest)); !errors.Is(err, fs.ErrNotExist) {
		return err // there, or not to be known
	}
	head, own, err := ownBytes(r, size)
	if err != nil {
		return err
	}
	r = io.MultiReader(head, r)
	p, err := sealer{s.store}.receive(s.store.path(imagesDir), io.LimitReader(r, own), own)
	if err != nil {
		return err
	}
	defer p.Discard()
	m, err := readImageLayersOf(p.Name())
	if err != nil {
		return err
	}
	left := size - own
	for _, l := range m.layers {
		n, err := s.store.layerStore().Receive(context.Background(), r, layer.Digest(l.Digest), left)
		if err != nil {
			return err
		}
		if left -= n + PagePadding(n); left < 0 {
			return fmt.Errorf("ends within layer %x: %w", l.Digest, nodefile.ErrLength)
		}
		if _, err := io.CopyN(io.Discard, r, PagePadding(n)); err != nil {
			return nodefile.NoEOF(err)
		}
	}
	if left != 0 {
		return fmt.Errorf("%d bytes behind the last layer: %w", left, nodefile.ErrLength)
	}
	if extra, err := io.ReadFull(r, make([]byte, 1)); extra > 0 {
		return fmt.Errorf("more than %d bytes: %w", size, nodefile.ErrLength)
	} else if err != io.EOF && err != nil { // checksums at the end are checked there
		return fmt.Errorf("after %d bytes: %w", size, err)
	}
	if err := check(p.Name()); err != nil {
		return err
	}
	return p.Publish(s.store.ImagePath(digest))
}

// ownBytes reads the beginning of an image of size bytes, and says how many of them are its
// own file.
func ownBytes(r io.Reader, size int64) (head io.Reader, own int64, err error) {
	b := make([]byte, min(size, guest.ImageHeaderSize))
	n, err := io.ReadFull(r, b)
	if err != nil {
		return nil, 0, fmt.Errorf("got %d of %d bytes: %w: %w", n, size, nodefile.ErrLength, err)
	}
	h := nodefile.Bytes(b)
	if m, err := readOwnBytes(h); err == nil && m > 0 && m < size {
		return io.NewSectionReader(h, 0, int64(len(b))), m, nil
	}
	return io.NewSectionReader(h, 0, int64(len(b))), size, nil
}
