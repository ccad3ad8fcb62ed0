package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/park"
	"seuss/dispatcher/state/region"
	"seuss/vmm/vsock"
)

// life is what an instance that lives on is made of: an instances.Body.
type life struct {
	d    *Dispatcher
	own  string // its owner
	spec instances.Spec
	img  *image
	f    *function          // whose handler it has; nil: none
	node *instance.Snapshot // that it began as, or was captured or rolled back to last; held
	// One of these. None: it is over.
	i     *instance.Instance // parked, or on a machine
	copy  *instance.Copy     // it begins as that
	fresh bool               // it begins as node

	seated

	loan    loan // of i; its start is held
	away    away // of the same
	ways    ways
	regions region.Set // the memory that it shares with others
	output  func(fd uint16, p []byte)

	waits string             // what its program waits for, where that is another thing than a request
	said  []instance.LogLine // that its program has printed when it was started
}

// restTime is what an instance is given to come to rest when it has done what it was asked
// for.
const restTime = 10 * time.Second

// RecordsFile is the file of a state directory in which it is written what instances a service
// has that live on.
const RecordsFile = "instances"

func newKeeper(d *Dispatcher) *instances.Keeper {
	make := func(ctx context.Context, owner string, s *instances.Spec) (instances.Body, error) {
		return newLife(ctx, d, owner, s)
	}
	o := instances.Options{Make: make, Bytes: cmp.Or(d.opts.ParkedBytes, DefaultParkedBytes), Host: functions.DefaultOwner, Log: d.log, Unseal: keptNodes{d}.unseal, Flatten: keptNodes{d}.flatten}
	if !d.opts.ReadOnly {
		o.Records, o.Leave = filepath.Join(d.opts.StateDir, RecordsFile), d.opts.ForOthers
	}
	if d.opts.Quota != nil {
		o.Most = func(owner string) int { return d.opts.Quota(owner).Instances }
	}
	return instances.New(o)
}

