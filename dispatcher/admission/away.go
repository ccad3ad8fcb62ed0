package admission

import (
	"context"
	"errors"

	"seuss/dispatcher"
	"seuss/dispatcher/sched"
)

// Elsewhere is other hosts that can run what this one has let in.
type Elsewhere interface {
	// Better reports whether a deployment's invocation should rather run there.
	Better(target *dispatcher.Deployment) bool
	// Any reports whether there is one.
	Any() bool
	// Invoke has one of them run it. done: one has, or may have, and its outcome is what there
	// is; else nobody would.
	Invoke(ctx context.Context, target *dispatcher.Deployment, request *dispatcher.Request) (result *dispatcher.Result, done bool, err error)
}

// PassOn has what Enter lets in run elsewhere where that is better. It is called before anything
// is let in.
func (c *Control) PassOn(e Elsewhere) { c.away = e }

// Enter lets in an invocation of a function, by its name, before anything of it but its
// head has been read. What would be refused anyway is refused. The entry must be ended.
func (c *Control) Enter(function string) (*Entry, error) {
	if c.away == nil {
		return c.EnterHere(function)
	}
	target, err := c.o.Functions.Lookup(function)
	if err != nil {
		return nil, err
	}
	if c.away.Better(target) {
		return &Entry{c: c, asked: function, target: target, away: true}, nil
	}
	e, err := c.EnterHere(function)
	var refused *sched.RefusedError
	if errors.As(err, &refused) && hosts(refused.Reason) && c.away.Any() {
		return &Entry{c: c, asked: function, target: target, away: true, refusal: err}, nil
	}
	return e, err
}

// hosts reports whether a refusal is for want of room on this host.
func hosts(r sched.Reason) bool {
	switch r {
	case sched.QueueFull, sched.FunctionQueue, sched.TooLong, sched.Overload, sched.Draining, sched.Instances:
		return true
	}
	return false
}

// EnterHere is Enter for what runs on this host or nowhere.
func (c *Control) EnterHere(function string) (*Entry, error) {
	return c.enter(function, c.o.Scheduler.AskFor)
}

// invokeAway has the invocation run elsewhere. done: the outcome is the invocation's; else it
// was let in here.
func (e *Entry) invokeAway(ctx context.Context, request *dispatcher.Request) (result *dispatcher.Result, done bool, err error) {
	if request.Exchange == nil && request.Stream == nil { // these are with a client of this host
		if result, done, err = e.c.away.Invoke(ctx, e.target, request); done {
			return result, true, gone(ctx, err)
		}
		if err != nil {
			e.c.o.Log.Debug("no other host takes an invocation", "function", e.target.Name, "error", err)
		}
	}
	if e.refusal != nil {
		return nil, true, e.refusal
	}
	here, err := e.c.EnterHere(e.target.Name) // an alias has led to it
	if err != nil {
		return nil, true, err
	}
	e.away, e.target, e.ticket, e.stay = false, here.target, here.ticket, here.stay
	return nil, false, nil
}
