package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/dispatcher/park"
	"seuss/lineage"
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

	loan   loan // of i; its start is held
	away   away // of the same
	ways   ways
	output func(fd uint16, p []byte)
}

// restTime is what an instance is given to come to rest when it has done what it was asked
// for.
const restTime = 10 * time.Second

// forkWhole bounds the memory that is copied of an instance that is forked, bytes: where it
// is more a node is made first, whose pages all copies share.
const forkWhole = 8 << 20

func newKeeper(d *Dispatcher) *instances.Keeper {
	make := func(ctx context.Context, owner string, s *instances.Spec) (instances.Body, error) {
		return newLife(ctx, d, owner, s)
	}
	o := instances.Options{Make: make, Bytes: cmp.Or(d.opts.ParkedBytes, DefaultParkedBytes), Host: functions.DefaultOwner, Log: d.log}
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
		var runtime int
		if node, l.img, runtime, err = d.maker.imported(ctx, s.Image, "", "", nil); err == nil {
			l.f = &function{spec: &Deployment{}, image: l.img, runtime: runtime}
		}
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
	l.init(node)
	return l, nil
}

// init has it begin as a node.
func (l *life) init(node *instance.Snapshot) {
	node.Hold()
	l.node = node
	l.loan.pools = l.d.pools
	l.away.of, l.away.lot = &l.loan, l.d.lot
	l.away.stay.Owner = l.own
}

func (l *life) ofFunction(ctx context.Context, name string) (*instance.Snapshot, error) {
	spec, err := l.d.Lookup(functions.KeyFor(l.own, name))
	if err != nil {
		return nil, err
	}
	if l.f, err = l.d.cache.get(spec); err != nil {
		return nil, err
	}
	if l.f.contract != nil {
		return nil, errProgram
	}
	node := l.f.node
	if node == nil || node.State == nil {
		if node, err = l.d.restore(ctx, spec.Name); err != nil {
			return nil, err
		}
		if node.Node.Kind != lineage.KindFunction {
			return nil, fmt.Errorf("the function's code is not in a snapshot: %w", lineage.ErrReadOnly)
		}
	}
	f := *l.f // its bounds may be others
	l.f, l.img = &f, f.image
	return node, nil
}

var errProgram = fmt.Errorf("it is a program, not a runtime's driver: instances of programs do not live on yet: %w", lineage.ErrInvalid)

func (l *life) ofSnapshot(ref string) (*instance.Snapshot, error) {
	n, err := l.d.store.Get(ref)
	if err != nil {
		return nil, err
	}
	key := &n.Info.Key
	switch {
	case n.Info.Private() && functions.OwnerOf(key.Function) != l.own:
		return nil, fmt.Errorf("snapshot %q: %w", ref, lineage.ErrNotFound)
	case n.Kind == lineage.KindImage:
		return nil, fmt.Errorf("snapshot %.12s is an image, which has to boot: name the image: %w", n.ID, lineage.ErrInvalid)
	case n.Kind == lineage.KindArgument:
		return nil, fmt.Errorf("snapshot %.12s waits for an argument of its function: name its function: %w", n.ID, lineage.ErrInvalid)
	case key.Contract != "":
		return nil, errProgram
	}
	s, err := l.d.snapshots.get(n.ID)
	if err != nil {
		return nil, err
	}
	runtime := 0
	if l.img, runtime, err = l.d.images.serving(n.Info.ImageDigest, key.Runtime); err != nil {
		return nil, err
	}
	f := &function{spec: &Deployment{}, image: l.img, runtime: runtime}
	f.spec.Name, f.spec.Handler, f.spec.CodeDigest, f.spec.Lazy = key.Function, key.Handler, key.CodeDigest, key.Lazy
	if spec, err := l.d.Lookup(key.Function); err == nil && key.Handler != "" && spec.CodeDigest == key.CodeDigest {
		f.spec = spec // and so what it may have
		if f.bounds, err = l.d.outer.Of(&spec.Settings); err != nil {
			return nil, err
		}
	}
	l.f = f
	return s, nil
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
	l.loan.Instance, l.loan.pool = l.i, p
	limited := *l.f
	i := invocation{d: l.d, f: &limited}
	l.i.MemoryPages = i.memoryLimit(l.node)
	l.i.Leave(l)
	l.i.Parking = &l.away
	l.i.Output(l.print)
	return nil
}

// Accept makes it an instance.Outside.
func (l *life) Accept(c *vsock.Conn) error {
	return l.ways.accept(c, l.d, l.f, functions.BaseName(functions.KeyFor(l.own, l.spec.Function)), l.spec.Name)
}

func (l *life) print(fd uint16, p []byte) bool {
	if l.output != nil {
		l.output(fd, p)
	}
	return true
}

// on does something with it on a machine, and has it leave that. After an error that is
// neither the code's own nor a Refusal it is over.
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
	vm, bad := instance.Park(l.i, time.Now().Add(restTime))
	if bad != nil {
		l.end(bad)
		bad = fmt.Errorf("it does not come to rest after what it was asked for: %w", bad)
		if own != nil { // in words: it is over, which after an error of the code's own it is not
			bad = fmt.Errorf("%w; before that its code failed: %v", bad, own)
		}
		return bad
	}
	l.loan.pool.recycle(vm, false, nil)
	return err
}

// end ends what lives, for a reason, or none.
func (l *life) end(why error) {
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
	l.i, l.copy, l.fresh = nil, nil, false
	l.loan.Instance = nil
}

// End lets go of what it is.
func (l *life) End() { l.end(nil) }

