package dispatcher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

// autoMinimum is the least time that an argument node must save for the
// automatic policy to take it: restoring and storing one costs milliseconds.
const autoMinimum = 2 * time.Millisecond

// autoPagePrice is the time that a page of an argument node must save.
const autoPagePrice = 1 * time.Microsecond

// maxAutoAsked bounds the keys, in bytes as want counts them, behind which the
// policy does not look: each look costs as much as there are keys.
const maxAutoAsked = 64 << 10

// maxArgumentNodes bounds what the automatic policy takes for one function.
const maxArgumentNodes = 64

// certificate says which outside input went into the state at a WANT.
func certificate(l *lease, w want) (lineage.Purity, error) {
	counts, err := l.m.Purity()
	if err != nil {
		return lineage.Purity{}, fmt.Errorf("purity certificate: %w", err)
	}
	p := lineage.Purity{Entropy: counts.Entropy, Clock: counts.Clock, Socket: counts.Socket, Context: w.context}
	for _, c := range []struct {
		n    uint64
		what string
	}{{p.Entropy, "random bytes (getrandom, /dev/urandom)"}, {p.Clock, "clock reads"}, {p.Socket, "receives from a socket"}} {
		if c.n > 0 {
			p.Reasons = append(p.Reasons, fmt.Sprintf("%d × %s", c.n, c.what))
		}
	}
	if w.context {
		p.Reasons = append(p.Reasons, "the invocation context was read")
	}
	if w.random {
		p.Entropy++
		p.Reasons = append(p.Reasons, "the runtime's random generators were used")
	}
	return p, nil
}

// captureArgument makes an argument node of the state at a WANT.
func (i *invocation) captureArgument(l *lease, w want, purity lineage.Purity) (*target, error) {
	spec := &i.f.spec
	key := lineage.Key{
		Function: functions.BaseName(spec.Name), Handler: spec.Handler, CodeDigest: spec.CodeDigest, Lazy: true,
		Args: slices.Clone(i.bound), NextKey: w.key,
	}
	return i.d.capture(l.shell, i.from, lineage.KindArgument, key, i.result.Timings.Run, purity)
}

// autoCapture is the automatic policy: a binding prefix that recurs, a pure
// state, and time worth saving.
func (d *Dispatcher) autoCapture(i *invocation, l *lease, w want) (*target, error) {
	if len(i.bound) == 0 || i.asked > maxAutoAsked || i.result.Timings.Run < autoMinimum || len(i.f.arguments) >= maxArgumentNodes {
		return nil, nil
	}
	// What the node would hold is at most what the machine holds privately; its
	// saved time has to pay for storing and moving that.
	if pages := l.layout.private.Len(); i.result.Timings.Run < time.Duration(pages)*autoPagePrice {
		return nil, nil
	}
	if !d.recurs(i) {
		return nil, nil
	}
	purity, err := certificate(l, w)
	if err != nil {
		return nil, err
	}
	if !purity.Pure() {
		d.events.impure.Add(1)
		d.log.Info("no argument snapshot: the state is impure", "function", i.f.spec.Name, "reasons", purity.Reasons)
		return nil, nil
	}
	t, err := i.captureArgument(l, w, purity)
	if err != nil {
		// The invocation goes on: it needs no snapshot.
		d.log.Warn("no argument snapshot", "function", i.f.spec.Name, "error", err)
		return nil, nil
	}
	d.catalog.forget(i.f.spec.Name)
	return t, nil
}

// recurs counts the binding prefixes that were seen, and reports whether this
// one came before.
func (d *Dispatcher) recurs(i *invocation) bool {
	prefix := sha256.New()
	io.WriteString(prefix, functions.BaseName(i.f.spec.Name)+i.f.spec.CodeDigest) // a hash's Write never fails
	for _, b := range i.bound {
		fmt.Fprintf(prefix, "\x00%d %s%s", len(b.Key), b.Key, b.Digest)
	}
	id := string(prefix.Sum(nil))
	d.catalog.mu.Lock()
	defer d.catalog.mu.Unlock()
	seen := d.catalog.prefixes
	if len(seen) > 1<<16 { // a flood of different arguments starts over
		clear(seen)
	}
	seen[id]++
	return seen[id] > 1
}

var errCaptured = errors.New("captured")

// CaptureArgument runs a lazy function on event until it asks for the key
// stopAt ("" means the first key that the event does not have) and makes an
// argument node there. The node's purity certificate says whether outside
// input went into it; an impure one is made all the same, for it was asked for.
func (d *Dispatcher) CaptureArgument(ctx context.Context, name string, raw []byte, stopAt string) (*lineage.Node, error) {
	n, err := d.captureExplicit(ctx, name, raw, stopAt)
	if err != nil {
		return nil, fmt.Errorf("argument snapshot of %q: %w", name, err)
	}
	return n, nil
}

func (d *Dispatcher) captureExplicit(ctx context.Context, name string, raw []byte, stopAt string) (*lineage.Node, error) {
	name, err := d.Resolve(name)
	if err != nil {
		return nil, err
	}
	d.deployMu.Lock()
	f, err := d.catalog.function(name)
	d.deployMu.Unlock()
	if err != nil {
		return nil, err
	}
	if !f.spec.Lazy {
		return nil, fmt.Errorf("%w: deploy it with --lazy-args", ErrNotLazy)
	}
	e, err := f.event(raw)
	if err != nil {
		return nil, err
	}
	t := d.match(f, e, "")
	if t == nil || t.state == nil {
		if t, err = d.restoreFunction(ctx, f); err != nil {
			return nil, err
		}
	}
	stops := func(key string) bool {
		if stopAt != "" {
			return key == stopAt
		}
		_, has := e.value(key)
		return !has
	}
	if t.node.Info.Kind == lineage.KindArgument && stops(t.node.Info.Key.NextKey) {
		return t.node, nil // it is there already
	}
	i := d.newInvocation(f, e, &Request{Timeout: 10 * DefaultTimeout}, time.Now())
	var made *target
	i.capture = func(i *invocation, l *lease, w want) (*target, error) {
		if !stops(w.key) {
			return nil, nil
		}
		purity, err := certificate(l, w)
		if err != nil {
			return nil, err
		}
		if made, err = i.captureArgument(l, w, purity); err != nil {
			return nil, err
		}
		return nil, errCaptured
	}
	err = i.warm(ctx, t, false)
	if errors.Is(err, errCaptured) {
		d.catalog.forget(name)
		return made.node, nil
	}
	if err != nil {
		return nil, err
	}
	if stopAt == "" {
		return nil, fmt.Errorf("%w: it ended with the arguments that the event has", ErrNotAsked)
	}
	return nil, fmt.Errorf("%w %q", ErrNotAsked, stopAt)
}
