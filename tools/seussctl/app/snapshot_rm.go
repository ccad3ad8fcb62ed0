package app

import (
	"github.com/urfave/cli/v2"

	"seuss/lineage"
)

func (e *env) snapshotRm() *cli.Command {
	return e.command(spec{
		name:  "rm",
		args:  "ID",
		usage: "remove a snapshot",
		description: `
A snapshot holds only what differs from its parent, so one that others hang on
is kept unless --cascade removes those as well. Functions stay deployed; their
snapshots are taken again when they are needed.`,
		examples: []string{"seussctl snapshot rm 4f1c0a", "seussctl snapshot rm 4f1c0a --cascade"},
		flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "cascade", Usage: "remove everything below it too"}},
		minArgs:  1, maxArgs: 1,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			if d := e.daemon(); d != nil {
				return e.removeNodeRemotely(c, d)
			}
			return e.withStore(func(s *lineage.Store) error {
				n, err := s.Get(c.Args().First())
				if err != nil {
					return err
				}
				ids := append([]string{n.ID}, descendants(s, n.ID)...)
				if err := s.Remove(n.ID, c.Bool("cascade")); err != nil {
					return err
				}
				return e.printRemoved(struct {
					Nodes []string `json:"nodes"`
				}{ids}, "removed %d snapshots", len(ids))
			})
		},
	})
}

// removeNodeRemotely is rm while a daemon holds the state directory.
func (e *env) removeNodeRemotely(c *cli.Context, d *remote) error {
	defer d.Close()
	s := d.Store()
	if s == nil {
		return lineage.ErrNotFound
	}
	n, err := s.Get(c.Args().First())
	if err != nil {
		return err
	}
	ids := append([]string{n.ID}, descendants(s, n.ID)...)
	if err := d.removeNode(c.Context, n.ID, c.Bool("cascade")); err != nil {
		return err
	}
	return e.printRemoved(struct {
		Nodes []string `json:"nodes"`
	}{ids}, "removed %d snapshots", len(ids))
}
