package instancecmd

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// extract writes an archive, in which all is below one name, into a directory, or as what
// there is not yet or is a file. The archive is an instance's word: nothing of it leaves the
// place that it is for, by its names or by its links.
func extract(r io.Reader, to string) (err error) {
	dir, as := to, ""
	if info, err := os.Stat(to); err != nil || !info.IsDir() {
		if strings.HasSuffix(to, "/") {
			return fmt.Errorf("%s is no directory", to)
		}
		dir, as = filepath.Dir(to), filepath.Base(to)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	archive, top := tar.NewReader(r), ""
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("what the instance sends has broken off: %w", err)
		}
		first, rest, _ := strings.Cut(path.Clean(h.Name), "/")
		if !filepath.IsLocal(h.Name) || first == "." || top != "" && top != first {
			return fmt.Errorf("the instance sends an entry %.100q, which is not below what was asked for", h.Name)
		}
		if top = first; as != "" {
			first = as
		}
		if err := write(root, path.Join(first, rest), h, archive); err != nil {
			return err
		}
	}
}

// write writes an entry of an archive.
func write(root *os.Root, name string, h *tar.Header, content io.Reader) error {
	mode := fs.FileMode(h.Mode & 0o777)
	switch h.Typeflag {
	case tar.TypeDir:
		err := root.Mkdir(name, mode|0o700) // so that what is in it can be written
		if info, there := root.Stat(name); errors.Is(err, fs.ErrExist) && there == nil && info.IsDir() {
			err = nil
		}
		return err
	case tar.TypeSymlink:
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		// Not through a link that is there.
		if info, err := root.Lstat(name); err == nil && info.Mode().Type() == fs.ModeSymlink {
			if err := root.Remove(name); err != nil {
				return err
			}
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("the instance sends %.100q as type %q: only files, directories and links are copied", name, h.Typeflag)
}

// pack writes what is at a local path as an archive, under the path's last name.
func pack(w io.Writer, from string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(from, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		link := ""
		switch mode := info.Mode(); {
		case mode.Type() == fs.ModeSymlink:
			if link, err = os.Readlink(at); err != nil {
				return err
			}
		case !mode.IsRegular() && !mode.IsDir():
			return fmt.Errorf("%s is neither a file nor a directory nor a link: it is not copied", at)
		}
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(filepath.Dir(from), at)
		if err != nil {
			return err
		}
		*h = tar.Header{Typeflag: h.Typeflag, Name: filepath.ToSlash(below), Size: h.Size, Mode: h.Mode, ModTime: h.ModTime, Linkname: h.Linkname}
		if err := archive.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
			return err
		}
		f, err := os.Open(at)
		if err != nil {
			return err
		}
		_, err = io.CopyN(archive, f, h.Size)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	return archive.Close()
}
