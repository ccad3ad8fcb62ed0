package mapped

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"seuss/guest"
	"seuss/vmm/platform"
)

// sharedSlot is memory that a guest shares with others.
type sharedSlot struct {
	mem      []byte
	gpa      uint64
	writable bool
}

// reach returns the first word of a page of the window that is shared.
func (s *slots) reach(page uint64) (word uint64, writable, ok bool) {
	at, ok := s.walk(page)
	at *= pageSize
	for _, x := range s.shared {
		if ok && at >= x.gpa && at < x.gpa+uint64(len(x.mem)) {
			return binary.LittleEndian.Uint64(x.mem[at-x.gpa:]), x.writable && !s.readOnly, true
		}
	}
	return 0, false, false
}

// TestSharedLeavesInSteps: what is shared is out of the guest's reach at once, and unmapped
// bit by bit, however large it is.
func TestSharedLeavesInSteps(t *testing.T) {
	const size = 64 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	m := newMemory(t, 16<<20)
	s := &slots{t: t}
	m.SetSlots(s)
	whole := []platform.FarRange{{First: guest.RegionBase / pageSize, Count: size / pageSize, Of: &platform.Shared{File: f}}}
	if err := m.MapFar(whole, false); err != nil {
		t.Fatal(err)
	}
	finish(t, m)
	if err := m.MapFar(nil, false); err != nil {
		t.Fatal(err)
	}
	steps, left := 0, uint64(size)
	for more := true; more; steps++ {
		if more, err = m.FarStep(); err != nil {
			t.Fatal(err)
		}
		if len(s.shared) != 0 {
			t.Fatal("the guest reaches it after the first step")
		}
		now := uint64(0)
		for _, mem := range m.far.leaving {
			now += uint64(len(mem))
		}
		if steps > 0 && left-now > leaveUnit {
			t.Errorf("step %d unmaps %d bytes", steps, left-now)
		}
		left = now
	}
	if steps < size/leaveUnit {
		t.Errorf("it took %d steps", steps)
	}
}

// TestSharedSlots: whatever lists follow one another, a guest reaches the pages of shared
// files that the list says, with the rights that it says, and no others, by its tables or by
// addresses that it makes up; another instance reaches nothing.
func TestSharedSlots(t *testing.T) {
	for _, writable := range []bool{false, true} {
		t.Run(fmt.Sprint("tables of the guest's: ", writable), func(t *testing.T) { testSharedSlots(t, writable) })
	}
}

func testSharedSlots(t *testing.T, writable bool) {
	const filePages, window = 1500, guest.RegionBase / pageSize
	var files []*platform.Shared
	for n := range uint64(3) {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(filePages * pageSize); err != nil {
			t.Fatal(err)
		}
		for page := range uint64(filePages) {
			if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, n<<32|page), int64(page*pageSize)); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, &platform.Shared{File: f, Writable: n != 0})
	}
	m := newMemory(t, 16<<20)
	s := &slots{t: t, writable: writable}
	m.SetSlots(s)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		ranges, _ := randomFar(r, 16<<20/pageSize)
		ranges = ranges[:min(len(ranges), 5)]
		want, shared := map[uint64]platform.FarRange{}, 0
		for at := uint64(window); r.IntN(8) != 0 && shared < 9; at += r.Uint64N(3000) {
			x := platform.FarRange{First: at, RAM: r.Uint64N(filePages - 1), Of: files[r.IntN(3)]}
			x.Count = 1 + r.Uint64N(filePages-x.RAM)
			for k := range x.Count {
				want[at+k] = x
			}
			ranges = append(ranges, x)
			at += x.Count
			shared++
		}
		fresh := r.IntN(3) == 0
		if fresh {
			if err := m.MapFar(nil, true); err != nil {
				t.Fatal(err)
			}
			finish(t, m)
			if len(s.shared) != 0 {
				t.Fatalf("round %d: another instance has %d slots", round, len(s.shared))
			}
			clear(s.ways)
		}
		if err := m.MapFar(ranges, false); err != nil {
			t.Fatal(err)
		}
		finish(t, m)
		if len(s.shared) != shared {
			t.Fatalf("round %d: %d slots, want %d", round, len(s.shared), shared)
		}
		for page := uint64(window); page < window+20000; page += 1 + r.Uint64N(7) {
			word, write, ok := s.reach(page)
			x, mapped := want[page]
			if ok != mapped {
				t.Fatalf("round %d: page %#x is reached: %v, want %v", round, page, ok, mapped)
			}
			if mapped && (files[word>>32] != x.Of || uint64(uint32(word)) != x.RAM+page-x.First || write != x.Of.Writable) {
				t.Fatalf("round %d: page %#x shows %#x (writable %v), want page %d of another file", round, page, word, write, x.RAM+page-x.First)
			}
		}
	}
}