// Close lets go of all that it has.
func (l *life) Close() {
	l.end(nil)
	l.node.Release()
}

// Node is the one that it began as, or was brought to last.
func (l *life) Node() string { return l.node.Node.ID }

// Bytes is how much memory it takes.
func (l *life) Bytes() uint64 {
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
	case l.i != nil:
		return l.i.Parked()
	case l.copy != nil:
		return l.copy
	}
	return nil
}

// Wait waits until something is to be done.
func (l *life) Wait(until time.Time, frozen bool, bell <-chan struct{}) instances.End {
	var c park.Content = park.Still{}
	at := until
	if parked := l.content(); parked != nil && frozen {
		c = park.Still{Content: parked}
	} else if parked != nil {
		c = parked
		due := l.due()
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

func (l *life) due() time.Time {
	if l.i != nil {
		return l.i.Parked().Due
	}
	return l.copy.Due()
}

// call checks a Call.
func (l *life) call(c *instances.Call) (*invocation, error) {
	request := &Request{Event: c.Event, Timeout: time.Duration(c.Timeout)}
	switch {
	case c.Code != nil:
		return &invocation{f: l.f, deadline: time.Now().Add(l.f.bounds.Time(request.Timeout))}, request.Check()
	case l.f.spec.Handler == "":
		return nil, fmt.Errorf("it has no handler, as it is of an image: exec code in it: %w", lineage.ErrInvalid)
	}
	return newInvocation(l.f, request, time.Now())
}

// Do runs code, or handles an event.
func (l *life) Do(ctx context.Context, t instances.Turn, c *instances.Call) (*instances.Answer, error) {
	call, err := l.call(c)
	if err != nil {
		return nil, &instances.Refusal{Err: err}
	}
	a := &instances.Answer{}
	l.output = c.Output
	defer func() { l.output = nil }()
	err = l.on(ctx, t, func() error {
		s := l.i.Converse(ctx, call.deadline)
		if c.Code != nil {
			out, err := s.Exec(*c.Code)
			if err == nil {
				err = json.Unmarshal(out, a)
			}
			return err
		}
		reply, err := s.Call(call.how(), call.context, call.event.raw)
		if err == nil && reply.Asks {
			reply, err = call.answerAll(s, reply)
		}
		a.Value = append(a.Value, reply.Output...)
		return err
	})
	var own *FunctionError
	if errors.As(err, &own) && l.i != nil {
		a.Error, err = own, nil
	}
	return a, err
}

// Step lets it do what it has to do by itself.
func (l *life) Step(ctx context.Context, t instances.Turn) error {
	begins := l.i == nil
	return l.on(ctx, t, func() error {
		if begins { // its generators are seeded before anything else
			return l.i.Converse(ctx, time.Now().Add(restTime)).Import()
		}
		return nil
	})
}

// Fork returns n others that are what it is.
func (l *life) Fork(ctx context.Context, t instances.Turn, n int) ([]instances.Body, error) {
	if l.i != nil && l.i.Parked().Bytes() > forkWhole && !l.d.opts.ReadOnly {
		if _, err := l.Checkpoint(ctx, t); err != nil {
			return nil, err
		}
	}
	var of *instance.Copy
	switch {
	case l.i != nil:
		var err error
		if of, err = instance.NewCopy(l.i); err != nil {
			return nil, err
		}
		defer of.Drop()
	case l.copy != nil:
		of = l.copy
	case !l.fresh:
		return nil, errOver
	}
	list := make([]instances.Body, n)
	for at := range list {
		other := &life{d: l.d, own: l.own, spec: l.spec, img: l.img, f: l.f, fresh: of == nil}
		if of != nil {
			other.copy = of.Clone()
		}
		other.init(l.node)
		list[at] = other
	}
	return list, nil
}

// Checkpoint makes a node of what it is.
func (l *life) Checkpoint(ctx context.Context, t instances.Turn) (string, error) {
	if l.d.opts.ReadOnly {
		return "", &instances.Refusal{Err: lineage.ErrReadOnly}
	}
	if l.fresh {
		return l.Node(), nil
	}
	if err := l.d.checkQuota(functions.Key(l.own, ""), nil); err != nil {
		return "", &instances.Refusal{Err: err}
	}
	err := l.on(ctx, t, func() error {
		key := l.node.Node.Info.Key.Clone()
		key.Function = functions.Key(l.own, functions.NameOf(functions.BaseName(l.f.spec.Name)))
		key.Handler, key.CodeDigest, key.Lazy = l.f.spec.Handler, l.f.spec.CodeDigest, l.f.spec.Lazy
		s, err := l.i.Capture(instance.Capture{Kind: lineage.KindInstance, Key: key})
		if err != nil {
			return err
		}
		l.become(s)
		return nil
	})
	if err != nil {
		return "", err
	}
	return l.Node(), nil
}

// become notes the node that it is now.
func (l *life) become(s *instance.Snapshot) {
	s.Hold()
	l.node.Release()
	l.node = s
}

// Rollback makes it what it was at a node.
func (l *life) Rollback(_ context.Context, node string) error {
	other := &life{d: l.d, own: l.own}
	s, err := other.ofSnapshot(node)
	if err == nil && other.img.Digest != l.img.Digest {
		err = fmt.Errorf("snapshot %.12s is of another image: %w", s.Node.ID, lineage.ErrInvalid)
	}
	if err != nil {
		return &instances.Refusal{Err: err}
	}
	l.end(nil)
	l.become(s)
	f := *l.f
	f.spec = other.f.spec
	l.f, l.fresh = &f, true
	return nil
}
