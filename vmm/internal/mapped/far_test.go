package mapped

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/vmm/internal/demand"
	"seuss/vmm/internal/x86"
	"seuss/vmm/platform"
)

const farPage = guest.FarBase / pageSize

func newMemory(t testing.TB, bytes uint64) *Memory {
	t.Helper()
	m, err := New(bytes, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// randomFar returns what may be mapped in a small part of the window, and the same
// page by page.
func randomFar(r *rand.Rand, pages uint64) (ranges []platform.FarRange, by map[uint64]uint64) {
	by = map[uint64]uint64{}
	const around = farPage + 1<<18 - 600 // where tables of two levels end
	for at := uint64(around); at < around+1200; at += r.Uint64N(50) {
		x := platform.FarRange{First: at, RAM: 600 + r.Uint64N(3)*300 + at%300, Count: 1 + r.Uint64N(40)}
		if r.IntN(3) == 0 {
			x.RAM = 600 + r.Uint64N(pages-1000)
		}
		for n := range x.Count {
			by[x.First+n] = x.RAM + n
		}
		ranges = append(ranges, x)
		at += x.Count
	}
	return ranges, by
}

func finish(t *testing.T, m *Memory) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = m.FarStep(); err != nil {
			t.Fatal(err)
		}
	}
}

// slots stands in for KVM: what KVM keeps of the way to a table must stay right.
type slots struct {
	t              *testing.T
	mem            []byte
	shown, renewed int
	ways           map[uint64]uint64 // by level and address, which table serves it
	writable       bool
	shared         map[int]sharedSlot // nil: there was none
	readOnly       bool               // the last entry that walk found
}

func (s *slots) MapTables(mem []byte, gpa guest.GPA) (bool, error) {
	if gpa != guest.FarTablesGPA || len(mem) != guest.FarTablesBytes {
		s.t.Errorf("tables of %d bytes at %#x", len(mem), gpa)
	}
	s.mem, s.ways = mem, map[uint64]uint64{}
	s.shown++
	return s.writable, nil
}

func (s *slots) UnmapTables() error {
	s.mem = nil
	s.renewed++
	return nil
}

func (s *slots) Forget() error { return nil }

func (s *slots) MapShared(n int, mem []byte, gpa guest.GPA, writable bool) error {
	if s.shared == nil {
		s.shared = map[int]sharedSlot{}
	}
	if _, has := s.shared[n]; has {
		s.t.Errorf("slot %d is mapped twice", n)
	}
	s.shared[n] = sharedSlot{mem, uint64(gpa), writable}
	return nil
}

func (s *slots) UnmapShared(n int) error {
	if _, has := s.shared[n]; !has {
		s.t.Errorf("slot %d is unmapped and was not mapped", n)
	}
	delete(s.shared, n)
	return nil
}

// walk finds what a processor finds at a page of the window.
func (s *slots) walk(page uint64) (ram uint64, ok bool) {
	entry := platform.FarEntry(platform.FarRoot(page)) // as the top table in memory is to have it
	for _, shift := range []int{18, 9, 0} {
		if entry&x86.EntryPresent == 0 {
			return 0, false
		}
		table := entry&x86.EntryAddress - guest.FarTablesGPA
		key := page>>(shift+9)<<2 | uint64(shift/9)
		if way, known := s.ways[key]; known && way != table {
			s.t.Errorf("the table of page %#x at shift %d is another than before", page, shift)
		}
		s.ways[key] = table
		entry = binary.LittleEndian.Uint64(s.mem[table+page>>shift%x86.TableEntries*8:])
	}
	if entry&x86.EntryPresent == 0 {
		return 0, false
	}
	if s.readOnly = entry&x86.EntryWritable == 0; entry&(pageSize-1)|x86.EntryWritable != x86.PageEntry || s.readOnly && s.shared == nil {
		s.t.Errorf("entry of page %#x is %#x", page, entry)
	}
	return entry & x86.EntryAddress / pageSize, true
}

// TestFarTables: the tables say what is mapped, whatever was before, and content stays.
func TestFarTables(t *testing.T) {
	t.Run("read only", func(t *testing.T) { testFarTables(t, false) })
	t.Run("writable", func(t *testing.T) { testFarTables(t, true) })
}

