package lineage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"seuss/guest"
	"seuss/images/layer"
	"seuss/lineage/imagefile"
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

// layerStore is where the layers of images lie.
func layerStore(s *Store) layer.Store { return layer.Store{Dir: s.path(imagesDir, layer.DirName)} }

// layerRuns maps the layers of an image, whose own file is own and whose guests have so many
// pages, and returns where these see them.
func (s loader) layerRuns(digest string, own *pages.Blob, guestPages uint64, verify pages.Verify) ([]pages.Run, error) {
	t, err := imagefile.Read(own, int64(own.Pages()*guest.PageSize))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", digest, err)
	}
	var runs []pages.Run
	for i, l := range t.Layers {
		shown, err := t.Shown(i, guestPages)
		if err != nil {
			return nil, err
		}
		blob, err := s.openLayer(layer.Digest(l.Digest), l.Bytes/guest.PageSize, verify, shown)
		if err != nil {
			return nil, err
		}
		for _, r := range shown {
			runs = append(runs, pages.Run{First: r.First, Count: r.Count, Blob: blob, Page: 1 + r.Page})
		}
	}
	return runs, nil
}

// openLayer maps the file of a layer: the header's page, which nobody shows, and count pages
// of content, so that these are at the same place in their stretches of 2 MiB as guests see
// them. All images that have the layer share one Blob: one mapping, one copy of what is
// filled on demand. What guests see of it is shown.
func (s loader) openLayer(d layer.Digest, count uint64, verify pages.Verify, shown []imagefile.Shown) (*pages.Blob, error) {
	f, err := os.Open(layerStore(s.Store).Path(d))
	if err != nil {
		return nil, fmt.Errorf("layer of an image: %w", err)
	}
	file, err := pages.FileIDOf(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	blob := s.blobs.Get(file)
	if blob != nil {
		f.Close()
	} else {
		x, err := s.layerIndex(f, d)
		if err != nil {
			f.Close()
			return nil, err
		}
		if blob, err = pages.Open(verify, s.huge, "of layer "+d.String(), f, 0, x); err != nil {
			return nil, err
		}
		blob = s.blobs.Add(file, blob)
	}
	if blob.Pages() != 1+count {
		return nil, fmt.Errorf("layer %v has %d pages, the image %d of it: %w", d, blob.Pages()-1, count, nodefile.ErrLength)
	}
	for _, r := range shown {
		if verify == pages.VerifyEager {
			if err := blob.Check(1+r.Page, r.Count); err != nil {
				return nil, err
			}
		}
	}
	return blob, nil
}

// layerIndex returns the checksums of a layer's pages. Whether these are those that its digest
// covers Inspection.Verify looks, and who builds an image or takes one over.
func (s loader) layerIndex(f *os.File, d layer.Digest) (*nodefile.Index, error) {
	head := make([]byte, guest.PageSize)
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("read the header of layer %v: got %d bytes: %w", d, n, nodefile.NoEOF(err))
	}
	l, err := layerStore(s.Store).Content(d)
	if err != nil {
		return nil, err
	}
	content, err := l.Sums()
	sums := append([]uint32{nodefile.Checksum(head)}, content...)
	return &nodefile.Index{Sums: sums, DataPages: uint64(len(sums))}, errors.Join(err, l.Close())
}

// verifyLayers compares the content of an image's layers with its digests.
func (s Inspection) verifyLayers(image string) error {
	t, err := imagefile.ReadFile(s.store.ImagePath(image))
	if err != nil {
		return err
	}
	for _, d := range t.Layers {
		l, err := layerStore(s.store).Open(layer.Digest(d.Digest))
		if err != nil {
			return err
		}
		if err := errors.Join(l.Verify(context.Background()), l.Close()); err != nil {
			return err
		}
	}
	return nil
}
