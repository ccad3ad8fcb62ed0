package dispatcher

import (
	"slices"
	"time"
	"weak"

	"seuss/dispatcher/instance"
)

// emptyMachineBytes is what a machine takes that has not run: page tables, rings,
// the vCPU.
const emptyMachineBytes = 2 << 20

// demandSlots is into how many parts the window of the demand is divided.
const demandSlots = 10

// demand is what was asked of a pool within a sliding window: the most machines at
// a time, and which nodes requests had to wait for because no machine stood ready.
// It does not hold those: what the store lets go of for room must not stay in memory.
type demand struct {
	slot   time.Duration
	peaks  [demandSlots]int
	misses [demandSlots]map[weak.Pointer[instance.Snapshot]]int
	missed map[weak.Pointer[instance.Snapshot]]int // the sums of misses
	at     int                                     // the current slot
	since  time.Time                               // its beginning
}

func newDemand(window time.Duration) demand {
	if window <= 0 {
		window = 10 * time.Second // for the misses, which count in any case
	}
	return demand{slot: window / demandSlots}
}

// turn drops the slots that have left the window.
func (d *demand) turn(now time.Time) {
	if d.since.IsZero() {
		d.since = now
	}
	for n := 0; now.Sub(d.since) >= d.slot; n++ {
		if n == demandSlots { // all are empty
			d.since = now
			break
		}
		d.at = (d.at + 1) % demandSlots
		d.peaks[d.at] = 0
		for w, n := range d.misses[d.at] {
			if d.missed[w] -= n; d.missed[w] == 0 {
				delete(d.missed, w)
			}
		}
		clear(d.misses[d.at])
		d.since = d.since.Add(d.slot)
	}
}

// miss notes that no machine stood ready on t, and reports whether that has
// happened before: once is no reason to make a machine.
func (d *demand) miss(t *instance.Snapshot) bool {
	if d.missed == nil {
		d.missed = map[weak.Pointer[instance.Snapshot]]int{}
	}
	if d.misses[d.at] == nil {
		d.misses[d.at] = map[weak.Pointer[instance.Snapshot]]int{}
	}
	w := weak.Make(t)
	d.misses[d.at][w]++
	d.missed[w]++
	return d.missed[w] >= 2
}

// peak is the most machines that were asked for within the window.
func (d *demand) peak() int { return slices.Max(d.peaks[:]) }

// wanted returns the node that was missed most often of those that count, nil if there is
// none. Of equals it is the one whose id is the smallest.
func (d *demand) wanted(counts func(*instance.Snapshot) bool) (most *instance.Snapshot) {
	missed := 0
	for w, n := range d.missed {
		if n < missed {
			continue
		}
		if t := w.Value(); t != nil && counts(t) && (n > missed || t.Node.Info.ID < most.Node.Info.ID) {
			most, missed = t, n
		}
	}
	return most
}

// room reports whether one more machine may be made. A pool without any is told when it
// makes one if there is none for it. p.mu is held.
func (p *pool) room() bool {
	return p.below() && (p.total == 0 || p.ps.room == nil || p.ps.room.Room())
}

// below reports whether the pool may have one machine more, if there is room for it. p.mu
// is held.
func (p *pool) below() bool {
	return p.total < p.ps.sizes.most && (p.ps.sizes.bytes == 0 || p.total == 0 || p.bytes()+p.typical() <= p.ps.sizes.bytes)
}

// bytes estimates the private memory of all machines: what is known of the free
// ones, and as much for each of the others. p.mu is held.
func (p *pool) bytes() uint64 { return uint64(p.total) * p.typical() }

func (p *pool) typical() uint64 {
	n := uint64(p.free.Len())
	if n == 0 {
		return emptyMachineBytes
	}
	return emptyMachineBytes + p.free.Private()/n
}

// grow makes a machine ready on t, off the request path. One is made at a time.
func (p *pool) grow(t *instance.Snapshot) {
	p.mu.Lock()
	if p.closed || p.counts.growing || !p.room() {
		p.mu.Unlock()
		return
	}
	p.counts.growing = true
	p.total++
	p.counts.madeAhead++
	p.mu.Unlock()
	made := func() {
		p.mu.Lock()
		p.counts.growing = false
		p.mu.Unlock()
	}
	if !p.ps.tasks.Background(func() {
		defer made()
		vm, err := p.create(t)
		if err == nil {
			if _, err = vm.Restore(t); err != nil {
				p.discard(vm)
			}
		}
		if err != nil {
			p.ps.log.Warn("a machine could not be made ahead of demand", "image", p.image.Name, "error", err)
			return
		}
		p.put(slot{VM: vm})
	}) {
		made()
		p.lost()
	}
}

// size is how many machines the demand asks for: as many as were in use at a time
// and one to spare, and one for each node that found none ready. p.mu is held.
func (p *pool) size() int {
	want := 0
	if peak := p.demand.peak(); peak > 0 {
		want = max(peak+1, len(p.demand.missed))
	}
	want = max(want, p.ps.sizes.floor)
	if budget := p.ps.sizes.bytes; budget > 0 {
		want = min(want, max(int(budget/p.typical()), 1))
	}
	return min(want, p.ps.sizes.most)
}

