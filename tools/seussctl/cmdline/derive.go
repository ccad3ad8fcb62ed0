package cmdline

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/images/derive"
	"seuss/images/runtimes"
)

// Derive has a function run in the image that it would run in with further layers above it,
// the lowest first.
func Derive(c *cli.Context, e *Env, store derive.Store, spec *dispatcher.FunctionSpec, list []derive.Layer) error {
	image := spec.Image
	if image == "" {
		catalogue := runtimes.Catalogue{Store: e.Images()}
		chosen, err := catalogue.Choose(spec.Settings.Runtime)
		if err != nil {
			return err
		}
		image = chosen
	}
	store.Progress = e.buildProgress
	digest, err := store.Image(c.Context, image, list)
	if err != nil {
		return err
	}
	spec.Image = digest
	return e.RefreshDaemon(c.Context)
}
