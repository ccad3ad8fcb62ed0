package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Info is what is said of an instance.
type Info struct {
	Name     string    `json:"name"`
	Owner    string    `json:"owner,omitempty"`
	State    State     `json:"state"`
	Function string    `json:"function,omitempty"`
	Image    string    `json:"image,omitempty"`
	Node     string    `json:"node"`             // that it began as, or was checkpointed at or rolled back to last
	Parent   string    `json:"parent,omitempty"` // the instance that it was forked from
	Created  time.Time `json:"created"`
	Used     time.Time `json:"used"`
	Expires  time.Time `json:"expires,omitzero"` // if nobody uses it before
	Uses     uint64    `json:"uses"`
	Port     uint16    `json:"port,omitempty"`     // of its program, which its address leads to
	Bytes    uint64    `json:"bytes"`              // of memory; what it may take at most, where it stands on a machine
	Standing bool      `json:"standing,omitempty"` // it is on a machine, which it leaves where somebody wants that
	Failure  string    `json:"failure,omitempty"`  // why it is over
}

// Instance is one that lives on.
type Instance struct {
	k     *Keeper
	owner string
	key   string
	spec  Spec
	body  Body          // its goroutine's
	bell  chan struct{} // something is to be done
	gone  chan struct{} // closed when it is
	logs  journal

	counted uint64 // bytes; Keeper.mu

	kept keeping

	mu      sync.Mutex
	info    Info
	begun   bool
	busy    bool // with what was taken off the queue last
	frozen  bool // to be paused when it has done what it was asked for
	removed bool
	ports   int // connections to its own that are open
	queue   []*command
	cancel  context.CancelCauseFunc // of what it does
	waiters chan struct{}           // closed at each change; nil: nobody waits
}

// command is something that an instance is asked for.
type command struct {
	ctx   context.Context
	what  string
	over  bool // it may be asked of one that has failed
	idle  bool // it takes no machine
	still bool // it changes nothing: one that is paused stays so
	later bool // what it does is kept soon, and not before its answer
	keeps bool // it keeps what it does
	rests bool // it is kept as it is after that, durable or not
	do    func(ctx context.Context, t Turn) error
	done  chan error
}

// ErrRemoved is why a call ends whose instance is removed.
var ErrRemoved = errors.New("the instance was removed")

var errPassed = fmt.Errorf("its time to live has passed: %w", ErrRemoved)

// stepEvery is how often at most an instance is brought to a machine for what it has to do
// by itself; stepTime how long it may take for that.
const (
	stepEvery = 20 * time.Millisecond
	stepTime  = 10 * time.Second
)

func newInstance(k *Keeper, owner string, s Spec) *Instance {
	now := time.Now()
	i := &Instance{
		k: k, owner: owner, key: keyOf(owner, s.Name), spec: s, bell: make(chan struct{}, 1), gone: make(chan struct{}),
		info: Info{Name: s.Name, Owner: owner, State: Parked, Function: s.Function, Image: s.Image, Created: now, Used: now},
	}
	i.kept.i = i
	return i
}

// prepare gives it its body.
func (i *Instance) prepare(body Body) {
	i.mu.Lock()
	i.body = body
	i.info.Node, i.info.Bytes, i.kept.image = body.Node(), body.Bytes(), body.Image()
	fresh := i.spec.Durable && i.kept.node == ""
	if b, ok := body.(Server); ok {
		i.info.Port = b.Port()
	}
	if b, ok := body.(Began); ok {
		b.Began(i.logs.write)
	}
	i.mu.Unlock()
	if fresh {
		i.kept.as(body.Node(), false)
	}
}

// begin has it live.
func (i *Instance) begin() {
	i.mu.Lock()
	i.begun = true
	bytes := i.info.Bytes
	i.changed()
	i.mu.Unlock()
	i.k.count(i, bytes) // there was room for it
	i.k.mu.Lock()
	closed := i.k.closed
	if !closed {
		i.k.all.Add(1)
	}
	i.k.mu.Unlock()
	if closed {
		i.end()
		return
	}
	go func() {
		defer i.k.all.Done()
		i.live()
	}()
}

