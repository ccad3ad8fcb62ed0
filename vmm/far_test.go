package vmm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"seuss/guest"
)

const farPage = guest.FarBase / pageSize

// farList writes a list of far mappings into a memory's page 100, as a guest does.
func farList(t testing.TB, m *Memory, count uint32, ranges ...guest.Far) {
	t.Helper()
	const at = 100*pageSize - 8 // an entry reaches over the end of a page
	control := make([]byte, guest.ControlSize)
	binary.LittleEndian.PutUint64(control[guest.ControlFarGPA:], at)
	binary.LittleEndian.PutUint32(control[guest.ControlFarCount:], count)
	binary.LittleEndian.PutUint32(control[guest.ControlFarUsed:], 1)
	if err := m.Write(guest.ControlGPA, control); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteStruct(at, ranges); err != nil {
		t.Fatal(err)
	}
}

func farIn(m *Memory) []FarRange {
	return slices.Collect(FarIn(m.Page(guest.ControlGPA/pageSize), m.Pages(), m.Page))
}

// TestFarInHostileList: a forged list is followed as far as it makes sense.
func TestFarInHostileList(t *testing.T) {
	m := newTestMemory(t, guest.ProgramGPA, 0)
	const ram = 512
	good := guest.Far{First: farPage + 7, RAM: ram, Count: 3, Open: 1}
	want := FarRange{farPage + 7, ram, 3}
	for name, bad := range map[string]guest.Far{
		"below the window":    {First: farPage - 1, RAM: ram, Count: 1, Open: 1},
		"in memory":           {First: ram, RAM: ram, Count: 1, Open: 1},
		"above the window":    {First: farPage + guest.FarBytes/pageSize, RAM: ram, Count: 1, Open: 1},
		"over the end":        {First: farPage + guest.FarBytes/pageSize - 1, RAM: ram, Count: 2, Open: 1},
		"wraps":               {First: ^uint64(0), RAM: ram, Count: 2, Open: 1},
		"overlaps":            {First: farPage + 9, RAM: ram, Count: 1, Open: 1},
		"backwards":           {First: farPage, RAM: ram, Count: 1, Open: 1},
		"nothing":             {First: farPage + 20, RAM: ram, Open: 1},
		"low memory":          {First: farPage + 20, RAM: guest.LowGPA/pageSize - 1, Count: 1, Open: 1},
		"no memory":           {First: farPage + 20, RAM: m.Pages(), Count: 1, Open: 1},
		"over memory":         {First: farPage + 20, RAM: m.Pages() - 1, Count: 2, Open: 1},
		"memory wraps":        {First: farPage + 20, RAM: ^uint64(0), Count: 2, Open: 1},
		"more than there are": {First: farPage + 20, RAM: ram, Count: uint32(m.Pages()) - 2, Open: 1},
	} {
		farList(t, m, 3, good, bad, guest.Far{First: farPage + 5000, RAM: ram, Count: 1, Open: 1})
		if got := farIn(m); !slices.Equal(got, []FarRange{want}) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	farList(t, m, 2, guest.Far{First: farPage, RAM: ram, Count: 3}, good) // the first is closed
	if got := farIn(m); !slices.Equal(got, []FarRange{want}) {
		t.Errorf("beside a closed range: %v", got)
	}
	farList(t, m, ^uint32(0), good)
	if got := farIn(m); !slices.Equal(got, []FarRange{want}) {
		t.Errorf("endless list: %v", got)
	}
	for _, at := range []uint64{0, guest.LowGPA - 1, m.Pages()*pageSize - 8, m.Pages() * pageSize, ^uint64(0)} {
		if err := m.WriteU64(guest.ControlGPA+guest.ControlFarGPA, at); err != nil {
			t.Fatal(err)
		}
		if got := farIn(m); len(got) > 0 {
			t.Errorf("list at %#x: %v", at, got)
		}
	}
}

// FuzzFarIn: whatever is in memory, ranges are in order, in the window and in memory,
// and no more pages than that has.
func FuzzFarIn(f *testing.F) {
	f.Add(uint32(2), []byte("a list"))
	f.Fuzz(func(t *testing.T, count uint32, list []byte) {
		const pages = 64
		memory := make([]byte, pages*pageSize)
		control := memory[guest.ControlGPA:]
		binary.LittleEndian.PutUint64(control[guest.ControlFarGPA:], 40*pageSize+8)
		binary.LittleEndian.PutUint32(control[guest.ControlFarCount:], count)
		copy(memory[40*pageSize+8:], list)
		behind, left := uint64(farPage), uint64(pages)
		for r := range FarIn(control, pages, func(n uint64) []byte { return memory[n*pageSize : (n+1)*pageSize] }) {
			if r.First < behind || r.Count == 0 || r.Count > left || r.First+r.Count > (guest.FarBase+guest.FarBytes)/pageSize || r.RAM+r.Count > pages {
				t.Fatalf("%+v behind %#x, %d pages left", r, behind, left)
			}
			behind, left = r.First+r.Count, left-r.Count
		}
	})
}

// randomFar returns what may be mapped in a small part of the window, and the same
// page by page.
func randomFar(r *rand.Rand, pages uint64) (ranges []FarRange, by map[uint64]uint64) {
	by = map[uint64]uint64{}
	const around = farPage + 1<<18 - 600 // where tables of two levels end
	for at := uint64(around); at < around+1200; at += r.Uint64N(50) {
		x := FarRange{First: at, RAM: 600 + r.Uint64N(3)*300 + at%300, Count: 1 + r.Uint64N(40)}
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

func TestFarWithout(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, inA := randomFar(r, 4096)
		b, inB := randomFar(r, 4096)
		if r.IntN(4) == 0 {
			b, inB = a, inA
		}
		left := map[uint64]uint64{}
		for x := range FarWithout(a, b) {
			for n := range x.Count {
				left[x.First+n] = x.RAM + n
			}
		}
		for page, ram := range inA {
			other, both := inB[page]
			if got, ok := left[page]; ok == (both && other == ram) || ok && got != ram {
				t.Fatalf("page %#x is %d of %d, in b %d: %v %v", page, got, ram, other, a, b)
			}
			delete(left, page)
		}
		if len(left) > 0 {
			t.Fatalf("%v are not in %v", left, a)
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
}

func (s *slots) MapTables(mem []byte, gpa GPA) (bool, error) {
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

// walk finds what a processor finds at a page of the window, by the PML4 in memory.
func (s *slots) walk(m *Memory, page uint64) (ram uint64, ok bool) {
	entry := le64(m.Page(guest.PML4GPA / pageSize)[page>>27*8:])
	for _, shift := range []int{18, 9, 0} {
		if entry&ptePresent == 0 {
			return 0, false
		}
		table := entry&pteAddress - guest.FarTablesGPA
		key := page>>(shift+9)<<2 | uint64(shift/9)
		if way, known := s.ways[key]; known && way != table {
			s.t.Errorf("the table of page %#x at shift %d is another than before", page, shift)
		}
		s.ways[key] = table
		entry = le64(s.mem[table+page>>shift%pteCount*8:])
	}
	if entry&ptePresent == 0 {
		return 0, false
	}
	if entry&(pageSize-1) != ptePage {
		s.t.Errorf("entry of page %#x is %#x", page, entry)
	}
	return entry & pteAddress / pageSize, true
}

// TestFarTables: the tables say what is mapped, whatever was before, and content stays.
func TestFarTables(t *testing.T) {
	t.Run("read only", func(t *testing.T) { testFarTables(t, false) })
	t.Run("writable", func(t *testing.T) { testFarTables(t, true) })
}

func testFarTables(t *testing.T, writable bool) {
	m := newTestMemory(t, 16<<20, 0)
	s := &slots{t: t, writable: writable}
	m.backing.(*PrivateBacking).SetSlots(s)
	marked := bytes.Repeat([]byte{9}, pageSize)
	if err := m.Write(700*pageSize, marked); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 60 {
		ranges, by := randomFar(r, m.Pages())
		if round%10 == 9 {
			ranges, by = nil, nil
		}
		var list []guest.Far
		for _, x := range ranges {
			list = append(list, guest.Far{First: x.First, RAM: x.RAM, Count: uint32(x.Count), Open: 1})
		}
		if farList(t, m, uint32(len(list)), list...); len(farIn(m)) != len(list) {
			t.Fatal("the list is not followed")
		}
		m.HostWritten().Clear()
		fresh := r.IntN(2) == 0
		if s.writable && fresh { // whatever the guest has made of them
			for i := range s.mem {
				s.mem[i] = 0x67
			}
			clear(s.ways)
		}
		if err := m.mapFar(m.Page(guest.ControlGPA/pageSize), fresh); err != nil {
			t.Fatal(err)
		}
		if round == 0 != m.HostWritten().Has(guest.PML4GPA/pageSize) {
			t.Errorf("round %d: the PML4 was written: %v", round, round != 0)
		}
		for page := uint64(farPage + 1<<18 - 700); page < farPage+1<<18+800; page++ {
			got, ok := s.walk(m, page)
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
	m := newTestMemory(t, 16<<20, 0)
	s := &slots{t: t}
	b := m.backing.(*PrivateBacking)
	b.SetSlots(s)
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 12 {
		var ranges []FarRange
		for n := range uint64(guest.FarMax) {
			ranges = append(ranges, FarRange{First: farPage + n*(guest.FarBytes/pageSize/guest.FarMax) + r.Uint64N(1<<20) + 511, RAM: 600 + n, Count: 2})
		}
		if err := b.MapFar(ranges, false); err != nil {
			t.Fatal(err)
		}
		for i := range uint64(farRoots) { // as the guest's memory is to have it
			if err := m.WriteU64(guest.PML4GPA+(guest.FarBase>>39+GPA(i))*8, farEntry(i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, x := range ranges {
			if got, ok := s.walk(m, x.First+1); !ok || got != x.RAM+1 {
				t.Fatalf("round %d: page %#x shows %d (%v), want %d", round, x.First+1, got, ok, x.RAM+1)
			}
		}
	}
	if s.renewed == 0 {
		t.Error("the tables never ran out")
	}
}
