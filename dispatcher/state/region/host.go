package region

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// Errors, each of which an errno goes with that guests get.
var (
	ErrQuota    = errors.New("too much shared memory")
	ErrNotFound = errors.New("there is no such region")
	ErrDenied   = errors.New("the function may not")
)

// Limit bounds regions.
type Limit struct {
	Bytes   uint64
	Regions int
}

// Options are the limits of a Host: of what all have, an owner, and what a function has made.
// Zero stands for the defaults: DefaultAll, for an owner half of all, for a function as much
// as for its owner.
type Options struct {
	All, Owner, Function Limit
}

// DefaultAll is Options.All where that is zero. Of the files that a process may have regions
// take a sixteenth at most: each takes two.
var DefaultAll = Limit{1 << 30, 1024}

const filesShare = 32 // a region's two in a sixteenth

// Host has the regions of a host.
type Host struct {
	options Options

	mu      sync.Mutex
	regions map[key]*Region // those that can be opened
	all     Limit           // what there is, removed ones that are mapped included
	owners  map[string]*Limit
	by      map[key]*Limit // by owner and function
	leaving []*Region      // whose memory the host gets back, the first one now
	work    sync.WaitGroup // who does that
}

// key is an owner and a name of his.
type key struct{ owner, name string }

// New returns a Host without regions.
func New(o Options) *Host {
	def := func(l *Limit, d Limit) { l.Bytes, l.Regions = cmp.Or(l.Bytes, d.Bytes), cmp.Or(l.Regions, d.Regions) }
	all := DefaultAll
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		all.Regions = max(1, int(min(uint64(all.Regions), files.Cur/filesShare)))
	}
	def(&o.All, all)
	def(&o.Owner, Limit{o.All.Bytes / 2, max(o.All.Regions/2, 1)})
	def(&o.Function, o.Owner)
	return &Host{options: o, regions: map[key]*Region{}, owners: map[string]*Limit{}, by: map[key]*Limit{}}
}

// find returns an owner's region, or makes it: bytes 0 does not.
func (h *Host) find(owner, function, name string, bytes uint64, exclusive bool) (*Region, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.regions[key{owner, name}]; r != nil {
		switch {
		case exclusive:
			return nil, fmt.Errorf("there is one already: %w", unix.EEXIST)
		case bytes != 0 && bytes != r.Bytes:
			return nil, fmt.Errorf("it has %d bytes and keeps its size, %d were asked for: %w", r.Bytes, bytes, unix.EINVAL)
		}
		return r, nil
	}
	if bytes == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, unix.ENOENT)
	}
	if err := h.charge(owner, function, bytes); err != nil {
		return nil, err
	}
	r, err := newRegion(owner, function, name, bytes)
	if err != nil {
		h.refund(owner, function, bytes)
		return nil, err
	}
	h.regions[key{owner, name}] = r
	return r, nil
}

// charge takes bytes from all that bound them. mu is held.
func (h *Host) charge(owner, function string, bytes uint64) error {
	o, f := h.owners[owner], h.by[key{owner, function}]
	if o == nil {
		o = &Limit{}
	}
	if f == nil {
		f = &Limit{}
	}
	for _, c := range []struct {
		whose    string
		has, may Limit
	}{{"the function's", *f, h.options.Function}, {"its owner's", *o, h.options.Owner}, {"the host's", h.all, h.options.All}} {
		if bytes > c.may.Bytes || c.has.Bytes > c.may.Bytes-bytes {
			return fmt.Errorf("%w: %d bytes, %s regions have %d of at most %d; remove some: %w", ErrQuota, bytes, c.whose, c.has.Bytes, c.may.Bytes, unix.ENOSPC)
		}
		if c.has.Regions >= c.may.Regions {
			return fmt.Errorf("%w: %s regions are %d, as many as there may be; remove some: %w", ErrQuota, c.whose, c.has.Regions, unix.EDQUOT)
		}
	}
	h.owners[owner], h.by[key{owner, function}] = o, f
	for _, l := range []*Limit{o, f, &h.all} {
		l.Bytes, l.Regions = l.Bytes+bytes, l.Regions+1
	}
	return nil
}

// refund gives them back. mu is held.
func (h *Host) refund(owner, function string, bytes uint64) {
	o, f := h.owners[owner], h.by[key{owner, function}]
	for _, l := range []*Limit{o, f, &h.all} {
		l.Bytes, l.Regions = l.Bytes-bytes, l.Regions-1
	}
	if o.Regions == 0 {
		delete(h.owners, owner)
	}
	if f.Regions == 0 {
		delete(h.by, key{owner, function})
	}
}

