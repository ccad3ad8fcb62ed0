package imagecmd

import (
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

func imageRm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "rm",
		ArgsUsage: "IMAGE",
		Usage:     "remove an image, by name or digest",
		Description: `
Of an image that has other names the NAME alone is taken away, without --cascade; a digest
removes the image with all of its names. Snapshots hold only what differs from their image, so an image that
has snapshots is kept unless --cascade removes them as well.`,
		Examples: []string{"seussctl image rm python", "seussctl image rm 3f9a0c11 --cascade"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "cascade", Usage: "remove the snapshots taken from it too"}},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.ImageNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			ref := c.Args().First()
			done, err := cmdline.RemoveImage(c.Context, e, ref, c.Bool("cascade"))
			switch {
			case err != nil:
				return err
			case done.Names != nil:
				return e.PrintRemoved(done, "took the name %s from image %s, which is still %s", ref, cmdline.Short(done.Image), strings.Join(done.Names, ", "))
			}
			return e.PrintRemoved(done, "removed image %s and %d snapshots", cmdline.Short(done.Image), len(done.Nodes))
		},
	})
}
