package chain

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
)

// call is one, from when it was made until nobody has anything of it.
type call struct {
	c       *Chains
	call    Call
	context context.Context // in which it runs
	order   uint64
	key     string // in Chains.keys; "": it has none
	sum     uint64 // of its event, where it has one
	done    chan struct{}

	// Under Chains.mu.
	callers map[*Caller]int // how often they have called it by its key, and not awaited it
	payer   *Caller         // as whose its bytes count
	held    int64           // bytes that it counts as; -1: none, and it is forgotten
	queue   *queue
	at      int                     // in its queue; -1: not there
	cancel  context.CancelCauseFunc // nil: it waits in the queue
	late    *time.Timer             // nil: it has no deadline
	begun   bool
	over    bool
	ended   time.Time
	output  []byte
	err     error
	watch   map[*first]struct{}
	keeping *list.Element // in Chains.kept
	idle    idlers
}

// first waits for the first of several calls.
type first struct{ id chan string }

func (w *first) tell(k *call) {
	select {
	case w.id <- k.call.Request:
	default: // another one was first
	}
}

// tell has w told when the call is over. mu is held.
func (k *call) tell(w *first) {
	if k.over {
		w.tell(k)
		return
	}
	if k.watch == nil {
		k.watch = map[*first]struct{}{}
	}
	k.watch[w] = struct{}{}
}

// finish ends a call. mu is held.
func (k *call) finish(out []byte, err error) {
	if k.over {
		return
	}
	c := k.c
	k.over, k.ended = true, time.Now()
	delete(c.runs, k.id())
	if k.late != nil {
		k.late.Stop()
	}
	c.give(k.payer, 0, int64(len(k.call.Event)))
	k.held -= int64(len(k.call.Event))
	k.call.Event = nil
	what, bytes := "result", int64(len(out))
	if err != nil {
		what, bytes = "error", failureBytes(err)
	}
	if full := c.take(k.payer, 0, bytes); full != nil {
		err = fmt.Errorf("its %s of %d bytes: %w", what, bytes, full)
	} else if k.held += bytes; err == nil {
		k.output = out
	}
	if k.err = err; err != nil {
		c.stats.Failed++
	}
	if k.key != "" && c.keys[k.key] == k {
		if err == nil && !c.closed {
			k.keeping = c.kept.PushBack(k)
		} else {
			delete(c.keys, k.key) // who tries again has it run again
		}
	}
	for w := range k.watch {
		w.tell(k)
	}
	k.watch = nil
	close(k.done)
	k.settle()
}

// failureBytes is what an error takes that is the function's, which says what it likes; others
// are short.
func failureBytes(err error) (bytes int64) {
	const line = 16 // a string, beside its text
	var own *Failure
	if errors.As(err, &own) {
		bytes = int64(len(own.Type) + len(own.Message))
		for _, text := range own.Trace {
			bytes += line + int64(len(text))
		}
	}
	return bytes
}

// settle forgets a call that is over, if nobody has anything of it, and cancels one that
// nobody waits for. mu is held.
func (k *call) settle() {
	switch {
	case len(k.callers) > 0:
	case !k.over:
		k.c.stats.Canceled++
		if k.key != "" && k.c.keys[k.key] == k {
			delete(k.c.keys, k.key)
		}
		if k.cancel != nil {
			k.cancel(errCallerGone)
			break
		}
		k.queue.leave(k)
		k.finish(nil, ErrCancelled)
	case k.keeping != nil:
		k.idles()
	case k.held >= 0:
		k.c.give(k.payer, 1, k.held)
		k.held, k.output = -1, nil
	}
}

// errCallerGone matches what a client has that has gone: no fault of the function's.
var errCallerGone = fmt.Errorf("%w: nobody waits for it any more: %w", ErrCancelled, context.Canceled)

// result is what has come of it.
func (k *call) result() ([]byte, error) {
	if k.err == nil {
		return k.output, nil
	}
	var own *Failure
	if errors.As(k.err, &own) {
		return nil, own
	}
	return nil, fmt.Errorf("call of %q: %w", k.call.Function, k.err)
}

// id is that of its request, in Chains.runs.
func (k *call) id() string { return functions.Key(k.payer.who.Owner, k.call.Request) }

// mostAbove bounds how many invocations above one are looked at when it joins a call.
const mostAbove = 1000

// errAbove: there are more.
var errAbove = fmt.Errorf("more than %d invocations may wait for this one, and whether that which it calls by its key is one of them is not looked for: call without a key: %w", mostAbove, ErrTooMany)

// above reports whether a call that runs is that of the caller, or of one that waits for it, or
// may come to. mu is held.
func (r *Caller) above(k *call) (bool, error) {
	first := r.c.runs[functions.Key(r.who.Owner, r.who.Link.Request)]
	if first == nil || k.over {
		return false, nil
	}
	seen, next := map[*call]bool{first: true}, []*call{first}
	for steps := 0; len(next) > 0; {
		under := next[len(next)-1]
		next = next[:len(next)-1]
		if under == k {
			return true, nil
		}
		for caller := range under.callers {
			if steps++; steps > mostAbove {
				return false, errAbove
			}
			up := r.c.runs[functions.Key(caller.who.Owner, caller.who.Link.Request)]
			if up != nil && !seen[up] {
				seen[up] = true
				next = append(next, up)
			}
		}
	}
	return false, nil
}
