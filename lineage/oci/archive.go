package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// blobName is the only kind of name besides two files that an archive may hold.
var blobName = regexp.MustCompile(`^blobs/sha256/[0-9a-f]{64}$`)

// maxArchiveFiles bounds the entries of an archive.
const maxArchiveFiles = 1 << 16

// WriteArchive writes an image layout with one image as a tar archive.
func WriteArchive(path, name string, b *Bundle) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".seuss-archive-")
	if err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	if err := WriteLayout(filepath.Join(dir, "layout"), name, b); err != nil {
		return err
	}
	temp := filepath.Join(dir, "archive")
	if err := writeTar(temp, filepath.Join(dir, "layout")); err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write archive %s: %w", path, err)
	}
	return nil
}

func writeTar(path, dir string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Sync()
}

// OpenArchive opens the image of a name in a tar archive of an image layout, which is
// unpacked into a temporary directory: files of at most limit bytes, of
// DefaultMaxBytes if that is 0. With name empty it is the only image there is.
func OpenArchive(r io.Reader, name string, limit int64) (*Source, error) {
	return Spool{MaxBytes: limit}.OpenArchive(r, name)
}

// Spool is where archives are unpacked.
type Spool struct {
	Dir      string // an existing directory; "": that of temporary files
	MaxBytes int64  // of an archive's files; 0: DefaultMaxBytes
	// Stored bounds what Import unpacks of them: ImportOptions.MaxBytes; 0: DefaultMaxBytes.
	Stored int64
	// Room, if not nil, is asked before so many bytes more are written, by Import too; its
	// error ends it.
	Room func(bytes int64) error
}

// OpenArchive is OpenArchive with a directory in the spool.
func (s Spool) OpenArchive(r io.Reader, name string) (_ *Source, err error) {
	dir, err := os.MkdirTemp(s.Dir, "seuss-import-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if s.MaxBytes == 0 {
		s.MaxBytes = DefaultMaxBytes
	}
	if err := s.unpack(r, dir); err != nil {
		return nil, err
	}
	src, err := OpenLayout(dir, name)
	if err != nil {
		return nil, err
	}
	src.temp, src.stored, src.room = dir, s.Stored, s.Room
	return src, nil
}

// unpack writes the files of a layout, and refuses anything else.
func (s Spool) unpack(r io.Reader, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	t := tar.NewReader(r)
	left := s.MaxBytes
	for files := 0; ; files++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, ErrFormat)
		}
		if files >= maxArchiveFiles {
			return fmt.Errorf("more than %d files: %w", maxArchiveFiles, ErrTooLarge)
		}
		switch name := h.Name; {
		case h.Typeflag == tar.TypeDir && (name == "blobs/" || name == "blobs/sha256/" || name == "./"):
			continue
		case h.Typeflag != tar.TypeReg || name != "index.json" && name != "oci-layout" && !blobName.MatchString(name):
			return fmt.Errorf("entry %q of type %q does not belong into an image layout: %w", name, h.Typeflag, ErrFormat)
		case h.Size > left:
			return fmt.Errorf("entry %q has %d bytes, more than %d in all: %w", name, h.Size, s.MaxBytes, ErrTooLarge)
		}
		left -= h.Size
		if s.Room != nil {
			if err := s.Room(h.Size); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(h.Name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("entry %q is there twice: %w", h.Name, ErrFormat)
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", err, ErrFormat)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}
