package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"seuss/dispatcher/capacity"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/tasks"
)

// pools are the machines of all images.
type pools struct {
	host  *instance.Host
	room  *capacity.Budget
	tasks *tasks.Group
	log   *slog.Logger
	sizes poolSizes
	want  func() // is called when somebody has to wait for a machine

	mu      sync.Mutex
	byImage map[string]*pool // by the image's digest; nil: closed
}

// poolSizes are the limits of each pool: see Options.
type poolSizes struct {
	most, floor int
	window      time.Duration
	bytes       uint64
}

func newPools(host *instance.Host, room *capacity.Budget, tasks *tasks.Group, log *slog.Logger, sizes poolSizes, want func()) *pools {
	ps := &pools{host: host, room: room, tasks: tasks, log: log, sizes: sizes, want: want, byImage: map[string]*pool{}}
	if sizes.window > 0 {
		tasks.Every(max(sizes.window/demandSlots, 10*time.Millisecond), ps.resize)
	}
	return ps
}

// of returns an image's pool, which is the image's from then on. It says itself if it is
// closed.
func (ps *pools) of(img *image) (*pool, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byImage == nil {
		return nil, ErrClosed
	}
	p := ps.byImage[img.Digest]
	if p == nil {
		p = newPool(ps, img)
		ps.byImage[img.Digest] = p
	}
	img.pool.Store(p)
	return p, nil
}

func (ps *pools) all() []*pool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return slices.Collect(maps.Values(ps.byImage))
}

// lend makes an instance of a snapshot, for something under way that may be killed while it
// waits for a machine. own asks for a machine of its own.
func (ps *pools) lend(ctx context.Context, progress *inflight.Progress, img *image, s *instance.Snapshot, own bool) (l loan, err error) {
	l.pools = ps
	p := img.pool.Load()
	if p == nil {
		if p, err = ps.of(img); err != nil {
			return loan{}, err
		}
	}
	if ps.host.Demand {
		ps.host.BeginLoading(s)
	}
	began := time.Now()
	s.Hold()
	var vm *instance.VM
	if own {
		vm, err = ps.make(img, s)
	} else {
		l.pool = p
		vm, err = p.take(ctx, progress, s)
	}
	if err != nil {
		s.Release()
		return loan{}, err
	}
	l.waited = time.Since(began)
	if l.Instance, err = vm.Begin(s); err != nil {
		l.discard(vm)
		s.Release()
		return loan{}, err
	}
	return l, nil
}

// make makes a machine. Where there is no room for one, it takes that of the machine that
// has been free the longest in any pool.
func (ps *pools) make(img *image, s *instance.Snapshot) (*instance.VM, error) {
	for {
		vm, err := instance.NewVM(ps.host, img.Image, s)
		if !errors.Is(err, ErrFull) || !ps.shrink(0) {
			return vm, err
		}
	}
}

// shrink closes the machine that has been free the longest of pools that have at least so
// many; false: none is free.
func (ps *pools) shrink(least int) bool {
	var from *pool
	var freed time.Time
	for _, p := range ps.all() {
		if at, ok := p.oldest(least); ok && (from == nil || at.Before(freed)) {
			from, freed = p, at
		}
	}
	return from != nil && from.closeOldest()
}

// readyAt is how many machines stand ready on a snapshot.
func (ps *pools) readyAt(img *image, t *instance.Snapshot) int {
	p := img.pool.Load()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free.ReadyOn(t)
}

// standing adds the nodes of the machines that are free.
func (ps *pools) standing(ids map[string]bool) {
	for _, p := range ps.all() {
		p.mu.Lock()
		for g := range p.free.Groups() {
			if g.Snapshot != nil {
				ids[g.Snapshot.Node.ID] = true
			}
		}
		p.mu.Unlock()
	}
}

// resize brings every pool to its size.
func (ps *pools) resize(now time.Time) {
	for _, p := range ps.all() {
		p.resize(now)
	}
}

// busy reports whether somebody waits for a machine, or more than half of those that a pool
// may have were used at a time within its window.
func (ps *pools) busy(now time.Time) bool {
	return slices.ContainsFunc(ps.all(), func(p *pool) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.demand.turn(now)
		return len(p.waiters) > 0 || 2*max(p.demand.peak(), p.used()) > ps.sizes.most
	})
}

// stats returns what the pools hold, by image.
func (ps *pools) stats() []PoolStats {
	list := []PoolStats{}
	for _, p := range ps.all() {
		list = append(list, p.stats())
	}
	slices.SortFunc(list, func(a, b PoolStats) int { return cmp.Compare(a.Image+a.ImageDigest, b.Image+b.ImageDigest) })
	return list
}

// close destroys all machines that are free, and has those destroyed that come back.
func (ps *pools) close() error {
	ps.mu.Lock()
	all := ps.byImage
	ps.byImage = nil
	ps.mu.Unlock()
	var errs []error
	for _, p := range all {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}
