package images

import (
	"archive/tar"
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"seuss/images/layer"
)

// addFiles makes a layer of files, and returns it open. Equal files give the same layer,
// which the images that hold them have in common.
func addFiles(ctx context.Context, store layer.Store, files []File) (*layer.Layer, error) {
	return addTar(ctx, store, func(t *tar.Writer) error { return writeTar(t, files) })
}

// addTar makes a layer of what write writes, and returns it open.
func addTar(ctx context.Context, store layer.Store, write func(*tar.Writer) error) (*layer.Layer, error) {
	h, err := store.AddTar(ctx, write, layer.AddOptions{})
	if err != nil {
		return nil, err
	}
	return store.Open(h.Digest)
}

// isWhiteout reports whether a layer would take the file for what hides others: it can lie
// only in an image's own file.
func (f File) isWhiteout() bool {
	return strings.HasPrefix(path.Base(f.GuestPath), layer.WhiteoutPrefix)
}

func writeTar(t *tar.Writer, files []File) error {
	root, err := buildTree(&Spec{Files: files})
	if err != nil {
		return err
	}
	return root.writeTar(t)
}

// writeTar writes a node and what is below it.
func (n *node) writeTar(t *tar.Writer) (err error) {
	h := &tar.Header{
		Name: strings.TrimPrefix(n.guest, "/"), Mode: int64(n.mode &^ modeTypeMask), ModTime: time.Unix(n.mtime, 0), Format: tar.FormatPAX,
		Uid: int(n.uid), Gid: int(n.gid),
	}
	switch {
	case n.isDir():
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case n.link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(n.size)
	}
	// Of a directory that a path only implies the layers below say what it is.
	if !n.isDir() || n.explicit {
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", n.guest, err)
		}
	}
	if h.Typeflag == tar.TypeReg {
		if err := n.copyTo(context.Background(), t); err != nil {
			return err
		}
	}
	for _, c := range n.children {
		if err := c.writeTar(t); err != nil {
			return err
		}
	}
	return nil
}
