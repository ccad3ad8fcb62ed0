package imagecmd

import (
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

func imageRm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "rm",
		ArgsUsage: "IMAGE",
		Usage:     "remove an image, by name or digest",
		Description: `
Snapshots hold only what differs from their image, so an image that has
snapshots is kept unless --cascade removes them as well.`,
		Examples: []string{"seussctl image rm python", "seussctl image rm 3f9a0c11 --cascade"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "cascade", Usage: "remove the snapshots taken from it too"}},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.ImageNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			digest, nodes, err := cmdline.RemoveImage(c.Context, e, c.Args().First(), c.Bool("cascade"))
			if err != nil {
				return err
			}
			return printRemovedImage(e, digest, nodes)
		},
	})
}

func printRemovedImage(e *cmdline.Env, digest string, removed []string) error {
	return e.PrintRemoved(struct {
		Image string   `json:"image"`
		Nodes []string `json:"nodes"`
	}{digest, removed}, "removed image %s and %d snapshots", cmdline.Short(digest), len(removed))
}
