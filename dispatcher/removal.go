package dispatcher

import (
	"fmt"
	"path/filepath"
	"strings"

	"seuss/guest"
	"seuss/lineage"
)

// RemovedImage says what went.
type RemovedImage struct {
	Image string   `json:"image"` // digest
	Nodes []string `json:"nodes"` // ids of those that went with it
	// Names are those that the image still has: then only the one that was given went.
	Names []string `json:"names,omitempty"`
}

// RemoveImage removes an image, by name or digest, and the nodes that were taken from it,
// for which it asks for cascade. Of an image with other names the name alone is taken away.
func (d *Dispatcher) RemoveImage(ref string, cascade bool) (done RemovedImage, err error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	path, err := d.images.store.Find(ref)
	if err != nil {
		return done, err
	}
	done.Image, done.Nodes = strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix), []string{}
	if done.Names, err = d.images.store.Unname(ref); err != nil || done.Names != nil {
		return done, err
	}
	for _, n := range d.store.Kind(lineage.KindImage) {
		if n.Info.ImageDigest != done.Image {
			continue
		}
		below := d.descendants(n.Info.ID)
		if len(below) > 0 && !cascade {
			return done, &imageInUseError{ref, len(below)}
		}
		if err := d.store.Remove(n.Info.ID, true); err != nil {
			return done, err
		}
		done.Nodes = append(append(done.Nodes, below...), n.Info.ID)
	}
	return done, d.images.store.Remove(ref)
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