// Remove removes an owner's region: who opens the name next finds none. Those that map it
// keep it.
func (h *Host) Remove(owner, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.regions[key{owner, name}]
	if r == nil {
		return fmt.Errorf("region %q: %w: %w", name, ErrNotFound, unix.ENOENT)
	}
	h.remove(r)
	return nil
}

// remove takes its name away. mu is held.
func (h *Host) remove(r *Region) {
	if !r.removed {
		r.removed = true
		delete(h.regions, key{r.Owner, r.Name})
		h.drop(r)
	}
}

// drop forgets a region that nobody has any more. mu is held.
func (h *Host) drop(r *Region) {
	if r.removed && r.users == 0 {
		h.refund(r.Owner, r.Function, r.Bytes)
		if r.Bytes <= fillUnit {
			r.close()
		} else if h.leaving = append(h.leaving, r); len(h.leaving) == 1 {
			h.work.Go(h.empty)
		}
	}
}

// empty gives back the memory of regions that nobody has any more, which takes a third of a
// second for each GiB: whoever removes one, or leaves it, does not wait for that.
func (h *Host) empty() {
	for more := true; more; {
		h.mu.Lock()
		r := h.leaving[0]
		h.mu.Unlock()
		r.close()
		h.mu.Lock()
		h.leaving = h.leaving[1:]
		more = len(h.leaving) > 0
		h.mu.Unlock()
	}
}

// leaveStep is how long one waits at a time for memory that others give back.
const leaveStep = 100 * time.Microsecond

// fill takes some memory for a region, and reports whether there is more to take. It takes
// none while some is given back that counts no longer, or there would be more than there may
// be. One that cannot have its memory is gone again.
func (h *Host) fill(r *Region) (more bool, err error) {
	h.mu.Lock()
	wait := len(h.leaving) > 0
	h.mu.Unlock()
	if wait {
		time.Sleep(leaveStep)
		return true, nil
	}
	if more, err = r.fill(); err != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.remove(r)
	}
	return more, err
}

// Get returns an owner's region for the host's own use, until Put. Where bytes is not 0
// and there is none it is made. It waits for its memory, until ctx ends.
func (h *Host) Get(ctx context.Context, owner, name string, bytes uint64) (*Region, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	for {
		r, err := h.find(owner, "", name, bytes, false)
		if err != nil {
			return nil, fmt.Errorf("region %q: %w", name, err)
		}
		if !h.take(r) {
			continue // it was removed just now
		}
		for more := true; more && err == nil; {
			if more, err = h.fill(r); err == nil && more && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		}
		if err != nil {
			h.give(r)
			return nil, fmt.Errorf("region %q: %w", name, err)
		}
		return r, nil
	}
}

// Put ends a Get.
func (h *Host) Put(r *Region) { h.give(r) }

// take counts a user, unless it is removed.
func (h *Host) take(r *Region) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.removed {
		return false
	}
	r.users++
	return true
}

// give counts a user out. A window that only guests had, and not the Store, goes with the last.
func (h *Host) give(r *Region) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.users--; r.users == 0 && !r.removed && isWindow(r.Name) {
		h.remove(r)
		return
	}
	h.drop(r)
}

// Info is what is told of a region.
type Info struct {
	Name     string `json:"name"`
	Function string `json:"function,omitempty"` // whose instance made it
	Bytes    uint64 `json:"bytes"`
	Users    int    `json:"users"` // instances that map it
}

// List returns an owner's regions whose names begin so, by name.
func (h *Host) List(owner, prefix string) []Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Info
	for k, r := range h.regions {
		if k.owner == owner && strings.HasPrefix(k.name, prefix) && !isWindow(k.name) {
			list = append(list, Info{r.Name, r.Function, r.Bytes, r.users})
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Used is what all regions take, those included that are removed and still mapped.
func (h *Host) Used() Limit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

// Close removes all regions. Those that nobody maps have given their memory back then.
func (h *Host) Close() {
	h.mu.Lock()
	for _, r := range h.regions {
		h.remove(r)
	}
	h.mu.Unlock()
	h.work.Wait()
}

// CheckName refuses what is no region's name: 1 to guest.RegionNameMax bytes without NUL and
// slash, but not "." and "..".
func CheckName(name string) error {
	if name == "" || len(name) > guest.RegionNameMax || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no region's name, which has 1 to %d bytes without a slash: %w", name, guest.RegionNameMax, unix.EINVAL)
	}
	return nil
}
