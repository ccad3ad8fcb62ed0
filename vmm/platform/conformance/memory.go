package conformance

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/vmmtest/testguest"
)

// blob is a file of pages, whose first words are their numbers times 1000.
func (b *bench) blob(pages int) (*os.File, []byte) {
	b.t.Helper()
	content := make([]byte, pages*guest.PageSize)
	for i := range pages {
		binary.LittleEndian.PutUint64(content[i*guest.PageSize:], uint64(i)*1000)
	}
	path := filepath.Join(b.t.TempDir(), "blob")
	b.must(os.WriteFile(path, content, 0o600))
	f, err := os.Open(path)
	b.must(err)
	b.t.Cleanup(func() { f.Close() })
	return f, content
}

// Where the checks map files: RAM that the test guest uses for nothing.
const (
	mapPage = 0x580
	mapGPA  = guest.GPA(mapPage * guest.PageSize)
)

func page(n int) guest.GPA { return guest.GPA(n * guest.PageSize) }

func (b *bench) sees(gpa guest.GPA, want uint64, what string) {
	b.t.Helper()
	if got := b.peek(gpa); got != want {
		b.t.Errorf("%s: the word at %#x is %d, want %d", what, uint64(gpa), got, want)
	}
}

// fileMapping: the guest sees a file's pages, its stores stay its own, and what was
// stored goes when it is told to.
func fileMapping(b *bench) {
	f, content := b.blob(8)
	m := b.Memory()
	b.must(m.MapFile(mapPage, 4, f, 2*guest.PageSize))
	b.sees(mapGPA, 2000, "mapped")
	b.add(mapGPA, mapGPA+page(1), mapGPA+page(1), mapGPA+page(3))
	for i, want := range []uint64{2001, 3002, 4000, 5001} {
		b.sees(mapGPA+page(i), want, "stored to")
	}
	if now, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(now, content) {
		b.t.Errorf("a store of the guest's reached the file (%v)", err)
	}
	b.must(m.Discard(mapPage+1, 1))
	b.sees(mapGPA+page(1), 3000, "discarded")
	b.sees(mapGPA, 2001, "beside what was discarded")
	b.add(mapGPA + page(1))
	b.sees(mapGPA+page(1), 3001, "stored to after it was discarded")
	b.must(m.MapFile(mapPage, 2, f, 0)) // others' place is taken
	b.sees(mapGPA, 0, "mapped anew")
	b.add(mapGPA+page(1), mapGPA+page(2))
	b.sees(mapGPA+page(1), 1001, "mapped anew and stored to")
	b.sees(mapGPA+page(2), 4001, "of the mapping before")
	b.must(m.MapZero(mapPage, 4))
	for i := range 4 {
		b.sees(mapGPA+page(i), 0, "mapped to zeros")
	}
	b.add(mapGPA)
	b.sees(mapGPA, 1, "zeros that were stored to")
	b.must(m.Discard(mapPage, 1))
	b.add(mapGPA)
	b.sees(mapGPA, 1, "zeros that were discarded and stored to")
}

// sharedFile: machines share a file's pages and not what they store. What is read-only
// to the guest it cannot store to.
func sharedFile(b *bench) {
	f, _ := b.blob(4)
	other := b.another()
	for _, m := range []*bench{b, other} {
		m.must(m.Memory().MapFile(mapPage, 4, f, 0), m.Memory().MapFile(imageFirst, 4, f, 0))
	}
	b.add(mapGPA+page(1), mapGPA+page(2))
	b.sees(mapGPA+page(1), 1001, "stored to")
	other.sees(mapGPA+page(1), 1000, "of the other machine")
	other.add(mapGPA + page(1))
	other.add(mapGPA + page(1))
	other.sees(mapGPA+page(1), 1002, "of the other machine, stored to twice")
	b.sees(mapGPA+page(1), 1001, "after the other machine's stores")
	if !b.p.Capabilities().MachineCode {
		return // it has no page tables
	}
	b.must(b.Memory().WriteU64(testguest.Vector, 99))
	b.add(ramBytes + page(1))
	if v := b.u64(testguest.Vector); v != 14 {
		b.t.Errorf("a store to the root image: vector %d, want a page fault", v)
	}
	b.sees(ramBytes+page(1), 1000, "of the root image")
}

// window: what the monitor writes the guest sees, and the other way round, also where a
// file is mapped.
func window(b *bench) {
	f, _ := b.blob(4)
	b.must(b.Memory().MapFile(mapPage, 4, f, 0))
	b.must(b.Memory().WriteU64(mapGPA+page(1)+8, 70))
	b.add(mapGPA+page(1), mapGPA+page(1)+8)
	b.sees(mapGPA+page(1), 1001, "in a page that the monitor wrote to")
	b.sees(mapGPA+page(1)+8, 71, "that the monitor wrote")
	s, err := b.Memory().Slice(mapGPA+page(2), 16)
	b.must(err)
	b.add(mapGPA + page(2))
	if got := binary.LittleEndian.Uint64(s); got != 2001 {
		b.t.Errorf("a window shows %d of what the guest made 2001", got)
	}
	b.must(b.Memory().Populate(func(yield func(first, count uint64) bool) { yield(mapPage+3, 1) }))
	b.sees(mapGPA+page(3), 3000, "populated")
	b.add(mapGPA + page(3))
	b.sees(mapGPA+page(3), 3001, "populated and stored to")
}

// pager is a file in memory that is filled on demand. To fill a page twice makes no
// difference.
type pager struct {
	file *os.File
	had  []atomic.Bool
}