// Public reports whether its ports are everybody's at its address.
func (i *Instance) Public() bool { return i.spec.Public }

// ready reports whether it has begun and is not gone.
func (i *Instance) ready() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.begun && i.info.State != Gone
}

// Info describes it.
func (i *Instance) Info() Info {
	i.mu.Lock()
	defer i.mu.Unlock()
	info := i.info
	info.Expires = i.expires()
	if b, ok := i.body.(Stander); ok {
		info.Standing = b.Stands()
	}
	return info
}

// expires is when it is let go if nobody uses it before; zero: never. mu is held.
func (i *Instance) expires() (at time.Time) {
	at = i.lifetime()
	if i.spec.IdleTTL > 0 && i.info.State != Running {
		at = earlier(at, i.info.Used.Add(time.Duration(i.spec.IdleTTL)))
	}
	return at
}

// lifetime is when it is let go whatever it does; zero: never.
func (i *Instance) lifetime() (at time.Time) {
	if i.spec.TTL > 0 {
		at = i.info.Created.Add(time.Duration(i.spec.TTL))
	}
	return at
}

// live is its goroutine.
func (i *Instance) live() {
	defer i.end()
	var stepped time.Time
	owes := false // something was due, which is said once, and has not been done
	for {
		c, until, frozen, over := i.next()
		switch {
		case over:
			return
		case c != nil:
			i.carryOut(c)
			owes = owes && !c.over // what was rolled back is another
			continue
		}
		if i.kept.dirty {
			if next := i.kept.sealed.Add(keepEvery); time.Now().Before(next) {
				until = earlier(until, next)
			} else if err := i.kept.now(); err != nil {
				i.k.o.Log.Error("a durable instance is not kept as it is now", "owner", i.owner, "instance", i.info.Name, "error", err)
			}
		}
		if frozen || !owes {
			switch i.body.Wait(until, frozen, i.bell) {
			case Closed:
				return
			case Due:
				owes = true
			}
		}
		if frozen || !owes {
			continue
		}
		if pause := stepEvery - time.Since(stepped); pause > 0 && !i.rest(pause) {
			continue
		}
		owes = !i.step()
		stepped = time.Now()
	}
}

// rest waits for so long, or until it is asked for something: then it returns false.
func (i *Instance) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-i.bell:
		i.ring()
		return false
	}
}

// next says what is to be done: a command, or to wait; or that it is over.
func (i *Instance) next() (c *command, until time.Time, frozen, over bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	until = i.expires()
	end := until
	if len(i.queue) > 0 {
		end = i.lifetime()
	}
	if i.removed || i.k.ctx.Err() != nil || !end.IsZero() && !time.Now().Before(end) {
		return nil, until, false, true
	}
	if len(i.queue) > 0 {
		c = i.queue[0]
		i.queue, i.busy = i.queue[1:], true
		return c, until, false, false
	}
	i.queue = nil // what was taken off it is let go
	return nil, until, i.info.State != Parked, false
}

// end lets it go, and what waits for it.
func (i *Instance) end() {
	i.mu.Lock()
	removed := i.removed
	i.mu.Unlock()
	forgotten := false
	if i.k.ctx.Err() != nil && !removed {
		i.kept.stay()
	} else {
		forgotten = i.kept.forget()
	}
	i.mu.Lock()
	i.enter(Gone)
	queue := i.queue
	i.queue = nil
	i.mu.Unlock()
	i.k.leave(i)
	why := ErrRemoved
	if i.k.ctx.Err() != nil {
		why = ErrClosed
	}
	for _, c := range queue {
		c.done <- fmt.Errorf("%s: %w", c.what, why)
	}
	i.body.Close()
	if forgotten {
		i.kept.release()
	}
	i.logs.close()
	close(i.gone)
}

// ring has it look what there is to do.
func (i *Instance) ring() {
	select {
	case i.bell <- struct{}{}:
	default:
	}
}

