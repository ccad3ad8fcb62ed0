package sealedtest

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"seuss/lineage/sealed"
)

// FailAt makes the N-th operation of the sealing file system fail, counting from
// zero, and every one after it if Forever is set.
type FailAt struct {
	N       int
	Err     error
	Forever bool
	Die     bool // kill this process instead
	Seen    int  // operations so far
}

func (f *FailAt) step() error {
	f.Seen++
	if f.Seen-1 == f.N && f.Die {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // until the signal arrives
	}
	if f.Seen-1 == f.N || f.Forever && f.Seen-1 > f.N {
		return f.Err
	}
	return nil
}

// Wrap returns a file system that does as real does, but for what fails.
func (f *FailAt) Wrap(real sealed.FS) sealed.FS {
	return sealed.FS{
		Create: func(dir string) (sealed.File, error) {
			if err := f.step(); err != nil {
				return nil, err
			}
			file, err := real.Create(dir)
			return &failFile{File: file, f: f}, err
		},
		Rename: func(from, to string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.Rename(from, to)
		},
		Link: func(from, to string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.Link(from, to)
		},
		Remove: func(path string) error {
			if f.Die { // a failed removal has tests of its own
				_ = f.step()
			}
			return real.Remove(path)
		},
		SyncDir: func(dir string) error {
			if err := f.step(); err != nil {
				return err
			}
			return real.SyncDir(dir)
		},
	}
}

type failFile struct {
	sealed.File
	f *FailAt
}

func (w *failFile) Write(b []byte) (int, error) {
	if w.f.Die && w.f.Seen == w.f.N {
		_, _ = w.File.Write(b[:len(b)/2]) // a torn write
	}
	if err := w.f.step(); err != nil {
		n, _ := w.File.Write(b[:len(b)/2]) // a torn write
		return n, err
	}
	return w.File.Write(b)
}

func (w *failFile) WriteAt(b []byte, off int64) (int, error) {
	if err := w.f.step(); err != nil {
		return 0, err
	}
	return w.File.WriteAt(b, off)
}

func (w *failFile) Chmod(mode fs.FileMode) error {
	if err := w.f.step(); err != nil {
		return err
	}
	return w.File.Chmod(mode)
}

func (w *failFile) Sync() error {
	if err := w.f.step(); err != nil {
		return err
	}
	return w.File.Sync()
}

func (w *failFile) Close() error {
	err := w.File.Close()
	return errors.Join(w.f.step(), err)
}
