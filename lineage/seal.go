package lineage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Temporary files have this shape, so that a sweep removes only our own.
const (
	tempPrefix = ".lineage-"
	tempSuffix = ".tmp"
)

// sealedMode is the permission of everything that never changes again.
const sealedMode fs.FileMode = 0o444

// sealFile is a file while it is written.
type sealFile interface {
	io.Writer
	io.WriterAt
	Name() string
	Chmod(fs.FileMode) error
	Sync() error
	Close() error
}

// sealFS is what sealing needs of the file system; tests make it fail.
type sealFS struct {
	create  func(dir string) (sealFile, error)
	rename  func(from, to string) error
	link    func(from, to string) error // a further name of a file
	remove  func(path string) error
	syncDir func(dir string) error
}

func osSealFS() sealFS {
	return sealFS{
		create: func(dir string) (sealFile, error) {
			f, err := os.CreateTemp(dir, tempPrefix+"*"+tempSuffix)
			if err != nil {
				return nil, err // not a typed nil *os.File
			}
			return f, nil
		},
		rename:  os.Rename,
		link:    os.Link,
		remove:  os.Remove,
		syncDir: syncDir,
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// pending is a file on its way to being sealed: write, then sync, then publish.
// discard, always safe to call, removes it unless it was published.
type pending struct {
	sealFile
	fs   *sealFS
	dir  string
	open bool
	gone bool
}

func (s *Store) newPending(dir string) (*pending, error) {
	f, err := s.fs.create(dir)
	if err != nil {
		return nil, fmt.Errorf("create a file in %s: %w", dir, err)
	}
	return &pending{sealFile: f, fs: &s.fs, dir: dir, open: true}, nil
}

// sync makes the content durable and the file unwritable, and closes it.
func (p *pending) sync() error {
	if err := p.Chmod(sealedMode); err != nil {
		return fmt.Errorf("seal %s: %w", p.Name(), err)
	}
	if err := p.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", p.Name(), err)
	}
	p.open = false
	if err := p.Close(); err != nil {
		return fmt.Errorf("close %s: %w", p.Name(), err)
	}
	return nil
}

// publish gives the synced file its name. If the directory cannot be synced the
// name is taken away again where it was new: an error means "not stored".
func (p *pending) publish(path string) error {
	_, err := os.Lstat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err := p.fs.rename(p.Name(), path); err != nil {
		return fmt.Errorf("name %s: %w", path, err)
	}
	p.gone = true
	if err := p.fs.syncDir(p.dir); err != nil {
		err = fmt.Errorf("sync directory %s after naming %s: %w", p.dir, filepath.Base(path), err)
		if isNew {
			if rmErr := p.fs.remove(path); rmErr != nil {
				err = errors.Join(err, fmt.Errorf("take back %s: %w", path, rmErr))
			}
		}
		return err
	}
	return nil
}

func (p *pending) discard() {
	if p.open {
		p.open = false
		_ = p.Close() // the content is given up
	}
	if !p.gone {
		p.gone = true
		_ = p.fs.remove(p.Name()) // a leftover is swept at the next Open
	}
}

// writeSealed stores content under path atomically and durably.
func (s *Store) writeSealed(path string, content []byte) error {
	p, err := s.newPending(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer p.discard()
	if n, err := p.Write(content); err != nil {
		return fmt.Errorf("write %s: wrote %d of %d bytes: %w", path, n, len(content), err)
	}
	if err := p.sync(); err != nil {
		return err
	}
	return p.publish(path)
}

// sweep removes what interrupted writes left in dir.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	return nil
}
