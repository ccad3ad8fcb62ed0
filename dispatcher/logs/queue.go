package logs

import (
	"slices"

	"seuss/dispatcher/functions"
)

// queue is what is to be written for a function.
type queue struct {
	key     Key
	owner   *waiting
	entries []Entry
	bytes   int
	dropped uint64 // entries since the last that was put in
	waits   bool   // it is in the owner's turns
}

// waiting is what is to be written for all functions of an owner's.
type waiting struct {
	name   string
	bytes  int
	queues int
	turns  []*queue // that have entries, in the order in which they are written
}

// queueOf returns a function's queue. mu is held.
func (s *Store) queueOf(k Key) *queue {
	q := s.queues[k]
	if q == nil {
		name := functions.OwnerOf(k.Function)
		o := s.owners[name]
		if o == nil {
			o = &waiting{name: name}
			s.owners[name] = o
		}
		q = &queue{key: k, owner: o}
		o.queues++
		s.queues[k] = q
	}
	return q
}

// Add puts an entry into the queue, or drops it; it waits for nothing. What the entry
// refers to must not be changed any more.
func (s *Store) Add(k Key, e Entry) {
	if k.Function == "" {
		return // it would be a log of all
	}
	n := e.size()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.dropped.Add(1)
		return
	}
	q := s.queueOf(k)
	// An owner may have as much of the queue as is free beside, a function as much as is left
	// of that beside what its owner has: whoever floods leaves room for the others.
	if q.bytes+q.owner.bytes+n > maxQueued-s.queued {
		q.dropped++
		s.dropped.Add(1)
		if !q.waits && len(q.entries) == 0 {
			s.turn(q) // nothing else would say so
		}
		return
	}
	e.Dropped += q.dropped
	q.dropped = 0
	q.entries = append(q.entries, e)
	s.hold(q, n)
	s.turn(q)
}

// hold counts bytes that wait. mu is held.
func (s *Store) hold(q *queue, n int) {
	q.bytes += n
	q.owner.bytes += n
	s.queued += n
}

// turn has a queue written. mu is held.
func (s *Store) turn(q *queue) {
	if !q.waits {
		q.waits = true
		o := q.owner
		if o.turns = append(o.turns, q); len(o.turns) == 1 {
			s.turns = append(s.turns, o)
		}
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// next takes the queue whose turn it is: the owners' in turn, and an owner's functions'. nil:
// nothing waits. mu is held.
func (s *Store) next() *queue {
	if len(s.turns) == 0 {
		return nil
	}
	o := s.turns[0]
	s.turns = s.turns[1:]
	q := o.turns[0]
	if o.turns = o.turns[1:]; len(o.turns) > 0 {
		s.turns = append(s.turns, o)
	}
	q.waits = false
	return q
}

// take takes entries of the function whose turn it is; none: there are none.
func (s *Store) take() (k Key, batch []Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := s.next(); q != nil; q = s.next() {
		n, bytes := 0, 0
		for n < len(q.entries) && (n == 0 || bytes+q.entries[n].size() <= maxBatch) {
			bytes += q.entries[n].size()
			n++
		}
		batch = slices.Clone(q.entries[:n])
		clear(q.entries[:n]) // what is taken is not held
		q.entries = q.entries[n:]
		s.hold(q, -bytes)
		switch {
		case len(q.entries) > 0:
			s.turn(q)
		case q.dropped > 0:
			batch = append(batch, Entry{Time: s.o.Now(), Kind: Dropped, Dropped: q.dropped, Note: "there was no room in the queue"})
			q.dropped = 0
			fallthrough
		default:
			delete(s.queues, q.key)
			if q.owner.queues--; q.owner.queues == 0 {
				delete(s.owners, q.owner.name)
			}
		}
		if len(batch) > 0 {
			return q.key, batch
		}
	}
	return k, nil
}
