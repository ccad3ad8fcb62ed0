package vmm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

// Regions is what an instance may reach of the memory that guests share, as somebody
// decides who knows whose it is. It is called by the goroutine inside Run, for the guest,
// which waits: a call must not block, and takes less than a millisecond. An error that is
// a unix.Errno, or wraps one, is what the guest gets, else EIO; its text goes into the
// instance's output.
type Regions interface {
	// Open finds a region, or makes one of so many bytes: flags are guest.RegionWrite and
	// so on.
	Open(name string, flags uint32, bytes uint64) (Region, error)
	// Map is Open of one that is to be mapped. What is mapped already is the same, whatever
	// has become of the name meanwhile.
	Map(name string, write bool) (Region, error)
	// Mapped is told the names of all that are mapped from now on.
	Mapped(names []string)
	// Sync is told that what was written to a part of a region is to be kept.
	Sync(name string, offset, bytes uint64) error
	// Remove has the next who opens the name find none.
	Remove(name string) error
}

// Region is memory that guests share.
type Region struct {
	Bytes uint64
	// Read is to be mapped for reading, Write for writing; nil: not by this instance.
	Read, Write *platform.Shared
	// Prepare, unless it is nil, does some of what is left before it can be mapped, less
	// than a millisecond's work, and tells whether there is more.
	Prepare func() (more bool, err error)
}

// Share gives the instance on a machine the memory that it shares with others, and maps
// what its memory says is open, as it was when its snapshot was taken. An error says which
// region is not there any more, or not for it; the machine has to be restored or closed
// then. over is asked every millisecond, as to take a region's memory from the host may take
// seconds, and its error ends that; nil: nothing does. An instance that is never given any
// can open none.
func Share(m *Machine, r Regions, over func() error) error {
	m.regions = r
	if r == nil || le32(m.control[guest.ControlRegionCount:]) == 0 {
		return nil
	}
	var call regionCall
	if err := call.list(m); err != nil {
		return err
	}
	if over == nil {
		over = func() error { return nil }
	}
	for call.more() {
		if err := over(); err != nil {
			return err
		}
		if err := call.prepareSome(); err != nil {
			return err
		}
	}
	more, err := call.finish(m)
	for more && err == nil {
		if err = over(); err == nil {
			more, err = m.mem.backing.FarStep()
		}
	}
	return err
}

// RegionsOpen is how many regions the instance has mapped, as it says itself.
func RegionsOpen(m *Memory) int {
	n, err := m.ReadU32(guest.ControlGPA + guest.ControlRegionCount)
	if err != nil {
		return 0
	}
	return int(min(n, guest.RegionsMax))
}

// RegionsTaken is how much outside input went into an instance by way of regions: how often
// it has opened one, and those that are mapped, which it may read at any time.
func RegionsTaken(m *Memory) uint64 {
	n, err := m.ReadU32(guest.ControlGPA + guest.ControlRegionsOpened)
	if err != nil {
		return 0
	}
	return uint64(n) + uint64(RegionsOpen(m))
}

var errRegionList = fmt.Errorf("the list of mapped regions is not one: %w", unix.EINVAL)

// list notes what the guest's list says is to be mapped, in ascending order. The guest can
// forge it.
func (c *regionCall) list(m *Machine) error {
	c.maps = true
	n := le32(m.control[guest.ControlRegionCount:])
	if n > guest.RegionsMax {
		return errRegionList
	}
	s, err := m.mem.Slice(GPA(le64(m.control[guest.ControlRegionGPA:])), uint64(n)*guest.RegionSize)
	if n > 0 && err != nil {
		return errRegionList
	}
	for list := bytes.Clone(s); len(list) > 0; list = list[guest.RegionSize:] {
		if err := c.entry(m.regions, list); err != nil {
			return err
		}
	}
	slices.SortFunc(c.ranges, func(a, b platform.FarRange) int { return cmp.Compare(a.First, b.First) })
	total := uint64(0)
	for i, x := range c.ranges {
		if i > 0 && c.ranges[i-1].First+c.ranges[i-1].Count > x.First {
			return errRegionList
		}
		if total += x.Count; total > guest.RegionPagesMax {
			return fmt.Errorf("more than %d pages of regions would be mapped: unmap some: %w", guest.RegionPagesMax, unix.ENOMEM)
		}
	}
	return nil
}

