package lineage

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"seuss/lineage/nodefile"
	"seuss/lineage/sealed"
	"seuss/lineage/sealed/sealedtest"
)

// Power is cut after every call of a history, several times each: everything
// whose method had returned is there, whatever else is there is whole.
func TestPowerCut(t *testing.T) {
	tries, most := 3, 0
	if testing.Short() {
		tries = 1
	}
	for cut, done := 0, false; !done; cut++ {
		for try := range tries {
			dir := sealedtest.MemoryDir(t)
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			image := addTestImage(t, s)
			p := sealedtest.NewPowerCut(cut, rand.New(rand.NewPCG(uint64(cut), uint64(try))), sealedtest.MemoryDir(t))
			s.fs = p.Wrap(sealed.OS())
			have, maybe := map[string][]byte{}, map[string]bool{}
			done = powerHistory(s, image, have, maybe)
			p.Lose(t)
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
			if faults, err := (Inspection{again}).Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
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

// powerHistory captures, re-forms and removes, and reports whether it came to its end. have is what its finished captures stored, maybe those of them
// whose removal had begun.
func powerHistory(s *Store, image *Node, have map[string][]byte, maybe map[string]bool) bool {
	r := rand.New(rand.NewPCG(3, 3))
	parent := image
	view := image.View()
	var last *Node
	for i, kind := range []nodefile.Kind{nodefile.KindBase, nodefile.KindFunction, nodefile.KindArgument} {
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
		n, err := s.Capture(NodeSpec{Kind: nodefile.KindImport}, image, g.dirty, g.page)
		if err != nil {
			return false
		}
		have[n.ID] = bytes.Clone(g.mem)
		siblings = append(siblings, n)
	}
	if _, _, err := s.Reform(siblings[2].ID, nodefile.FormDifferences); err != nil {
		return false
	}
	if _, _, err := s.Reform(siblings[2].ID, nodefile.FormPages); err != nil {
		return false
	}
	maybe[siblings[0].ID] = true
	if err := s.Remove(siblings[0].ID, false); err != nil {
		return false
	}
	delete(have, siblings[0].ID)
	if _, _, err := s.Reform(last.ID, nodefile.FormPages); err != nil {
		return false
	}
	maybe[last.ID] = true
	if err := s.Remove(last.ID, false); err != nil {
		return false
	}
	delete(have, last.ID)
	return true
}
