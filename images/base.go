package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"seuss/guest"
	"seuss/images/layer"
)

// Base is the root file system of an image, as what another image begins with. What lies in
// the image's layers is named there, and not stored again.
type Base struct {
	img    *Image
	layers []*layer.Layer // as the image lists them
	own    *layer.Layer   // of the files of the image's own file, if they were made one
}

// OpenBase opens the layers of an image, which must stay open until the Base is closed. Be
// the image removed meanwhile, the layers stay for what is made from it.
func OpenBase(img *Image) (*Base, error) {
	b, store := &Base{img: img}, layersBeside(img.path)
	for _, ref := range img.layers {
		var l *layer.Layer
		err := store.Keep(ref.Digest)
		if err == nil {
			l, err = store.Open(ref.Digest)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("image %s: %w", img.config.Name, err), b.Close())
		}
		b.layers = append(b.layers, l)
	}
	return b, nil
}

// Close closes the layers.
func (b *Base) Close() (err error) {
	for _, l := range b.Layers() {
		err = errors.Join(err, l.Close())
	}
	b.layers, b.own = nil, nil
	return err
}

// Layers are what its files lie in, the lowest first.
func (b *Base) Layers() []*layer.Layer {
	if b == nil {
		return nil
	}
	if b.own == nil {
		return b.layers
	}
	return append(slices.Clone(b.layers), b.own)
}

// tree makes the image's root file system a tree.
func (b *Base) tree() (*node, error) {
	root := newDir("", "/")
	if b == nil {
		return root, nil
	}
	at := map[uint64]*layer.File{} // by where the file is in the image
	for i, l := range b.layers {
		from := b.img.layers[i].Off - guest.PageSize
		for e := range l.Entries() {
			if e.File != nil && e.File.Mode()&modeTypeMask == modeRegular && e.File.Size() > 0 {
				at[from+e.File.Place()] = e.File
			}
		}
	}
	dirs := map[string]*node{"/": root}
	made := map[uint32]*node{} // by inode
	err := b.img.Walk(func(e Entry) error {
		n := dirs[e.Path]
		if n == nil {
			n = &node{name: path.Base(e.Path), guest: e.Path}
			dirs[path.Dir(e.Path)].byName[n.name] = n
		}
		if n.explicit = true; made[e.Number] != nil {
			n.same = made[e.Number]
			return nil
		}
		made[e.Number] = n
		i := &e.Inode
		n.mode, n.uid, n.gid, n.mtime, n.dated = i.Mode, i.UID, i.GID, int64(i.Mtime), true
		switch {
		case i.IsDir():
			n.byName = map[string]*node{}
			dirs[e.Path] = n
			return nil
		case i.IsSymlink():
			n.link, n.size = e.Target, i.Size
			return nil
		}
		n.size = i.Size
		if i.Size == 0 || i.place() < b.img.header.OwnBytes {
			n.inside = b.img.section(i)
			return n.readObject()
		}
		if n.stored = at[i.place()]; n.stored == nil || uint64(n.stored.Size()) != i.Size {
			return fmt.Errorf("%s: %w: none of the layers has it at %#x", e.Path, ErrCorrupt, i.place())
		}
		return nil
	})
	if err == nil && b.own != nil {
		err = root.apply(b.own)
	}
	return root, err
}

// place is where the first byte of a regular file lies.
func (n *Inode) place() uint64 {
	if n.Head > 0 {
		return n.LoadOff
	}
	return n.Off
}

// takeOwn makes a layer of the content of the image's own file, unless there is none.
func (b *Base) takeOwn(ctx context.Context, store layer.Store) error {
	some := false
	for i := range b.img.inodes {
		n := &b.img.inodes[i]
		some = some || n.IsRegular() && n.Size > 0 && n.place() < b.img.header.OwnBytes
	}
	if !some || b.own != nil {
		return nil
	}
	root, err := b.tree()
	if err != nil {
		return err
	}
	if err := root.finish(0); err != nil {
		return err
	}
	l, err := addTar(ctx, store, func(t *tar.Writer) error {
		return root.writeOwn(t, map[*node]bool{})
	})
	if err == nil {
		b.own = l
	}
	return err
}

// writeOwn writes the regular files of a Base that lie in no layer, and nothing else.
func (n *node) writeOwn(t *tar.Writer, written map[*node]bool) error {
	for _, c := range n.children {
		switch f := c.file(); {
		case f.isDir():
			if err := f.writeOwn(t, written); err != nil {
				return err
			}
		case f.inside == nil:
		case strings.HasPrefix(c.name, layer.WhiteoutPrefix):
			return fmt.Errorf("%s: no layer holds a name that begins with %s", c.guest, layer.WhiteoutPrefix)
		case written[f]:
			err := t.WriteHeader(&tar.Header{
				Typeflag: tar.TypeLink, Name: strings.TrimPrefix(c.guest, "/"), Linkname: strings.TrimPrefix(f.guest, "/"), ModTime: time.Unix(f.mtime, 0), Format: tar.FormatPAX,
			})
			if err != nil {
				return fmt.Errorf("%s: %w", c.guest, err)
			}
		default:
			written[f] = true
			if err := f.writeTar(t); err != nil {
				return err
			}
		}
	}
	return nil
}
