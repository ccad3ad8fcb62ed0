package park

import (
	"container/heap"
	"time"
)

// timers has all that are parked and have a timer, the earliest first.
type timers []*Stay

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].at, t[j].at = i+1, j+1
}

// Push and Pop are container/heap's.
func (t *timers) Push(x any) {
	s := x.(*Stay)
	*t = append(*t, s)
	s.at = len(*t)
}

func (t *timers) Pop() any {
	last := len(*t) - 1
	s := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	s.at = 0
	return s
}

func (t *timers) push(s *Stay) { heap.Push(t, s) }

func (t *timers) remove(s *Stay) {
	if s.at > 0 {
		heap.Remove(t, s.at-1)
	}
}

// loop wakes who is due and has what is old squeezed, until the Lot is closed.
func (l *Lot) loop() {
	defer close(l.done)
	defer l.helpers.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, closed := l.step(time.Now())
		if closed {
			return
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-l.kick:
		}
	}
}

// restful is how long the goroutine sleeps where nothing is to be done.
const restful = time.Hour

// step wakes who is due, has one that is old squeezed, by another goroutine, since that takes
// as long as its guest has made it, and says after what time there is more to do.
func (l *Lot) step(now time.Time) (next time.Duration, closed bool) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return 0, true
	}
	for len(l.timers) > 0 && !l.timers[0].due.After(now) {
		s := heap.Pop(&l.timers).(*Stay)
		s.turn <- struct{}{} // it has room: one stay, one timer
	}
	next = restful
	if len(l.timers) > 0 {
		next = l.timers[0].due.Sub(now)
	}
	var old *Stay
	if e := l.whole.Front(); e != nil && !l.busy {
		w := e.Value.(waiting)
		if left := l.o.Age - now.Sub(w.since); left > 0 {
			next = min(next, left)
		} else {
			old, l.busy = w.s, true
			l.takeWhole(old)
			old.busy = make(chan struct{})
		}
	}
	l.mu.Unlock()
	if old != nil {
		l.helpers.Go(func() { l.age(old, old.busy) })
	}
	return next, false
}

// age squeezes what is old. Who waits for it has busy closed.
func (l *Lot) age(old *Stay, busy chan struct{}) {
	l.squeeze(old)
	close(busy)
	l.mu.Lock()
	l.busy = false
	l.mu.Unlock()
	l.look()
}

// look has the goroutine look what there is to do.
func (l *Lot) look() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}
