package snapshotcmd

import (
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

func snapshotRm(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "rm",
		ArgsUsage: "ID",
		Usage:     "remove a snapshot",
		Description: `
A snapshot holds only what differs from its parent, so one that others hang on
is kept unless --cascade removes those as well. Functions stay deployed; their
snapshots are taken again when they are needed.`,
		Examples: []string{"seussctl snapshot rm 4f1c0a", "seussctl snapshot rm 4f1c0a --cascade"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "cascade", Usage: "remove everything below it too"}},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return withSnapshots(e, func(k api.Snapshots) error {
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
				return e.PrintRemoved(struct {
					Nodes []string `json:"nodes"`
				}{ids}, "removed %d snapshots", len(ids))
			})
		},
	})
}
