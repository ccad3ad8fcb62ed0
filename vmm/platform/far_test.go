package platform

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"seuss/guest"
)

const (
	pageSize = guest.PageSize
	farPage  = guest.FarBase / pageSize
)

// memory is a guest's, from address 0.
type memory []byte

func (m memory) page(n uint64) []byte { return m[n*pageSize : (n+1)*pageSize] }
func (m memory) pages() uint64        { return uint64(len(m)) / pageSize }

func (m memory) write(t testing.TB, at uint64, v any) {
	t.Helper()
	if _, err := binary.Encode(m[at:], binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
}

// farList writes a list of far mappings into a memory's page 100, as a guest does.
func farList(t testing.TB, m memory, count uint32, ranges ...guest.Far) {
	t.Helper()
	const at = 100*pageSize - 8 // an entry reaches over the end of a page
	control := make([]byte, guest.ControlSize)
	binary.LittleEndian.PutUint64(control[guest.ControlFarGPA:], at)
	binary.LittleEndian.PutUint32(control[guest.ControlFarCount:], count)
	binary.LittleEndian.PutUint32(control[guest.ControlFarUsed:], 1)
	m.write(t, guest.ControlGPA, control)
	m.write(t, at, ranges)
}

func farIn(m memory) []FarRange {
	return slices.Collect(FarIn(m.page(guest.ControlGPA/pageSize), m.pages(), m.page))
}

// TestFarInHostileList: a forged list is followed as far as it makes sense.
func TestFarInHostileList(t *testing.T) {
	m := make(memory, guest.ProgramGPA)
	const ram = 512
	good := guest.Far{First: farPage + 7, RAM: ram, Count: 3, Open: 1}
	want := FarRange{First: farPage + 7, RAM: ram, Count: 3}
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
		"no memory":           {First: farPage + 20, RAM: m.pages(), Count: 1, Open: 1},
		"over memory":         {First: farPage + 20, RAM: m.pages() - 1, Count: 2, Open: 1},
		"memory wraps":        {First: farPage + 20, RAM: ^uint64(0), Count: 2, Open: 1},
		"more than there are": {First: farPage + 20, RAM: ram, Count: uint32(m.pages()) - 2, Open: 1},
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
	for _, at := range []uint64{0, guest.LowGPA - 1, m.pages()*pageSize - 8, m.pages() * pageSize, ^uint64(0)} {
		m.write(t, guest.ControlGPA+guest.ControlFarGPA, at)
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
