package instances

import (
	"context"
	"fmt"
	"slices"
	"time"

	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances/archive"
	"seuss/lineage"
)

// Do has it run code, or handle an event. What that does wrong is in the answer; after
// another error the instance is what it was, or over.
func (i *Instance) Do(ctx context.Context, c *Call) (a *Answer, err error) {
	what := "exec"
	switch {
	case c.Code == nil && c.Event == nil || c.Code != nil && c.Event != nil:
		return nil, fmt.Errorf("instance %q: want either code or an event: %w", i.info.Name, ErrInvalid)
	case c.Code == nil:
		what = "invoke"
	case len(*c.Code) > maxCode:
		return nil, fmt.Errorf("instance %q: code of %d bytes, at most %d are allowed: %w", i.info.Name, len(*c.Code), maxCode, ErrInvalid)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("instance %q: a timeout below 0: %w", i.info.Name, ErrInvalid)
	}
	began := time.Now()
	var lines instance.Lines
	told := c.Output
	call := *c
	call.Output = func(fd uint16, p []byte) {
		i.logs.write(fd, p)
		if told != nil {
			told(fd, p)
		} else {
			lines.Write(fd, p)
		}
	}
	err = i.ask(ctx, &command{what: what, do: func(ctx context.Context, t Turn) (err error) {
		i.mu.Lock()
		i.info.Uses++
		i.mu.Unlock()
		a, err = i.body.Do(ctx, t, &call)
		return err
	}})
	if err != nil {
		return nil, err
	}
	a.Took = time.Since(began)
	a.Logs, a.Cut = lines.Take()
	return a, nil
}

// Files does steps with its files: it is an archive.Tree. What is durable is to be kept when
// all of them are done: Keep.
func (i *Instance) Files(ctx context.Context, steps []archive.Step) (list []archive.Result, err error) {
	err = i.ask(ctx, &command{what: "copy files", later: true, do: func(ctx context.Context, t Turn) (err error) {
		list, err = i.body.Files(ctx, t, steps)
		return err
	}})
	return list, err
}

// Keep keeps what is durable as it is now.
func (i *Instance) Keep(ctx context.Context) error {
	return i.ask(ctx, &command{what: "keep", idle: true, still: true, do: func(context.Context, Turn) error {
		if !i.kept.dirty {
			return nil
		}
		if err := i.kept.now(); err != nil {
			return &Refusal{err}
		}
		return nil
	}})
}

// Pause has it stand still when it has done what it was asked for before. Durable: whatever
// becomes of the service, it comes back as it is then, until it goes on.
func (i *Instance) Pause(ctx context.Context, durable bool) error {
	if durable && i.k.records == nil {
		return fmt.Errorf("instance %q: it cannot be paused durably: nothing is kept here: %w", i.info.Name, ErrInvalid)
	}
	return i.ask(ctx, &command{what: "pause", idle: true, rests: durable, do: func(context.Context, Turn) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.frozen = true
		return nil
	}})
}

// Resume has it do what it has to do by itself again.
func (i *Instance) Resume(ctx context.Context) error {
	return i.ask(ctx, &command{what: "resume", idle: true, do: func(context.Context, Turn) error { return nil }})
}

// forkTime is what an instance has to come to where it can be forked: between two things that
// it was asked for, where its generators are seeded anew before any code goes on.
const forkTime = 10 * time.Second

// Fork makes n others that are what it is when it rests, each with an identity of its own.
// Their names are those that are given, or else its own with a number behind it.
func (i *Instance) Fork(ctx context.Context, n int, names []string) (list []Info, err error) {
	var made []string
	for range min(n, MaxFork+1) - len(names) {
		made = append(made, NewName())
	}
	if len(names) > n {
		return nil, i.noFork(n, len(names))
	}
	return i.ForkAs(ctx, names, made)
}

func (i *Instance) noFork(n, names int) error {
	return fmt.Errorf("instance %q: fork: %d copies, %d names: want 1 to %d copies, and no more names: %w", i.info.Name, n, names, MaxFork, ErrInvalid)
}

