package chain

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"seuss/dispatcher/functions"
)

// Who is a caller.
type Who struct {
	Owner    string
	Function string // its name, as its owner calls it
	Link     Link
	Rights   Rights
	// Deadline is when its own time is over; zero: it is not known.
	Deadline time.Time
	// Context is what its calls run in, and tells tracers whose they are; nil: the background.
	Context func() context.Context
}

// Caller has what one instance has called.
type Caller struct {
	c    *Chains
	who  Who
	done chan struct{} // closed at its end

	// Under Chains.mu.
	ended bool
	calls map[string]*call // that it has not awaited, by id
	bytes int64            // that they take
	idle  list.List        // *call: see Chains.idle
}

// Open makes a Caller. It is to be closed.
func (c *Chains) Open(who Who) (*Caller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	caller := &Caller{c: c, who: who, done: make(chan struct{}), calls: map[string]*call{}}
	c.open[caller] = struct{}{}
	return caller, nil
}

// Close ends the caller: what it waits for ends with ErrClosed, and what it has called and
// nobody else waits for is cancelled.
func (r *Caller) Close() {
	r.c.mu.Lock()
	r.end()
	r.c.mu.Unlock()
	for more := true; more; {
		r.c.mu.Lock()
		more = r.dropSome(slice)
		r.c.mu.Unlock()
	}
}

// slice is how many of a caller's calls are dealt with before mu is given to others: a caller
// may have MaxCalls.
const slice = 64

// end has nothing more happen for it. mu is held.
func (r *Caller) end() {
	if !r.ended {
		r.ended = true
		close(r.done)
		delete(r.c.open, r)
	}
}

// dropSome lets go of some of an ended caller's calls; more says that it has others. mu is held.
func (r *Caller) dropSome(n int) (more bool) {
	for id, k := range r.calls {
		if n--; n < 0 {
			return true
		}
		k.callers[r] = 1
		r.drop(id)
	}
	return false
}

// drop lets go of a call, as often as it was called. mu is held.
func (r *Caller) drop(id string) {
	k := r.calls[id]
	if k.callers[r]--; k.callers[r] > 0 {
		return
	}
	delete(r.calls, id)
	delete(k.callers, r)
	k.settle()
}

// Ask says how a function is to be called.
type Ask struct {
	// Within is what the call may take, if that is less than the caller has; 0: as long.
	Within time.Duration
	// Key makes it one call, however often it is made: while the first one runs, and for a
	// while after it has given a result, who calls the function with the same key has that.
	// "": each is its own.
	Key string
}

// margin is what a caller keeps of its time, a hundredth and at most this, to hear that a
// callee has had none left.
const margin = 100 * time.Millisecond

// Call has a function called and returns the call's id, which is the id of its request. The
// function's name may have a qualifier. The event is the Caller's from then on.
func (r *Caller) Call(function string, event []byte, ask Ask) (id string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("call %.100q: %w", function, err)
		}
	}()
	name, qualifier, qualified := strings.Cut(function, ":")
	link := &r.who.Link
	switch {
	case !functions.ValidName(name), qualified && qualifier != "$LATEST" && !functions.ValidName(qualifier):
		return "", fmt.Errorf("want the name of a function of the same owner, or NAME:QUALIFIER: %w", ErrInvalid)
	case len(event) > MaxEvent:
		return "", fmt.Errorf("its event has %d bytes, at most %d are allowed: %w", len(event), MaxEvent, ErrTooLarge)
	case len(ask.Key) > MaxKey:
		return "", fmt.Errorf("its key has %d bytes, at most %d are allowed: %w", len(ask.Key), MaxKey, ErrInvalid)
	case len(link.Above)+1 >= MaxDepth:
		return "", fmt.Errorf("it would be the %dth of a chain, one called by the other, and %d are the most: %w", len(link.Above)+2, MaxDepth, ErrTooDeep)
	}
	if err := r.who.Rights.allows(r.who.Function, name); err != nil {
		return "", err
	}
	now := time.Now()
	deadline, err := r.deadline(now, ask.Within)
	if err != nil {
		return "", err
	}
	owner := r.who.Owner
	k := &call{c: r.c, done: make(chan struct{}), callers: map[*Caller]int{r: 1}, payer: r, at: -1}
	k.call = Call{
		Link:     Link{Request: uuid.NewString(), Root: link.Root, Parent: link.Request, Above: append(slices.Clip(link.Above), functions.Key(owner, r.who.Function))},
		Function: functions.Key(owner, function), Event: event, Deadline: deadline,
	}
	if ask.Key != "" {
		k.key, k.sum = k.call.Function+"\x00"+ask.Key, maphash.Bytes(r.c.seed, event)
	}
	if k.context = context.Background(); r.who.Context != nil {
		k.context = r.who.Context()
	}
	return r.add(k, now)
}

// deadline is when a call's time is over.
func (r *Caller) deadline(now time.Time, within time.Duration) (at time.Time, err error) {
	if !r.who.Deadline.IsZero() {
		left := r.who.Deadline.Sub(now)
		if at = r.who.Deadline.Add(-min(left/100, margin)); !at.After(now) {
			return at, fmt.Errorf("the caller has no time left: %w", ErrTimeout)
		}
	}
	if own := now.Add(within); within > 0 && (at.IsZero() || own.Before(at)) {
		at = own
	}
	return at, nil
}

