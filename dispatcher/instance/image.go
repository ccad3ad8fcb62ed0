package instance

import (
	"fmt"
	"io"

	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/vmm"
)

// Image describes a root image: what the machines that run it are made of, and how its
// program is started.
type Image struct {
	Name, Digest string
	MemoryBytes  uint64           // of guest RAM
	ImageBytes   uint64           // that the image takes above it
	Content      io.ReaderAt      // what of the image is not mapped there; nil: nothing
	Runtimes     []images.Runtime // that functions can be started on; see package runtimes
	User         vmm.User         // whom they run as
}

// OpenImage describes the image in a file, and returns its root node, which it makes if
// there is none. The content is checked against its digest then.
func (h *Host) OpenImage(name, path string) (*Image, *lineage.Node, error) {
	img, root, err := h.openImage(name, path)
	if err != nil {
		return nil, nil, fmt.Errorf("image %q: %w", name, err)
	}
	return img, root, nil
}

func (h *Host) openImage(name, path string) (*Image, *lineage.Node, error) {
	var root *lineage.Node
	for _, n := range h.Store.Kind(lineage.KindImage) {
		if h.Store.ImagePath(n.Info.ImageDigest) == path {
			root = n
		}
	}
	var opts []images.OpenOption
	if root != nil {
		opts = append(opts, images.SkipDigest()) // the store checks the pages as it loads them
	}
	im, err := images.Open(path, opts...)
	if err != nil {
		return nil, nil, err
	}
	defer im.Close()
	digest := im.Digest().String()
	if root == nil {
		if root, err = h.addImage(im, path); err != nil {
			return nil, nil, err
		}
	} else if root.Info.ImageDigest != digest {
		return nil, nil, fmt.Errorf("open image %s: %w: its header has the digest %s", path, images.ErrCorrupt, digest)
	}
	c := im.Config()
	image := &Image{Name: name, Digest: digest, MemoryBytes: c.MemoryBytes, ImageBytes: im.MappedBytes(), Runtimes: runtimes.Of(&c)}
	if u, err := im.Unmapped(); err != nil {
		return nil, nil, err
	} else if u != nil {
		image.Content = u // until nobody has the image any more, which closes its files
	}
	if a := c.Account; a != nil {
		image.User = vmm.User{UID: a.UID, GID: a.GID, Groups: a.Groups}
	}
	return image, root, nil
}

// addImage makes the root node of an image whose content has been checked.
func (host *Host) addImage(im *images.Image, path string) (*lineage.Node, error) {
	if host.ReadOnly {
		return nil, fmt.Errorf("it was never booted: %w", lineage.ErrReadOnly)
	}
	h := im.Header()
	ramPages := im.Config().MemoryBytes / lineage.PageSize
	var runs []lineage.ImageRun
	for _, e := range im.Extents() {
		if e.Off < h.OwnBytes { // the store itself sees to what lies in layers
			runs = append(runs, lineage.ImageRun{First: e.GPA / lineage.PageSize, Count: e.Bytes / lineage.PageSize, FilePage: e.Off / lineage.PageSize})
		}
	}
	runs = append(runs, lineage.ImageRun{First: ramPages, Count: h.OwnBytes / lineage.PageSize})
	return host.Store.AddImage(im.Digest().String(), path, ramPages+im.MappedBytes()/lineage.PageSize, runs)
}
