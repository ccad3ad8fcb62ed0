package dispatcher

import (
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/instance"
	"seuss/dispatcher/planner"
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
	vm := l.End()
	if l.pool == nil {
		l.discard(vm)
	} else {
		l.pool.recycle(vm, here, onReset)
	}
	s.Release()
}

// destroy is release for a machine that is not to be trusted with a reset.
func (l *loan) destroy() {
	l.Start().Release()
	l.discard(l.End())
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
