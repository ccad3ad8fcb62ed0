package dispatcher

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/inflight"
	"seuss/dispatcher/instance"
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

// captureTimeout is for a snapshot that was asked for: no client waits for a result.
const captureTimeout = 10 * DefaultTimeout

// captureArgument makes an argument snapshot of the state at a question.
func (i *invocation) captureArgument(w instance.Want, purity lineage.Purity) (*instance.Snapshot, error) {
	i.progress.Enter(inflight.Capturing)
	defer i.progress.Enter(inflight.Running)
	spec := i.f.spec
	ctx, cancel := context.WithTimeout(context.Background(), captureTimeout)
	defer cancel()
	s, err := charges{i.d}.capture(ctx, functions.OwnerOf(spec.Name), "", func() (*instance.Snapshot, error) {
		return i.Capture(instance.Capture{
			Kind: lineage.KindArgument, Saved: i.result.Timings.Run, Purity: purity,
			Key: lineage.Key{
				Function: functions.BaseName(spec.Name), Handler: spec.Handler, CodeDigest: spec.CodeDigest, Lazy: true,
				Args: slices.Clone(i.bound), NextKey: w.Key, Runtime: i.f.image.runtimeKey(i.f.runtime),
			},
		})
	})
	if err == nil {
		i.result.Captured = append(i.result.Captured, s.Node.Info.ID)
	}
	return s, err
}

// captureIfWorth is the automatic policy: a binding prefix that recurs, a pure
// state, and time worth saving.
func (i *invocation) captureIfWorth(w instance.Want) error {
	if len(i.bound) == 0 || i.asked > maxAutoAsked || i.result.Timings.Run < autoMinimum || len(i.f.arguments) >= maxArgumentNodes {
		return nil
	}
	// What the snapshot would hold is at most what the machine holds privately; its
	// saved time has to pay for storing and moving that.
	if i.result.Timings.Run < time.Duration(i.PrivatePages())*autoPagePrice {
		return nil
	}
	d := i.d
	if !d.prefixes.recurs(i.f.spec, i.bound) {
		return nil
	}
	purity, err := i.Purity(w)
	if err != nil {
		return err
	}
	if !purity.Pure() {
		d.events.impure.Add(1)
		d.log.Info("no argument snapshot: the state is impure", "function", i.f.spec.Name, "reasons", purity.Reasons)
		return nil
	}
	if _, err := i.captureArgument(w, purity); err != nil {
		// The invocation goes on: it needs no snapshot.
		d.log.Warn("no argument snapshot", "function", i.f.spec.Name, "error", err)
		return nil
	}
	return nil
}

// prefixes counts the binding prefixes of lazy invocations that were seen.
type prefixes struct {
	mu   sync.Mutex
	seen map[string]int // by digest
}

// maxPrefixes bounds what is remembered: a flood of different arguments starts over.
const maxPrefixes = 1 << 16

// recurs reports whether the prefix came before.
func (p *prefixes) recurs(f *Deployment, bound []lineage.Binding) bool {
	prefix := sha256.New()
	io.WriteString(prefix, functions.BaseName(f.Name)+f.CodeDigest) // a hash's Write never fails
	for _, b := range bound {
		fmt.Fprintf(prefix, "\x00%d %s%s", len(b.Key), b.Key, b.Digest)
	}
	id := string(prefix.Sum(nil))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) > maxPrefixes {
		p.seen = map[string]int{}
	}
	p.seen[id]++
	return p.seen[id] > 1
}

var errCaptured = errors.New("captured")

// Capture says which argument snapshot is wanted.
type Capture struct {
	Event json.RawMessage `json:"event"`
	// StopAt is the key at whose question the snapshot is taken; "": the first one that
	// the event does not have.
	StopAt string `json:"stop_at,omitempty"`
	// AllowImpure: outside input (time, random bytes, what came over the network, the
	// context) may have gone into the state, and every invocation that starts from it has
	// the same.
	AllowImpure bool `json:"allow_impure,omitempty"`
}

// CaptureArgument runs a lazy function until it asks for an argument, and makes an
// argument node there. A state that is impure by the node's certificate is refused with
// ErrImpure, unless c allows it.
func (d *Dispatcher) CaptureArgument(ctx context.Context, name string, c Capture) (*lineage.Node, error) {
	n, err := d.captureExplicit(ctx, name, &c)
	if err != nil {
		return nil, fmt.Errorf("argument snapshot of %q: %w", name, err)
	}
	return n, nil
}

func (d *Dispatcher) captureExplicit(ctx context.Context, name string, c *Capture) (*lineage.Node, error) {
	spec, err := d.Lookup(name)
	if err != nil {
		return nil, err
	}
	f, err := d.cache.get(spec)
	if err != nil {
		return nil, err
	}
	if !f.spec.Lazy {
		return nil, fmt.Errorf("%w: deploy it with --lazy-args", ErrNotLazy)
	}
	i, err := newInvocation(f, &Request{Event: c.Event}, time.Now())
	if err != nil {
		return nil, err
	}
	i.d, i.deadline = d, i.started.Add(captureTimeout)
	t := d.costs.match(f, &i.event, "")
	if t == nil || t.State == nil {
		if t, err = d.restore(ctx, spec.Name); err != nil {
			return nil, err
		}
	}
	stops := func(key string) bool {
		if c.StopAt != "" {
			return key == c.StopAt
		}
		_, has := i.event.value(key)
		return !has
	}
	if t.Node.Info.Kind == lineage.KindArgument && stops(t.Node.Info.Key.NextKey) {
		return t.Node, c.allows(t.Node.Info.Purity) // it is there already
	}
	var made *instance.Snapshot
	i.capture = func(i *invocation, w instance.Want) error {
		if !stops(w.Key) {
			return nil
		}
		purity, err := i.Purity(w)
		if err == nil {
			err = c.allows(purity)
		}
		if err != nil {
			return err
		}
		if made, err = i.captureArgument(w, purity); err != nil {
			return err
		}
		return errCaptured
	}
	if i.loan, err = d.pools.lend(ctx, nil, f.image, t, false); err != nil {
		return nil, err
	}
	err = i.conclude(i.run(ctx))
	i.End(false)
	if errors.Is(err, errCaptured) {
		return made.Node, nil
	}
	if err != nil {
		return nil, err
	}
	if failure := i.result.Error; failure != nil {
		return nil, cmp.Or(failure.Cause, error(failure))
	}
	if c.StopAt == "" {
		return nil, fmt.Errorf("%w: it ended with the arguments that the event has", ErrNotAsked)
	}
	return nil, fmt.Errorf("%w %q", ErrNotAsked, c.StopAt)
}

// allows says why a state may not become a snapshot.
func (c *Capture) allows(p lineage.Purity) error {
	if p.Pure() || c.AllowImpure {
		return nil
	}
	return fmt.Errorf("%w (%s): every invocation that starts from it would have the same; ask for it before, or allow it with --allow-impure (\"allow_impure\")", ErrImpure, strings.Join(p.Reasons, ", "))
}
