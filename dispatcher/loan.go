package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/park"
	"seuss/dispatcher/planner"
	"seuss/dispatcher/sched"
)

// loan is an instance on a machine of a pool, or on one of its own.
type loan struct {
	*instance.Instance
	pools  *pools
	pool   *pool         // nil: the machine is the instance's own
	waited time.Duration // for the machine
}

// beside makes an instance on a machine that is made for it, and only where the host has
// room for one: it takes none from who serves.
func (ps *pools) beside(img *image, s *instance.Snapshot) (loan, error) {
	s.Hold()
	vm, err := instance.NewVM(ps.host, img.Image, s)
	if err == nil {
		var i *instance.Instance
		if i, err = vm.Begin(s); err == nil {
			return loan{Instance: i, pools: ps}, nil
		}
		err = errors.Join(err, vm.Close())
	}
	s.Release()
	if errors.Is(err, ErrFull) {
		err = fmt.Errorf("%w: %w", planner.ErrNoRoom, err)
	}
	return loan{}, err
}

// release ends the instance and gives the machine back. It is reset off the caller's
// path, or here; onReset is told.
func (l *loan) release(here bool, onReset func(Reset)) {
	s := l.Start()
	switch vm := l.End(); {
	case vm == nil: // it was parked
	case l.pool == nil:
		l.discard(vm)
	default:
		l.pool.recycle(vm, here, onReset)
	}
	s.Release()
}

// destroy is release for a machine that is not to be trusted with a reset.
func (l *loan) destroy() {
	l.Start().Release()
	if vm := l.End(); vm != nil {
		l.discard(vm)
	}
}

func (l *loan) discard(vm *instance.VM) {
	if l.pool != nil {
		l.pool.discard(vm)
	} else if err := vm.Close(); err != nil {
		l.pools.log.Error("a machine could not be destroyed cleanly", "error", err)
	}
}

// failed reports whether an instance ended in a way after which its machine is thrown
// away: a reset would do, but a crash may be the machine's fault.
func failed(err error) bool {
	if err == nil {
		return false
	}
	var crash *CrashError
	return errors.As(err, &crash) || errors.Is(err, ErrMemory)
}

// Turn is an invocation's slot, which whoever lets it in has given it, and which it does
// without while it is parked.
type Turn interface {
	// Wanted reports whether somebody waits for a slot.
	Wanted() bool
	// Pause gives the slot back.
	Pause()
	// Rested notes that the slot was not needed for so long, and nobody wanted it.
	Rested(time.Duration)
	// Resume waits for one again, and ends with ctx or when it is killed.
	Resume(ctx context.Context, progress *inflight.Progress) error
}

// away parks an invocation's instance where somebody wants its machine or its slot: it is an
// instance.Parking.
type away struct {
	of       *loan // on a machine of a pool
	turn     Turn  // nil: it has none
	progress *inflight.Progress
	lot      *park.Lot
	stay     park.Stay
	since    time.Time // when it began to rest; zero: it does not
}

func (a *away) Waits() bool {
	if a.since.IsZero() {
		a.since = time.Now()
	}
	return a.lot.Rest(&a.stay, a.of.Nudge, a.wanted)
}

func (a *away) Works() {
	a.lot.Work(&a.stay)
	a.rested()
}

// rested is the end of a rest on the machine.
func (a *away) rested() {
	if a.turn != nil && !a.since.IsZero() {
		a.turn.Rested(time.Since(a.since))
	}
	a.since = time.Time{}
}

func (a *away) Room(bytes uint64) bool { return a.lot.Take(&a.stay, bytes) }

func (a *away) wanted() bool { return a.turn != nil && a.turn.Wanted() || a.of.pool.wanted() }

func (a *away) Discard(vm *instance.VM) { a.of.discard(vm) }

func (a *away) Park(ctx context.Context, p *instance.Parked, vm *instance.VM, until time.Time) (*instance.VM, error) {
	a.rested()
	a.progress.Leave()
	a.of.pool.recycle(vm, false, nil)
	if a.turn != nil {
		a.turn.Pause()
	}
	due := p.Due
	if due.IsZero() || !until.IsZero() && until.Before(due) {
		due = until
	}
	switch a.lot.Wait(ctx, &a.stay, p, due, a.progress.Done()) {
	case park.Ended:
		return nil, ErrKilled
	case park.Cancelled:
		return nil, fmt.Errorf("cancelled: %w", context.Cause(ctx))
	case park.Closed:
		return nil, ErrClosed
	}
	if !until.IsZero() {
		var done context.CancelFunc
		ctx, done = context.WithDeadlineCause(ctx, until, ErrTimeout)
		defer done()
	}
	return a.back(ctx, p)
}

// back waits for the instance's turn, and for a machine.
func (a *away) back(ctx context.Context, p *instance.Parked) (*instance.VM, error) {
	if a.turn != nil {
		if err := a.turn.Resume(ctx, a.progress); errors.Is(err, sched.ErrEnded) {
			return nil, ErrKilled
		} else if err != nil {
			return nil, fmt.Errorf("wait for a turn: %w", err)
		}
	}
	vm, err := a.of.pool.take(ctx, a.progress, p.Snapshot())
	if err == nil {
		a.lot.Back(p.Due)
		a.progress.Move(vm)
	}
	return vm, err
}
