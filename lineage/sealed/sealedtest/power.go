package sealedtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"seuss/lineage/sealed"
)

// ErrPowerCut is what every call returns after the cut.
var ErrPowerCut = errors.New("power is cut")

// PowerCut models what POSIX leaves open at a power cut: content of a file that
// was not synced may be torn, a rename or removal in a directory that was not
// synced may not have happened. After so many calls every call fails; Lose then
// decides at random what of the open changes reached the disk.
type PowerCut struct {
	n, seen int
	r       *rand.Rand
	shadow  string
	dirty   map[string]bool   // files whose content is not synced
	pending map[string][]undo // by directory
}

// NewPowerCut cuts the power after n calls, and lets r decide what is lost. shadow is
// an empty directory of the file system that is to lose its power.
func NewPowerCut(n int, r *rand.Rand, shadow string) *PowerCut {
	return &PowerCut{n: n, r: r, shadow: shadow, dirty: map[string]bool{}, pending: map[string][]undo{}}
}

// undo is an unsynced change of a directory: path had what is linked at before,
// or nothing.
type undo struct{ path, before string }

func (p *PowerCut) step() error {
	p.seen++
	if p.seen > p.n {
		return ErrPowerCut
	}
	return nil
}

// note remembers what path is before it changes.
func (p *PowerCut) note(path string) {
	u := undo{path: path}
	if _, err := os.Lstat(path); err == nil {
		u.before = filepath.Join(p.shadow, fmt.Sprint(p.seen))
		if err := os.Link(path, u.before); err != nil {
			panic(err)
		}
	}
	dir := filepath.Dir(path)
	p.pending[dir] = append(p.pending[dir], u)
}

// Wrap returns the file system real as it is until the cut.
func (p *PowerCut) Wrap(real sealed.FS) sealed.FS {
	return sealed.FS{
		Create: func(dir string) (sealed.File, error) {
			if err := p.step(); err != nil {
				return nil, err
			}
			f, err := real.Create(dir)
			if err == nil {
				p.dirty[f.Name()] = true
			}
			return &powerFile{File: f, p: p}, err
		},
		Rename: func(from, to string) error {
			if err := p.step(); err != nil {
				return err
			}
			p.note(to)
			if err := real.Rename(from, to); err != nil {
				return err
			}
			if p.dirty[from] { // published before it was synced
				p.dirty[to] = true
			}
			delete(p.dirty, from)
			return nil
		},
		Link: func(from, to string) error {
			if err := p.step(); err != nil {
				return err
			}
			if _, err := os.Lstat(to); err == nil {
				return real.Link(from, to) // which says that it is there
			}
			p.note(to)
			return real.Link(from, to)
		},
		Remove: func(path string) error {
			if err := p.step(); err != nil {
				return err
			}
			p.note(path)
			return real.Remove(path)
		},
		SyncDir: func(dir string) error {
			if err := p.step(); err != nil {
				return err
			}
			delete(p.pending, dir)
			return real.SyncDir(dir)
		},
	}
}

type powerFile struct {
	sealed.File
	p *PowerCut
}

func (f *powerFile) Write(b []byte) (int, error) {
	if err := f.p.step(); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *powerFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.p.step(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f *powerFile) Sync() error {
	if err := f.p.step(); err != nil {
		return err
	}
	delete(f.p.dirty, f.Name())
	return f.File.Sync()
}

// Lose makes the directory what a machine finds after the cut.
func (p *PowerCut) Lose(t *testing.T) {
	for _, changes := range p.pending {
		// Of changes in order, those from some point on are lost.
		for i := len(changes) - 1; i >= p.r.IntN(len(changes)+1); i-- {
			u := changes[i]
			if err := os.RemoveAll(u.path); err != nil {
				t.Fatal(err)
			}
			if u.before != "" {
				if err := os.Link(u.before, u.path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for path := range p.dirty {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_ = os.Remove(path)
		switch p.r.IntN(3) {
		case 0:
			b = b[:p.r.IntN(len(b)+1)]
		case 1:
			clear(b[p.r.IntN(len(b)+1):])
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
