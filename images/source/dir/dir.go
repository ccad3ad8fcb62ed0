// Package dir is the source of root file systems that are directories of this host:
// dir:PATH.
//
// Symbolic links are kept as they are, and so are owners and modes. Devices, sockets and FIFOs are left out and
// counted.
//
// Units, ownership, locks: as in package source.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"seuss/images"
	"seuss/images/source"
)

func init() {
	source.Register(&source.Source{Scheme: "dir", Usage: "PATH", Find: find})
}

// find looks at the directory at p, and at the content of the files that have changed since
// it last did.
func find(ctx context.Context, p string, o source.Options) (*source.Found, error) {
	o.Tell("reading "+p, -1)
	tree, name, err := walk(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("collect directory %s: %w", p, err)
	}
	at, err := filepath.Abs(p)
	if err != nil {
		return nil, fmt.Errorf("collect directory %s: %w", p, err)
	}
	if tree.Digest, err = source.DigestFiles(tree.Files, o.Index("dir:"+at)); err != nil {
		return nil, fmt.Errorf("collect directory %s: %w", p, err)
	}
	return &source.Found{Name: name, Digest: tree.Digest, Open: func(context.Context) (*source.Tree, source.Config, error) {
		return tree, source.Config{}, nil
	}}, nil
}

// walk returns the tree at p, and a name that suits it.
func walk(ctx context.Context, p string) (_ *source.Tree, name string, err error) {
	root, err := filepath.Abs(p)
	if err != nil {
		return nil, "", err
	}
	// The directory itself may be named through a link; WalkDir would stop.
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, "", err
	}
	if st, err := os.Stat(root); err != nil {
		return nil, "", err
	} else if !st.IsDir() {
		return nil, "", fmt.Errorf("not a directory but %v", st.Mode())
	}
	tree := &source.Tree{}
	if base := filepath.Base(root); images.CheckName(base) == nil {
		name = base
	}
	err = filepath.WalkDir(root, func(host string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, host)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := images.File{GuestPath: path.Join("/", filepath.ToSlash(rel)), Mtime: info.ModTime().Unix()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.UID, f.GID = st.Uid, st.Gid
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			f.Mode = mode
		case mode.IsRegular():
			f.Mode, f.HostPath = mode, host
		case mode&fs.ModeSymlink != 0:
			if f.Symlink, err = os.Readlink(host); err != nil {
				return err
			}
		default:
			tree.Skipped++
			return nil
		}
		tree.Files = append(tree.Files, f)
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return tree, name, nil
}
