package dispatcher

import (
	"fmt"
	"path/filepath"
	"strings"

	"seuss/guest"
	"seuss/lineage"
)

// RemoveImage removes an image, by name or digest, and returns the ids of the
// nodes that went with it. One that nodes were taken from is refused without
// cascade.
func (d *Dispatcher) RemoveImage(ref string, cascade bool) (digest string, nodes []string, err error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	path, err := d.images.store.Find(ref)
	if err != nil {
		return "", nil, err
	}
	digest = strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix)
	nodes = []string{}
	for _, n := range d.store.Kind(lineage.KindImage) {
		if n.Info.ImageDigest != digest {
			continue
		}
		below := d.descendants(n.Info.ID)
		if len(below) > 0 && !cascade {
			return digest, nil, &imageInUseError{ref, len(below)}
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil {
			return digest, nodes, err
		}
		nodes = append(append(nodes, below...), n.Info.ID)
	}
	return digest, nodes, d.images.store.Remove(ref)
}

// imageInUseError: nodes were taken from an image that is to be removed.
type imageInUseError struct {
	ref   string
	nodes int
}

func (e *imageInUseError) Error() string {
	return fmt.Sprintf("image %s has %d snapshots; remove them too with --cascade", e.ref, e.nodes)
}

func (e *imageInUseError) Unwrap() error { return lineage.ErrHasChildren }

func (d *Dispatcher) descendants(id string) (ids []string) {
	for _, child := range d.store.Children(id) {
		ids = append(append(ids, child.Info.ID), d.descendants(child.Info.ID)...)
	}
	return ids
}
