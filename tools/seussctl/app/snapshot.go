package app

import (
	"github.com/urfave/cli/v2"
)

// snapshotGroup assembles what can be done with the snapshot tree.
func (e *env) snapshotGroup() *cli.Command {
	return e.group("snapshot", "the snapshot tree",
		e.snapshotCreate(), e.snapshotLs(), e.snapshotTree(), e.snapshotShow(), e.snapshotHistory(),
		e.snapshotStats(), e.snapshotDiff(), e.snapshotVerify(),
		e.snapshotTag(), e.snapshotPin(), e.snapshotUnpin(), e.snapshotExpire(),
		e.snapshotCompact(), e.snapshotFlatten(), e.snapshotRebaseCheck(),
		e.snapshotExport(), e.snapshotImport(), e.snapshotGC(), e.snapshotRm(),
	)
}