// ForkAs is Fork with names that are given, and such as NewName has made up.
func (i *Instance) ForkAs(ctx context.Context, given, made []string) (list []Info, err error) {
	names := slices.Concat(given, made)
	if len(names) < 1 || len(names) > MaxFork {
		return nil, i.noFork(len(names), len(given))
	}
	for at, name := range names {
		check := checkGiven
		if at >= len(given) {
			check = checkName
		}
		if err := check(name); err != nil {
			return nil, fmt.Errorf("instance %q: fork: %w", i.info.Name, err)
		}
	}
	ctx, done := context.WithTimeoutCause(ctx, i.k.forkTime, fmt.Errorf("%w: it did not come to a safe point in %v: it is at what it was asked for", ErrBusy, i.k.forkTime))
	defer done()
	err = i.ask(ctx, &command{what: "fork", keeps: true, do: func(ctx context.Context, t Turn) error {
		list, err = i.fork(ctx, t, names)
		return err
	}})
	return list, err
}

func (i *Instance) fork(ctx context.Context, t Turn, names []string) ([]Info, error) {
	n := len(names)
	forks := make([]*Instance, n)
	for at := range forks {
		s := i.spec
		s.Name = names[at]
		f := newInstance(i.k, i.owner, s)
		f.info.Parent = i.info.Name
		forks[at] = f
	}
	if err := i.k.enter(forks, 0); err != nil { // what they take is less where a node is sealed for them
		return nil, &Refusal{err}
	}
	bodies, err := i.body.Fork(ctx, t, names)
	if err != nil {
		for _, f := range forks {
			i.k.leave(f)
		}
		return nil, err
	}
	for at, f := range forks {
		f.prepare(bodies[at])
	}
	err = i.k.fill(forks, bodies[0].Bytes())
	if err == nil && i.spec.Durable { // they are what it is
		if err = i.kept.now(); err == nil {
			for _, f := range forks {
				f.kept.as(i.kept.node, i.kept.made)
				f.kept.line = slices.Clone(i.kept.line)
			}
		}
	}
	if err == nil {
		err = i.k.note(i.spec.Durable, forks...)
	}
	if err != nil {
		for at, f := range forks {
			f.kept.as("", false)
			i.k.leave(f)
			bodies[at].Close()
		}
		return nil, &Refusal{err}
	}
	list := make([]Info, n)
	for at, f := range forks {
		f.begin()
		list[at] = f.Info()
	}
	return list, nil
}

// Memory is its guest's when it rests: of one that has failed there is none.
func (i *Instance) Memory(ctx context.Context) (m lineage.Memory, err error) {
	err = i.ask(ctx, &command{what: "diff", idle: true, still: true, do: func(context.Context, Turn) (err error) {
		if m, err = i.body.Memory(); err != nil {
			err = &Refusal{err}
		}
		return err
	}})
	return m, err
}

// Checkpoint makes a node of what it is when it rests, to which it, and others, can be
// brought back.
func (i *Instance) Checkpoint(ctx context.Context) (node string, err error) {
	err = i.ask(ctx, &command{what: "checkpoint", do: func(ctx context.Context, t Turn) (err error) {
		node, err = i.body.Checkpoint(ctx, t)
		return err
	}})
	return node, err
}

// Rollback makes it what it was at a node. What it does is finished first; one that has
// failed lives again.
func (i *Instance) Rollback(ctx context.Context, node string) error {
	return i.ask(ctx, &command{what: "rollback", over: true, idle: true, do: func(ctx context.Context, _ Turn) error {
		return i.body.Rollback(ctx, node)
	}})
}

// Remove ends it. What it does is cancelled.
func (i *Instance) Remove() {
	i.mu.Lock()
	i.removed = true
	if i.cancel != nil {
		i.cancel(ErrRemoved)
	}
	i.mu.Unlock()
	i.ring()
	<-i.gone
}

// Wait waits until it is in one of the states, or gone, and describes it then.
func (i *Instance) Wait(ctx context.Context, states ...State) (Info, error) {
	for {
		i.mu.Lock()
		if i.waiters == nil {
			i.waiters = make(chan struct{})
		}
		changed, now, idle := i.waiters, i.info.State, len(i.queue) == 0 && !i.busy
		i.mu.Unlock()
		if now == Gone {
			return i.Info(), nil
		}
		for _, s := range states {
			if s == now && (idle || s == Running) {
				return i.Info(), nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return i.Info(), context.Cause(ctx)
		}
	}
}
