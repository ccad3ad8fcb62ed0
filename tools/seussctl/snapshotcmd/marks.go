package snapshotcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

// mark changes a mark of a snapshot, and prints what was done to it.
func mark(e *cmdline.Env, c *cli.Context, done string, m api.Mark) error {
	return withSnapshots(e, func(k api.Snapshots) error {
		n, err := k.Snapshot(c.Context, m.Node)
		if err != nil {
			return err
		}
		m.Node = n.ID
		if err := k.Mark(c.Context, m); err != nil {
			return err
		}
		if n, err = k.Snapshot(c.Context, n.ID); err != nil {
			return err
		}
		if e.JSON {
			return e.PrintJSON(n)
		}
		_, err = fmt.Fprintf(e.Stdout, "%s %s\n", done, cmdline.Short(n.ID))
		return err
	})
}

func snapshotPin(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:        "pin",
		ArgsUsage:   "ID",
		Usage:       "keep a snapshot from being removed",
		Description: "Neither rm nor gc removes it or what it hangs on.",
		Examples:    []string{"seussctl snapshot pin 4f1c0a", "seussctl snapshot pin json-fn@v2 --for 24h"},
		Flags:       []cli.Flag{&cli.DurationFlag{Name: "for", Usage: "only for this `TIME`"}},
		MinArgs:     1, MaxArgs: 1,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			var until time.Time
			if d := c.Duration("for"); d < 0 {
				return cmdline.Usagef(c.Command.HelpName, "--for %v is negative", d)
			} else if d > 0 {
				until = time.Now().Add(d)
			}
			return mark(e, c, "pinned", api.Mark{Action: api.Pin, Node: c.Args().First(), At: until})
		},
	})
}

func snapshotUnpin(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "unpin",
		ArgsUsage: "ID",
		Usage:     "let a pinned snapshot be removed again",
		Examples:  []string{"seussctl snapshot unpin 4f1c0a"},
		MinArgs:   1, MaxArgs: 1,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return mark(e, c, "unpinned", api.Mark{Action: api.Unpin, Node: c.Args().First()})
		},
	})
}

func snapshotTag(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "tag",
		ArgsUsage: "[ID TAG]",
		Usage:     "name a snapshot, or list the names",
		Description: `
TAG is NAME or NAME@VERSION. It can be used wherever an ID can. A tag belongs to one
snapshot; giving it to another moves it. Tagged snapshots are kept, as pinned ones.
Without arguments, lists all tags.`,
		Examples: []string{"seussctl snapshot tag 4f1c0a json-fn@v3", "seussctl snapshot tag --remove json-fn@v3", "seussctl snapshot tag"},
		Flags:    []cli.Flag{&cli.StringFlag{Name: "remove", Usage: "take `TAG` away"}},
		MaxArgs:  2,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			name, tag := c.Args().Get(0), c.Args().Get(1)
			switch {
			case c.IsSet("remove") && name != "":
				return cmdline.Usagef(c.Command.HelpName, "--remove takes the tag away wherever it is: leave out %s", name)
			case c.IsSet("remove"):
				return withSnapshots(e, func(k api.Snapshots) error {
					if err := k.Mark(c.Context, api.Mark{Action: api.Untag, Tag: c.String("remove")}); err != nil {
						return err
					}
					return e.PrintRemoved(struct {
						Tag string `json:"tag"`
					}{c.String("remove")}, "removed tag %s", c.String("remove"))
				})
			case name == "":
				return listTags(c.Context, e)
			case !lineage.ValidTag(tag):
				return cmdline.Usagef(c.Command.HelpName, "tag %q: want NAME or NAME@VERSION of letters, digits, _ and -, and not hex digits only", tag)
			}
			return mark(e, c, "tagged "+tag, api.Mark{Action: api.Tag, Node: name, Tag: tag})
		},
	})
}

func listTags(ctx context.Context, e *cmdline.Env) error {
	type item struct {
		Tag  string       `json:"tag"`
		ID   string       `json:"id"`
		Kind lineage.Kind `json:"kind"`
		key  string
	}
	list, err := snapshots(ctx, e)
	if err != nil {
		return err
	}
	items, images := []item{}, cmdline.ImageTags(ctx, e)
	for _, n := range list {
		for _, tag := range n.Tags {
			items = append(items, item{tag, n.ID, n.Kind, cmdline.NodeKey(n, images)})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.Tag, b.Tag) })
	if e.JSON {
		return e.PrintJSON(items)
	}
	t := cmdline.NewTable("TAG", "ID", "KIND", "KEY")
	for _, i := range items {
		t.Row(i.Tag, cmdline.Short(i.ID), string(i.Kind), i.key)
	}
	return t.Print(e.Stdout)
}

func snapshotExpire(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "expire",
		ArgsUsage: "ID TIME",
		Usage:     "let gc remove a snapshot after a time",
		Description: `
TIME is a duration from now, as 36h, or "never". When it is over, the next gc
removes the snapshot and what hangs on it, unless that is pinned or tagged.`,
		Examples: []string{"seussctl snapshot expire 4f1c0a 36h", "seussctl snapshot expire 4f1c0a never"},
		MinArgs:  2, MaxArgs: 2,
		Complete: cmdline.SnapshotIDs,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			var at time.Time
			if text := c.Args().Get(1); text != "never" {
				d, err := time.ParseDuration(text)
				if err != nil || d < 0 {
					return cmdline.Usagef(c.Command.HelpName, "time %q: want a duration as 36h, or never", text)
				}
				at = time.Now().Add(d)
			}
			return mark(e, c, "set the expiry of", api.Mark{Action: api.Expire, Node: c.Args().First(), At: at})
		},
	})
}

func snapshotHistory(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "history",
		ArgsUsage: "FUNCTION",
		Usage:     "list the snapshots that a function has had, newest first",
		Description: `
Deploying a function anew removes the snapshots of its earlier code, but for those
that are pinned or tagged.`,
		Examples: []string{"seussctl snapshot history json-fn"},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.Reading(func(r cmdline.Reader) error {
				return printHistory(c.Context, e, r, cmdline.FunctionKey(c.Args().First()))
			})
		},
	})
}

func printHistory(ctx context.Context, e *cmdline.Env, r cmdline.Reader, name string) error {
	all, err := r.Snapshots(ctx)
	if err != nil {
		return err
	}
	deployed, damaged := r.Functions(ctx) // what can be read
	current := slices.IndexFunc(deployed, func(f api.Function) bool { return f.Name == name })
	items := []*api.Snapshot{}
	t := cmdline.NewTable("", "ID", "KIND", "CODE", "TAGS", ">STORED", ">HITS", "CREATED")
	for _, n := range slices.Backward(all) {
		if n.Key.Function != name {
			continue
		}
		items = append(items, n)
		star := " "
		if current >= 0 && n.Key.CodeDigest == deployed[current].CodeDigest {
			star = "*"
		}
		t.Row(star, cmdline.Short(n.ID), string(n.Kind), cmdline.Short(n.Key.CodeDigest), dash(strings.Join(n.Tags, ",")), cmdline.FormatBytes(n.Stored()), fmt.Sprint(n.Hits), cmdline.FormatTime(n.Created))
	}
	if len(items) == 0 && current < 0 {
		return errors.Join(fmt.Errorf("function %q: %w", name, lineage.ErrNotFound), damaged)
	}
	if e.JSON {
		return e.PrintJSON(items)
	}
	return t.Print(e.Stdout)
}