// entry checks an entry of the list, and opens the region that it names.
func (c *regionCall) entry(r Regions, entry []byte) error {
	const first, pages = guest.RegionBase / pageSize, guest.RegionWindow / pageSize
	name, err := regionName(entry[guest.RegionName:guest.RegionSize], le32(entry[guest.RegionNameBytes:]))
	if err != nil {
		return err
	}
	write := le32(entry[guest.RegionFlags:])&guest.RegionWrite != 0
	x := platform.FarRange{First: le64(entry[guest.RegionFirst:]), Count: le64(entry[guest.RegionCount:]), RAM: le64(entry[guest.RegionOffset:])}
	if x.Count == 0 || x.Count > pages || x.First < first || x.First-first > pages-x.Count {
		return errRegionList
	}
	region, err := r.Map(name, write)
	if err != nil {
		return fmt.Errorf("region %q: %w", name, err)
	}
	if x.Of = region.Read; write {
		x.Of = region.Write
	}
	has := (region.Bytes + pageSize - 1) / pageSize
	switch {
	case x.Of == nil:
		return fmt.Errorf("region %q: it may not be mapped so: %w", name, unix.EACCES)
	case x.Count > has || x.RAM > has-x.Count:
		return fmt.Errorf("region %q has %d bytes, and is to be mapped beyond them: %w", name, region.Bytes, unix.ENXIO)
	}
	if region.Prepare != nil {
		c.prepare = append(c.prepare, region.Prepare)
	}
	c.ranges, c.names = append(c.ranges, x), append(c.names, name)
	return nil
}

// regionName is a name that a guest gave.
func regionName(field []byte, n uint32) (string, error) {
	if n == 0 || n > uint32(len(field)) || bytes.ContainsAny(field[:n], "/\x00") {
		return "", fmt.Errorf("a region's name of %d bytes: %w", n, unix.EINVAL)
	}
	return string(field[:n]), nil
}

// regionCall is what the guest has asked for of regions and not been answered.
type regionCall struct {
	active  bool
	at      GPA // its struct abi_region_call
	size    uint64
	name    string
	prepare []func() (more bool, err error) // before it can be answered
	maps    bool                            // ranges are to be mapped then
	ranges  []platform.FarRange
	names   []string
}

// region begins what the guest asks for. What it did wrong in asking is an error; what it
// may not have is its answer.
func (o *owed) region(m *Machine) error {
	at := GPA(le64(m.control[guest.ControlRegionCallGPA:]))
	call, err := m.mem.Slice(at, guest.RegionCallSize)
	if err != nil {
		return fmt.Errorf("ask for a region: %w", err)
	}
	o.regions = regionCall{active: true, at: at}
	if err := o.regions.begin(m, bytes.Clone(call)); err != nil {
		return o.regions.answer(m, err)
	}
	if o.regions.more() {
		return nil
	}
	return o.finishRegion(m)
}

func (c *regionCall) begin(m *Machine, call []byte) (err error) {
	r := m.regions
	if r == nil {
		return fmt.Errorf("there are no regions for it: %w", unix.EACCES)
	}
	what := le32(call[guest.RegionCallWhat:])
	if what == guest.RegionMap {
		return c.list(m)
	}
	if c.name, err = regionName(call[guest.RegionCallName:], le32(call[guest.RegionCallNameBytes:])); err != nil {
		return err
	}
	size, offset := le64(call[guest.RegionCallSizeOffset:]), le64(call[guest.RegionCallOffset:])
	switch what {
	case guest.RegionOpen:
		region, err := r.Open(c.name, le32(call[guest.RegionCallFlags:]), size)
		if err != nil {
			return err
		}
		if c.size = region.Bytes; region.Prepare != nil {
			c.prepare = append(c.prepare, region.Prepare)
		}
		return nil
	case guest.RegionSync:
		return r.Sync(c.name, offset, size)
	case guest.RegionRemove:
		return r.Remove(c.name)
	}
	return fmt.Errorf("request %d about a region: %w", what, unix.ENOSYS)
}

func (c *regionCall) more() bool { return len(c.prepare) > 0 }

// prepareSome does some of what is left before the answer.
func (c *regionCall) prepareSome() error {
	more, err := c.prepare[0]()
	if !more {
		c.prepare = c.prepare[1:]
	}
	return err
}

// finish maps what is to be mapped.
func (c *regionCall) finish(m *Machine) (more bool, err error) {
	if !c.maps {
		return false, nil
	}
	if more, err = mapShared(m.mem, m.control, c.ranges); err == nil {
		m.regions.Mapped(c.names)
	}
	return more, err
}

// regionStep does some of what is left of the guest's call.
func (o *owed) regionStep(m *Machine) error {
	if err := o.regions.prepareSome(); err != nil {
		return o.regions.answer(m, err)
	}
	if o.regions.more() {
		return nil
	}
	return o.finishRegion(m)
}

func (o *owed) finishRegion(m *Machine) error {
	more, err := o.regions.finish(m)
	o.far = o.far || more
	return o.regions.answer(m, err)
}

// answer tells the guest what came of it.
func (c *regionCall) answer(m *Machine, why error) error {
	result := uint32(0)
	if why != nil {
		errno := unix.EIO
		errors.As(why, &errno)
		result = -uint32(errno)
		if c.name != "" {
			why = fmt.Errorf("region %q: %w", c.name, why)
		}
		if errno != unix.ENOENT { // to look is no mistake
			m.console.pass(0, fmt.Appendf(nil, "%v\n", why))
		}
	}
	s, err := m.mem.Slice(c.at, guest.RegionCallSize)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(s[guest.RegionCallResult:], result)
	binary.LittleEndian.PutUint64(s[guest.RegionCallSizeOffset:], c.size)
	m.mem.MarkWritten(c.at, guest.RegionCallSize)
	*c = regionCall{}
	return nil
}
