package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"

	"seuss/dispatcher/cluster/nodes"
	"seuss/dispatcher/contracts"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/lineage"
)

// Others are the other members of a cluster, which may hold snapshots that are not here.
type Others interface {
	// Anybody reports whether one of them says that it holds what is wanted. It must not wait.
	Anybody(w *nodes.Want) bool
	// Fetch brings it into the store.
	Fetch(ctx context.Context, w *nodes.Want) error
}

// errCame ends the making of what has come from another member meanwhile.
var errCame = errors.New("it has come from another member")

// AskOthers has what is not here be fetched from other members while it is made here, whichever
// is first. It is called once, before anything is invoked.
func (d Replica) AskOthers(o Others) { d.maker.others = o }

// want says what a deployment lacks here; img is nil where the image is not here.
func (m *maker) want(f *functions.Function, img *image, runtime int) *nodes.Want {
	w := &nodes.Want{Deployment: f.Name, Code: f.CodeDigest, Handler: f.Handler, Lazy: f.Lazy, ImageName: nameOrDefault(f.Image)}
	if img == nil {
		return w
	}
	w.Image = img.Digest
	at, imported := img.root.ID, 0
	for _, n := range m.store.Children(at) {
		if n.Kind == lineage.KindBase && n.ABIVersion == guest.KernelVersion && n.Key.Runtime == img.runtimeKey(runtime) {
			w.Based, at = true, n.ID
			break
		}
	}
	for w.Based && imported < len(f.Imports) {
		children := m.store.Children(at) // once: others may go meanwhile
		next := slices.IndexFunc(children, func(n *lineage.Node) bool {
			return n.Kind == lineage.KindImport && slices.Equal(n.Key.Imports, f.Imports[:imported+1])
		})
		if next < 0 {
			break
		}
		at = children[next].ID
		imported++
	}
	w.Imported = w.Based && imported == len(f.Imports)
	return w
}

// here finds the function's node of a deployment; nil: there is none.
func (m *maker) here(f *functions.Function, img *image, runtime int) *lineage.Node {
	for _, n := range m.store.Function(functions.BaseName(f.Name)) {
		if n.Kind == lineage.KindFunction && isOf(n, f, img, runtime) {
			return n
		}
	}
	return nil
}

// first is of for a deployment whose snapshot another member may hold: it is made here and
// fetched at once, and whichever is there first is returned. The other one is ended, and when it
// has, unlock is called.
func (m *maker) first(ctx context.Context, f *functions.Function, code []byte, unlock func()) (*instance.Snapshot, error) {
	alone := func() (*instance.Snapshot, error) {
		defer unlock()
		return m.of(ctx, f, code)
	}
	if m.others == nil || m.host.ReadOnly || f.Snapshot != "" {
		return alone()
	}
	img, runtime, err := m.images.serving(f.Image, contracts.Runtime(&f.Settings))
	if err != nil || m.here(f, img, runtime) != nil {
		return alone()
	}
	w := m.want(f, img, runtime)
	if !m.others.Anybody(w) {
		return alone()
	}
	type outcome struct {
		s   *instance.Snapshot
		err error
	}
	making, stopMaking := context.WithCancelCause(ctx)
	fetching, stopFetching := context.WithCancel(ctx)
	made, came := make(chan outcome, 1), make(chan outcome, 1)
	both := new(sync.WaitGroup)
	both.Add(1)
	ok := m.host.Background(func() {
		defer both.Done()
		err := m.others.Fetch(fetching, w)
		if err != nil {
			m.host.Log.Debug("a function's snapshot is not fetched", "function", f.Name, "error", err)
			came <- outcome{err: err}
			return
		}
		n := m.here(f, img, runtime)
		if n == nil {
			came <- outcome{err: fmt.Errorf("it has come and was removed: %w", lineage.ErrNotFound)}
			return
		}
		s, err := m.snapshots.Get(n.ID)
		came <- outcome{s, err}
	})
	if !ok {
		stopFetching()
		stopMaking(nil)
		return alone()
	}
	both.Add(1)
	if !m.host.Background(func() {
		defer both.Done()
		s, err := m.of(making, f, code)
		made <- outcome{s, err}
	}) {
		both.Done()
		made <- outcome{err: ErrClosed}
	}
	defer func() {
		stopFetching()
		stopMaking(context.Canceled)
		if !m.host.Background(func() { both.Wait(); unlock() }) {
			both.Wait()
			unlock()
		}
	}()
	select {
	case o := <-made:
		if o.err == nil {
			return o.s, nil
		}
		select {
		case last := <-came:
			if last.err == nil {
				return last.s, nil
			}
		case <-ctx.Done(): // what comes may wait for another's image to be taken in
		}
		return nil, o.err
	case o := <-came:
		if o.err == nil {
			stopMaking(errCame)
			return o.s, nil
		}
		o = <-made
		return o.s, o.err
	}
}

