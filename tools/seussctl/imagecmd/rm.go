package imagecmd

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/lineage"
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
			if d := e.Daemon(); d != nil {
				defer d.Close()
				removed, err := d.RemoveImage(c.Context, c.Args().First(), c.Bool("cascade"))
				if err != nil {
					return err
				}
				return printRemovedImage(e, removed.Image, removed.Nodes)
			}
			return removeImage(e, c.Args().First(), c.Bool("cascade"))
		},
	})
}

func removeImage(e *cmdline.Env, ref string, cascade bool) error {
	path, err := e.Images().Find(ref)
	if err != nil {
		return err
	}
	digest := strings.TrimSuffix(filepath.Base(path), ".img")
	removed := []string{}
	err = e.WithStore(func(s *lineage.Store) error {
		for _, n := range s.Kind(lineage.KindImage) {
			if n.ImageDigest != digest {
				continue
			}
			if below := cmdline.Descendants(s, n.ID); len(below) > 0 && !cascade {
				return fmt.Errorf("image %s has %d snapshots; remove them too with --cascade", ref, len(below))
			}
			ids := append(cmdline.Descendants(s, n.ID), n.ID)
			if err := s.Remove(n.ID, true); err != nil {
				return err
			}
			removed = append(removed, ids...)
		}
		return e.Images().Remove(ref)
	})
	if err != nil {
		return err
	}
	return printRemovedImage(e, digest, removed)
}

func printRemovedImage(e *cmdline.Env, digest string, removed []string) error {
	return e.PrintRemoved(struct {
		Image string   `json:"image"`
		Nodes []string `json:"nodes"`
	}{digest, removed}, "removed image %s and %d snapshots", cmdline.Short(digest), len(removed))
}
