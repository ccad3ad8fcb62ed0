package vmm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest"
)

// regionBench is a guest that maps what it is told of regions, and goes there.
type regionBench struct {
	*bench
	regions *someRegions
}

const (
	regionListAt vmm.GPA = 0x410000
	regionCallAt vmm.GPA = 0x430000
	regionFirst          = guest.RegionBase / guest.PageSize
)

// someRegions gives a guest the regions that there are.
type someRegions struct {
	have     map[string]vmm.Region
	mapped   []string
	synced   string
	prepares int
	slow     bool // there is no end to it
}

func newRegions(t *testing.T) *someRegions {
	r := &someRegions{have: map[string]vmm.Region{}}
	t.Cleanup(func() {
		for _, x := range r.have {
			x.Read.File.Close()
			x.Write.File.Close()
		}
	})
	return r
}

func (r *someRegions) add(t *testing.T, name string, pages int64) *os.File {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(pages * guest.PageSize); err != nil {
		t.Fatal(err)
	}
	only, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	r.have[name] = vmm.Region{Bytes: uint64(pages) * guest.PageSize, Read: &platform.Shared{File: only}, Write: &platform.Shared{File: f, Writable: true}}
	return f
}

func (r *someRegions) Open(name string, flags uint32, bytes uint64) (vmm.Region, error) {
	x, ok := r.have[name]
	if !ok {
		return x, fmt.Errorf("nobody knows it: %w", unix.ENOENT)
	}
	if r.slow {
		x.Prepare = func() (bool, error) { return true, nil }
	} else if n := r.prepares; n > 0 {
		x.Prepare = func() (bool, error) { n--; return n > 0, nil }
	}
	return x, nil
}
func (r *someRegions) Map(name string, write bool) (vmm.Region, error) { return r.Open(name, 0, 0) }
func (r *someRegions) Mapped(names []string)                           { r.mapped = slices.Clone(names) }
func (r *someRegions) Remove(string) error                             { return unix.EPERM }
func (r *someRegions) Sync(name string, off, n uint64) error {
	r.synced = fmt.Sprint(name, " ", off, " ", n)
	return nil
}