// resize closes machines that the demand of the window did not need, those that
// have been free the longest first, and makes one where there are too few.
func (p *pool) resize(now time.Time) {
	p.mu.Lock()
	p.demand.turn(now)
	want := p.size()
	var idle []*instance.VM
	for p.total-len(idle) > want {
		s, ok := p.free.TakeOldest(now.Add(-p.ps.sizes.window / 2))
		if !ok {
			break
		}
		idle = append(idle, s.VM)
	}
	p.counts.closedIdle += uint64(len(idle))
	var next *instance.Snapshot
	if p.total < want {
		next = p.nextWanted()
	}
	p.mu.Unlock()
	for _, vm := range idle {
		p.discard(vm)
	}
	if next != nil {
		p.grow(next)
	}
}

// oldest tells since when the machine is free that has been the longest, if the pool has
// at least so many; where none is, since when an instance stands on one and has nothing to do.
func (p *pool) oldest(least int) (freed time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total < least {
		return freed, false
	}
	if freed, ok = p.free.Oldest(); !ok && p.seats.Len() > 0 {
		return p.seats.Front().Value.(*seat).since, true
	}
	return freed, ok
}

// closeOldest closes that machine; false: none is free, and no instance stands on one and has
// nothing to do.
func (p *pool) closeOldest() bool {
	p.mu.Lock()
	free, ok := p.free.TakeOldest(time.Now())
	vm := free.VM
	var s *seat
	if !ok {
		s = p.vacate()
	}
	if ok || s != nil {
		p.counts.closedIdle++
	}
	p.mu.Unlock()
	if s != nil {
		vm = p.empty(s)
	}
	if vm != nil {
		p.discard(vm)
	}
	return ok || s != nil
}

// nextWanted is the node that was missed most and has no free machine, or else the
// node of any free machine. p.mu is held.
func (p *pool) nextWanted() *instance.Snapshot {
	if t := p.demand.wanted(func(t *instance.Snapshot) bool { return p.free.ReadyOn(t) == 0 }); t != nil {
		return t
	}
	return p.free.OldestReady()
}

// poolCounts are guarded by the pool's lock.
type poolCounts struct {
	growing    bool
	ready      uint64 // requests that found a machine ready on their node
	moved      uint64 // that took another free machine
	madeOnPath uint64 // for which a machine was made
	vacated    uint64 // that took the machine of an instance which stood on it
	waited     uint64
	madeAhead  uint64 // machines made off the request path
	closedIdle uint64
}

// PoolStats are the state and the counts of one image's pool.
type PoolStats struct {
	Image       string `json:"image"`
	ImageDigest string `json:"image_digest"`
	Machines    int    `json:"machines"`
	Free        int    `json:"free"`
	Ready       int    `json:"ready"`    // free and reset to a node
	Standing    int    `json:"standing"` // instances that live on stand there, and have nothing to do
	Waiting     int    `json:"waiting"`
	Wanted      int    `json:"wanted"` // by the demand of the window
	Ceiling     int    `json:"ceiling"`
	Floor       int    `json:"floor"`
	Bytes       uint64 `json:"private_bytes"` // estimated

	HitsReady   uint64         `json:"requests_ready"`
	HitsMoved   uint64         `json:"requests_moved"`
	HitsMade    uint64         `json:"requests_made"`
	HitsVacated uint64         `json:"requests_vacated"` // that took such a machine
	HitsWaited  uint64         `json:"requests_waited"`
	MadeAhead   uint64         `json:"made_ahead"`
	ClosedIdle  uint64         `json:"closed_idle"`
	At          map[string]int `json:"at"` // ready machines by node
	// FreePrivate is what the free machines had of their own, of the host's memory, when
	// they were put back.
	FreePrivate uint64 `json:"free_resident_private_bytes"`
}

// Pools returns what the pools hold, by image.
func (d *Dispatcher) Pools() []PoolStats { return d.pools.stats() }

// stats reads counts that are kept, so that whoever asks delays nobody: but for the table
// of who stands where, it costs the same however many machines there are.
func (p *pool) stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.counts
	st := PoolStats{
		Image: p.image.Name, ImageDigest: p.image.Digest, Machines: p.total, Free: p.free.Len(), Ready: p.free.Ready(), Standing: p.seats.Len(), Waiting: len(p.waiters),
		Wanted: p.size(), Ceiling: p.ps.sizes.most, Floor: p.ps.sizes.floor, Bytes: p.bytes(),
		HitsReady: c.ready, HitsMoved: c.moved, HitsMade: c.madeOnPath, HitsVacated: c.vacated, HitsWaited: c.waited, MadeAhead: c.madeAhead, ClosedIdle: c.closedIdle,
		At: map[string]int{}, FreePrivate: p.free.Private(),
	}
	for g, n := range p.free.Groups() {
		if g.Ready {
			st.At[g.Snapshot.Node.Info.ID] += n
		}
	}
	return st
}
