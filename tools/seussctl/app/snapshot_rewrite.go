package app

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

func (e *env) snapshotCompact() *cli.Command {
	return e.command(spec{
		name:  "compact",
		args:  "[ID...]",
		usage: "store snapshots as compressed differences",
		description: `
Writes the files of the given snapshots, or of all but images, anew: only the words
that differ from the parent's pages, compressed. Loading such a snapshot takes a
little longer, running it does not. Small function and argument snapshots are
stored so from the start. Ids and content stay the same. With --pages, pages that a
snapshot below the same parent has too are stored once.`,
		examples: []string{"seussctl snapshot compact", "seussctl snapshot compact 4f1c0a", "seussctl snapshot compact --pages 4f1c0a"},
		flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "pages", Usage: "the other way round: store whole pages"}},
		maxArgs:  1 << 20,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			form := lineage.FormDifferences
			if c.Bool("pages") {
				form = lineage.FormPages
			}
			return e.withSnapshots(func(k api.Snapshots) error { return e.compact(c.Context, k, c.Args().Slice(), form) })
		},
	})
}

func (e *env) compact(ctx context.Context, k api.Snapshots, names []string, form lineage.Form) error {
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
	t := newTable("ID", "KIND", "KEY", ">BEFORE", ">AFTER", ">RATIO")
	tags := imageTags(e.images())
	for i, n := range nodes {
		e.progress.step("storing snapshots anew", float64(i)/float64(len(nodes)))
		done, err := k.Reform(ctx, n.ID, api.Reform{Form: form.String()})
		if err != nil {
			return err
		}
		items = append(items, item{n.ID, done.Before, done.After})
		t.row(short(n.ID), string(n.Kind), nodeKey(n, tags), formatBytes(done.Before), formatBytes(done.After), formatRatio(float64(done.Before)/float64(done.After)))
		before, after = before+done.Before, after+done.After
	}
	e.progress.clear()
	if e.json {
		return e.printJSON(items)
	}
	t.row("all", "", "", formatBytes(before), formatBytes(after), formatRatio(float64(before)/float64(max(after, 1))))
	return t.print(e.stdout)
}

func (e *env) snapshotFlatten() *cli.Command {
	return e.command(spec{
		name:  "flatten",
		args:  "ID",
		usage: "collapse the chain above a snapshot into one delta",
		description: `
Makes a snapshot with the same memory and state that hangs directly on the image, or
on --onto, which must be above it. The chain stays; remove what is no longer needed
with rm.`,
		examples: []string{"seussctl snapshot flatten 4f1c0a", "seussctl snapshot flatten 4f1c0a --onto 77aa01"},
		flags:    []cli.Flag{&cli.StringFlag{Name: "onto", Usage: "`ID` of the snapshot to hang it on"}},
		minArgs:  1, maxArgs: 1,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			return e.withSnapshots(func(k api.Snapshots) error {
				flat, err := k.Flatten(c.Context, c.Args().First(), api.Flatten{Onto: c.String("onto")})
				if err != nil {
					return err
				}
				return e.printNewNode(flat)
			})
		},
	})
}

func (e *env) snapshotRebaseCheck() *cli.Command {
	return e.command(spec{
		name:  "rebase-check",
		args:  "ID ONTO",
		usage: "say whether a snapshot could hang on another one",
		description: `
A delta is memory with addresses in it: it means the same only on a parent that has
the same content everywhere. Compares the snapshot's parent with ONTO and lists what
stands against it. The exit code is 1 if it has to be captured anew instead.`,
		examples: []string{"seussctl snapshot rebase-check json-fn@v2 77aa01"},
		minArgs:  2, maxArgs: 2,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			return e.withReading(func(s *lineage.Store) error {
				n, err := s.Get(c.Args().Get(0))
				if err != nil {
					return err
				}
				onto, err := s.Get(c.Args().Get(1))
				if err != nil {
					return err
				}
				r, err := s.Inspect().RebaseCheck(n.ID, onto.ID)
				if err != nil {
					return err
				}
				if e.json {
					err = e.printJSON(r)
				} else if r.Possible {
					_, err = fmt.Fprintf(e.stdout, "%s would be the same on %s\n", short(n.ID), short(onto.ID))
				} else {
					for _, why := range r.Why {
						fmt.Fprintln(e.stdout, why)
					}
				}
				if err == nil && !r.Possible {
					err = fmt.Errorf("node %s cannot hang on %s: capture it anew", short(n.ID), short(onto.ID))
				}
				return err
			})
		},
	})
}
