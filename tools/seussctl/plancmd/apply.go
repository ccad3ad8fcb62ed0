package plancmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/tools/seussctl/cmdline"
)

// whichFlags say of what image a plan is.
func whichFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "image", Usage: "`IMAGE` whose functions it is for (default: the default runtime's)"},
		&cli.StringFlag{Name: "runtime", Usage: "`RUNTIME` of the image, where it has several"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "own", Usage: "for the default owner's functions alone, not for everybody's"},
	}
}

func which(c *cli.Context) planner.Which {
	return planner.Which{Image: c.String("image"), Runtime: c.String("runtime"), Shared: !c.Bool("own")}
}

func planApply(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "apply", ArgsUsage: "[FILE]", MaxArgs: 1,
		Usage: "have the nodes of a plan captured, and functions start from them",
		Description: `
The plan is FILE, or is fitted as by plan fit. It is applied in place of the one that is.
Its packages are tried out first, in instances where nothing but the image has run: one
that hangs, dies or is not there is named and left out. Its nodes are captured beside the
requests, in a fifth of one processor's time, those first that save most; a function that
needs one has it made at once. Where no daemon runs the command itself does all that. It
may be interrupted: what is made stays, and the same command goes on.

A function starts from the node that saves it most of those that have nothing beyond what
its code imports. Functions that were deployed with --import, or have environment
variables, stay where they are; others that are there already are captured anew when they
are next used.`,
		Examples: []string{"seussctl plan apply --nodes 40", "seussctl plan apply plan.json --image science --now"},
		Flags: append(append(whichFlags(), fitFlags()...),
			&cli.BoolFlag{DisableDefaultText: true, Name: "now", Usage: "have the daemon make what can be made without rests, and wait for that"}),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			ask := planner.Ask{Which: which(c), Now: c.Bool("now")}
			var tree *plan.Tree
			var err error
			if path := c.Args().First(); path != "" {
				for _, f := range fitFlags() {
					if name := f.Names()[0]; c.IsSet(name) {
						return cmdline.Usagef(c.Command.HelpName, "--%s is for a plan that is fitted: leave it out, or FILE", name)
					}
				}
				tree, err = readTree(e.Stdin, path)
			} else {
				tree, err = fit(c, e)
			}
			if err != nil {
				return err
			}
			ask.Tree = tree.Root
			daemon := e.Daemon()
			if daemon != nil {
				err = daemon.Close()
			}
			if err != nil {
				return err
			}
			return e.WithEngine(dispatcher.Options{Plans: planner.Hurried}, func(s cmdline.Service) error {
				st, err := s.ApplyPlan(c.Context, ask)
				if err == nil && (daemon == nil || c.Bool("now")) {
					st, err = await(c.Context, e, s, st)
				}
				if err != nil {
					return err
				}
				return printStatus(e, []*planner.Status{st})
			})
		},
	})
}

// await waits until what can be made of a plan is made.
func await(ctx context.Context, e *cmdline.Env, s cmdline.Service, st *planner.Status) (*planner.Status, error) {
	total := max(st.Left, 1)
	defer e.Progress.Clear()
	for {
		list, err := s.Plans(ctx)
		if err != nil {
			return nil, err
		}
		now := find(list, st)
		switch {
		case now == nil:
			return nil, errors.New("the plan was dropped")
		case now.Trouble != "":
			return nil, fmt.Errorf("the plan is applied, and waits: %s: it goes on by itself beside a daemon, or when it is applied again", now.Trouble)
		case now.Left == 0:
			return now, nil
		}
		e.Progress.Step("making the plan's nodes", 1-float64(min(now.Left, total))/float64(total))
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// find returns the state of a plan that another one is an earlier state of.
func find(list []*planner.Status, of *planner.Status) *planner.Status {
	for _, st := range list {
		if st.Digest == of.Digest && st.Key == of.Key && st.Owner == of.Owner {
			return st
		}
	}
	return nil
}

func planStatus(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "status",
		Usage: "say how far the plans are that are applied",
		Description: `
A node is made; left, if it is made in its turn or when a function needs it; evicted, if a
collection took it: a function that needs it has it made again; failed; or skipped, if all
that it has beyond the node above is left out of the plan. HITS are starts from it.`,
		Examples: []string{"seussctl plan status", "seussctl plan status --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.WithReader(dispatcher.Options{}, func(s cmdline.Service) error {
				list, err := s.Plans(c.Context)
				if err != nil {
					return err
				}
				if len(list) == 0 && !e.JSON {
					e.Notef("no plan is applied: seussctl plan apply")
				}
				return printStatus(e, list)
			})
		},
	})
}

func planDrop(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:        "drop",
		Usage:       "no longer live with a plan",
		Description: "Its nodes stay until a collection takes them, and functions stay where they are.",
		Examples:    []string{"seussctl plan drop", "seussctl plan drop --image science"},
		Flags:       whichFlags(),
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return e.WithEngine(dispatcher.Options{}, func(s cmdline.Service) error { return s.DropPlan(c.Context, which(c)) })
		},
	})
}

// printStatus prints plans as trees, and what is left out of them.
func printStatus(e *cmdline.Env, list []*planner.Status) error {
	if e.JSON {
		return e.PrintJSON(list)
	}
	for _, st := range list {
		whose := "everybody's functions"
		if st.Owner != "" {
			whose = "functions of " + cmdline.Printable(st.Owner)
		}
		how := "applied"
		if st.Fitted {
			how = "fitted and applied by the daemon"
		}
		if _, err := fmt.Fprintf(e.Stdout, "image %s, for %s, %s %s\n", cmdline.Printable(st.Image), whose, how, humanize.Time(st.At)); err != nil {
			return err
		}
		if err := printNodes(e.Stdout, st); err != nil {
			return err
		}
		for _, skipped := range st.Skipped {
			e.Notef("%s is left out: %s", cmdline.Printable(skipped.Package), cmdline.Printable(skipped.Why))
		}
		if st.Outdated {
			e.Notef("the name %s leads to another image by now, whose functions do not start by this plan: apply one anew", cmdline.Printable(st.Image))
		}
		if st.Trouble != "" {
			e.Notef("it waits: %s", cmdline.Printable(st.Trouble))
		}
	}
	return nil
}

func printNodes(w io.Writer, st *planner.Status) error {
	t := cmdline.NewTable("NODE", "ID", "STATE", ">STORED", ">HITS")
	depth := make([]int, len(st.Nodes))
	for i, n := range st.Nodes {
		if n.Parent >= 0 {
			depth[i] = depth[n.Parent] + 1
		}
		id, stored := "-", "-"
		if n.ID != "" {
			id, stored = cmdline.Short(n.ID), cmdline.FormatBytes(n.Bytes)
		}
		state := n.State
		if n.Why != "" {
			state += ": " + cmdline.Printable(n.Why)
		}
		t.Row(strings.Repeat("  ", depth[i])+cmdline.Printable(list(n.Packages, shownPackages)), id, state, stored, fmt.Sprint(n.Hits))
	}
	return t.Print(w)
}
