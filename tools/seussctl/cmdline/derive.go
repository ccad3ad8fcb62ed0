package cmdline

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/images/derive"
	"seuss/images/runtimes"
)

// ImageOf returns the image that a function is going to run in, which there is.
func ImageOf(e *Env, spec *dispatcher.FunctionSpec) (string, error) {
	if spec.Image != "" {
		return spec.Image, nil
	}
	catalogue := runtimes.Catalogue{Store: e.Images()}
	return catalogue.Choose(spec.Settings.Runtime)
}

// Derive makes an image of another one with further layers above it, the lowest first, and
// returns its digest.
func Derive(c *cli.Context, e *Env, store derive.Store, image string, list []derive.Layer) (string, error) {
	store.Progress = e.buildProgress
	digest, err := store.Image(c.Context, image, list)
	if err != nil {
		return "", err
	}
	return digest, e.RefreshDaemon(c.Context)
}
