package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/lineage"
)

// boot boots an image on a machine of its own until its driver is ready.
func (d *Dispatcher) boot(img *image) (*instance.Instance, error) {
	root, err := d.catalog.snapshot(img.root.Info.ID)
	if err != nil {
		return nil, err
	}
	return instance.Boot(&d.host, img.Image, root)
}

// Base returns the image's base node: the runtime started, nothing else. If
// there is none for this host it boots the image and captures it.
func (d *Dispatcher) Base(ctx context.Context, imageName string) (*lineage.Node, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	t, err := d.base(ctx, imageName)
	if err != nil {
		return nil, err
	}
	return t.Node, nil
}

func (d *Dispatcher) base(ctx context.Context, imageName string) (*instance.Snapshot, error) {
	img, err := d.catalog.image(nameOrDefault(imageName))
	if err != nil {
		return nil, err
	}
	for _, n := range d.store.Children(img.root.Info.ID) {
		if n.Info.Kind != lineage.KindBase || n.Info.ABIVersion != guest.KernelVersion {
			continue
		}
		return d.catalog.snapshot(n.Info.ID)
	}
	if err := d.checkContext(ctx); err != nil {
		return nil, err
	}
	d.opts.Progress("booting image "+img.Name, -1)
	i, err := d.boot(img)
	if err != nil {
		return nil, err
	}
	defer i.Destroy()
	d.opts.Progress("capturing the base snapshot", -1)
	return i.Capture(instance.Capture{Kind: lineage.KindBase, Saved: i.Restored})
}

func nameOrDefault(image string) string {
	if image == "" {
		return DefaultImage
	}
	return image
}

// Import returns the node below the image's base in which modules are
// imported, in that order; it captures it if there is none.
func (d *Dispatcher) Import(ctx context.Context, imageName string, modules []string) (*lineage.Node, error) {
	d.deployMu.Lock()
	defer d.deployMu.Unlock()
	t, err := d.imported(ctx, imageName, modules)
	if err != nil {
		return nil, err
	}
	return t.Node, nil
}

// imported walks down one import node for each module: functions that share a
// prefix of their imports share the nodes.
func (d *Dispatcher) imported(ctx context.Context, imageName string, modules []string) (*instance.Snapshot, error) {
	t, err := d.base(ctx, imageName)
	if err != nil {
		return nil, err
	}
	for i := range modules {
		if t, err = d.importOne(ctx, imageName, t, modules[:i+1]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (d *Dispatcher) importOne(ctx context.Context, imageName string, parent *instance.Snapshot, modules []string) (*instance.Snapshot, error) {
	for _, n := range d.store.Children(parent.Node.Info.ID) {
		if n.Info.Kind == lineage.KindImport && slices.Equal(n.Info.Key.Imports, modules) {
			return d.catalog.snapshot(n.Info.ID)
		}
	}
	if err := d.checkContext(ctx); err != nil {
		return nil, err
	}
	name := modules[len(modules)-1]
	d.opts.Progress("importing "+name, -1)
	l, err := d.take(ctx, imageName, parent)
	if err != nil {
		return nil, err
	}
	defer l.release(false, nil)
	start := time.Now()
	session := l.Converse(ctx, start.Add(loadTimeout))
	if err := session.Close(session.Import(name)); err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	return l.Capture(instance.Capture{Kind: lineage.KindImport, Key: lineage.Key{Imports: slices.Clone(modules)}, Saved: time.Since(start)})
}
