package app

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
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
			return e.withSnapshots(func(k api.Snapshots) error {
				n, err := k.Snapshot(c.Context, c.Args().First())
				if err != nil {
					return err
				}
				list, err := k.Snapshots(c.Context)
				if err != nil {
					return err
				}
				if err := k.RemoveSnapshot(c.Context, n.ID, c.Bool("cascade")); err != nil {
					return err
				}
				ids := append([]string{n.ID}, below(list, n.ID)...)
				return e.printRemoved(struct {
					Nodes []string `json:"nodes"`
				}{ids}, "removed %d snapshots", len(ids))
			})
		},
	})
}