// ask has it carry out a command, when it has done what was asked for before.
func (i *Instance) ask(ctx context.Context, c *command) error {
	c.ctx, c.done = ctx, make(chan error, 1)
	i.mu.Lock()
	err := i.refusal(c)
	if err == nil {
		i.queue = append(i.queue, c)
	}
	i.mu.Unlock()
	if err != nil {
		return fmt.Errorf("instance %q: %s: %w", i.info.Name, c.what, err)
	}
	i.ring()
	select {
	case err = <-c.done:
	case <-ctx.Done():
		if i.forsake(c) {
			err = fmt.Errorf("%s: %w", c.what, context.Cause(ctx))
		} else {
			err = <-c.done // what has begun is finished, or what it defines would be half there
		}
	}
	if err != nil {
		return fmt.Errorf("instance %q: %w", i.info.Name, err)
	}
	return nil
}

// forsake takes a command out of the queue; false: its turn has come.
func (i *Instance) forsake(c *command) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := slices.Index(i.queue, c)
	if at >= 0 {
		i.queue = slices.Delete(i.queue, at, at+1)
		i.wake()
	}
	return at >= 0
}

// refusal is why a command is not let in. mu is held.
func (i *Instance) refusal(c *command) error {
	switch {
	case i.info.State == Gone || i.removed:
		return ErrUnknown
	case i.info.State == Failed && !c.over:
		return fmt.Errorf("%w: %s: roll it back (seussctl instance rollback), or remove it", ErrFailed, i.info.Failure)
	case len(i.queue) >= maxWaiting:
		return fmt.Errorf("%w: %d calls wait for it already", ErrBusy, len(i.queue))
	}
	return nil
}

// carryOut carries a command out.
func (i *Instance) carryOut(c *command) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(c.ctx))
	defer cancel(nil)
	defer context.AfterFunc(i.k.ctx, func() { cancel(ErrClosed) })()
	if at := i.lifetime(); !at.IsZero() {
		defer time.AfterFunc(time.Until(at), func() { cancel(errPassed) }).Stop()
	}
	i.mu.Lock()
	failed := i.info.State == Failed
	if failed && !c.over {
		err := fmt.Errorf("%s: %w: %s", c.what, ErrFailed, i.info.Failure)
		i.busy = false
		i.wake()
		i.mu.Unlock()
		c.done <- err
		return
	}
	before := i.info.State
	i.cancel = cancel
	if i.removed {
		cancel(ErrRemoved)
	}
	if !failed {
		i.enter(Running)
	}
	i.mu.Unlock()
	var t Turn
	var err error
	if !c.idle {
		t, err = i.k.take(ctx, cancel, i)
	}
	had := err == nil // else nothing was done
	var settled func(same bool)
	if err == nil {
		if err = ctx.Err(); err != nil {
			err, had = context.Cause(ctx), false
		} else if settled, err = i.kept.changes(c); err == nil {
			err = c.do(ctx, t)
		}
		if t != nil {
			t.Release()
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", c.what, err)
	}
	if c.still && before == Paused {
		i.mu.Lock()
		i.frozen = true
		i.mu.Unlock()
	}
	err = i.conclude(before, had, err)
	if settled != nil {
		var refused *Refusal
		settled(errors.As(err, &refused))
	}
	moved := c.idle && !c.over && i.kept.node != "" // what it comes back as goes on, or not
	if had && !c.still && (i.spec.Durable || c.rests || moved) {
		if bad := i.kept.after(c); bad != nil && err == nil { // the answer would be of what nobody has
			err = fmt.Errorf("%s: it was done, but is not kept: %w", c.what, bad)
		}
	}
	c.done <- err
}

// size is how much memory it takes, bytes.
func (i *Instance) size() uint64 { return i.body.Bytes() + i.logs.size() }

// Refusal is an error of a Body's after which the instance is what it was.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

var errRestless = fmt.Errorf("it does not come to rest in %v though nothing was asked of it", stepTime)

// changed tells who waits for a change, and who watches. mu is held.
func (i *Instance) changed() {
	i.wake()
	info := i.info
	info.Expires = i.expires()
	i.k.tell(info)
}

// wake has those that wait look again. mu is held.
func (i *Instance) wake() {
	if i.waiters != nil {
		close(i.waiters)
		i.waiters = nil
	}
}
