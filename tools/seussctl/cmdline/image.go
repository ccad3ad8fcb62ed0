package cmdline

import (
	"context"
	"errors"
	"os"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
)

// BuildRuntime builds an image of a runtime, shows the progress, and tries the image.
func (e *Env) BuildRuntime(ctx context.Context, r *runtimes.Runtime, o runtimes.Options) (images.Info, error) {
	e.Progress.Step("collecting "+r.Title, -1)
	defer e.Progress.Clear()
	return r.Build(ctx, e.Images(), o, addOptions(e))
}

// addOptions show the progress, and try the image in a guest.
func addOptions(e *Env) images.AddOptions {
	return images.AddOptions{Progress: e.buildProgress, Try: func(ctx context.Context, img *images.Image, argv []string) error {
		return tryImage(ctx, e, img, argv)
	}}
}

func (e *Env) buildProgress(done, total int64, _ string) {
	if total > 0 {
		e.Progress.Step("building image", float64(done)/float64(total))
	}
}

// EnsureImage builds a runtime's own image if it does not exist yet, so that the
// first command of a new user works. Any other missing or damaged image is the
// user's to look at.
func (e *Env) EnsureImage(ctx context.Context, name string) error {
	if name == "" {
		name = DefaultImage
	}
	r, err := runtimes.ByName(name)
	if err != nil {
		return nil // it is not a runtime's
	}
	if has, err := hasImage(ctx, e, name); has || err != nil {
		return err
	}
	if err := e.CheckPlatform(); err != nil {
		return err
	}
	e.Notef("image %s does not exist yet; building it from this machine's %s", name, r.Title)
	_, err = e.BuildRuntime(ctx, r, runtimes.Options{})
	return err
}

// EnsureImageOf is Env.EnsureImage for what a function is going to run in. Where it asks for
// a version that no image holds the runtime's own image may turn out to, once it is built.
func EnsureImageOf(ctx context.Context, e *Env, spec *dispatcher.FunctionSpec) error {
	if spec.Image != "" || spec.Settings.Runtime == "" {
		return e.EnsureImage(ctx, spec.Image)
	}
	catalogue := runtimes.Catalogue{Store: e.Images()}
	if _, err := catalogue.Choose(spec.Settings.Runtime); !errors.Is(err, runtimes.ErrNotServed) {
		return nil // what else is wrong the deployment says
	}
	ask, err := runtimes.ParseAsk(spec.Settings.Runtime)
	if err != nil {
		return err
	}
	return e.EnsureImage(ctx, ask.Runtime.Name)
}

// ImageConfig returns the configuration of the image of a name, and whether there is
// one that can be read.
func (e *Env) ImageConfig(name string) (images.Config, bool) {
	file, err := e.Images().Find(name)
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

// ImageHas reports whether an image holds a path; "" is always there.
func (e *Env) ImageHas(image, path string) (has bool, err error) {
	if path == "" {
		return true, nil
	}
	file, err := e.Images().Find(image)
	if err != nil {
		return false, err
	}
	img, err := images.Open(file, images.SkipDigest())
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	_, err = img.Lookup(path)
	if errors.Is(err, images.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