func testFarTables(t *testing.T, writable bool) {
	m := newMemory(t, 16<<20)
	s := &slots{t: t, writable: writable}
	m.SetSlots(s)
	marked := bytes.Repeat([]byte{9}, pageSize)
	copy(m.Bytes()[700*pageSize:], marked)
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 60 {
		ranges, by := randomFar(r, 16<<20/pageSize)
		if round%10 == 9 {
			ranges, by = nil, nil
		}
		fresh := r.IntN(2) == 0
		if s.writable && fresh { // whatever the guest has made of them
			for i := range s.mem[:min(len(s.mem), 256*pageSize)] { // more tables than are in use
				s.mem[i] = 0x67
			}
			clear(s.ways)
		}
		if err := m.MapFar(ranges, fresh); err != nil {
			t.Fatal(err)
		}
		if r.IntN(3) == 0 { // it is another list's turn before all of this is done
			for range r.IntN(20) {
				if _, err := m.FarStep(); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		finish(t, m)
		for page := uint64(farPage + 1<<18 - 700); page < farPage+1<<18+800; page++ {
			got, ok := s.walk(page)
			if want, mapped := by[page]; ok != mapped || got != want {
				t.Fatalf("round %d: page %#x shows %d (%v), want %d (%v)", round, page, got, ok, want, mapped)
			}
		}
	}
	if s.shown != 1 || !bytes.Equal(m.Page(700), marked) {
		t.Errorf("tables were shown %d times; content is kept: %v", s.shown, bytes.Equal(m.Page(700), marked))
	}
}

// TestFarTablesRunOut: addresses all over the window are served, if by starting over.
func TestFarTablesRunOut(t *testing.T) {
	b := newMemory(t, 16<<20)
	s := &slots{t: t}
	b.SetSlots(s)
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 24 {
		var ranges []platform.FarRange
		for n := range uint64(guest.FarMax) {
			ranges = append(ranges, platform.FarRange{First: farPage + n*(guest.FarBytes/pageSize/guest.FarMax) + r.Uint64N(1<<20) + 511, RAM: 600 + n, Count: 2})
		}
		if err := b.MapFar(ranges, false); err != nil {
			t.Fatal(err)
		}
		finish(t, b)
		for _, x := range ranges {
			if got, ok := s.walk(x.First + 1); !ok || got != x.RAM+1 {
				t.Fatalf("round %d: page %#x shows %d (%v), want %d", round, x.First+1, got, ok, x.RAM+1)
			}
		}
	}
	if s.renewed == 0 {
		t.Error("the tables never ran out")
	}
}

// TestFarStepsAreBounded: however long a list is, one step makes or takes away so many
// entries and no more.
func TestFarStepsAreBounded(t *testing.T) {
	const pages = 1 << 18 // 1 GiB
	m := newMemory(t, pages*pageSize)
	s := &slots{t: t}
	m.SetSlots(s)
	count := func() (n uint64) {
		for page := uint64(farPage); page < farPage+pages; page += 256 { // a sample
			if _, ok := s.walk(page); ok {
				n += 256
			}
		}
		return n
	}
	for _, c := range []struct {
		list []platform.FarRange
		want uint64
		unit uint64
	}{{[]platform.FarRange{{First: farPage, RAM: 0, Count: pages}}, pages, addedUnit}, {nil, 0, goneUnit}} {
		if err := m.MapFar(c.list, false); err != nil {
			t.Fatal(err)
		}
		before, steps := count(), 0
		for more := true; more; steps++ {
			var err error
			if more, err = m.FarStep(); err != nil {
				t.Fatal(err)
			}
			if steps%64 == 0 || !more {
				now := count()
				if most := 64 * c.unit; max(now, before)-min(now, before) > most {
					t.Fatalf("%d entries, %d at most 64 steps before", now, before)
				}
				before = now
			}
		}
		if before != c.want || uint64(steps) < pages/c.unit {
			t.Errorf("%d entries after %d steps, want %d", before, steps, c.want)
		}
	}
}

// TestSmallPages: memory of ordinary pages only says so to the kernel, also where zeros are
// mapped anew.
func TestSmallPages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("skipped where the kernel has no huge pages to give:", err)
	}
	m, err := New(4<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.MapZero(512, 16); err != nil {
		t.Fatal(err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("%x-", demand.AddressOf(m.mem))
	_, rest, found := strings.Cut(string(smaps), "\n"+at)
	_, flags, _ := strings.Cut(rest, "VmFlags:")
	flags, _, _ = strings.Cut(flags, "\n")
	if end := fmt.Sprintf("%x ", demand.AddressOf(m.mem)+uint64(len(m.mem))); !found || !strings.HasPrefix(rest, end) || !strings.Contains(flags, " nh") {
		t.Errorf("%.60q, flags %s: not one mapping without huge pages", rest, flags)
	}
}
