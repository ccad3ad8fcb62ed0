package admission

import (
	"context"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/quota"
	"seuss/dispatcher/sched"
)

// Turn is a slot for something of an owner's that may wait without one: what an instance
// that lives on is asked for.
type Turn struct {
	c      *Control
	ticket *sched.Ticket
	stay   *quota.Stay
	number uint32
	w      *work
}

// Turn waits for a slot for work of an owner's; cancel is called when somebody kills it. It
// is to be released.
func (c *Control) Turn(ctx context.Context, cancel context.CancelCauseFunc, what Work) (*Turn, error) {
	owner := functions.OwnerOf(what.Function)
	stay, err := c.o.Quotas.Enter(owner)
	if err != nil {
		c.refused()
		return nil, err
	}
	t := &Turn{c: c, stay: stay, w: &work{Work: what, arrived: time.Now(), cancel: cancel}}
	t.number = c.works.Add(t.w)
	if t.ticket, err = c.o.Scheduler.Acquire(ctx, functions.Key(owner, ""), -1); err != nil {
		c.works.Remove(t.number)
		stay.Leave()
		c.turnedAway(err)
		return nil, c.crowded(owner, gone(ctx, err))
	}
	stay.Begin()
	t.w.progress.Begin(time.Now())
	t.w.progress.Enter(inflight.Running)
	return t, nil
}

// Wanted, Pause, Rested and Resume make it a dispatcher.Turn.
func (t *Turn) Wanted() bool { return t.c.o.Scheduler.Wanted() }

func (t *Turn) Rested(d time.Duration) { t.ticket.Rested(d) }

func (t *Turn) Pause() {
	t.stay.Pause()
	t.ticket.Pause()
	t.w.progress.Leave()
}

func (t *Turn) Resume(ctx context.Context, progress *inflight.Progress) error {
	var ender sched.Ender
	if progress != nil {
		ender = progress
	}
	if err := t.ticket.Resume(ctx, ender); err != nil {
		return err
	}
	t.stay.Begin()
	t.w.progress.Enter(inflight.Running)
	return nil
}

// Release gives it back.
func (t *Turn) Release() {
	t.c.works.Remove(t.number)
	t.ticket.Release()
	t.stay.Leave()
}

// Admit is Turn for instances that live on.
func (c *Control) Admit(ctx context.Context, cancel context.CancelCauseFunc, owner, name string) (instances.Turn, error) {
	t, err := c.Turn(ctx, cancel, Work{Operation: Live, Function: functions.Key(owner, name), RequestID: dispatcher.NewRequestID()})
	if err != nil {
		return nil, err
	}
	return t, nil
}
