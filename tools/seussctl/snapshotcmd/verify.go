package snapshotcmd

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

// VerifyFlag is for commands that restore.
func VerifyFlag() cli.Flag {
	return &cli.StringFlag{Name: "verify", Value: "demand", Usage: "read a snapshot's pages, and compare them with their checksums, `WHEN`: eager (all when it is loaded), lazy (before a machine is shown them) or demand (each when a guest first touches it)"}
}

func ReadVerify(c *cli.Context) (lineage.Verify, error) {
	switch when := c.String("verify"); when {
	case "eager":
		return lineage.VerifyEager, nil
	case "lazy":
		return lineage.VerifyLazy, nil
	case "demand":
		return lineage.VerifyDemand, nil
	default:
		return 0, cmdline.Usagef(c.Command.HelpName, "--verify %q: want eager, lazy or demand", when)
	}
}

func snapshotVerify(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "verify",
		ArgsUsage: "[ID...]",
		Usage:     "check snapshots against their digests",
		Description: `
Reads every page of the given snapshots, or of all, compares it with its checksum
and digest, and computes each snapshot's Merkle root and id anew. Of all snapshots,
it also compares the catalogue with the directory. What is wrong is named by
snapshot and guest page, and the exit code is 1. Nothing is changed.`,
		Examples: []string{"seussctl snapshot verify", "seussctl snapshot verify 4f1c0a --json"},
		MaxArgs:  1 << 20,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.Reading(func(r cmdline.Reader) error { return verifyNodes(e, c, r) })
		},
	})
}

func verifyNodes(e *cmdline.Env, c *cli.Context, r cmdline.Reader) error {
	done, err := r.Verify(c.Context, c.Args().Slice(), func(done, total int) {
		if total > 0 {
			e.Progress.Step("verifying snapshots", float64(done)/float64(total))
		}
	})
	if err != nil {
		return err
	}
	e.Progress.Clear()
	faults := len(done.Faults) + done.FaultsLeft
	if e.JSON {
		err = e.PrintJSON(done)
	} else if faults == 0 {
		_, err = fmt.Fprintf(e.Stdout, "%d snapshots are as they were captured\n", done.Nodes)
	} else {
		t := cmdline.NewTable("ID", "WHERE", "WHAT")
		for _, i := range done.Faults {
			where := i.Guest
			if where == "" {
				where = "-"
			}
			t.Row(dash(cmdline.Short(i.Node)), where, i.Error)
		}
		err = t.Print(e.Stdout)
	}
	if err != nil {
		return err
	}
	if faults > 0 {
		return fmt.Errorf("%d faults in %d snapshots of %s; remove what is damaged with: seussctl snapshot rm ID --cascade", faults, done.Nodes, e.StateDir)
	}
	return nil
}
