package snapshotcmd

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func snapshotCompact(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "compact",
		ArgsUsage: "[ID...]",
		Usage:     "store snapshots as compressed differences",
		Description: `
Writes the files of the given snapshots, or of all but images, anew: only the words
that differ from the parent's pages, compressed. Loading such a snapshot takes a
little longer, running it does not. Small function and argument snapshots are
stored so from the start. Ids and content stay the same. With --pages, pages that a
snapshot below the same parent has too are stored once.`,
		Examples: []string{"seussctl snapshot compact", "seussctl snapshot compact 4f1c0a", "seussctl snapshot compact --pages 4f1c0a"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "pages", Usage: "the other way round: store whole pages"}},
		MaxArgs:  1 << 20,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			form := lineage.FormDifferences
			if c.Bool("pages") {
				form = lineage.FormPages
			}
			return withSnapshots(e, func(k api.Snapshots) error { return compact(c.Context, e, k, c.Args().Slice(), form) })
		},
	})
}

func compact(ctx context.Context, e *cmdline.Env, k api.Snapshots, names []string, form lineage.Form) error {
	var nodes []*api.Snapshot
	for _, name := range names {
		n, err := k.Snapshot(ctx, name)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
	}
	if len(names) == 0 {
		all, err := k.Snapshots(ctx)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.Kind != lineage.KindImage && lineage.CanTakeForm(&lineage.Node{Info: n.Info}, form) {
				nodes = append(nodes, n)
			}
		}
	}
	type item struct {
		ID     string `json:"id"`
		Before uint64 `json:"bytes_before"`
		After  uint64 `json:"bytes_after"`
	}
	items := []item{}
	var before, after uint64
	t := cmdline.NewTable("ID", "KIND", "KEY", ">BEFORE", ">AFTER", ">RATIO")
	tags := cmdline.ImageTags(ctx, e)
	for i, n := range nodes {
		e.Progress.Step("storing snapshots anew", float64(i)/float64(len(nodes)))
		done, err := k.Reform(ctx, n.ID, api.Reform{Form: form.String()})
		if err != nil {
			return err
		}
		items = append(items, item{n.ID, done.Before, done.After})
		t.Row(cmdline.Short(n.ID), string(n.Kind), cmdline.NodeKey(n, tags), cmdline.FormatBytes(done.Before), cmdline.FormatBytes(done.After), cmdline.FormatRatio(float64(done.Before)/float64(done.After)))
		before, after = before+done.Before, after+done.After
	}
	e.Progress.Clear()
	if e.JSON {
		return e.PrintJSON(items)
	}
	t.Row("all", "", "", cmdline.FormatBytes(before), cmdline.FormatBytes(after), cmdline.FormatRatio(float64(before)/float64(max(after, 1))))
	return t.Print(e.Stdout)
}

func snapshotFlatten(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "flatten",
		ArgsUsage: "ID",
		Usage:     "collapse the chain above a snapshot into one delta",
		Description: `
Makes a snapshot with the same memory and state that hangs directly on the image, or
on --onto, which must be above it. The chain stays; remove what is no longer needed
with rm.`,
		Examples: []string{"seussctl snapshot flatten 4f1c0a", "seussctl snapshot flatten 4f1c0a --onto 77aa01"},
		Flags:    []cli.Flag{&cli.StringFlag{Name: "onto", Usage: "`ID` of the snapshot to hang it on"}},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return withSnapshots(e, func(k api.Snapshots) error {
				flat, err := k.Flatten(c.Context, c.Args().First(), api.Flatten{Onto: c.String("onto")})
				if err != nil {
					return err
				}
				return printNewNode(c.Context, e, flat)
			})
		},
	})
}

func snapshotRebaseCheck(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "rebase-check",
		ArgsUsage: "ID ONTO",
		Usage:     "say whether a snapshot could hang on another one",
		Description: `
A delta is memory with addresses in it: it means the same only on a parent that has
the same content everywhere. Compares the snapshot's parent with ONTO and lists what
stands against it. The exit code is 1 if it has to be captured anew instead.`,
		Examples: []string{"seussctl snapshot rebase-check json-fn@v2 77aa01"},
		MinArgs:  2, MaxArgs: 2,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.Reading(func(s cmdline.Reader) error {
				r, err := s.RebaseCheck(c.Context, c.Args().Get(0), c.Args().Get(1))
				if err != nil {
					return err
				}
				if e.JSON {
					err = e.PrintJSON(r)
				} else if r.Possible {
					_, err = fmt.Fprintf(e.Stdout, "%s would be the same on %s\n", cmdline.Short(r.Node), cmdline.Short(r.Onto))
				} else {
					for _, why := range r.Why {
						fmt.Fprintln(e.Stdout, why)
					}
				}
				if err == nil && !r.Possible {
					err = fmt.Errorf("node %s cannot hang on %s: capture it anew", cmdline.Short(r.Node), cmdline.Short(r.Onto))
				}
				return err
			})
		},
	})
}
