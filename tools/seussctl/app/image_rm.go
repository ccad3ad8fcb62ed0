package app

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/lineage"
)

func (e *env) imageRm() *cli.Command {
	return e.command(spec{
		name:  "rm",
		args:  "IMAGE",
		usage: "remove an image, by name or digest",
		description: `
Snapshots hold only what differs from their image, so an image that has
snapshots is kept unless --cascade removes them as well.`,
		examples: []string{"seussctl image rm python", "seussctl image rm 3f9a0c11 --cascade"},
		flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "cascade", Usage: "remove the snapshots taken from it too"}},
		minArgs:  1, maxArgs: 1,
		complete: imageNames,
		action: func(c *cli.Context, e *env) error {
			if d := e.daemon(); d != nil {
				defer d.Close()
				removed, err := d.RemoveImage(c.Context, c.Args().First(), c.Bool("cascade"))
				if err != nil {
					return err
				}
				return e.printRemovedImage(removed.Image, removed.Nodes)
			}
			return e.removeImage(c.Args().First(), c.Bool("cascade"))
		},
	})
}

func (e *env) removeImage(ref string, cascade bool) error {
	path, err := e.images().Find(ref)
	if err != nil {
		return err
	}
	digest := strings.TrimSuffix(filepath.Base(path), ".img")
	removed := []string{}
	err = e.withStore(func(s *lineage.Store) error {
		for _, n := range s.Kind(lineage.KindImage) {
			if n.ImageDigest != digest {
				continue
			}
			if below := descendants(s, n.ID); len(below) > 0 && !cascade {
				return fmt.Errorf("image %s has %d snapshots; remove them too with --cascade", ref, len(below))
			}
			ids := append(descendants(s, n.ID), n.ID)
			if err := s.Remove(n.ID, true); err != nil {
				return err
			}
			removed = append(removed, ids...)
		}
		return e.images().Remove(ref)
	})
	if err != nil {
		return err
	}
	return e.printRemovedImage(digest, removed)
}

func (e *env) printRemovedImage(digest string, removed []string) error {
	return e.printRemoved(struct {
		Image string   `json:"image"`
		Nodes []string `json:"nodes"`
	}{digest, removed}, "removed image %s and %d snapshots", short(digest), len(removed))
}

// descendants returns the ids of all nodes below a node.
func descendants(s *lineage.Store, id string) (ids []string) {
	for _, child := range s.Children(id) {
		ids = append(append(ids, child.ID), descendants(s, child.ID)...)
	}
	return ids
}

// printRemoved says what a command has removed.
func (e *env) printRemoved(doc any, format string, args ...any) error {
	if e.json {
		return e.printJSON(doc)
	}
	_, err := fmt.Fprintf(e.stdout, format+"\n", args...)
	return err
}
