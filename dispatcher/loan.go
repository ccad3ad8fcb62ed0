package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
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

// Where an instance that lives on is between two uses.

// standTime is how long one stands on its machine that nobody wants and that has nothing to do:
// beyond that there is no use in it.
const standTime = 10 * time.Second

// rest has it come to rest, and stand on its machine, or be parked where somebody wants that or
// there is no room for what it might take then.
func rest(l *life) error {
	if l.i.Parked() != nil { // it was, as it waited
		_, err := instance.Park(l.i, time.Time{})
		return err
	}
	if err := instance.Settle(l.i, time.Now().Add(restTime)); err != nil {
		return err
	}
	return sit(l)
}

// sit is rest for one that has settled on its machine.
func sit(l *life) (err error) {
	if l.rests, l.woken, l.most, err = instance.Rests(l.i); err != nil {
		return err
	}
	if l.same != nil {
		l.most += l.same.Bytes()
	}
	if l.d.lot.Grow(&l.away.stay, l.most) {
		if s := l.loan.pool.stand(func() *instance.VM { return vacate(l) }); s != nil {
			l.seat.Store(s)
			return nil
		}
	}
	differ(l) // nobody counts what it was copied as, where it stands nowhere
	vm := vacate(l)
	if vm == nil {
		return l.broken
	}
	l.loan.pool.recycle(vm, false, nil)
	return nil
}

// differ notes that it is going to differ from what it was copied as.
func differ(l *life) {
	if l.same != nil {
		l.same.Drop()
		l.same = nil
	}
}

// vacate has it leave its machine, which is returned; nil: it has ended, with the machine. Who
// has taken its seat calls it.
func vacate(l *life) *instance.VM {
	vm, err := instance.Leave(l.i)
	if err != nil {
		l.broken = fmt.Errorf("leave the machine: %w", err)
		l.loan.pool.discard(l.i.End())
		return nil
	}
	return vm
}

// claim reports whether it stands on its machine, which nobody can take then. An error is why it
// has ended: nobody has heard of it.
func claim(l *life) (stands bool, err error) {
	if s := l.seat.Load(); s != nil {
		stands = l.loan.pool.claim(s)
		l.seat.Store(nil)
	}
	if !stands {
		differ(l)
	}
	if err = l.broken; err != nil {
		l.end(nil)
	}
	return stands, err
}

// Stands reports whether it is on a machine, which it leaves where somebody wants that.
func (l *life) Stands() bool {
	s := l.seat.Load()
	if s == nil {
		return false
	}
	select {
	case <-s.left:
		return false
	default:
		return true
	}
}

// Leave has it leave the machine that it stands on. An error is why it has ended.
func (l *life) Leave() error {
	stands, err := claim(l)
	if !stands || err != nil {
		return err
	}
	vm := vacate(l)
	if vm == nil {
		_, err := claim(l)
		return err
	}
	l.loan.pool.recycle(vm, false, nil)
	if err := l.room(); err != nil {
		l.end(nil)
		return err
	}
	return nil
}

// stand is Wait on its machine; not over: it has left that.
func stand(l *life, s *seat, until time.Time, frozen bool, bell <-chan struct{}) (end instances.End, over bool) {
	if !frozen {
		at := time.Now().Add(standTime)
		for _, other := range []time.Time{until, l.rests} {
			if !other.IsZero() && other.Before(at) {
				at = other
			}
		}
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		select {
		case <-s.left:
		case <-bell:
			return instances.Rung, true
		case <-l.woken:
			return instances.Due, true
		case now := <-t.C:
			if !until.IsZero() && !now.Before(until) {
				return instances.Passed, true
			} else if !l.rests.IsZero() && !now.Before(l.rests) {
				return instances.Due, true
			}
		}
	}
	if err := l.Leave(); err != nil {
		l.i, l.broken = nil, err // it is said by what is asked of it next
		if !frozen {
			return instances.Due, true
		}
	}
	return 0, false
}
