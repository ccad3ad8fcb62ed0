package dirtytrack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mapPrivate maps pages of random content MAP_PRIVATE from a memfd and returns
// the mapping and the content.
func mapPrivate(t testing.TB, pages int, r *rand.Rand) (mem, content []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("dirtytrack-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	content = make([]byte, pages*PageSize)
	for i := 0; i < len(content); i += 512 {
		content[i] = byte(r.Uint32())
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	mem, err = unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem, content
}

func mapAnonymous(t testing.TB, pages int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, pages*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	// One 4 KiB page a fault, whatever the host's policy.
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		t.Fatal(err)
	}
	return mem
}

// eachMode runs f with the ioctl, where the kernel has it, and with reading.
func eachMode(t *testing.T, f func(t *testing.T, scan bool)) {
	works, err := scanWorks()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("scan", func(t *testing.T) {
		if !works {
			t.Skip("this kernel has no PAGEMAP_SCAN (Linux 6.7)")
		}
		f(t, true)
	})
	t.Run("read", func(t *testing.T) { f(t, false) })
}

func tracker(t testing.TB, mem []byte, scan bool) *Pagemap {
	t.Helper()
	p, err := newPagemap(mem, scan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func collect(t testing.TB, p *Pagemap) *PageSet {
	t.Helper()
	s := NewPageSet(p.Pages())
	if err := p.Arm(); err != nil {
		t.Fatal(err)
	}
	if err := p.Collect(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// store is not inlined, or the compiler would drop a store of what is there.
//
//go:noinline
func store(p *byte, v byte) { *p = v }

func TestPagemapAgainstOracle(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		for seed := range uint64(8) {
			r := rand.New(rand.NewPCG(seed, 2))
			pages := 1 + r.IntN(3000)
			mem, content := mapPrivate(t, pages, r)
			p := tracker(t, mem, scan)
			if s := collect(t, p); s.Len() != 0 {
				t.Fatalf("seed %d: %d private pages before any access", seed, s.Len())
			}
			written := NewPageSet(uint64(pages))
			sink := byte(0)
			for range r.IntN(2 * pages) {
				page := r.IntN(pages)
				off := page*PageSize + r.IntN(PageSize)
				switch r.IntN(4) {
				case 0, 1:
					mem[off]++
					written.Add(uint64(page))
				case 2: // a write that changes nothing still copies the page
					store(&mem[off], mem[off])
					written.Add(uint64(page))
				case 3:
					sink += mem[off]
				}
			}
			_ = sink
			got := collect(t, p)
			changed := 0
			for page := range uint64(pages) {
				lo := page * PageSize
				differs := !bytes.Equal(mem[lo:lo+PageSize], content[lo:lo+PageSize])
				if differs {
					changed++
				}
				if differs && !got.Has(page) {
					t.Fatalf("seed %d: page %d changed and was not reported", seed, page)
				}
			}
			if want := slices.Collect(written.All()); !slices.Equal(slices.Collect(got.All()), want) {
				t.Fatalf("seed %d: %d pages reported, %d were written", seed, got.Len(), len(want))
			}
			if changed > int(got.Len()) {
				t.Fatalf("seed %d: %d pages changed, %d reported", seed, changed, got.Len())
			}
		}
	})
}

// More private runs than one call returns: the scan must continue.
func TestPagemapManyRuns(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		const pages = 6*scanRegions + 7
		mem, _ := mapPrivate(t, pages, rand.New(rand.NewPCG(1, 3)))
		want := NewPageSet(pages)
		for page := 0; page < pages; page += 2 {
			mem[page*PageSize]++
			want.Add(uint64(page))
		}
		p := tracker(t, mem, scan)
		got := collect(t, p)
		if !slices.Equal(slices.Collect(got.All()), slices.Collect(want.All())) {
			t.Fatalf("%d pages reported, want %d", got.Len(), want.Len())
		}
		part := NewPageSet(pages)
		if err := p.CollectRange(101, 50, part); err != nil {
			t.Fatal(err)
		}
		for page := range uint64(pages) {
			if in := page >= 101 && page < 151 && page%2 == 0; part.Has(page) != in {
				t.Fatalf("range 101+50: page %d reported = %v", page, part.Has(page))
			}
		}
	})
}

func TestPagemapZeroPage(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		mem := mapAnonymous(t, 64)
		sum := byte(0)
		for page := range 64 {
			sum += mem[page*PageSize]
		}
		mem[5*PageSize], mem[63*PageSize] = sum, 1
		got := collect(t, tracker(t, mem, scan))
		if !got.Has(5) || !got.Has(63) {
			t.Fatal("a written anonymous page was not reported")
		}
		if scan && !hostMapsZeroPage(t) {
			t.Skip("this host's kernel gives a page that is only read a page of its own: read and written pages look the same")
		}
		if scan && got.Len() != 2 {
			t.Fatalf("%v reported: pages that were only read are among them", slices.Collect(got.All()))
		}
	})
}

