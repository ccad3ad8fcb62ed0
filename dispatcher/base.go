package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"seuss/guest"
	"seuss/lineage"
	"seuss/vmm"
)

// coldBoot makes a machine and boots the image in it until the driver is ready.
func (d *Dispatcher) coldBoot(img *image) (*shell, time.Duration, error) {
	start := time.Now()
	root, err := d.catalog.target(img.root.Info.ID)
	if err != nil {
		return nil, 0, err
	}
	s, err := d.newShell(img, root.view)
	if err != nil {
		return nil, 0, err
	}
	if err = s.layout.placeProgram(); err == nil {
		err = d.boot(s, start.Add(bootTimeout))
	}
	if err != nil {
		s.close()
		return nil, 0, fmt.Errorf("boot image %q: %w", img.name, err)
	}
	return s, time.Since(start), nil
}

func (d *Dispatcher) boot(s *shell, deadline time.Time) error {
	if err := s.link.await(s.m); err != nil {
		return err
	}
	if err := s.m.ColdBoot(vmm.BootConfig{Args: s.image.config.Argv, Env: s.image.config.Env}); err != nil {
		return err
	}
	f, err := s.runToFrame(deadline)
	if err != nil {
		return s.withLogs(err)
	}
	if f.kind != guest.MsgReady {
		return fmt.Errorf("%w: message %d in place of READY", errProtocol, f.kind)
	}
	return nil
}

// withLogs adds what the guest printed to an error of its start, where it is
// the only explanation that there is.
func (s *shell) withLogs(err error) error {
	for _, line := range s.logs.take() {
		err = fmt.Errorf("%w\n%s: %s", err, line.Stream, line.Text)
	}
	return err
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
	return t.node, nil
}

func (d *Dispatcher) base(ctx context.Context, imageName string) (*target, error) {
	img, err := d.catalog.image(nameOrDefault(imageName))
	if err != nil {
		return nil, err
	}
	for _, n := range d.store.Children(img.root.Info.ID) {
		if n.Info.Kind != lineage.KindBase || n.Info.ABIVersion != guest.KernelVersion {
			continue
		}
		return d.catalog.target(n.Info.ID)
	}
	if err := d.checkContext(ctx); err != nil {
		return nil, err
	}
	root, err := d.catalog.target(img.root.Info.ID)
	if err != nil {
		return nil, err
	}
	d.opts.Progress("booting image "+img.name, -1)
	s, took, err := d.coldBoot(img)
	if err != nil {
		return nil, err
	}
	defer s.close()
	d.opts.Progress("capturing the base snapshot", -1)
	return d.capture(s, root, lineage.KindBase, lineage.Key{}, took, lineage.Purity{})
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
	return t.node, nil
}

// imported walks down one import node for each module: functions that share a
// prefix of their imports share the nodes.
func (d *Dispatcher) imported(ctx context.Context, imageName string, modules []string) (*target, error) {
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

func (d *Dispatcher) importOne(ctx context.Context, imageName string, parent *target, modules []string) (*target, error) {
	for _, n := range d.store.Children(parent.node.Info.ID) {
		if n.Info.Kind == lineage.KindImport && slices.Equal(n.Info.Key.Imports, modules) {
			return d.catalog.target(n.Info.ID)
		}
	}
	if err := d.checkContext(ctx); err != nil {
		return nil, err
	}
	name := modules[len(modules)-1]
	d.opts.Progress("importing "+name, -1)
	s, err := d.take(ctx, imageName, parent)
	if err != nil {
		return nil, err
	}
	defer s.release(d, false)
	start := time.Now()
	request, err := json.Marshal([]string{name})
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	if err := cancellable(ctx, s.m, func() error { return s.prepareDriver(start.Add(bootTimeout), guest.MsgImport, request) }); err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	return d.capture(s.shell, parent, lineage.KindImport, lineage.Key{Imports: slices.Clone(modules)}, time.Since(start), lineage.Purity{})
}

// prepareDriver sends IMPORT or LOAD and waits until it is done. What the
// function's code does wrong comes back as *FunctionError.
func (s *shell) prepareDriver(deadline time.Time, kind uint8, request []byte) error {
	f, err := s.exchange(deadline, kind, request)
	if err != nil {
		return err
	}
	switch f.kind {
	case guest.MsgDone:
		return nil
	case guest.MsgError:
		return decodeError(f.payload)
	}
	return fmt.Errorf("%w: message %d in place of DONE", errProtocol, f.kind)
}
