package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

const (
	// maxFiles bounds the entries of an archive: more than any image has layers.
	maxFiles = 1 << 15
	// maxArchiveLinks is how many links lead to a file at most.
	maxArchiveLinks = 8
	// maxDocument bounds a manifest, an index and a config, which are read whole.
	maxDocument = 8 << 20
)

// blobs are the named files of a layout or an archive.
type blobs interface {
	// open returns a file and its length.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// readDocument reads a small file whole.
func readDocument(b blobs, name string) ([]byte, error) {
	r, size, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, at most %d: %w", name, size, maxDocument, ErrTooLarge)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// dirBlobs are the files below a directory; links do not lead out of it.
type dirBlobs struct{ root *os.Root }

func openDir(dir string) (blobs, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return dirBlobs{root}, nil
}

func (d dirBlobs) open(name string) (io.ReadCloser, int64, error) {
	// A FIFO must not be opened: that would wait for who writes to it.
	info, err := d.root.Stat(filepath.FromSlash(name))
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a file but %v: %w", name, info.Mode().Type(), ErrFormat)
	}
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (d dirBlobs) Close() error { return d.root.Close() }

// archiveBlobs are the files of a tar archive, read where they lie.
type archiveBlobs struct {
	file  *os.File
	files map[string]piece
	links map[string]string
}

type piece struct{ offset, size int64 }

// compressed are the first bytes of what people pack archives with.
var compressed = map[string]string{"\x1f\x8b": "gunzip", "\x28\xb5\x2f\xfd": "unzstd", "\xfd7zXZ\x00": "unxz", "BZh": "bunzip2"}

func openArchive(name string) (_ blobs, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file but %v: %w", name, info.Mode().Type(), ErrFormat)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	var head [8]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for magic, tool := range compressed {
		if n >= len(magic) && string(head[:len(magic)]) == magic {
			return nil, fmt.Errorf("the archive is compressed; unpack it first with: %s %s", tool, name)
		}
	}
	a := &archiveBlobs{f, map[string]piece{}, map[string]string{}}
	t := tar.NewReader(f)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("archive: %w: %w", err, ErrFormat)
		}
		if len(a.files)+len(a.links) >= maxFiles {
			return nil, fmt.Errorf("archive of more than %d files: %w", maxFiles, ErrTooLarge)
		}
		switch name := path.Clean(h.Name); h.Typeflag {
		case tar.TypeReg:
			// The reader seeks over content and reads headers block by block, so that
			// the file stands where the content begins.
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if h.Size > info.Size()-offset {
				return nil, fmt.Errorf("archive: %s is cut off: %w", name, ErrFormat)
			}
			a.files[name] = piece{offset, h.Size}
		case tar.TypeSymlink: // docker save puts them for layers that are there already
			a.links[name] = path.Join(path.Dir(name), h.Linkname)
		}
	}
}

func (a *archiveBlobs) open(name string) (io.ReadCloser, int64, error) {
	at := path.Clean(name)
	for range maxArchiveLinks {
		if p, ok := a.files[at]; ok {
			return io.NopCloser(io.NewSectionReader(a.file, p.offset, p.size)), p.size, nil
		}
		to, ok := a.links[at]
		if !ok {
			return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		at = to
	}
	return nil, 0, fmt.Errorf("%s leads over more than %d links: %w", name, maxArchiveLinks, ErrFormat)
}

func (a *archiveBlobs) Close() error { return a.file.Close() }

// missing adds what a place lacks to be an image.
func missing(err error, what string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no %s in it: %w", what, ErrFormat)
	}
	return err
}