// hostMapsZeroPage reports whether the kernel answers a read of untouched
// anonymous memory with its shared zero page, as Linux does; some virtual
// machines' kernels do not. It asks the page map's entries, not the tracker.
func hostMapsZeroPage(t *testing.T) bool {
	mem := mapAnonymous(t, 1)
	shared := mem[0] == 0
	f, err := os.Open(pagemapPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entry := make([]byte, entryBytes)
	if _, err := f.ReadAt(entry, int64(addressOf(mem)/PageSize*entryBytes)); err != nil {
		t.Fatal(err)
	}
	const entryExclusive = 1 << 56 // pagemap.rst: mapped here only
	return shared && binary.NativeEndian.Uint64(entry)&entryExclusive == 0
}

func TestPagemapDropped(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		mem, _ := mapPrivate(t, 32, rand.New(rand.NewPCG(4, 4)))
		p := tracker(t, mem, scan)
		for i := range mem {
			mem[i] = 1
		}
		if n := collect(t, p).Len(); n != 32 {
			t.Fatalf("%d private pages, want 32", n)
		}
		if err := unix.Madvise(mem[8*PageSize:16*PageSize], unix.MADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		got := collect(t, p)
		if got.Len() != 24 || got.Has(8) || got.Has(15) {
			t.Fatalf("after dropping 8 of 32 pages %d are private", got.Len())
		}
	})
}

func TestPagemapHugePage(t *testing.T) {
	const huge = 2 << 20
	eachMode(t, func(t *testing.T, scan bool) {
		mem, err := unix.Mmap(-1, 0, 3*huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(mem)
		if err := unix.Madvise(mem, unix.MADV_HUGEPAGE); err != nil {
			t.Skipf("no transparent huge pages: %v", err)
		}
		skip := (huge - int(addressOf(mem)%huge)) % huge
		mem[skip+12345] = 1
		p := tracker(t, mem, scan)
		got := collect(t, p)
		if got.Len() == 1 {
			t.Skip("the host gave no transparent huge page")
		}
		first := uint64(skip / PageSize)
		for f, n := range got.Runs() {
			if f != first || n != huge/PageSize {
				t.Fatalf("run %d+%d reported, want the huge page %d+%d", f, n, first, huge/PageSize)
			}
		}
		// A range that begins and ends inside the huge page is clipped to it.
		part := NewPageSet(p.Pages())
		if err := p.CollectRange(first+10, 20, part); err != nil {
			t.Fatal(err)
		}
		if part.Len() != 20 || !part.Has(first+10) || !part.Has(first+29) {
			t.Fatalf("a range of 20 pages inside a huge page gave %d", part.Len())
		}
	})
}

func TestPagemapAllocatesNothing(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		mem, _ := mapPrivate(t, 4000, rand.New(rand.NewPCG(5, 5)))
		for page := 0; page < 4000; page += 3 {
			mem[page*PageSize]++
		}
		p, s := tracker(t, mem, scan), NewPageSet(4000)
		if n := testing.AllocsPerRun(10, func() {
			s.Clear()
			if err := p.Collect(s); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Fatalf("%v allocations a scan, want 0", n)
		}
	})
}

