package dispatcher

import (
	"context"
	"fmt"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/dispatcher/instances"
	"seuss/lineage"
)

// What an instance that lives on has to do with nodes: those that it begins as, those that it
// becomes, and what others begin as.

// forkWhole bounds the memory that is copied of an instance that is forked, into all copies
// together, bytes: where it is more a node is made first, whose pages they share.
const forkWhole = 8 << 20

func (l *life) ofFunction(ctx context.Context, name string) (*instance.Snapshot, error) {
	spec, err := l.d.Lookup(functions.KeyFor(l.own, name))
	if err != nil {
		return nil, err
	}
	if l.f, err = l.d.cache.get(spec); err != nil {
		return nil, err
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
	if f.contract != nil {
		l.f.code, err = l.d.Deployments.store.Code(spec.Function)
	}
	return node, err
}

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
	}
	s, err := l.d.snapshots.Get(n.ID)
	if err != nil {
		return nil, err
	}
	runtime, on := 0, key.Runtime
	if key.Contract != "" {
		on = contracts.Loader
	}
	if l.img, runtime, err = l.d.images.serving(n.Info.ImageDigest, on); err != nil {
		return nil, err
	}
	f := &function{spec: &Deployment{}, image: l.img, runtime: runtime}
	f.spec.Name, f.spec.Handler, f.spec.CodeDigest, f.spec.Lazy = key.Function, key.Handler, key.CodeDigest, key.Lazy
	if spec, err := l.d.Lookup(key.Function); err == nil && key.Handler != "" && spec.CodeDigest == key.CodeDigest {
		f.spec = spec // and so what it may have
		if f.bounds, err = l.d.outer.Of(&spec.Settings); err != nil {
			return nil, err
		}
		if err := f.reaches(&spec.Settings); err != nil {
			return nil, err
		}
	}
	l.f = f
	return s, l.ofProgram(key)
}

// Fork returns others that are what it is.
func (l *life) Fork(ctx context.Context, t instances.Turn, names []string) ([]instances.Body, error) {
	if err := l.alike("copies of it"); err != nil {
		return nil, err
	}
	of, err := copied(l)
	if err == nil && of != nil && !l.d.opts.ReadOnly {
		if each := of.Bytes(); each*uint64(len(names)) > forkWhole && l.i != nil {
			of.Drop()
			// Where there is no room for a node, small copies do without.
			if _, err := l.Checkpoint(ctx, t); err != nil && (l.i == nil || each > forkWhole) {
				return nil, err
			}
			of, err = copied(l)
		}
	}
	if err != nil {
		return nil, err
	}
	if of != nil {
		defer of.Drop()
	}
	list := make([]instances.Body, len(names))
	for at := range list {
		other := &life{d: l.d, own: l.own, spec: l.spec, img: l.img, f: l.f, fresh: of == nil}
		other.spec.Name = names[at]
		if of != nil {
			other.copy = of.Clone()
		}
		other.init(l.node)
		other.waits = l.waits
		list[at] = other
		if err := other.room(); err != nil {
			for _, made := range list[:at+1] {
				made.Close()
			}
			return nil, &instances.Refusal{Err: err}
		}
	}
	return list, nil
}

// copied is what it is now, which is to be dropped; nil: it has not begun, and is its node. It
// stays where it is.
func copied(l *life) (*instance.Copy, error) {
	stands, err := claim(l)
	switch {
	case err != nil:
		return nil, err
	case l.fresh:
		return nil, nil
	case l.copy != nil:
		return l.copy.Clone(), nil
	case l.i == nil:
		return nil, errOver
	}
	c := l.same
	if c != nil {
		c = c.Clone()
	} else if c, err = instance.NewCopy(l.i); err == nil && stands {
		l.same = c.Clone()
	}
	if stands && err == nil {
		err = sit(l)
	}
	if err != nil && c != nil {
		c.Drop()
	}
	if err != nil {
		l.end(err)
		return nil, err
	}
	return c, nil
}

// Memory is its guest's.
func (l *life) Memory() (lineage.Memory, error) {
	if err := l.Leave(); err != nil {
		return lineage.Memory{}, err
	}
	switch {
	case l.i != nil:
		return l.i.Parked().Memory()
	case l.copy != nil:
		return l.copy.Memory()
	case l.fresh:
		return lineage.Memory{Node: l.node.Node, View: l.node.View}, nil
	}
	return lineage.Memory{}, errOver
}

