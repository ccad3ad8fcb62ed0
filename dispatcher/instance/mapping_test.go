package instance

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// mappingsIn counts the mappings of this process that show a stretch of memory.
func mappingsIn(t *testing.T, mem []byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	start := addressOf(mem)
	for line := range strings.Lines(string(maps)) {
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		lo, err1 := strconv.ParseUint(from, 16, 64)
		hi, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q", line)
		}
		if lo < start+uint64(len(mem)) && hi > start {
			n++
		}
	}
	return n
}

// stingy spares nothing.
type stingy struct{}

func (stingy) Take() error           { return nil }
func (stingy) Give()                 {}
func (stingy) TakeMappings(int) bool { return false }
func (stingy) GiveMappings(int)      {}

// TestMachineMappings: memory in this process that goes from snapshot to snapshot takes no
// more mappings than a machine may in any case, however many runs the snapshots have, and
// shows each of them.
func TestMachineMappings(t *testing.T) {
	b := newLawBench(t, vmmtest.Require(t))
	mem, err := vmm.NewMemory(b.img.MemoryBytes, b.img.ImageBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	p, err := newMemoryPlan(b.host, mem, stingy{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.tracker.Close()
	first := b.nodes["function A"]
	l, err := b.host.layout(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.lay(l, true); err != nil {
		t.Fatal(err)
	}
	if l.View != b.nodes["base"].View {
		t.Error("a function is laid as something else than its base")
	}
	check := func(when string) {
		t.Helper()
		n := mappingsIn(t, mem.Bytes())
		if n > mem.Mappings() || mem.Mappings() > MachineMappings {
			t.Errorf("%s: %d mappings, counted as %d; a machine may have %d", when, n, mem.Mappings(), MachineMappings)
		}
	}
	check("new")
	for round := range 3 {
		for _, name := range b.order {
			view := b.nodes[name].View
			runs := 0
			for range view.Runs(0, view.Pages()) {
				runs++
			}
			if err := p.collect(true); err != nil {
				t.Fatal(err)
			}
			p.snapshot = b.nodes[name]
			moved, err := p.deploy(view)
			if err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				t.Logf("%s: %d runs, %d mappings, %d pages copied, %d mapped", name, runs, mappingsIn(t, mem.Bytes()), moved.Copied, moved.Mapped)
			}
			check(name)
			for range learnResets {
				if err := p.collect(true); err != nil {
					t.Fatal(err)
				}
				if _, err := p.deploy(view); err != nil {
					t.Fatal(err)
				}
			}
			check(name + ", cold pages given back")
			if round == 1 {
				continue
			}
			for page := range view.Pages() {
				want := view.Bytes(page)
				if want == nil {
					want = guest.ZeroPage[:]
				}
				if !bytes.Equal(mem.Page(page), want) {
					t.Fatalf("%s: page %#x is another one", name, page)
				}
			}
		}
	}
}

// TestNoRoomForLayouts: where copies of stretches may take no more memory, machines map
// what is long and copy the rest for themselves.
func TestNoRoomForLayouts(t *testing.T) {
	b := newLawBench(t, vmmtest.Require(t))
	s := b.nodes["function A"]
	mem, err := vmm.NewMemory(b.img.MemoryBytes, b.img.ImageBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	p, err := newMemoryPlan(b.host, mem, stingy{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.tracker.Close()
	none, err := lineage.Lay(lineage.NewView(s.View.Pages()), layoutPieces)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.lay(none, true); err != nil {
		t.Fatal(err)
	}
	if _, err := p.deploy(s.View); err != nil {
		t.Fatal(err)
	}
	if n := mappingsIn(t, mem.Bytes()); n > MachineMappings {
		t.Errorf("%d mappings", n)
	}
	for page := range s.View.Pages() {
		if want := s.View.Bytes(page); want != nil && !bytes.Equal(mem.Page(page), want) {
			t.Fatalf("page %#x is another one", page)
		}
	}
}
