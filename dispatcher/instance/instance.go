package dispatcher

import (
	"context"
	"time"
)

// lease is a shell on loan from its pool, brought to a node.
type lease struct {
	*shell
	pool   *pool
	target *target // that it was lent for
	pooled bool    // it stood ready
	moved  moved
	waited time.Duration // for the shell
	deploy time.Duration
}

// take lends a shell that stands at t, as a fresh instance of it.
func (d *Dispatcher) take(ctx context.Context, imageName string, t *target) (*lease, error) {
	img, err := d.catalog.image(nameOrDefault(imageName))
	if err != nil {
		return nil, err
	}
	return d.lend(ctx, img, t, false)
}

// lend is take for a known image. fresh asks for a machine of its own.
func (d *Dispatcher) lend(ctx context.Context, img *image, t *target, fresh bool) (_ *lease, err error) {
	p, err := d.pool(img)
	if err != nil {
		return nil, err
	}
	d.prefetch(t)
	start := time.Now()
	l := &lease{target: t}
	t.users.Add(1)
	defer func() {
		if err != nil {
			l.left()
		}
	}()
	if fresh {
		if l.shell, err = d.newShell(img, t.view); err != nil {
			return nil, err
		}
	} else {
		l.pool = p
		if l.shell, err = p.takeAlive(ctx, t); err != nil {
			return nil, err
		}
	}
	got := time.Now()
	l.waited = got.Sub(start)
	l.pooled = l.shell.at == t
	l.shell.onReset = nil // of whoever ran before, where it was not reset since
	l.shell.record(d, t)
	if !l.pooled {
		if l.moved, err = l.shell.bring(t); err != nil {
			l.destroy(d)
			return nil, err
		}
		l.deploy = time.Since(got)
	}
	start = time.Now()
	if err := l.shell.becomeInstance(); err != nil {
		l.destroy(d)
		return nil, err
	}
	l.deploy += time.Since(start)
	return l, nil
}

// release gives the shell back. It is reset off the caller's path, or here.
func (l *lease) release(d *Dispatcher, here bool) {
	l.recorded(d)
	defer l.left()
	if l.pool == nil {
		l.end(d)
		return
	}
	l.pool.recycle(l.shell, here)
}

// destroy is release for a shell whose machine is not to be trusted with a
// reset, or that belongs to no pool.
func (l *lease) destroy(d *Dispatcher) {
	l.left()
	l.end(d)
}

// left notes that nobody stands at the target any more, for this lease.
func (l *lease) left() {
	if l.target != nil {
		l.target.users.Add(-1)
		l.target = nil
	}
}

func (l *lease) end(d *Dispatcher) {
	if l.pool != nil {
		l.pool.discard(l.shell)
		return
	}
	if err := l.shell.close(); err != nil {
		d.log.Error("a machine could not be destroyed cleanly", "error", err)
	}
}
