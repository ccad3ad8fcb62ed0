package app

import (
	"github.com/urfave/cli/v2"
)

// snapshotGroup assembles what can be done with the snapshot tree.
func (e *env) snapshotGroup() *cli.Command {
	return e.group("snapshot", "the snapshot tree",
		e.snapshotCreate(), e.snapshotLs(), e.snapshotTree(), e.snapshotShow(), e.snapshotVerify(), e.snapshotRm(),
	)
}
