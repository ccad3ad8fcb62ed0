package runtimes

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"seuss/guest"
	"seuss/images"
)

// Catalogue says which image of a store serves AWS Lambda's name of a runtime. It is safe
// for concurrent use; its lock is a leaf.
type Catalogue struct {
	Store images.Store
	// Pinned are the images of names, as configured.
	Pinned map[string]string

	mu    sync.Mutex
	known map[string][]images.Runtime // of images, by digest: they do not change
}

// maxKnown bounds what a Catalogue remembers.
const maxKnown = 4096

// Choose returns the name of the image that functions of a runtime run in where they name
// none. It is the pinned one; else, of those that hold the runtime in that very version,
// the runtime's own, then the one that is called like it, then the only one.
func (c *Catalogue) Choose(name string) (image string, err error) {
	ask, err := ParseAsk(name)
	if err != nil {
		return "", err
	}
	if image, ok := c.Pinned[name]; ok {
		list, err := c.of(image)
		if err == nil {
			_, err = ask.In(image, list)
		}
		return image, err
	}
	var fit []string
	tags, err := c.Store.Names()
	if err != nil {
		return "", err
	}
	for _, tag := range tags {
		list, err := c.of(tag)
		if err != nil {
			continue // of another release, or damaged: image ls tells
		}
		if n, err := ask.In(tag, list); err == nil && list[n].Name != "" {
			fit = append(fit, tag)
		}
	}
	for _, own := range []string{ask.Runtime.Name, name} {
		if slices.Contains(fit, own) {
			return own, nil
		}
	}
	switch len(fit) {
	case 0:
		return "", fmt.Errorf("%w: no image holds %s: %s", ErrNotServed, ask, ask.Remedy())
	case 1:
		return fit[0], nil
	}
	return "", fmt.Errorf("%w: images %s all hold %s, and none is called so: say which with seussctl serve --runtime-image %s=IMAGE, or seussctl image tag IMAGE %s", ErrNotServed, strings.Join(fit, ", "), ask, ask, ask)
}

// of returns the runtimes of an image by its name.
func (c *Catalogue) of(image string) ([]images.Runtime, error) {
	file, err := c.Store.Find(image)
	if err != nil {
		return nil, err
	}
	digest := strings.TrimSuffix(filepath.Base(file), guest.ImageSuffix)
	c.mu.Lock()
	defer c.mu.Unlock()
	if list, ok := c.known[digest]; ok {
		return list, nil
	}
	img, err := images.Open(file, images.SkipDigest())
	if err != nil {
		return nil, err
	}
	config := img.Config()
	if err := errors.Join(img.Close()); err != nil {
		return nil, err
	}
	if c.known == nil || len(c.known) >= maxKnown {
		c.known = map[string][]images.Runtime{}
	}
	c.known[digest] = Of(&config)
	return c.known[digest], nil
}

// LambdaName is AWS Lambda's name of what functions run on that ask for a runtime so in an
// image; "" if it is not known.
func (c *Catalogue) LambdaName(image, runtime string) string {
	ask, err := ParseAsk(runtime)
	if err != nil || ask.Version != "" {
		return runtime
	}
	list, err := c.of(image)
	if err != nil {
		return ""
	}
	n, err := ask.In(image, list)
	if err != nil {
		return ""
	}
	r, err := ByName(list[n].Name)
	if err != nil {
		return ""
	}
	return r.LambdaName(list[n].Version)
}
