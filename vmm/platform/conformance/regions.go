package conformance

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
	"seuss/vmm/platform"
	"seuss/vmm/vmmtest/testguest"
)

// oneRegion is one of some pages, which whoever asks may map.
type oneRegion struct{ vmm.Region }

func (o oneRegion) Open(string, uint32, uint64) (vmm.Region, error) { return o.Region, nil }
func (o oneRegion) Map(string, bool) (vmm.Region, error)            { return o.Region, nil }
func (o oneRegion) Mapped([]string)                                 {}
func (o oneRegion) Sync(string, uint64, uint64) error               { return unix.ENOSYS }
func (o oneRegion) Remove(string) error                             { return unix.ENOSYS }

// sharedMemory: what one machine stores another loads, and the host too; what is mapped for
// reading faults at a store; after a restore nothing is reached.
func sharedMemory(b *bench) {
	const pages, listAt = 8, guest.GPA(0x540000)
	fd, err := unix.MemfdCreate("shared", unix.MFD_CLOEXEC)
	b.must(err)
	f := os.NewFile(uintptr(fd), "shared")
	b.t.Cleanup(func() { f.Close() })
	b.must(f.Truncate(pages * guest.PageSize))
	r := oneRegion{vmm.Region{Bytes: pages * guest.PageSize, Read: &platform.Shared{File: f}, Write: &platform.Shared{File: f, Writable: true}}}
	share := func(m *bench, flags uint32) {
		entry := guest.Region{First: guest.RegionBase/guest.PageSize + 512, Count: pages - 1, Offset: 1, Flags: flags, NameBytes: 1, Name: [224]uint8{'x'}}
		m.must(m.Memory().WriteStruct(listAt, entry), m.Memory().WriteU64(guest.ControlGPA+guest.ControlRegionGPA, uint64(listAt)),
			m.Memory().WriteU32(guest.ControlGPA+guest.ControlRegionCount, 1), vmm.Share(m.Machine, r, nil))
	}
	holds := func(n int64, want uint64) {
		b.t.Helper()
		var word [8]byte
		_, err := f.ReadAt(word[:], n*guest.PageSize)
		if b.must(err); binary.LittleEndian.Uint64(word[:]) != want {
			b.t.Errorf("page %d of what is shared holds %d, want %d", n, binary.LittleEndian.Uint64(word[:]), want)
		}
	}
	other := b.another()
	share(b, guest.RegionWrite)
	share(other, guest.RegionWrite)
	at := guest.GPA(guest.RegionBase + guest.ImageAlign)
	b.add(at, at+page(6))
	other.add(at, at, at+page(6))
	b.add(at)
	holds(0, 0)
	holds(1, 4)
	holds(7, 2)
	faults := func(m *bench, address guest.GPA, what string) {
		m.t.Helper()
		m.must(m.Memory().WriteU64(testguest.Vector, 99))
		m.add(address)
		if v := m.u64(testguest.Vector); v != 14 {
			m.t.Errorf("%s: vector %d, want a page fault", what, v)
		}
	}
	s, ram := b.capture(), b.contents()
	share(other, 0)
	faults(other, at, "a store to what is mapped for reading")
	faults(b, at+page(7), "a store behind what is mapped")
	b.restore(s, ram)
	faults(b, at, "a store of another instance")
	holds(1, 4)
}
