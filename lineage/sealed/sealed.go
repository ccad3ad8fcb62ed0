package sealed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Temporary files have this shape, so that a sweep removes only our own.
const (
	TempPrefix = ".lineage-"
	TempSuffix = ".tmp"
)

// Permissions in a state directory. What is in it is its user's alone: guests' memory
// and the environment of functions, with whatever secrets they have.
const (
	Mode     fs.FileMode = 0o400 // a sealed file
	OpenMode fs.FileMode = 0o600 // a file that is written again
	DirMode  fs.FileMode = 0o700 // a directory

	others fs.FileMode = 0o077 // what group and others may do
)

// File is a file while it is written.
type File interface {
	io.Writer
	io.WriterAt
	Name() string
	Chmod(fs.FileMode) error
	Sync() error
	Close() error
}

// FS is what sealing needs of the file system; tests make it fail.
type FS struct {
	Create  func(dir string) (File, error) // a new file of a temporary name
	Rename  func(from, to string) error
	Link    func(from, to string) error // a further name of a file
	Remove  func(path string) error
	SyncDir func(dir string) error // makes the names in it durable
}

// OS is the file system of the operating system.
func OS() FS { return osWith(TempPrefix) }

// osWith is OS with temporary names that begin so.
func osWith(prefix string) FS {
	return FS{
		Create: func(dir string) (File, error) {
			f, err := os.CreateTemp(dir, prefix+"*"+TempSuffix)
			if err != nil {
				return nil, err // not a typed nil *os.File
			}
			return f, nil
		},
		Rename:  os.Rename,
		Link:    os.Link,
		Remove:  os.Remove,
		SyncDir: syncDir,
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Pending is a file on its way to being sealed: write, then Seal, then Publish.
// Discard, always safe to call, removes it unless it was published.
type Pending struct {
	File
	fs    *FS
	dir   string
	open  bool // for writing
	gone  bool // from its temporary name
	named bool
}

// New begins a file that will have a name in dir.
func (f *FS) New(dir string) (*Pending, error) {
	file, err := f.Create(dir)
	if err != nil {
		return nil, fmt.Errorf("create a file in %s: %w", dir, err)
	}
	return &Pending{File: file, fs: f, dir: dir, open: true}, nil
}

// Seal makes the content durable and the file unwritable, and closes it.
func (p *Pending) Seal() error {
	if err := p.Chmod(Mode); err != nil {
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

// Publish gives the sealed file its name, a path in its directory. If the directory
// cannot be synced the name is taken away again where it was new: an error means
// "not stored".
func (p *Pending) Publish(path string) error {
	_, err := os.Lstat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err := p.fs.Rename(p.Name(), path); err != nil {
		return fmt.Errorf("name %s: %w", path, err)
	}
	p.gone, p.named = true, true
	if err := p.fs.SyncDir(p.dir); err != nil {
		err = fmt.Errorf("sync directory %s after naming %s: %w", p.dir, filepath.Base(path), err)
		if isNew {
			if rmErr := p.fs.Remove(path); rmErr != nil {
				err = errors.Join(err, fmt.Errorf("take back %s: %w", path, rmErr))
			}
		}
		return err
	}
	return nil
}

// Named reports whether Publish has renamed the file: after an error of Publish the
// name may be there all the same.
func (p *Pending) Named() bool { return p.named }

// Discard gives the file up unless it was published.
func (p *Pending) Discard() {
	if p.open {
		p.open = false
		_ = p.Close() // the content is given up
	}
	if !p.gone {
		p.gone = true
		_ = p.fs.Remove(p.Name()) // a leftover is swept later
	}
}

// WriteFile stores content under path.
func (f *FS) WriteFile(path string, content []byte) error {
	p, err := f.New(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer p.Discard()
	if n, err := p.Write(content); err != nil {
		return fmt.Errorf("write %s: wrote %d of %d bytes: %w", path, n, len(content), err)
	}
	if err := p.Seal(); err != nil {
		return err
	}
	return p.Publish(path)
}

// Delete removes a file and makes that durable. The error matches fs.ErrNotExist if
// there is none.
func (f *FS) Delete(path string) error {
	if err := f.Remove(path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := f.SyncDir(dir); err != nil {
		return fmt.Errorf("sync directory %s after removing %s: %w", dir, filepath.Base(path), err)
	}
	return nil
}
