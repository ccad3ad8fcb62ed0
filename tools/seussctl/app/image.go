package app

import (
	"context"
	"errors"

	"seuss/images"
	"seuss/images/runtimes"
)

// buildRuntime builds an image of a runtime, shows the progress, and tries the image.
func (e *env) buildRuntime(ctx context.Context, r *runtimes.Runtime, o runtimes.Options) (images.Info, error) {
	e.progress.step("collecting "+r.Title, -1)
	defer e.progress.clear()
	return r.Build(ctx, e.images(), o, addOptions(e))
}

// addOptions show the progress, and try the image in a guest.
func addOptions(e *env) images.AddOptions {
	return images.AddOptions{Progress: e.buildProgress, Try: func(ctx context.Context, img *images.Image, argv []string) error {
		return tryImage(ctx, e, img, argv)
	}}
}

func (e *env) buildProgress(done, total int64, _ string) {
	if total > 0 {
		e.progress.step("building image", float64(done)/float64(total))
	}
}

// ensureImage builds a runtime's own image if it does not exist yet, so that the
// first command of a new user works. Any other missing or damaged image is the
// user's to look at.
func (e *env) ensureImage(ctx context.Context, name string) error {
	if name == "" {
		name = defaultImage
	}
	r, err := runtimes.ByName(name)
	if err != nil {
		return nil // it is not a runtime's
	}
	_, err = e.images().Find(name)
	if !errors.Is(err, images.ErrNotFound) {
		return err
	}
	if err := e.checkPlatform(); err != nil {
		return err
	}
	e.notef("image %s does not exist yet; building it from this machine's %s", name, r.Title)
	_, err = e.buildRuntime(ctx, r, runtimes.Options{})
	return err
}

// imageConfig returns the configuration of the image of a name, and whether there is
// one that can be read.
func (e *env) imageConfig(name string) (images.Config, bool) {
	file, err := e.images().Find(name)
	if err != nil {
		return images.Config{}, false
	}
	img, err := images.Open(file, images.SkipDigest())
	if err != nil {
		return images.Config{}, false
	}
	defer img.Close()
	return img.Config(), true
}