// add makes the call, or finds it again.
func (r *Caller) add(k *call, now time.Time) (id string, err error) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
	switch {
	case r.ended:
		return "", ErrClosed
	case len(r.calls) >= MaxCalls:
		return "", fmt.Errorf("it has %d calls open, which is the most: await or cancel some: %w", len(r.calls), ErrTooMany)
	}
	old := c.keys[k.key]
	if old != nil && old.keeping != nil && now.Sub(old.ended) >= c.o.Keep {
		c.unkeep(old)
		old = nil
	}
	if k.key != "" && old != nil {
		return r.join(old, k.sum)
	}
	k.held = callBytes + int64(len(k.call.Event))
	if err := c.take(r, 1, k.held); err != nil {
		return "", err
	}
	if k.key != "" {
		c.keys[k.key] = k
	}
	c.order++
	c.stats.Calls++
	k.order = c.order
	r.calls[k.call.Request] = k
	c.runs[k.id()] = k
	c.enqueue(k)
	return k.call.Request, nil
}

// join has the call that there is already by a key. mu is held.
func (r *Caller) join(old *call, sum uint64) (id string, err error) {
	if old.sum != sum {
		return "", fmt.Errorf("its key is that of a call with another event: %w", ErrMismatch)
	}
	switch above, err := r.above(old); {
	case err != nil:
		return "", err
	case above:
		return "", fmt.Errorf("the call with its key (request %s) leads to this one (request %s), and would wait for itself: %w", old.call.Request, r.who.Link.Request, ErrDeadlock)
	}
	r.c.stats.Joined++
	old.wanted()
	old.callers[r]++
	r.calls[old.call.Request] = old
	return old.call.Request, nil
}

// get is a call of the caller's. mu is held.
func (r *Caller) get(id string) (*call, error) {
	if r.ended {
		return nil, ErrClosed
	}
	if k := r.calls[id]; k != nil {
		return k, nil
	}
	if id == r.who.Link.Request || id == r.who.Link.Root || id == r.who.Link.Parent {
		return nil, fmt.Errorf("call %q is this very invocation, or above it in its chain: it would wait for itself: %w", id, ErrDeadlock)
	}
	return nil, fmt.Errorf("call %.80q: it is none of this instance's, or was awaited or cancelled before: %w", id, ErrNotFound)
}

// Done reports whether Await would not wait.
func (r *Caller) Done(id string) bool {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	k, err := r.get(id)
	return err != nil || k.over
}

// Await waits for the result of a call, or what has gone wrong, which is a *Failure where it
// is the function's. It is told once. ctx ends the wait, and not the call.
func (r *Caller) Await(ctx context.Context, id string) ([]byte, error) {
	out, told, err := r.Result(ctx, id)
	if told != nil {
		told()
	}
	return out, err
}

// Result is Await for who may fail to pass the result on: it can be awaited again until told is
// called, which is nil where the call is not over, or is none of the caller's.
func (r *Caller) Result(ctx context.Context, id string) (out []byte, told func(), err error) {
	r.c.mu.Lock()
	k, err := r.get(id)
	r.c.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	if err := r.wait(ctx, k.done); err != nil {
		return nil, nil, err
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if k, err = r.get(id); err != nil { // somebody else has awaited it
		return nil, nil, err
	}
	out, err = k.result()
	return out, func() { r.told(k) }, err
}

// told lets go of a call whose result the caller has.
func (r *Caller) told(k *call) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if id := k.call.Request; r.calls[id] == k {
		r.drop(id)
	}
}

// wait waits for what the caller may wait for.
func (r *Caller) wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-r.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("the call goes on: %w", context.Cause(ctx))
	}
}

// First waits until one of several calls is over, and returns its id: the first in the list,
// where there are some already.
func (r *Caller) First(ctx context.Context, ids []string) (string, error) {
	if len(ids) == 0 || len(ids) > MaxCalls {
		return "", fmt.Errorf("the first of %d calls: want 1 to %d: %w", len(ids), MaxCalls, ErrInvalid)
	}
	over := ""
	err := r.each(ids, func(k *call) {
		if k.over && over == "" {
			over = k.call.Request
		}
	})
	if err != nil || over != "" {
		return over, err
	}
	w := &first{id: make(chan string, 1)}
	defer r.unwatch(w, ids)
	if err := r.each(ids, func(k *call) { k.tell(w) }); err != nil {
		return "", err
	}
	select {
	case id := <-w.id:
		return id, nil
	case <-r.done:
		return "", ErrClosed
	case <-ctx.Done():
		return "", fmt.Errorf("the calls go on: %w", context.Cause(ctx))
	}
}

// each does something for each of several calls, of which all have to be the caller's, with mu
// held; others have it in between.
func (r *Caller) each(ids []string, f func(k *call)) error {
	some := func(ids []string) error {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		for _, id := range ids {
			k, err := r.get(id)
			if err != nil {
				return err
			}
			f(k)
		}
		return nil
	}
	for ids := range slices.Chunk(ids, slice) {
		if err := some(ids); err != nil {
			return err
		}
	}
	return nil
}

// unwatch has w told of none any more.
func (r *Caller) unwatch(w *first, ids []string) {
	for ids := range slices.Chunk(ids, slice) {
		r.c.mu.Lock()
		for _, id := range ids {
			if k := r.calls[id]; k != nil {
				delete(k.watch, w)
			}
		}
		r.c.mu.Unlock()
	}
}

// Cancel ends a call, unless another caller waits for it by its key. It is the caller's no
// longer: who awaits it is told.
func (r *Caller) Cancel(id string) error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if _, err := r.get(id); err != nil {
		if errors.Is(err, ErrDeadlock) { // it is no call of its own, either
			err = fmt.Errorf("call %q is none of this instance's: %w", id, ErrNotFound)
		}
		return err
	}
	r.drop(id)
	return nil
}