// newLife makes what an instance of an owner's is to be: it begins when it is first used.
func newLife(ctx context.Context, d *Dispatcher, owner string, s *instances.Spec) (instances.Body, error) {
	l := &life{d: d, own: owner, spec: *s, fresh: true}
	var node *instance.Snapshot
	var err error
	switch {
	case s.Function != "":
		node, err = l.ofFunction(ctx, s.Function)
	case s.Image != "":
		node, err = l.ofImage(ctx, s.Image)
	default:
		node, err = l.ofSnapshot(s.Snapshot)
	}
	if err != nil {
		return nil, err
	}
	if s.Network != nil || s.MemoryMiB > 0 {
		settings := l.f.spec.Settings
		settings.MemoryMiB = cmp.Or(s.MemoryMiB, settings.MemoryMiB)
		if s.Network != nil {
			settings.Network = s.Network
		}
		if err := d.outer.Check(&settings); err != nil {
			return nil, err
		}
		if l.f.bounds, err = d.outer.Of(&settings); err != nil {
			return nil, err
		}
	}
	if err := fits(l); err != nil {
		return nil, err
	}
	l.init(node)
	if err = l.room(); err == nil && s.Image != "" && l.f.contract != nil {
		err = l.start(ctx)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// room takes room for what it is off its machine, where it has to be between two uses.
func (l *life) room() error {
	if bytes := l.Bytes(); !l.d.lot.Take(&l.away.stay, bytes) {
		return fmt.Errorf("%w: there is no room for what waits without a machine, of which this is %d bytes: remove instances, or allow more (serve --instances, --parked-memory)", instances.ErrTooMany, bytes)
	}
	return nil
}

// init has it begin as a node.
func (l *life) init(node *instance.Snapshot) {
	node.Hold()
	l.node, l.waits = node, waitsOf(node)
	l.loan.pools = l.d.pools
	l.away.of, l.away.lot = &l.loan, l.d.lot
	l.away.stay.Owner, l.away.stay.Keeps = l.own, true
}

// errOver: nothing is left of it.
var errOver = errors.New("nothing is left of it")

// board brings it to a machine. After a Refusal it is what it was.
func (l *life) board(ctx context.Context, t instances.Turn) error {
	p, err := l.d.pools.of(l.img)
	if err != nil {
		return &instances.Refusal{Err: err}
	}
	get := func(s *instance.Snapshot) (vm *instance.VM, err error) {
		if vm, err = p.take(ctx, nil, s); err != nil {
			err = &instances.Refusal{Err: err}
		}
		return vm, err
	}
	if l.away.turn = nil; t != nil {
		l.away.turn = t
	}
	if stands, err := claim(l); stands || err != nil {
		differ(l)
		return err
	}
	var vm *instance.VM
	switch {
	case l.i != nil:
		if vm, err = get(l.i.Parked().Snapshot()); err != nil {
			return err
		}
		if err = instance.Resume(l.i, vm); err != nil {
			p.discard(vm)
			l.end(nil)
		}
		return err
	case l.copy != nil:
		if vm, err = get(l.copy.Snapshot()); err != nil {
			return err
		}
		if l.i, err = vm.BeginCopy(l.copy); err != nil {
			p.discard(vm)
			return err
		}
		l.copy.Drop()
		l.copy = nil
	case l.fresh:
		if vm, err = get(l.node); err != nil {
			return err
		}
		if l.i, err = vm.Begin(l.node); err != nil {
			p.discard(vm)
			return err
		}
		l.fresh = false
		l.node.Node.Hit()
	default:
		return errOver
	}
	l.loan.Instance, l.loan.pool, l.regions = l.i, p, l.d.opts.Regions.Set(l.own, functions.BaseName(l.f.spec.Name), l.f.regions)
	if err := instance.Share(ctx, l.i, &l.regions, time.Now().Add(loadTimeout)); err != nil {
		l.end(err)
		return err
	}
	limited := *l.f
	i := invocation{d: l.d, f: &limited}
	l.i.MemoryPages = i.memoryLimit(l.node)
	l.i.Leave(lifeOutside{l})
	l.i.Parking = &l.away
	l.i.Output(l.print)
	if c := l.f.contract; c != nil && c.Live.Meet != nil {
		c.Live.Meet(l.i)
	}
	return nil
}

// lifeOutside is its instance's instance.Outside.
type lifeOutside struct{ l *life }

func (o lifeOutside) Accept(c *vsock.Conn) error {
	return o.l.ways.accept(c, o.l.d, o.l.f, o.key(), o.l.spec.Name, o.l)
}

func (o lifeOutside) Answer(request, answer []byte) (int, bool) {
	return o.l.ways.api(o.l.d, o.l.f, o.key(), o.l.spec.Name, o.l).Answer(request, answer), true
}

// key is its function's, as its owner's.
func (o lifeOutside) key() string {
	l := o.l
	if l.spec.Function == "" { // of a snapshot: the function that is there, if there is one
		return functions.Key(l.own, functions.NameOf(functions.BaseName(l.f.spec.Name)))
	}
	return functions.BaseName(functions.KeyFor(l.own, l.spec.Function))
}

// who makes it a caller, of which no time is known. Other owners' may have its name.
func (l *life) who(w *chain.Who) {
	request := l.spec.Name + "/" + uuid.NewString()
	w.Link = chain.Link{Request: request, Root: request}
}

func (l *life) print(fd uint16, p []byte) bool {
	if l.output != nil {
		l.output(fd, p)
	}
	return true
}

// on does something with it on a machine, where it stands then until somebody wants that. After
// an error that is neither the code's own nor a Refusal it is over.
func (l *life) on(ctx context.Context, t instances.Turn, do func() error) error {
	if err := l.board(ctx, t); err != nil {
		return err
	}
	err := do()
	var own *FunctionError
	if err != nil && !errors.As(err, &own) {
		l.end(err)
		return err
	}
	if bad := rest(l); bad != nil {
		l.end(bad)
		bad = fmt.Errorf("it does not come to rest after what it was asked for: %w", bad)
		if own != nil { // in words: it is over, which after an error of the code's own it is not
			bad = fmt.Errorf("%w; before that its code failed: %v", bad, own)
		}
		return bad
	}
	if l.seat.Load() != nil {
		return err
	}
	if bad := l.room(); bad != nil {
		l.end(nil)
		return bad
	}
	return err
}

// end ends what lives, for a reason, or none.
func (l *life) end(why error) {
	if s := l.seat.Load(); s != nil {
		l.loan.pool.claim(s)
		l.seat.Store(nil)
	}
	differ(l)
	if l.broken != nil {
		l.i, l.broken = nil, nil
	}
	if l.i != nil {
		if vm := l.i.End(); vm != nil {
			if failed(why) {
				l.loan.pool.discard(vm)
			} else {
				l.loan.pool.recycle(vm, false, nil)
			}
		}
	}
	if l.copy != nil {
		l.copy.Drop()
	}
	l.ways.close()
	l.regions.Close()
	l.i, l.copy, l.fresh = nil, nil, false
	l.loan.Instance = nil
	l.d.lot.Free(&l.away.stay)
}

// End lets go of what it is.
func (l *life) End() { l.end(nil) }

// Close lets go of all that it has.
func (l *life) Close() {
	l.end(nil)
	l.node.Release()
}

// Image is the digest of its image.
func (l *life) Image() string { return l.img.Digest }

// Node is the one that it began as, or was brought to last.
func (l *life) Node() string { return l.node.Node.ID }

// Bytes is how much memory it takes.
func (l *life) Bytes() uint64 {
	if l.Stands() {
		return l.most
	}
	if c := l.content(); c != nil {
		return c.Bytes()
	}
	return 0
}

// content is what of it is parked; nil: nothing.
func (l *life) content() interface {
	park.Content
	Snapshot() *instance.Snapshot
} {
	switch {
	case l.i != nil && l.i.Parked() != nil:
		return l.i.Parked()
	case l.copy != nil:
		return l.copy
	}
	return nil
}

// Wait waits until something is to be done.
func (l *life) Wait(until time.Time, frozen bool, bell <-chan struct{}) instances.End {
	if s := l.seat.Load(); s != nil {
		if end, over := stand(l, s, until, frozen, bell); over {
			return end
		}
	}
	var c park.Content = park.Still{}
	at := until
	if parked := l.content(); parked != nil && frozen {
		c = park.Still{Content: parked}
	} else if parked != nil {
		c = parked
		due := dueOf(l)
		if at.IsZero() || !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	switch l.d.lot.Wait(context.Background(), &l.away.stay, c, at, bell) {
	case park.Ended:
		return instances.Rung
	case park.Closed:
		return instances.Closed
	}
	if !until.IsZero() && !time.Now().Before(until) {
		return instances.Passed
	}
	return instances.Due
}

func dueOf(l *life) time.Time {
	if l.i != nil {
		return l.i.Parked().Due
	}
	return l.copy.Due()
}
