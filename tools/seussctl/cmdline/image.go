package cmdline

import (
	"context"
	"errors"
	"os"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/source"
)

// BuildRuntime builds an image of a runtime, shows the progress, and tries the image.
func (e *Env) BuildRuntime(ctx context.Context, r *runtimes.Runtime, o runtimes.Options) (images.Info, error) {
	e.Progress.Step("collecting "+r.Title, -1)
	defer e.Progress.Clear()
	return r.Build(ctx, e.Images(), o, addOptions(e))
}

// addOptions show the progress, and try the image in a guest.
func addOptions(e *Env) images.AddOptions {
	return images.AddOptions{Layered: true, Progress: e.buildProgress, Try: func(ctx context.Context, img *images.Image, argv []string) error {
		return tryImage(ctx, e, img, argv)
	}}
}

func (e *Env) buildProgress(done, total int64, _ string) {
	if total > 0 {
		e.Progress.Step("building image", float64(done)/float64(total))
	}
}

// EnsureImage returns what names an image to the engine: the digest for a source, from
// which it is built if there is none yet, else the name as it is. A runtime's own image is
// built if it does not exist yet, so that the first command of a new user works. Any other
// missing or damaged image is the user's to look at.
func (e *Env) EnsureImage(c *cli.Context, ref string) (string, error) {
	if source.IsReference(ref) {
		b, err := ReadSource(c, ref)
		if err != nil {
			return "", err
		}
		built, err := BuildSource(c.Context, e, b)
		if err != nil {
			return "", err
		}
		return built.Digest, e.RefreshDaemon(c.Context)
	}
	if ref == "" {
		ref = DefaultImage
	}
	r, err := runtimes.ByName(ref)
	if err != nil {
		return ref, nil // it is not a runtime's
	}
	if has, err := hasImage(c.Context, e, ref); has || err != nil {
		return ref, err
	}
	if err := e.CheckPlatform(); err != nil {
		return "", err
	}
	e.Notef("image %s does not exist yet; building it from this machine's %s", ref, r.Title)
	_, err = e.BuildRuntime(c.Context, r, runtimes.Options{})
	return ref, err
}

// EnsureImageOf is Env.EnsureImage for what a function is going to run in. Where it asks for
// a version that no image holds the runtime's own image may turn out to, once it is built.
func EnsureImageOf(c *cli.Context, e *Env, spec *dispatcher.FunctionSpec) error {
	if spec.Image != "" || spec.Settings.Runtime == "" || spec.Settings.Program != nil {
		image, err := e.EnsureImage(c, spec.Image)
		if spec.Image != "" {
			spec.Image = image
		}
		return err
	}
	catalogue := runtimes.Catalogue{Store: e.Images()}
	if _, err := catalogue.Choose(spec.Settings.Runtime); !errors.Is(err, runtimes.ErrNotServed) {
		return nil // what else is wrong the deployment says
	}
	ask, err := runtimes.ParseAsk(spec.Settings.Runtime)
	if err != nil {
		return err
	}
	_, err = e.EnsureImage(c, ask.Runtime.Name)
	return err
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
