package snapshotcmd

import (
	"github.com/urfave/cli/v2"

	"seuss/tools/seussctl/cmdline"
)

// SnapshotGroup assembles what can be done with the snapshot tree.
func SnapshotGroup(e *cmdline.Env) *cli.Command {
	return e.Group("snapshot", "the snapshot tree",
		snapshotCreate(e), snapshotLs(e), snapshotTree(e), snapshotShow(e), snapshotHistory(e),
		snapshotStats(e), snapshotDiff(e), snapshotVerify(e),
		snapshotTag(e), snapshotPin(e), snapshotUnpin(e), snapshotExpire(e),
		snapshotCompact(e), snapshotFlatten(e), snapshotRebaseCheck(e),
		snapshotExport(e), snapshotImport(e), snapshotGC(e), snapshotRm(e),
	)
}
