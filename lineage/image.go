package lineage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"seuss/lineage/nodefile"
	"seuss/lineage/pages"
)

// ImageRun places pages of an image file in guest memory: guest pages
// [First, First+Count) are the file's pages from FilePage on.
type ImageRun struct {
	First, Count uint64
	FilePage     uint64
}

// AddImage makes the sealed image file at path the root of a lineage and returns
// its node, loaded. The guest has pages pages (RAM and whatever else the image
// places); those that no run covers are zero. Runs ascend and do not overlap.
//
// The file is the node's blob. It belongs at ImagePath(digest); a file elsewhere
// is copied there. digest names the image and is not checked against the file,
// whose format is package images' business; the node records its own digest of
// the pages, and from then on a changed file is refused. Adding the same again
// returns the existing node. Removing the node leaves the image file.
func (s *Store) AddImage(digest, path string, pages uint64, runs []ImageRun) (*Node, error) {
	n, err := sealer{s}.addImage(digest, path, pages, runs)
	if err != nil {
		return nil, fmt.Errorf("add image %s from %s: %w", digest, path, err)
	}
	return n, nil
}

func (s sealer) addImage(digest, path string, pages uint64, runs []ImageRun) (*Node, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if !nodefile.ValidDigest(digest) {
		return nil, fmt.Errorf("digest is not 64 lower-case hex digits: %w", nodefile.ErrInvalid)
	}
	if err := s.importImage(path, s.ImagePath(digest)); err != nil {
		return nil, err
	}
	x, err := indexImage(s.ImagePath(digest))
	if err != nil {
		return nil, err
	}
	x.GuestPages = pages
	for _, r := range runs {
		x.Runs = append(x.Runs, nodefile.IndexRun{First: r.First, Count: r.Count, Page: r.FilePage})
	}
	// The reader's rules are the rules for the runs.
	if _, err := nodefile.DecodeIndex(x.Encode()); err != nil {
		return nil, fmt.Errorf("%w: %w", err, nodefile.ErrInvalid)
	}
	for i, r := range x.Runs {
		if r.Page == nodefile.ZeroRun {
			return nil, fmt.Errorf("run %d has no file page: %w", i, nodefile.ErrInvalid)
		}
	}
	info := &nodefile.Info{
		Kind:        nodefile.KindImage,
		ImageDigest: digest,
		Root:        x.Root(x.Digests).String(),
		Created:     createdAt(time.Time{}),
		GuestPages:  pages,
		DeltaPages:  x.DeltaPages(),
	}
	if err := info.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, nodefile.ErrInvalid)
	}
	w, err := s.newNodeWriter(s.path(nodesDir), nil)
	if err != nil {
		return nil, err
	}
	defer w.discard()
	return s.sealNode(w, info, nil, x, nil, nil)
}

// indexImage reads an image file once for the checksums and digests of its pages.
func indexImage(path string) (*nodefile.Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size()%nodefile.PageSize != 0 || fi.Size()/nodefile.PageSize > nodefile.MaxDataPages {
		return nil, fmt.Errorf("%v of %d bytes is no image of whole pages: %w", fi.Mode(), fi.Size(), nodefile.ErrInvalid)
	}
	x := &nodefile.Index{DataPages: uint64(fi.Size()) / nodefile.PageSize, Digests: []nodefile.Digest{}}
	err = pages.ReadPages(f, 0, 0, x.DataPages, func(_ uint64, data []byte) error {
		for ; len(data) > 0; data = data[nodefile.PageSize:] {
			x.Sums = append(x.Sums, nodefile.Checksum(data[:nodefile.PageSize]))
			x.Digests = append(x.Digests, nodefile.PageDigest(data[:nodefile.PageSize]))
		}
		return nil
	})
	return x, err
}

// importImage copies the file at from to its place, unless it is there. An image
// that is there already is never replaced: nodes may map it.
func (s sealer) importImage(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := os.Stat(to); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p, err := s.fs.New(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer p.Discard()
	if n, err := io.Copy(p, src); err != nil {
		return fmt.Errorf("copy to %s after %d bytes: %w", p.Name(), n, err)
	}
	if err := p.Seal(); err != nil {
		return err
	}
	return p.Publish(to)
}
