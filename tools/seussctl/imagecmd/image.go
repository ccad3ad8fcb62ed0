package imagecmd

import (
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// ImageGroup assembles what can be done with root images.
func ImageGroup(e *cmdline.Env) *cli.Command {
	return e.Group("image", "root images for guests",
		imageBuild(e), imageLs(e), imageShow(e), imageHistory(e), imageTag(e), imagePrune(e), imageRm(e))
}
