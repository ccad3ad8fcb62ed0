package app

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/access"
	"seuss/tools/seussctl/cmdline"
)

// anyAmount stands for no bound.
const anyAmount = "any"

func ownerSet(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "set",
		ArgsUsage: "OWNER",
		Usage:     "say what an owner may have",
		Description: `
What is not named stays; any stands for no bound. A deployment beyond a quota is
refused by name, an invocation with 429. A daemon takes it at once.`,
		Examples: []string{
			"seussctl owner set alice --functions 100 --code 1GiB --snapshots 10GiB --instances 8 --machines 2.5",
			"seussctl owner set alice --instances any",
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "functions", Usage: "at most `N` functions, versions apart"},
			&cli.StringFlag{Name: "code", Usage: "at most `SIZE` of code, of all versions"},
			&cli.StringFlag{Name: "snapshots", Usage: "no further snapshots beyond `SIZE` of their files"},
			&cli.StringFlag{Name: "instances", Usage: "at most `N` invocations at a time, those that wait included"},
			&cli.StringFlag{Name: "machines", Usage: "the time of at most `N` machines, such as 2.5, on average over a minute"},
		},
		MinArgs: 1, MaxArgs: 1,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			var read access.Quota
			counts := map[string]*int{"functions": &read.Functions, "instances": &read.Instances}
			sizes := map[string]*uint64{"code": &read.CodeBytes, "snapshots": &read.NodeBytes}
			said := false
			for _, name := range []string{"functions", "instances", "code", "snapshots", "machines"} {
				if !c.IsSet(name) {
					continue
				}
				said = true
				text := c.String(name)
				if text == anyAmount {
					continue
				}
				var err error
				switch {
				case text == "": // such as of a variable that is not set: no bound is lifted by that
					err = fmt.Errorf("it is empty; want an amount, or %s", anyAmount)
				case counts[name] != nil:
					*counts[name], err = strconv.Atoi(text)
					if err == nil && *counts[name] < 1 {
						err = fmt.Errorf("want 1 or more, or %s", anyAmount)
					}
				case sizes[name] != nil:
					*sizes[name], err = humanize.ParseBytes(text)
					if err == nil && *sizes[name] < 1 {
						err = fmt.Errorf("want a size such as 1GiB, or %s", anyAmount)
					}
				default:
					var n float64
					if n, err = strconv.ParseFloat(text, 64); err == nil && !(n >= 0.01 && n <= access.MaxMachinePct/100) {
						err = fmt.Errorf("want 0.01 to %d, or %s", access.MaxMachinePct/100, anyAmount)
					}
					read.MachinePct = int(math.Round(n * 100))
				}
				if err != nil {
					return cmdline.Usagef(c.Command.HelpName, "--%s %q: %w", name, text, err)
				}
			}
			owner := c.Args().First()
			if !said {
				return cmdline.Usagef(c.Command.HelpName, "%s: say what he may have, such as --functions 100", owner)
			}
			return changeAccess(c.Context, e, func(f *access.File) error {
				f.SetQuota(owner, func(q *access.Quota) {
					for name, take := range map[string]func(){
						"functions": func() { q.Functions = read.Functions }, "instances": func() { q.Instances = read.Instances },
						"code": func() { q.CodeBytes = read.CodeBytes }, "snapshots": func() { q.NodeBytes = read.NodeBytes },
						"machines": func() { q.MachinePct = read.MachinePct },
					} {
						if c.IsSet(name) {
							take()
						}
					}
				})
				return nil
			})
		},
	})
}

func ownerLs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list the owners' quotas",
		Examples: []string{"seussctl owner ls"},
		Action: func(_ *cli.Context, e *cmdline.Env) error {
			f, err := access.ReadFile(e.StateDir)
			if err != nil {
				return err
			}
			if e.JSON {
				return e.PrintJSON(append([]access.Owner{}, f.Owners...))
			}
			t := cmdline.NewTable("OWNER", ">FUNCTIONS", ">CODE", ">SNAPSHOTS", ">INSTANCES", ">MACHINES")
			count := func(n int) string {
				if n == 0 {
					return anyAmount
				}
				return strconv.Itoa(n)
			}
			size := func(n uint64) string {
				if n == 0 {
					return anyAmount
				}
				return cmdline.FormatBytes(n)
			}
			for _, o := range f.Owners {
				machines := anyAmount
				if o.Quota.MachinePct > 0 {
					machines = strconv.FormatFloat(float64(o.Quota.MachinePct)/100, 'f', -1, 64)
				}
				t.Row(o.Name, count(o.Quota.Functions), size(o.Quota.CodeBytes), size(o.Quota.NodeBytes), count(o.Quota.Instances), machines)
			}
			return t.Print(e.Stdout)
		},
	})
}