func TestPagemapBadInput(t *testing.T) {
	mem, _ := mapPrivate(t, 8, rand.New(rand.NewPCG(6, 6)))
	for _, bad := range [][]byte{nil, mem[:100], mem[1 : PageSize+1]} {
		if p, err := NewPagemap(bad); err == nil {
			p.Close()
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
	p, err := NewPagemap(mem)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Collect(NewPageSet(7)); err == nil {
		t.Error("a set that is too small was accepted")
	}
	if err := p.CollectRange(4, 5, NewPageSet(8)); err == nil {
		t.Error("a range past the end was accepted")
	}
	if err := p.CollectRange(4, ^uint64(0), NewPageSet(8)); err == nil {
		t.Error("a range that overflows was accepted")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Collect(NewPageSet(8)); err == nil {
		t.Error("collecting from a closed tracker gave no error")
	}
}

func BenchmarkPagemapCollect(b *testing.B) {
	const pages = 1 << 16 // 256 MiB
	mem, _ := mapPrivate(b, pages, rand.New(rand.NewPCG(7, 7)))
	for page := 0; page < pages; page += pages / 102 {
		mem[page*PageSize]++
	}
	for _, scan := range []bool{true, false} {
		p, s := tracker(b, mem, scan), NewPageSet(pages)
		b.Run(p.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Clear()
				if err := p.Collect(s); err != nil {
					b.Skip(err)
				}
			}
		})
	}
}

// TestPagemapResident: pages that were read are the file's (whole stretches of 16, which Linux
// maps around a fault), those that were stored to are
// private, the rest is nowhere.
// smaps is what the kernel counts of a mapping: anonymous pages, and those of files.
func smaps(t *testing.T, mem []byte) (private, shared uint64) {
	t.Helper()
	all, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	start := strings.TrimPrefix(fmt.Sprintf("%p-", mem), "0x")
	_, entry, found := strings.Cut("\n"+string(all), "\n"+start)
	if !found {
		t.Fatalf("no mapping %s in /proc/self/smaps", start)
	}
	count := func(name string) (pages uint64) {
		_, value, _ := strings.Cut(entry, "\n"+name+":")
		if _, err := fmt.Sscan(value, &pages); err != nil {
			t.Fatalf("%s of %s in /proc/self/smaps: %v", name, start, err)
		}
		return pages * 1024 / PageSize
	}
	anonymous := count("Anonymous")
	return anonymous, count("Rss") - anonymous
}

func TestPagemapResident(t *testing.T) {
	eachMode(t, func(t *testing.T, scan bool) {
		mem, _ := mapPrivate(t, 2000, rand.New(rand.NewPCG(1, 1)))
		if err := unix.Madvise(mem, unix.MADV_RANDOM); err != nil {
			t.Fatal(err)
		}
		for page := range 700 {
			if page%7 == 0 {
				store(&mem[page*PageSize], 1)
			}
		}
		if err := unix.Madvise(mem[1008*PageSize:1312*PageSize], unix.MADV_POPULATE_READ); err != nil {
			t.Fatal(err)
		}
		private, shared, err := tracker(t, mem, scan).Resident()
		// What of the file's pages a fault brings in besides is the kernel's affair.
		if wantPrivate, wantShared := smaps(t, mem); err != nil || private != 100 || shared < 304 || private != wantPrivate || shared != wantShared {
			t.Errorf("%d private, %d shared, %v; smaps has %d and %d", private, shared, err, wantPrivate, wantShared)
		}
	})
}