// imageCame has the image of a deployment, and its snapshot, come from another member where none
// is here; missing is the error that says so.
func imageCame(ctx context.Context, d *Dispatcher, spec *Deployment, missing error) (*function, error) {
	m := d.maker
	w := m.want(&spec.Function, nil, 0)
	if m.others == nil || m.host.ReadOnly || spec.Snapshot != "" || !m.others.Anybody(w) {
		return nil, missing
	}
	unlock, err := d.locks.Lock(ctx, lockOf(spec.Name))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f, err := d.cache.get(spec); !errors.Is(err, ErrNoImage) {
		return f, err // somebody else was faster
	}
	if err := m.others.Fetch(ctx, w); err != nil {
		return nil, fmt.Errorf("%w; and from other members: %w", missing, err)
	}
	return d.cache.get(spec)
}

// Holding implements nodes.Service.
func (d Replica) Holding(w *nodes.Want) ([]*lineage.Node, error) {
	f, err := d.Function(w.Deployment)
	if err != nil {
		return nil, err
	}
	if f.CodeDigest != w.Code || f.Handler != w.Handler || f.Lazy != w.Lazy {
		return nil, fmt.Errorf("function %q has code %.12s here, not %.12s: %w", f.Name, f.CodeDigest, w.Code, ErrUnknownFunction)
	}
	if f.Snapshot != "" {
		return nil, fmt.Errorf("function %q starts from an instance's checkpoint, which stays where it is: %w", f.Name, lineage.ErrInvalid)
	}
	img, runtime, err := d.images.serving(f.Image, contracts.Runtime(&f.Settings))
	if err != nil {
		return nil, err
	}
	n := d.maker.here(&f, img, runtime)
	if n == nil || w.Image != "" && w.Image != img.Digest {
		return nil, fmt.Errorf("the snapshot of %q in image %.12s: %w", f.Name, w.Image, lineage.ErrNotFound)
	}
	return d.store.Lineage(n)
}

// Fits implements nodes.Service.
func (d Replica) Fits(n *lineage.Info) error {
	if n.Kind == lineage.KindImage {
		return nil
	}
	if n.ABIVersion != guest.KernelVersion {
		return fmt.Errorf("it has guest ABI %d, this program has %d", n.ABIVersion, guest.KernelVersion)
	}
	return d.lacks(n.CPUFeatures)
}

// TakeNodes implements nodes.Service.
func (d Replica) TakeNodes(ctx context.Context, p *nodes.Parcel) error {
	owner := functions.OwnerOf(p.Want.Deployment)
	// What is imported is charged to whose function it came for, as if it were made here.
	if slices.ContainsFunc(p.Nodes, func(n nodes.Piece) bool { return n.Info.Kind == lineage.KindImport }) {
		if err := (charges{d.Dispatcher}).within(owner, p.Nodes[0].Info.Parent); err != nil {
			return fmt.Errorf("the imports of %q: %w", p.Want.Deployment, err)
		}
	}
	d.sweeping.Lock() // what hangs on a node that has just come is not known yet
	defer d.sweeping.Unlock()
	if p.Image != "" {
		if err := d.takeImage(ctx, p); err != nil {
			return err
		}
	}
	for i := range p.Nodes {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cancelled: %w", context.Cause(ctx))
		}
		if err := d.takeNode(owner, &p.Nodes[i]); err != nil {
			return err
		}
	}
	if p.Want.Image != "" {
		return nil
	}
	return d.nameCame(p)
}

func (d Replica) takeImage(ctx context.Context, p *nodes.Parcel) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cancelled: %w", err)
	}
	f, err := os.Open(p.Image)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.store.Transfer().AdoptImage(p.Digest, f, p.ImageSize, func(path string) error { return checkImage(path, p.Digest) })
}

// nameCame gives an image that has come the name by which the deployment knows it.
func (d Replica) nameCame(p *nodes.Parcel) error {
	name := p.Want.ImageName
	if name == p.Digest {
		return nil
	}
	if named, err := d.images.store.TagNew(name, p.Digest); err != nil || !named {
		return err
	}
	d.log.Info("cluster: an image came from another member, or its name", "image", name, "digest", p.Digest, "bytes", p.ImageSize)
	return nil
}

func (d Replica) takeNode(owner string, p *nodes.Piece) error {
	if _, err := d.store.Get(p.Info.ID); err == nil {
		return nil
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := d.store.Transfer().Adopt(f, p.Size, func(got *lineage.Info) error {
		if got.ID != p.Info.ID || got.Kind != p.Info.Kind || got.Parent != p.Info.Parent || !reflect.DeepEqual(got.Key, p.Info.Key) {
			return fmt.Errorf("it is node %.12s (%s), not %.12s (%s): %w", got.ID, got.Kind, p.Info.ID, p.Info.Kind, lineage.ErrIdentity)
		}
		return d.Fits(got)
	})
	if err != nil {
		return err
	}
	if n.Kind == lineage.KindImport {
		charges{d.Dispatcher}.note(owner, n.ID)
	}
	if p.Loading == nil {
		return nil
	}
	if err := d.store.SaveLoadingSet(n, p.Loading); err != nil { // a hint
		d.log.Debug("a loading set is not kept", "node", n.ID, "error", err)
	}
	return nil
}
