package instances

import (
	"context"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/instance"
)

// What an instance does by itself, and what comes of what it did.

// step lets it do what it has to do by itself; false: it could not, and is to try again.
func (i *Instance) step() (did bool) {
	ctx, cancel := context.WithCancelCause(i.k.ctx)
	defer cancel(nil)
	i.mu.Lock()
	i.cancel = cancel
	if i.removed {
		cancel(ErrRemoved)
	}
	i.mu.Unlock()
	t, err := i.k.take(ctx, cancel, i)
	if err != nil {
		return false // too much is to be done: later
	}
	settled, err := i.kept.changes(&command{})
	if err != nil {
		if t != nil {
			t.Release()
		}
		return false // later, too: what is asked of it meanwhile is told why
	}
	limited, done := context.WithTimeoutCause(ctx, stepTime, errRestless) // from when it has its turn
	err = i.body.Step(limited, t, i.logs.write)
	done()
	if t != nil {
		t.Release()
	}
	if ctx.Err() != nil { // it ends
		settled(false)
		return true
	}
	var refused *Refusal
	did = !errors.As(err, &refused)
	used := i.Info().Used
	i.conclude(Parked, true, err)
	settled(!did)
	i.kept.dirty = i.kept.dirty || i.spec.Durable
	i.mu.Lock()
	i.info.Used = used
	i.mu.Unlock()
	return did
}

// conclude notes what came of a command, or of a step, and returns that. had: the body was
// used.
func (i *Instance) conclude(before State, had bool, err error) error {
	bytes := i.size()
	if b, ok := i.body.(Stander); ok && !i.k.grows(i, bytes) {
		if bad := b.Leave(); bad != nil && err == nil {
			err, had = bad, true
		}
		bytes = i.size()
	}
	if over := i.k.count(i, bytes); over != nil {
		i.body.End()
		bytes = i.size()
		i.k.count(i, bytes)
		err, had = fmt.Errorf("it has grown: %w", over), true
	}
	node := i.body.Node()
	i.mu.Lock()
	defer i.mu.Unlock()
	defer i.wake()
	i.cancel, i.busy = nil, false
	i.info.Bytes, i.info.Node = bytes, node
	if b, ok := i.body.(Server); ok { // what it was rolled back to may listen elsewhere
		i.info.Port = b.Port()
	}
	if had {
		i.info.Used = time.Now()
	}
	var own *instance.HandlerError
	var refused *Refusal
	switch {
	case err != nil && had && !errors.As(err, &own) && !errors.As(err, &refused):
		i.info.Failure = err.Error()
		if i.info.State != Failed {
			i.enter(Failed)
		}
		i.k.o.Log.Warn("an instance has failed", "owner", i.owner, "instance", i.info.Name, "error", err)
	case err != nil && before == Failed:
	case i.frozen || err != nil && before == Paused:
		i.frozen = false
		i.info.Failure = ""
		if before == Failed {
			i.enter(Parked)
		}
		i.enter(Paused)
	default:
		i.info.Failure = ""
		i.enter(Parked)
	}
	return err
}