// Checkpoint makes a node of what it is.
func (l *life) Checkpoint(ctx context.Context, t instances.Turn) (string, error) {
	if l.d.opts.ReadOnly {
		return "", &instances.Refusal{Err: lineage.ErrReadOnly}
	}
	if l.fresh && l.node.Node.Kind != lineage.KindInstance { // that one may go when nobody is kept as it
		return l.Node(), nil
	}
	if err := l.d.checkQuota(functions.Key(l.own, ""), nil); err != nil {
		return "", &instances.Refusal{Err: err}
	}
	if err := l.alike("what begins as its checkpoint"); err != nil {
		return "", err
	}
	begin := l.begin(ctx)
	err := l.on(ctx, t, func() error {
		if err := begin(); err != nil {
			return err
		}
		instance.Forsake(l.i)
		s, err := charges{l.d}.capture(ctx, l.own, "", func() (*instance.Snapshot, error) {
			return l.i.Capture(instance.Capture{Kind: lineage.KindInstance, Key: l.key()})
		})
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

// key is that of nodes of what it is.
func (l *life) key() lineage.Key {
	key := l.node.Node.Info.Key.Clone()
	key.Function = functions.Key(l.own, functions.NameOf(functions.BaseName(l.f.spec.Name)))
	key.Handler, key.CodeDigest, key.Lazy = l.f.spec.Handler, l.f.spec.CodeDigest, l.f.spec.Lazy
	if l.f.contract != nil {
		l.keyOfProgram(&key)
	}
	return key
}

// Seal makes a node of what it is, beside what was sealed before.
func (l *life) Seal() (string, error) {
	c, err := copied(l)
	if err != nil {
		return "", err
	}
	if c == nil {
		return l.Node(), nil
	}
	defer c.Drop()
	if err := l.d.checkQuota(functions.Key(l.own, ""), nil); err != nil {
		return "", err
	}
	n, err := c.Seal(&l.d.host, instance.Capture{Kind: lineage.KindInstance, Key: l.key()})
	if err != nil {
		return "", err
	}
	return n.ID, nil
}

// keptNodes are the nodes that instances come back as.
type keptNodes struct{ d *Dispatcher }

// unseal removes what Seal has made, where nobody has marked it, made anything of it, or
// stands there.
func (k keptNodes) unseal(id string) {
	n, err := k.d.store.Get(id)
	if err != nil || n.Kind != lineage.KindInstance || len(k.d.store.Catalogue().NodeMarks(id)) > 0 {
		return
	}
	held := map[string]bool{}
	k.d.snapshots.Held(held)
	if !held[id] {
		_ = k.d.store.Remove(id, false) // else it is used, and a collection's
	}
}

// flatten makes a node of what hangs below others of instances, of all of them.
func (k keptNodes) flatten(id string) (string, error) {
	of, err := k.d.store.Get(id)
	if err != nil {
		return "", err
	}
	chain, err := k.d.store.Lineage(of)
	if err != nil {
		return "", err
	}
	at := len(chain) - 1
	for at > 0 && chain[at].Kind == lineage.KindInstance {
		at--
	}
	n, err := k.d.store.Flatten(id, chain[at].ID)
	if err != nil {
		return "", err
	}
	return n.ID, nil
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
	if err == nil && other.f.contract != l.f.contract {
		err = fmt.Errorf("snapshot %.12s is of another contract: %w", s.Node.ID, lineage.ErrInvalid)
	}
	if err != nil {
		return &instances.Refusal{Err: err}
	}
	var vm *instance.VM
	pool := l.loan.pool
	if stands, err := claim(l); err == nil && stands {
		vm, l.i = l.i.End(), nil
	}
	l.end(nil)
	l.become(s)
	f := *l.f
	f.spec, f.code = other.f.spec, other.f.code
	l.f, l.fresh, l.waits = &f, true, waitsOf(s)
	if vm != nil { // so it begins there at once, unless somebody takes that
		pool.bring(vm, s)
	}
	if err := l.room(); err != nil {
		l.end(nil)
		return err
	}
	return nil
}