func newRegionBench(t *testing.T, p platform.Platform, r *someRegions) *regionBench {
	b := &regionBench{bench: newBenchOn(t, p, false), regions: r}
	if err := vmm.Share(b.Machine, r, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// entry is a mapping of a region.
func entry(name string, first, offset, count uint64, flags uint32) (x guest.Region) {
	x = guest.Region{First: regionFirst + first, Count: count, Offset: offset, Flags: flags, NameBytes: uint32(len(name))}
	copy(x.Name[:], name)
	return x
}

// write puts a list where the guest's is.
func (b *regionBench) write(list ...guest.Region) {
	b.t.Helper()
	if len(list) > 0 {
		if err := b.Memory().WriteStruct(regionListAt, list); err != nil {
			b.t.Fatal(err)
		}
	}
	b.setU64(guest.ControlGPA+guest.ControlRegionGPA, uint64(regionListAt))
	b.setU64(guest.ControlGPA+guest.ControlRegionCount, uint64(len(list)))
}

// ask has the guest ring, and returns the answer.
func (b *regionBench) ask(what uint32, name string, offset, size uint64) (errno unix.Errno, bytes uint64) {
	b.t.Helper()
	call := guest.RegionCall{What: what, NameBytes: uint32(len(name)), Offset: offset, Size: size, Result: -5}
	copy(call.Name[:], name)
	if err := b.Memory().WriteStruct(regionCallAt, call); err != nil {
		b.t.Fatal(err)
	}
	b.setU64(guest.ControlGPA+guest.ControlRegionCallGPA, uint64(regionCallAt))
	code := binary.LittleEndian.AppendUint64([]byte{0x48, 0xb9}, guest.DoorbellGPA+guest.DoorbellRegion) // mov $, %rcx
	b.program(append(code, 0x89, 0x01, 0x0f, 0x0b)...)                                                   // mov %eax, (%rcx); ud2
	b.check(b.command(cmdProgram), vmm.StopIdle)
	if err := b.Memory().ReadStruct(regionCallAt, &call); err != nil {
		b.t.Fatal(err)
	}
	return unix.Errno(-call.Result), call.Size
}

func (b *regionBench) maps(list ...guest.Region) {
	b.t.Helper()
	b.write(list...)
	if errno, _ := b.ask(guest.RegionMap, "", 0, 0); errno != 0 {
		b.t.Fatalf("map: %v (%s)", errno, b.console.String())
	}
}

// word has the guest load the first word of a page of the window, or store it.
func (b *regionBench) word(page uint64, store bool, value uint64) (got uint64, fault bool) {
	b.t.Helper()
	var code []byte
	set := func(op []byte, v uint64) { code = binary.LittleEndian.AppendUint64(append(code, op...), v) }
	set([]byte{0x48, 0xbf}, guest.RegionBase+page*guest.PageSize) // mov $, %rdi
	if set([]byte{0x48, 0xbe}, value); store {                    // mov $, %rsi
		code = append(code, 0x48, 0x89, 0x37) // mov %rsi, (%rdi)
	}
	code = append(code, 0x48, 0x8b, 0x07)       // mov (%rdi), %rax
	set([]byte{0x48, 0xb9}, uint64(mailResult)) // mov $, %rcx
	code = append(code, 0x48, 0x89, 0x01, 0x0f, 0xb)
	b.program(code...)
	b.check(b.command(cmdProgram), vmm.StopIdle)
	return b.u64(mailResult), b.u64(mailVector) == 14
}

func (b *regionBench) sees(page, want uint64) {
	b.t.Helper()
	if got, fault := b.word(page, false, 0); fault || got != want {
		b.t.Errorf("page %d of the window: %d (fault %v), want %d", page, got, fault, want)
	}
}

func (b *regionBench) faults(page uint64, store bool) {
	b.t.Helper()
	if got, fault := b.word(page, store, 1); !fault {
		b.t.Errorf("page %d of the window can be used (store %v): %d", page, store, got)
	}
}

func (b *regionBench) restore(s *vmm.State, ram []byte) {
	b.t.Helper()
	if err := b.Settle(); err != nil {
		b.t.Fatal(err)
	}
	b.copyMemory(ram)
	if err := b.Restore(s); err != nil {
		b.t.Fatal(err)
	}
	if err := b.WriteIdentity(vmm.Identity{}); err != nil {
		b.t.Fatal(err)
	}
}

// TestRegions: what one guest stores the other loads; a snapshot has what is mapped, and
// whoever is restored to it finds the content of now; without a share nothing is reached.
func TestRegions(t *testing.T) {
	r := newRegions(t)
	f := r.add(t, "weights", 1024)
	a := newRegionBench(t, vmmtest.Require(t), r)
	b := newRegionBench(t, a.p, r)
	const rw = guest.RegionWrite
	r.prepares = 3
	if errno, bytes := a.ask(guest.RegionOpen, "weights", 0, 0); errno != 0 || bytes != 1024*guest.PageSize {
		t.Fatalf("open: %v, %d bytes", errno, bytes)
	}
	if errno, _ := a.ask(guest.RegionOpen, "others", 0, 0); errno != unix.ENOENT {
		t.Errorf("open what is not there: %v", errno)
	}
	clean := a.state()
	cleanRAM := a.content()
	a.maps(entry("weights", 512, 0, 1024, rw), entry("weights", 2048, 1000, 24, 0))
	b.maps(entry("weights", 0, 1000, 10, rw))
	a.word(512+1000, true, 41)
	b.sees(0, 41)
	a.sees(2048, 41)
	b.word(0, true, 42)
	a.sees(2048, 42)
	a.faults(2048, true)
	a.sees(2048, 42)
	for _, page := range []uint64{511, 512 + 1024, 2048 + 24, 1 << 28} {
		a.faults(page, false)
	}
	if errno, _ := a.ask(guest.RegionSync, "weights", 4096, 8192); errno != 0 || r.synced != "weights 4096 8192" {
		t.Errorf("sync: %v, %q", errno, r.synced)
	}

	open, openRAM := a.state(), a.content()
	b.word(0, true, 43)
	a.restore(open, openRAM)
	a.faults(2048, false) // nobody has shared anything yet
	if err := vmm.Share(a.Machine, r, nil); err != nil {
		t.Fatal(err)
	}
	a.sees(2048, 43)
	a.word(512+1000, true, 44)
	b.sees(0, 44)

	shows := func() int {
		t.Helper()
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", a.VM().Process()))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(maps), "memfd:weights")
	}
	before := shows()
	a.restore(clean, cleanRAM) // another instance
	if err := a.WriteIdentity(vmm.Identity{}); err != nil {
		t.Fatal(err)
	}
	if n := shows(); n != before-2 {
		t.Errorf("%d mappings of it are left, of %d", n, before)
	}
	for _, page := range []uint64{512, 512 + 1000, 2048} {
		a.faults(page, false)
		a.faults(page, true)
	}
	a.restore(open, openRAM)
	other := newRegions(t)
	if err := vmm.Share(a.Machine, other, nil); err == nil || !strings.Contains(err.Error(), `region "weights"`) {
		t.Errorf("a region that is gone: %v", err)
	}
	if n := len(r.mapped); n != 2 {
		t.Errorf("%d names are mapped: %q", n, r.mapped)
	}
	var word [8]byte
	if _, err := f.ReadAt(word[:], 1000*guest.PageSize); err != nil || binary.LittleEndian.Uint64(word[:]) != 44 {
		t.Errorf("the host finds %v (%v)", word, err)
	}
	b.maps() // unmapped
	b.faults(0, false)
}

// TestHostileRegions: what a guest writes into its list, or forges beside it, is refused,
// and what was mapped stays.
func TestHostileRegions(t *testing.T) {
	r := newRegions(t)
	r.add(t, "a", 16)
	b := newRegionBench(t, vmmtest.Require(t), r)
	b.maps(entry("a", 1, 0, 16, guest.RegionWrite))
	b.word(1, true, 7)
	for _, c := range []struct {
		why  string
		want unix.Errno
		list []guest.Region
	}{
		{"beyond its end", unix.ENXIO, []guest.Region{entry("a", 1, 1, 16, 0)}},
		{"beyond all numbers", unix.ENXIO, []guest.Region{entry("a", 1, 1<<64-1, 16, 0)}},
		{"below the window", unix.EINVAL, []guest.Region{entry("a", 1<<64-1, 0, 1, 0)}},
		{"above it", unix.EINVAL, []guest.Region{entry("a", guest.RegionWindow/guest.PageSize-1, 0, 2, 0)}},
		{"of no pages", unix.EINVAL, []guest.Region{entry("a", 1, 0, 0, 0)}},
		{"twice at one place", unix.EINVAL, []guest.Region{entry("a", 1, 0, 16, 0), entry("a", 16, 0, 1, 0)}},
		{"of another name", unix.ENOENT, []guest.Region{entry("b", 1, 0, 1, 0)}},
		{"of no name", unix.EINVAL, []guest.Region{entry("", 1, 0, 1, 0)}},
		{"of a path", unix.EINVAL, []guest.Region{entry("../a", 1, 0, 1, 0)}},
	} {
		b.write(c.list...)
		if errno, _ := b.ask(guest.RegionMap, "", 0, 0); errno != c.want {
			t.Errorf("%s: %v, want %v", c.why, errno, c.want)
		}
		b.sees(1, 7)
	}
	b.setU64(guest.ControlGPA+guest.ControlRegionCount, guest.RegionsMax+1)
	if errno, _ := b.ask(guest.RegionMap, "", 0, 0); errno != unix.EINVAL {
		t.Errorf("a list without end: %v", errno)
	}
	if errno, _ := b.ask(77, "a", 0, 0); errno != unix.ENOSYS {
		t.Errorf("an unknown request: %v", errno)
	}
	b.sees(1, 7)
	var many []guest.Region // all that there may be
	for n := range uint64(guest.RegionsMax) {
		many = append(many, entry("a", n*512, n%16, 1, uint32(n%2)))
	}
	b.maps(many...)
	b.sees(16*512, 7)
	b.faults(16*512, true)
	b.word(17*512, true, 8)
	b.sees(33*512, 8)
	b.maps(many[:1]...)
	b.sees(0, 7)
	b.faults(17*512, false)
}

// TestRegionReaders: eight machines that map a region see what a ninth stores, and none of
// them takes memory for it.
func TestRegionReaders(t *testing.T) {
	r := newRegions(t)
	f := r.add(t, "x", 512)
	writer := newRegionBench(t, vmmtest.Require(t), r)
	writer.maps(entry("x", 0, 0, 512, guest.RegionWrite))
	for page := uint64(0); page < 512; page += 16 {
		writer.word(page, true, page+1)
	}
	blocks := func() int64 {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	before := blocks()
	var readers []*regionBench
	for range 8 {
		b := newRegionBench(t, writer.p, r)
		b.maps(entry("x", 0, 0, 512, 0))
		readers = append(readers, b)
	}
	for round := uint64(0); round < 3; round++ {
		for n, b := range readers {
			page := (uint64(n)*5 + round) % 32 * 16
			want, fault := writer.word(page, true, 100*round+uint64(n))
			if b.sees(page, want); fault {
				t.Error("the writer cannot store")
			}
		}
	}
	if after := blocks(); after != before {
		t.Errorf("the region takes %d blocks, %d before it was read", after, before)
	}
}

// TestShareEnds: an instance whose regions' memory is long in coming does not hold the
// machine for longer than whoever wants it allows.
func TestShareEnds(t *testing.T) {
	r := newRegions(t)
	r.add(t, "x", 4)
	b := newRegionBench(t, vmmtest.Require(t), r)
	b.write(entry("x", 0, 0, 4, 0))
	r.slow = true
	enough, asked := errors.New("enough"), 0
	err := vmm.Share(b.Machine, r, func() error {
		if asked++; asked < 3 {
			return nil
		}
		return enough
	})
	if !errors.Is(err, enough) || asked != 3 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}
