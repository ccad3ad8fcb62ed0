package app

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/api"
	"seuss/lineage"
)

// mark changes a mark of a snapshot, and prints what was done to it.
func (e *env) mark(c *cli.Context, done string, m api.Mark) error {
	return e.withSnapshots(func(k api.Snapshots) error {
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
		if e.json {
			return e.printJSON(n)
		}
		_, err = fmt.Fprintf(e.stdout, "%s %s\n", done, short(n.ID))
		return err
	})
}

func (e *env) snapshotPin() *cli.Command {
	return e.command(spec{
		name:        "pin",
		args:        "ID",
		usage:       "keep a snapshot from being removed",
		description: "Neither rm nor gc removes it or what it hangs on.",
		examples:    []string{"seussctl snapshot pin 4f1c0a", "seussctl snapshot pin json-fn@v2 --for 24h"},
		flags:       []cli.Flag{&cli.DurationFlag{Name: "for", Usage: "only for this `TIME`"}},
		minArgs:     1, maxArgs: 1,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			var until time.Time
			if d := c.Duration("for"); d < 0 {
				return usagef(c.Command.HelpName, "--for %v is negative", d)
			} else if d > 0 {
				until = time.Now().Add(d)
			}
			return e.mark(c, "pinned", api.Mark{Action: api.Pin, Node: c.Args().First(), At: until})
		},
	})
}

func (e *env) snapshotUnpin() *cli.Command {
	return e.command(spec{
		name:     "unpin",
		args:     "ID",
		usage:    "let a pinned snapshot be removed again",
		examples: []string{"seussctl snapshot unpin 4f1c0a"},
		minArgs:  1, maxArgs: 1,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			return e.mark(c, "unpinned", api.Mark{Action: api.Unpin, Node: c.Args().First()})
		},
	})
}

func (e *env) snapshotTag() *cli.Command {
	return e.command(spec{
		name:  "tag",
		args:  "[ID TAG]",
		usage: "name a snapshot, or list the names",
		description: `
TAG is NAME or NAME@VERSION. It can be used wherever an ID can. A tag belongs to one
snapshot; giving it to another moves it. Tagged snapshots are kept, as pinned ones.
Without arguments, lists all tags.`,
		examples: []string{"seussctl snapshot tag 4f1c0a json-fn@v3", "seussctl snapshot tag --remove json-fn@v3", "seussctl snapshot tag"},
		flags:    []cli.Flag{&cli.StringFlag{Name: "remove", Usage: "take `TAG` away"}},
		maxArgs:  2,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			name, tag := c.Args().Get(0), c.Args().Get(1)
			switch {
			case c.IsSet("remove") && name != "":
				return usagef(c.Command.HelpName, "--remove takes the tag away wherever it is: leave out %s", name)
			case c.IsSet("remove"):
				return e.withSnapshots(func(k api.Snapshots) error {
					if err := k.Mark(c.Context, api.Mark{Action: api.Untag, Tag: c.String("remove")}); err != nil {
						return err
					}
					return e.printRemoved(struct {
						Tag string `json:"tag"`
					}{c.String("remove")}, "removed tag %s", c.String("remove"))
				})
			case name == "":
				return e.listTags()
			case !lineage.ValidTag(tag):
				return usagef(c.Command.HelpName, "tag %q: want NAME or NAME@VERSION of letters, digits, _ and -, and not hex digits only", tag)
			}
			return e.mark(c, "tagged "+tag, api.Mark{Action: api.Tag, Node: name, Tag: tag})
		},
	})
}

func (e *env) listTags() error {
	type item struct {
		Tag  string       `json:"tag"`
		ID   string       `json:"id"`
		Kind lineage.Kind `json:"kind"`
	}
	items := []item{}
	t := newTable("TAG", "ID", "KIND", "KEY")
	err := e.withReading(func(s *lineage.Store) error {
		tags := imageTags(e.images())
		for _, m := range s.Catalogue().Marks() {
			if n, err := s.Get(m.Node); err == nil && m.Kind == lineage.MarkTag {
				items = append(items, item{m.Name, n.ID, n.Kind})
				t.row(m.Name, short(n.ID), string(n.Kind), nodeKey(api.SnapshotOf(s, n), tags))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(items)
	}
	return t.print(e.stdout)
}

func (e *env) snapshotExpire() *cli.Command {
	return e.command(spec{
		name:  "expire",
		args:  "ID TIME",
		usage: "let gc remove a snapshot after a time",
		description: `
TIME is a duration from now, as 36h, or "never". When it is over, the next gc
removes the snapshot and what hangs on it, unless that is pinned or tagged.`,
		examples: []string{"seussctl snapshot expire 4f1c0a 36h", "seussctl snapshot expire 4f1c0a never"},
		minArgs:  2, maxArgs: 2,
		complete: nodeIDs,
		action: func(c *cli.Context, e *env) error {
			var at time.Time
			if text := c.Args().Get(1); text != "never" {
				d, err := time.ParseDuration(text)
				if err != nil || d < 0 {
					return usagef(c.Command.HelpName, "time %q: want a duration as 36h, or never", text)
				}
				at = time.Now().Add(d)
			}
			return e.mark(c, "set the expiry of", api.Mark{Action: api.Expire, Node: c.Args().First(), At: at})
		},
	})
}

func (e *env) snapshotHistory() *cli.Command {
	return e.command(spec{
		name:  "history",
		args:  "FUNCTION",
		usage: "list the snapshots that a function has had, newest first",
		description: `
Deploying a function anew removes the snapshots of its earlier code, but for those
that are pinned or tagged.`,
		examples: []string{"seussctl snapshot history json-fn"},
		minArgs:  1, maxArgs: 1,
		complete: functionNames,
		action: func(c *cli.Context, e *env) error {
			return e.withReading(func(s *lineage.Store) error { return e.printHistory(s, c.Args().First()) })
		},
	})
}

func (e *env) printHistory(s *lineage.Store, name string) error {
	nodes := s.Function(name)
	deployed, err := deployments(s)
	if err != nil {
		return err
	}
	current, err := deployed.Get(name)
	if err != nil && len(nodes) == 0 {
		return err
	}
	items := []*api.Snapshot{}
	t := newTable("", "ID", "KIND", "CODE", "TAGS", ">STORED", ">HITS", "CREATED")
	for i := len(nodes) - 1; i >= 0; i-- {
		n := api.SnapshotOf(s, nodes[i])
		items = append(items, n)
		star := " "
		if n.Key.CodeDigest == current.CodeDigest {
			star = "*"
		}
		t.row(star, short(n.ID), string(n.Kind), short(n.Key.CodeDigest), dash(strings.Join(n.Tags, ",")), formatBytes(n.Stored()), fmt.Sprint(n.Hits), formatTime(n.Created))
	}
	if e.json {
		return e.printJSON(items)
	}
	return t.print(e.stdout)
}
