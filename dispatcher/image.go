package dispatcher

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"seuss/dispatcher/instance"
	"seuss/dispatcher/tiers"
	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/lineage"
)

// image is a root image that machines can be made for.
type image struct {
	*instance.Image
	root *lineage.Node
	pool atomic.Pointer[pool] // of its machines; nil: it has none yet
}

// rootImages are the images that names lead to.
type rootImages struct {
	host  *instance.Host
	store images.Store

	packages   tiers.Packages
	generation atomic.Uint64 // counts what refresh has found
	mu         sync.RWMutex
	byName     map[string]*image
}

func newRootImages(host *instance.Host, store images.Store) *rootImages {
	return &rootImages{host: host, store: store, packages: tiers.Packages{Store: store}, byName: map[string]*image{}}
}

// get finds an image by name; "" is DefaultImage. Its content is checked against its
// digest when its root node is first made.
func (r *rootImages) get(name string) (*image, error) {
	name = nameOrDefault(name)
	r.mu.RLock()
	img := r.byName[name]
	r.mu.RUnlock()
	if img != nil {
		if root, err := r.host.Store.Get(img.root.ID); err == nil && root == img.root {
			return img, nil
		}
	}
	path, err := r.store.Find(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q (build it with: seussctl image build): %w", ErrNoImage, name, err)
	}
	described, root, err := r.host.OpenImage(name, path)
	if err != nil {
		return nil, err
	}
	img, fresh := r.put(name, img, &image{Image: described, root: root})
	if fresh {
		r.packages.Opened(path)
	}
	return img, nil
}

// put has a name lead to what was opened in the place of an image, unless somebody else was
// faster, and returns what it leads to.
func (r *rootImages) put(name string, before, opened *image) (img *image, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.byName[name]; now != nil && now != before && now.root == opened.root {
		return now, false
	}
	r.byName[name] = opened
	return opened, true
}

// serving finds an image by name, and which of its runtimes is the one of a name; see
// runtimes.ParseAsk.
func (r *rootImages) serving(name, runtime string) (img *image, index int, err error) {
	if img, err = r.get(name); err != nil {
		return nil, 0, err
	}
	ask, err := runtimes.ParseAsk(runtime)
	if err == nil {
		index, err = ask.In(img.Name, img.Runtimes)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", lineage.ErrInvalid, err)
	}
	return img, index, nil
}

// runtimeKey is what nodes of a runtime of the image have in their keys.
func (i *image) runtimeKey(index int) string {
	if index == 0 {
		return ""
	}
	return i.Runtimes[index].String()
}

// refresh takes note of names that lead to other images by now.
func (r *rootImages) refresh() {
	r.mu.RLock()
	known := maps.Clone(r.byName)
	r.mu.RUnlock()
	for name, img := range known {
		path, err := r.store.Find(name)
		if err == nil && strings.TrimSuffix(filepath.Base(path), guest.ImageSuffix) == img.Digest {
			continue
		}
		r.mu.Lock()
		if r.byName[name] == img {
			delete(r.byName, name)
			r.generation.Add(1)
		}
		r.mu.Unlock()
	}
}

func nameOrDefault(image string) string {
	if image == "" {
		return DefaultImage()
	}
	return image
}

// ImageMemory returns the bytes of RAM of an image's guests.
func (d *Dispatcher) ImageMemory(image string) (bytes uint64, err error) {
	img, err := d.images.get(image)
	if err != nil {
		return 0, err
	}
	return img.MemoryBytes, nil
}

// Refresh writes the nodes' use counts to the state directory, and takes note of
// images that were put there since.
func (d *Dispatcher) Refresh() error {
	d.images.refresh()
	if err := d.store.FlushHits(); err != nil && !errors.Is(err, lineage.ErrReadOnly) {
		return err
	}
	return nil
}
