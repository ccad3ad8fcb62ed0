package instancecmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher/http/native/client"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/cmdline"
)

func ls(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:     "ls",
		Usage:    "list instances",
		Examples: []string{"seussctl instance ls", "seussctl instance rm $(seussctl instance ls -q)"},
		Flags:    []cli.Flag{&cli.BoolFlag{DisableDefaultText: true, Name: "quiet", Aliases: []string{"q"}, Usage: "print names only"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				list, err := l.List(ctx)
				if err != nil || c.Bool("quiet") || e.JSON {
					return errors.Join(err, printNames(e, list, list...))
				}
				t := cmdline.NewTable("NAME", "STATE", "OF", "NODE", ">MEMORY", ">USES", "USED", "PARENT")
				for _, i := range list {
					t.Row(cmdline.Printable(i.Name), stateOf(&i), of(&i), cmdline.Short(i.Node), cmdline.FormatBytes(i.Bytes), fmt.Sprint(i.Uses), humanize.Time(i.Used), cmdline.Printable(i.Parent))
				}
				return t.Print(e.Stdout)
			})
		},
	})
}

func of(i *instances.Info) string {
	switch {
	case i.Function != "":
		return "function " + cmdline.Printable(i.Function)
	case i.Image != "":
		return "image " + cmdline.Printable(i.Image)
	}
	return "snapshot"
}

func show(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name: "show", ArgsUsage: "NAME", MinArgs: 1, MaxArgs: 1,
		Usage:    "describe an instance",
		Examples: []string{"seussctl instance show lab"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			return with(c, e, func(ctx context.Context, l client.Live) error {
				i, err := l.Show(ctx, c.Args().First())
				if err != nil {
					return err
				}
				return printInfo(e, &i)
			})
		},
	})
}

func printInfo(e *cmdline.Env, i *instances.Info) error {
	if e.JSON {
		return e.PrintJSON(i)
	}
	t := cmdline.NewTable()
	t.Row("name", cmdline.Printable(i.Name))
	t.Row("state", stateOf(i))
	t.Row("of", of(i))
	t.Row("node", i.Node)
	if i.Parent != "" {
		t.Row("forked from", cmdline.Printable(i.Parent))
	}
	t.Row("memory", cmdline.FormatBytes(i.Bytes))
	t.Row("uses", fmt.Sprint(i.Uses))
	t.Row("created", i.Created.Format(time.RFC3339))
	t.Row("used", i.Used.Format(time.RFC3339))
	if !i.Expires.IsZero() {
		t.Row("expires", i.Expires.Format(time.RFC3339))
	}
	if i.Failure != "" {
		t.Row("failure", cmdline.Printable(strings.TrimSpace(i.Failure)))
	}
	return t.Print(e.Stdout)
}

// stateOf is an instance's state, and whether it stands on a machine.
func stateOf(i *instances.Info) string {
	if i.Standing {
		return string(i.State) + " (standing)"
	}
	return string(i.State)
}
