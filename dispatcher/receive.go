package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/plan"
	"seuss/guest"
	"seuss/images"
	"seuss/lineage"
	"seuss/lineage/oci"
)

// Received says what Receive did.
type Received struct {
	oci.Imported
	// NameTaken is the name that the imported image was built under, where another
	// image has it here; else it is empty.
	NameTaken string
}

// Receive imports a node and its ancestors, those that are not here, and tags the
// node if tag is not empty. What this host's guests cannot run is refused by name.
func (d *Dispatcher) Receive(ctx context.Context, src *oci.Source, tag string) (*Received, error) {
	if tag != "" && !lineage.ValidTag(tag) {
		return nil, fmt.Errorf("tag %q: want NAME or NAME@VERSION: %w", tag, lineage.ErrInvalid)
	}
	d.sweeping.Lock() // what hangs on a node that has just come is not known yet
	defer d.sweeping.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cancelled: %w", err)
	}
	done, err := oci.Import(d.store, src, oci.ImportOptions{
		ABIVersion: guest.KernelVersion, CheckCPU: d.lacks, CheckImage: checkImage,
		Tell: func(step string) { d.opts.Progress(step, -1) },
	})
	if err != nil {
		return nil, err
	}
	// Pages that others share are mapped, not expanded by each of them.
	for _, n := range done.Added {
		if _, _, err := d.store.Reform(n.ID, lineage.FormAuto); err != nil {
			return nil, err
		}
	}
	r := &Received{Imported: *done}
	if r.NameTaken, err = d.nameImage(done.Node.ImageDigest); err != nil {
		return nil, err
	}
	if tag != "" {
		if err := d.store.Marks().SetTag(tag, done.Node.ID); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// nameImage gives an imported image the name that it was built under. That stays
// with another image that has it, and is returned.
func (d *Dispatcher) nameImage(digest string) (taken string, err error) {
	image, err := images.Open(d.store.ImagePath(digest), images.SkipDigest())
	if err != nil {
		return "", err
	}
	name := image.Config().Name
	if err := image.Close(); err != nil {
		return "", err
	}
	named, err := d.images.store.TagNew(name, digest)
	if err != nil || named {
		return "", err
	}
	if path, err := d.images.store.Find(name); err != nil || path != d.store.ImagePath(digest) {
		return name, nil
	}
	return "", nil
}

// lacks says what the platform's processor has not of what a node was captured on.
func (d *Dispatcher) lacks(f lineage.CPUFeatures) error {
	if missing := d.platform.CPU().Features.Lacks(f.Named); len(missing) > 0 {
		return fmt.Errorf("taken on %s, this host lacks %s", f.Opaque, strings.Join(missing, ", "))
	}
	return nil
}

// checkImage verifies a root image's content against its digest.
func checkImage(path, digest string) error {
	image, err := images.Open(path)
	if err != nil {
		return err
	}
	defer image.Close()
	if got := image.Digest().String(); got != digest {
		return fmt.Errorf("image has the digest %s, want %s: %w", got, digest, images.ErrCorrupt)
	}
	return nil
}

// Lock waits until no other member of the cluster changes a function. unlock tells the others
// what has changed, and waits for those that are here to have it.
type Lock func(ctx context.Context, function string) (unlock func(), err error)

// lockTimeout bounds the wait of who changes no code for who does.
const lockTimeout = 30 * time.Second

// Replica is a Dispatcher's deployments for the other members of a cluster.
type Replica struct{ *Dispatcher }

// Share has deployments be those of a cluster: each change is made under lock and stamped as
// one of this member's. changed is told of each deployment that changes, and must not wait. It
// is called once, before anything is deployed.
func (d Replica) Share(member string, lock func(ctx context.Context, function string) (unlock func(), err error), changed func(deployment string)) {
	d.Deployments.store.Share(member, changed)
	d.shared = lock
}

// Records is what is kept of deployments. It is for reading: see Take.
func (d Replica) Records() functions.Shared { return functions.Shared{Store: d.Deployments.store} }

// Take takes over a deployment, or the removal of one, that another member has told of, unless
// what is here is as late; see functions.Store.Take. The nodes of what it replaces go; those
// that it needs are made when it is first invoked.
func (d Replica) Take(ctx context.Context, c *functions.Change, code []byte) error {
	base := functions.BaseName(c.Key)
	free, err := d.locks.Lock(ctx, lockOf(base))
	if err != nil {
		return err
	}
	defer free()
	var lost []plan.Loaded
	if old, err := d.Deployments.store.Get(c.Key); err == nil {
		lost = leaving(d.Dispatcher, []functions.Function{old}, c.Record)
	}
	taken, err := d.Records().Take(c, code)
	if err != nil || !taken {
		return err
	}
	gone(d.Dispatcher, lost)
	if c.Record == nil && hangs(d.store, base, d.store.Function(base)) != "" {
		return nil // another function's nodes hang there
	}
	d.dropOldNodes(base, "")
	return nil
}