func (b *bench) pager(pages int64) *pager {
	b.t.Helper()
	fd, err := unix.MemfdCreate("pager", unix.MFD_CLOEXEC)
	b.must(err)
	p := &pager{file: os.NewFile(uintptr(fd), "pager"), had: make([]atomic.Bool, pages)}
	b.t.Cleanup(func() { p.file.Close() })
	b.must(p.file.Truncate(pages * guest.PageSize))
	return p
}

func (p *pager) File() *os.File { return p.file }

func (p *pager) Fill(first, count uint64) error {
	for page := first; page < first+count; page++ {
		if p.had[page].Load() {
			continue
		}
		if _, err := p.file.WriteAt(binary.LittleEndian.AppendUint64(nil, page*1000), int64(page*guest.PageSize)); err != nil {
			return err
		}
		p.had[page].Store(true)
	}
	return nil
}

func (p *pager) Filled(first, count uint64) bool {
	for page := first; page < first+count; page++ {
		if !p.had[page].Load() {
			return false
		}
	}
	return true
}

// pagingIn: pages come when the guest touches them, and not before.
func pagingIn(b *bench) {
	p := b.pager(64)
	b.must(b.Memory().MapPager(mapPage, 64, p, 0))
	for page := range uint64(64) {
		if p.Filled(page, 1) {
			b.t.Errorf("page %d was filled before anybody needed it", page)
		}
	}
	b.add(mapGPA + page(40))
	b.sees(mapGPA+page(40), 40001, "paged in")
	if p.Filled(0, 1) || !p.Filled(40, 1) {
		b.t.Error("another page was filled than the one that was needed")
	}
	if faults, _ := b.Memory().Paging().Counts(); faults == 0 {
		b.t.Error("no fault was counted")
	}
	pagerFilled(b)
}

// pagerFilled: whenever a pager's pages are filled, they hold what they should.
func pagerFilled(b *bench) {
	p := b.pager(32)
	b.must(b.Memory().MapPager(mapPage+64, 32, p, 0))
	at := mapGPA + page(64)
	b.sees(at+page(3), 3000, "looked at")
	b.add(at+page(3), at+page(20))
	b.sees(at+page(3), 3001, "looked at, then stored to")
	b.sees(at+page(20), 20001, "stored to")
}

// giveBack: pages that are given back are zeros, take no memory, and come back.
func giveBack(b *bench) {
	const pages = 64
	m := b.Memory()
	var words []guest.GPA
	for i := range pages {
		words = append(words, mapGPA+page(i))
	}
	b.add(words...)
	full, err := m.Resident()
	b.must(err)
	b.must(m.GiveBack(mapPage, pages))
	less, err := m.Resident() // before anybody looks at them
	b.must(err)
	for _, w := range words {
		b.sees(w, 0, "given back")
	}
	if less.Private+pages*guest.PageSize*3/4 > full.Private {
		b.t.Errorf("%d bytes were resident before %d were given back, %d after", full.Private, pages*guest.PageSize, less.Private)
	}
	b.add(words...)
	for _, w := range words {
		b.sees(w, 1, "stored to after it was given back")
	}
	f, content := b.blob(4) // over a file a page of zeros lies
	b.must(m.MapFile(mapPage, 4, f, 0))
	b.must(m.GiveBack(mapPage+1, 2))
	b.add(mapGPA+page(2), mapGPA+page(3))
	for i, want := range []uint64{0, 0, 1, 3001} {
		b.sees(mapGPA+page(i), want, "of a file, in part given back")
	}
	if now, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(now, content) {
		b.t.Errorf("giving back changed the file (%v)", err)
	}
}

// tracker: the memory's own tracker misses nothing, over files and zeros.
func tracker(b *bench) {
	f, _ := b.blob(64)
	b.must(b.Memory().MapFile(mapPage, 64, f, 0))
	t, err := b.Memory().Tracker()
	b.must(err)
	b.tracks(t)
}

// writeTracker: the platform's misses nothing either.
func writeTracker(b *bench) {
	if _, err := b.VM().WriteTracker(); err == nil {
		b.t.Error("write tracking of memory that is not logged")
	}
	logged := newBench(b.t, b.p, vmm.Config{LogDirty: true})
	t, err := logged.VM().WriteTracker()
	b.must(err)
	logged.tracks(t)
}

// tracks compares what a tracker finds with a comparison of all memory.
func (b *bench) tracks(t dirtytrack.Tracker) {
	b.t.Helper()
	defer func() { b.must(t.Close()) }()
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		before := b.contents()
		b.must(t.Arm())
		b.Memory().HostWritten().Clear()
		var words []guest.GPA
		for range 30 {
			words = append(words, 0x500000+guest.GPA(r.Uint64N(0x200000))&^7)
		}
		b.add(words...)
		found := dirtytrack.NewPageSet(b.Memory().Pages())
		b.must(t.Collect(found))
		found.Union(b.Memory().HostWritten())
		after, differ := b.contents(), 0
		for page := range b.Memory().Pages() {
			at := page * guest.PageSize
			if bytes.Equal(before[at:at+guest.PageSize], after[at:at+guest.PageSize]) {
				continue
			}
			if differ++; !found.Has(page) {
				b.t.Errorf("%s: page %#x differs and is not reported", t.Name(), page)
			}
		}
		if differ == 0 {
			b.t.Errorf("%s: nothing differs", t.Name())
		}
	}
}
