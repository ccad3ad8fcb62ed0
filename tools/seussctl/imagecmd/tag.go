package imagecmd

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/images"
	"seuss/tools/seussctl/cmdline"
)

func imageTag(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "tag",
		ArgsUsage: "IMAGE NAME",
		Usage:     "give an image a name",
		Description: `
IMAGE is a name or the first digits of a digest. The NAME leads to that image then, and
no longer to the one it led to before, which stays. Functions that were deployed with the
NAME run in the new image from their next deployment on.`,
		Examples: []string{"seussctl image tag 3f9a0c11 tools", "seussctl image tag tools tools-old"},
		MinArgs:  2, MaxArgs: 2,
		Complete: cmdline.ImageNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			ref, name := c.Args().Get(0), c.Args().Get(1)
			if err := images.CheckName(name); err != nil {
				return cmdline.Usagef(c.Command.HelpName, "%w", err)
			}
			image, err := findImage(c.Context, e, ref)
			if err != nil {
				return err
			}
			if err := e.Images().Tag(image.Digest, name); err != nil {
				return err
			}
			if err := e.RefreshDaemon(c.Context); err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(map[string]string{"name": name, "digest": image.Digest})
			}
			_, err = fmt.Fprintf(e.Stdout, "%s  %s\n", name, cmdline.Short(image.Digest))
			return err
		},
	})
}

func imagePrune(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "prune",
		Usage: "remove images that nobody needs",
		Description: `
Removes the images that have no name and that neither a function nor a snapshot needs, but
for those of the last hour, and then the layers that no image is made of. What has a
name goes with image rm.`,
		Examples: []string{"seussctl image prune", "seussctl image prune --all"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "all", Usage: "those of the last hour too, which a command that runs now may be about to use"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			done, err := cmdline.PruneImages(c.Context, e, nil, c.Bool("all"))
			if err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(done)
			}
			_, err = fmt.Fprintf(e.Stdout, "removed %d images and %d layers, %s\n", len(done.Images), done.Layers, cmdline.FormatBytes(uint64(done.Bytes)))
			return err
		},
	})
}
