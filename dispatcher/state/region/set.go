package region

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm"
)

// Access is what a function may do with a region.
type Access uint8

// The accesses.
const (
	None Access = iota
	Read
	Write // and read, make and remove
)

// Rights says what a function may do with its owner's region of a name. It is asked each
// time that one is opened.
type Rights func(name string) Access

// ShareMark ends the share in the name of a region that is a value of a share: what a slash is
// in its key, which a region's name cannot have.
const ShareMark = "%2F"

// ByShare are the rights of a function that a deployment gives by share: of a region that
// is in a share those to the share. One that is in none is everybody's of the owner.
func ByShare(to func(share string) Access) Rights {
	return func(name string) Access {
		if share, _, in := strings.Cut(name, ShareMark); in {
			return to(share)
		}
		return Write
	}
}

// Set is what an instance has of the regions. Its methods are called by one goroutine at a
// time.
type Set struct {
	host            *Host
	owner, function string
	rights          Rights
	mapped          map[string]*Region
}

var _ vmm.Regions = (*Set)(nil)

// noShares are the rights of a function whose deployment names no share.
var noShares = ByShare(func(string) Access { return None })

// Set returns what an instance of an owner's function may have; without rights it is in no
// share. It is to be closed, and to be used at one address.
func (h *Host) Set(owner, function string, rights Rights) Set {
	if rights == nil {
		rights = noShares
	}
	return Set{host: h, owner: owner, function: function, rights: rights}
}

// allows refuses what the function may not do.
func (s *Set) allows(name string, write bool) (Access, error) {
	if err := CheckName(name); err != nil {
		return None, err
	}
	a := s.rights(name)
	if isWindow(name) {
		a = min(a, Read)
	}
	switch {
	case a == None:
		return a, fmt.Errorf("%w use it: %w", ErrDenied, unix.EACCES)
	case write && a != Write:
		return a, fmt.Errorf("%w write to it, only read it: %w", ErrDenied, unix.EACCES)
	}
	return a, nil
}

// Open implements vmm.Regions.
func (s *Set) Open(name string, flags uint32, bytes uint64) (vmm.Region, error) {
	write := flags&(guest.RegionWrite|guest.RegionCreate) != 0
	access, err := s.allows(name, write)
	if err != nil {
		return vmm.Region{}, err
	}
	if flags&guest.RegionCreate == 0 {
		bytes = 0
	}
	r, err := s.host.find(s.owner, s.function, name, bytes, flags&guest.RegionExcl != 0 && flags&guest.RegionCreate != 0)
	if err != nil {
		return vmm.Region{}, err
	}
	if old := s.mapped[name]; old != nil && old != r {
		return vmm.Region{}, fmt.Errorf("it was removed and made anew, and this instance still maps the one before: unmap that first: %w", unix.ESTALE)
	}
	return s.offered(r, access), nil
}

// offered is a region as a machine gets it.
func (s *Set) offered(r *Region, a Access) vmm.Region {
	m := vmm.Region{Bytes: r.Bytes, Read: &r.read}
	if a == Write {
		m.Write = &r.write
	}
	if !r.ready() {
		m.Prepare = func() (bool, error) { return s.host.fill(r) }
	}
	return m
}

// Map implements vmm.Regions.
func (s *Set) Map(name string, write bool) (vmm.Region, error) {
	if isWindow(name) && !write {
		return s.window(name)
	}
	access, err := s.allows(name, write)
	if err != nil {
		return vmm.Region{}, err
	}
	r, err := s.take(s.owner, s.function, name, 0)
	if err != nil {
		return vmm.Region{}, err
	}
	return s.offered(r, access), nil
}

// take returns the region of a name that is mapped, or maps it; one of bytes is made if it is not
// there.
func (s *Set) take(owner, function, name string, bytes uint64) (*Region, error) {
	if r := s.mapped[name]; r != nil {
		return r, nil
	}
	for { // one that was found may go before it is taken
		found, err := s.host.find(owner, function, name, bytes, false)
		if err != nil {
			return nil, err
		}
		if !s.host.take(found) {
			continue
		}
		if s.mapped == nil {
			s.mapped = map[string]*Region{}
		}
		s.mapped[name] = found
		return found, nil
	}
}

// Mapped implements vmm.Regions.
func (s *Set) Mapped(names []string) {
	keep := make(map[string]bool, len(names))
	for _, name := range names {
		if isWindow(name) && s.mapped[name] == nil {
			name = noWindow
		}
		keep[name] = true
	}
	for name, r := range s.mapped {
		if !keep[name] {
			delete(s.mapped, name)
			s.host.give(r)
		}
	}
}

// Sync implements vmm.Regions. Nothing is kept by it: that takes a push, which waits for a disk.
func (s *Set) Sync(name string, _, _ uint64) error {
	_, err := s.allows(name, true)
	return err
}

// Remove implements vmm.Regions.
func (s *Set) Remove(name string) error {
	if _, err := s.allows(name, true); err != nil {
		return err
	}
	return s.host.Remove(s.owner, name)
}

// Close lets go of all. The instance must be over.
func (s *Set) Close() {
	if len(s.mapped) > 0 {
		s.Mapped(nil)
	}
}
