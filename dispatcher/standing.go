package dispatcher

// Where an instance that lives on is between two uses: on its machine, until somebody wants
// that, who parks it then; or parked.

import (
	"container/list"
	"fmt"
	"sync/atomic"
	"time"

	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
)

// seat is a machine of a pool on which an instance stands that has nothing to do. It is the
// instance's until somebody wants a machine, who has it parked then.
type seat struct {
	leave func() *instance.VM // parks it; nil: its machine is gone
	since time.Time
	left  chan struct{} // closed when it has left for somebody
	at    *list.Element // in pool.seats; nil: it is in there no more
}

// stand has an instance stand on its machine, until claim; nil: somebody wants that.
func (p *pool) stand(leave func() *instance.VM) *seat {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.waiters) > 0 {
		return nil
	}
	s := &seat{leave: leave, since: time.Now(), left: make(chan struct{})}
	s.at = p.seats.PushBack(s)
	return s
}

// claim gives a machine back to the instance that stands on it; false: it has left it for
// somebody, who has done with it.
func (p *pool) claim(s *seat) bool {
	p.mu.Lock()
	stands := s.at != nil
	p.takeSeat(s)
	p.mu.Unlock()
	if !stands {
		<-s.left // it is being parked, which waits for nobody
	}
	return stands
}

// takeSeat takes a seat off the list. p.mu is held.
func (p *pool) takeSeat(s *seat) {
	if s.at != nil {
		p.seats.Remove(s.at)
		s.at = nil
	}
}

// vacate takes the seat of the instance that has stood the longest, which is to be emptied;
// nil: there is none. p.mu is held.
func (p *pool) vacate() *seat {
	e := p.seats.Front()
	if e == nil {
		return nil
	}
	s := e.Value.(*seat)
	p.takeSeat(s)
	return s
}

// empty has the instance of a seat that was vacated leave it, and returns its machine; nil: that
// is gone.
func (p *pool) empty(s *seat) *instance.VM {
	defer close(s.left)
	return s.leave()
}

// seated is what a life has of its instance while that stands on its machine.
type seated struct {
	seat   atomic.Pointer[seat] // on which i stands; nil: none, or it is the instance's, or i is parked
	rests  time.Time            // when i has something to do, on its seat; zero: no timer is set
	woken  <-chan struct{}      // has something then, too
	nudge  func()               // has who is on that machine look
	most   uint64               // bytes that i takes at most, on a machine
	same   *instance.Copy       // of i, which has done nothing since; nil: nobody wanted one
	broken error                // why i has ended as it left its seat; nil: it has not
}

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
	if l.rests, l.woken, l.nudge, l.most, err = instance.Rests(l.i); err != nil {
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
			select {
			case <-s.left: // it may have been for who has the machine now
				l.nudge()
			default:
			}
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
