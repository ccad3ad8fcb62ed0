package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

var errPowerCut = errors.New("power is cut")

// powerFS models what POSIX leaves open at a power cut: content of a file that
// was not synced may be torn, a rename or removal in a directory that was not
// synced may not have happened. After the n-th call every call fails; lose then
// decides at random what of the open changes reached the disk.
type powerFS struct {
	n, seen int
	r       *rand.Rand
	shadow  string
	dirty   map[string]bool   // files whose content is not synced
	pending map[string][]undo // by directory
}

// undo is an unsynced change of a directory: path had what is linked at before,
// or nothing.
type undo struct{ path, before string }

func (p *powerFS) step() error {
	p.seen++
	if p.seen > p.n {
		return errPowerCut
	}
	return nil
}

// note remembers what path is before it changes.
func (p *powerFS) note(path string) {
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

func (p *powerFS) wrap(real sealFS) sealFS {
	return sealFS{
		create: func(dir string) (sealFile, error) {
			if err := p.step(); err != nil {
				return nil, err
			}
			f, err := real.create(dir)
			if err == nil {
				p.dirty[f.Name()] = true
			}
			return &powerFile{f, p}, err
		},
		rename: func(from, to string) error {
			if err := p.step(); err != nil {
				return err
			}
			p.note(to)
			if err := real.rename(from, to); err != nil {
				return err
			}
			if p.dirty[from] { // published before it was synced
				p.dirty[to] = true
			}
			delete(p.dirty, from)
			return nil
		},
		link: func(from, to string) error {
			if err := p.step(); err != nil {
				return err
			}
			if _, err := os.Lstat(to); err == nil {
				return real.link(from, to) // which says that it is there
			}
			p.note(to)
			return real.link(from, to)
		},
		remove: func(path string) error {
			if err := p.step(); err != nil {
				return err
			}
			p.note(path)
			return real.remove(path)
		},
		syncDir: func(dir string) error {
			if err := p.step(); err != nil {
				return err
			}
			delete(p.pending, dir)
			return real.syncDir(dir)
		},
	}
}

type powerFile struct {
	sealFile
	p *powerFS
}

func (f *powerFile) Write(b []byte) (int, error) {
	if err := f.p.step(); err != nil {
		return 0, err
	}
	return f.sealFile.Write(b)
}

func (f *powerFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.p.step(); err != nil {
		return 0, err
	}
	return f.sealFile.WriteAt(b, off)
}

func (f *powerFile) Sync() error {
	if err := f.p.step(); err != nil {
		return err
	}
	delete(f.p.dirty, f.Name())
	return f.sealFile.Sync()
}

// lose makes the directory what a machine finds after the cut.
func (p *powerFS) lose(t *testing.T) {
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

// Power is cut after every call of a history, several times each: everything
// whose method had returned is there, whatever else is there is whole.
func TestPowerCut(t *testing.T) {
	tries, most := 3, 0
	if testing.Short() {
		tries = 1
	}
	for cut, done := 0, false; !done; cut++ {
		for try := range tries {
			dir := memoryDir(t)
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			image := addTestImage(t, s)
			p := &powerFS{n: cut, r: rand.New(rand.NewPCG(uint64(cut), uint64(try))), shadow: memoryDir(t), dirty: map[string]bool{}, pending: map[string][]undo{}}
			s.fs = p.wrap(osSealFS())
			have, maybe := map[string][]byte{}, map[string]bool{}
			done = powerHistory(s, image, have, maybe)
			p.lose(t)
			s.lock.Close() // the process is gone, and with it its lock
			again, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := again.Damaged(); len(d) > 0 {
				t.Fatalf("cut after %d calls: %v", cut, d)
			}
			for id, mem := range have {
				n, err := again.Load(id)
				if err != nil {
					if maybe[id] {
						continue
					}
					t.Fatalf("cut after %d calls: %v", cut, err)
				}
				checkView(t, n.View(), mem)
			}
			if faults, err := again.Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
				t.Fatalf("cut after %d calls: %v, %v", cut, faults, err)
			}
			named := 0
			for _, n := range again.List() {
				named += len(n.file.Load().links)
			}
			if got := links(t, again); got != named {
				t.Fatalf("cut after %d calls: %d links, nodes name %d", cut, got, named)
			}
			most = max(most, named)
			if functions, err := again.ListFunctions(); err != nil {
				t.Fatal(err)
			} else if len(functions) == 1 {
				if _, err := again.FunctionCode(functions[0]); err != nil {
					t.Fatal(err)
				}
			}
			again.Close()
		}
		if cut > 400 {
			t.Fatal("the history does not end")
		}
	}
	if most < 2 {
		t.Errorf("never more than %d links", most)
	}
}

// powerHistory captures, re-forms, removes and deploys, and reports whether it
// came to its end. have is what its finished captures stored, maybe those of them
// whose removal had begun.
func powerHistory(s *Store, image *Node, have map[string][]byte, maybe map[string]bool) bool {
	r := rand.New(rand.NewPCG(3, 3))
	parent := image
	view := image.View()
	var last *Node
	for i, kind := range []Kind{KindBase, KindFunction, KindArgument} {
		g := newGuest(testGuestPages)
		g.reset(view)
		g.scribble(r, 30)
		n, err := s.Capture(NodeSpec{Kind: kind, State: []byte{byte(i)}}, parent, g.dirty, g.page)
		if err != nil {
			return false
		}
		have[n.ID] = bytes.Clone(g.mem)
		parent, view, last = n, n.View(), n
	}
	// Siblings with the same pages; the file that these lie in goes, and one is written anew.
	var siblings []*Node
	for i := range uint64(3) {
		g := newGuest(testGuestPages)
		g.reset(image.View())
		for p := range uint64(40) {
			g.fill(100+p, 1+p)
		}
		g.fill(500, 1000+i)
		n, err := s.Capture(NodeSpec{Kind: KindImport}, image, g.dirty, g.page)
		if err != nil {
			return false
		}
		have[n.ID] = bytes.Clone(g.mem)
		siblings = append(siblings, n)
	}
	if _, _, err := s.Reform(siblings[2].ID, FormDifferences); err != nil {
		return false
	}
	if _, _, err := s.Reform(siblings[2].ID, FormPages); err != nil {
		return false
	}
	maybe[siblings[0].ID] = true
	if err := s.Remove(siblings[0].ID, false); err != nil {
		return false
	}
	delete(have, siblings[0].ID)
	if _, err := s.PutFunction(Function{Name: "f", Handler: "h"}, []byte("code")); err != nil {
		return false
	}
	if _, _, err := s.Reform(last.ID, FormPages); err != nil {
		return false
	}
	maybe[last.ID] = true
	if err := s.Remove(last.ID, false); err != nil {
		return false
	}
	delete(have, last.ID)
	_, err := s.PutFunction(Function{Name: "f", Handler: "h"}, []byte("other code"))
	return err == nil
}
