package derive

import (
	"archive/tar"
	"archive/zip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"seuss/guest"
	"seuss/images/layer"
)

// maxLinkBytes bounds the target of a symbolic link (PATH_MAX).
const maxLinkBytes = 4096

// kernelDigest tells kernel libraries apart.
var kernelDigest = sync.OnceValue(func() [sha256.Size]byte { return sha256.Sum256(guest.Kernel()) })

// WriteFS writes the files of a file system that keep holds of (nil: all), below a guest
// path without the leading slash, in the order of their names. Symbolic links stay what
// they are. What is neither file, directory nor link is refused by name, and so is a name
// that would hide others.
func WriteFS(t *tar.Writer, from fs.FS, below string, keep func(name string) bool) error {
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." || keep != nil && !keep(name) {
			return nil
		}
		if err := writeEntry(t, from, below, name, d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// WriteFiles writes files by name, below a guest path without the leading slash. All may be
// run: what their modes were is not known.
func WriteFiles(t *tar.Writer, files map[string][]byte, below string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(path.Base(name), layer.WhiteoutPrefix) {
			return fmt.Errorf("%s: a name that begins with %s hides what is below a layer", name, layer.WhiteoutPrefix)
		}
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(below, name), Size: int64(len(files[name])), Mode: 0o755, Format: tar.FormatPAX})
		if err == nil {
			_, err = t.Write(files[name])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func writeEntry(t *tar.Writer, from fs.FS, below, name string, d fs.DirEntry) error {
	if strings.HasPrefix(path.Base(name), layer.WhiteoutPrefix) {
		return fmt.Errorf("a name that begins with %s hides what is below a layer", layer.WhiteoutPrefix)
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: path.Join(below, name), Format: tar.FormatPAX}
	// As a package is: for all to read, programs for all to run.
	if h.Mode = 0o644; info.IsDir() || info.Mode()&0o111 != 0 {
		h.Mode = 0o755
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return t.WriteHeader(h)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = readLink(from, name); err != nil {
			return err
		}
		return t.WriteHeader(h)
	case 0:
	default:
		return fmt.Errorf("it is neither a file, a directory nor a link but %v", info.Mode().Type())
	}
	f, err := from.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(t, f)
	if err == nil && n != h.Size {
		err = fmt.Errorf("it changed while it was read: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// readLink reads a link's target: in an archive it is the entry's content.
func readLink(from fs.FS, name string) (string, error) {
	if links, ok := from.(fs.ReadLinkFS); ok {
		return links.ReadLink(name)
	}
	f, err := from.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLinkBytes+1))
	if err == nil && (len(b) == 0 || len(b) > maxLinkBytes) {
		err = errors.New("its target is no path")
	}
	return string(b), err
}

// Size is what the files of a file system that keep holds of take.
func Size(from fs.FS, keep func(name string) bool) (bytes int64, err error) {
	err = fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || keep != nil && !keep(name) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return bytes, err
}

// Open opens a directory or a .zip of at most so many bytes as a file system. Names of an
// archive that lead out of it are refused.
func Open(file string, mostZip int64) (_ fs.FS, done func() error, err error) {
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, nil, err
	case st.IsDir():
		root, err := os.OpenRoot(file)
		if err != nil {
			return nil, nil, err
		}
		return root.FS(), root.Close, nil
	case !st.Mode().IsRegular() || filepath.Ext(file) != ".zip":
		return nil, nil, fmt.Errorf("%s: want a directory or a .zip", file)
	case st.Size() > mostZip:
		return nil, nil, fmt.Errorf("%s has %d bytes, at most %d are allowed zipped", file, st.Size(), mostZip)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	bad := slices.IndexFunc(z.File, func(f *zip.File) bool { return !fs.ValidPath(strings.TrimSuffix(f.Name, "/")) })
	if bad >= 0 {
		return nil, nil, errors.Join(fmt.Errorf("%s: entry %q: not a clean path below the archive", file, z.File[bad].Name), z.Close())
	}
	return &z.Reader, z.Close, nil
}
