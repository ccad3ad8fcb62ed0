package snapshotcmd

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/tools/seussctl/cmdline"
)

func snapshotCreate(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "create",
		ArgsUsage: "[NAME]",
		Usage:     "take an argument, import or base snapshot",
		Description: `
With NAME: runs that function, which must have been deployed with --lazy-args,
until it asks for the key --stop-at (by default the first key that the event
lacks) and captures it there. Later invocations whose event is equal so far
start from this point. Until then it may reach what --allow-net names; connections
that are open when the snapshot is taken are reset in what starts from it.
Where it has read a clock, drawn random bytes, received from outside or looked at
its context by then, all that start there would have the same: this is refused,
with what it was, unless --allow-impure says that it may be.

With --import: imports the modules on top of the base snapshot and captures
that. Functions deployed with the same imports start from it.

With --base: boots the image and captures the runtime that has started. The other
commands do this by themselves when they need it.`,
		Examples: []string{
			`seussctl snapshot create table --event '{"table": {"rows": 1000, "seed": 7}}'`,
			"seussctl snapshot create table --event @event.json --stop-at query",
			"seussctl snapshot create --import json,re",
		},
		Flags: []cli.Flag{
			cmdline.EventFlag(),
			&cli.StringFlag{Name: "stop-at", Usage: "capture where the function asks for `KEY`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "allow-impure", Usage: "time, random bytes or other outside input may be part of what is captured"},
			&cli.StringFlag{Name: "import", Usage: "comma-separated `MODULES` to import"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "base", Usage: "take the image's base snapshot"},
			cmdline.AllowNetFlag(),
			&cli.StringFlag{Name: "image", Value: cmdline.DefaultImage, Usage: "`NAME` of the image, with --import or --base"},
			&cli.StringFlag{Name: "runtime", Usage: "`RUNTIME` of the image, such as python3.11, with --import or --base (default: its first)"},
		},
		MaxArgs:  1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			take, err := chooseSnapshot(e, c)
			if err != nil {
				return err
			}
			network, err := cmdline.ReadNetwork(c)
			if err != nil {
				return err
			}
			if !c.Args().Present() {
				image, err := e.EnsureImage(c, c.String("image"))
				if err != nil {
					return err
				}
				if err := c.Set("image", image); err != nil {
					return err
				}
			}
			return e.WithEngine(dispatcher.Options{PoolSize: 1, Network: network}, func(d cmdline.Service) error {
				n, err := take(d)
				if err != nil {
					return err
				}
				return printNewNode(c.Context, e, n)
			})
		},
	})
}

// chooseSnapshot returns how to take the snapshot that the command line asks for.
func chooseSnapshot(e *cmdline.Env, c *cli.Context) (func(cmdline.Service) (*api.Snapshot, error), error) {
	name := c.Command.HelpName
	function := c.Args().First()
	if function != "" {
		function = cmdline.FunctionKey(function)
	}
	asked := 0
	for _, is := range []bool{function != "", c.IsSet("import"), c.Bool("base")} {
		if is {
			asked++
		}
	}
	switch {
	case asked != 1:
		return nil, cmdline.Usagef(name, "%s needs one of: a function's NAME, --import MODULES, --base", name)
	case function == "" && (c.IsSet("event") || c.IsSet("stop-at") || c.IsSet("allow-impure") || c.IsSet("allow-net")):
		return nil, cmdline.Usagef(name, "--event, --stop-at, --allow-impure and --allow-net belong to a function's NAME")
	case function != "" && (c.IsSet("image") || c.IsSet("runtime")):
		return nil, cmdline.Usagef(name, "--image and --runtime belong to --import and --base; a function has them from its deployment")
	case c.Bool("base"):
		return func(d cmdline.Service) (*api.Snapshot, error) {
			return d.Base(c.Context, c.String("image"), c.String("runtime"))
		}, nil
	case c.IsSet("import"):
		modules, err := cmdline.SplitList(c.String("import"))
		if err != nil {
			return nil, cmdline.Usagef(name, "--import %q: %w", c.String("import"), err)
		}
		return func(d cmdline.Service) (*api.Snapshot, error) {
			return d.Import(c.Context, c.String("image"), c.String("runtime"), modules)
		}, nil
	}
	event, err := e.ReadEvent(c)
	if err != nil {
		return nil, err
	}
	capture := dispatcher.Capture{Event: event, StopAt: c.String("stop-at"), AllowImpure: c.Bool("allow-impure")}
	return func(d cmdline.Service) (*api.Snapshot, error) {
		return d.CaptureArgument(c.Context, function, capture)
	}, nil
}

// printNewNode prints a snapshot that a command has taken.
func printNewNode(ctx context.Context, e *cmdline.Env, n *api.Snapshot) error {
	e.Progress.Clear()
	if e.JSON {
		return e.PrintJSON(n)
	}
	text := string(n.Kind)
	if key := cmdline.NodeKey(n, cmdline.ImageTags(ctx, e)); key != "" {
		text += " " + cmdline.Printable(key)
	}
	_, err := fmt.Fprintf(e.Stdout, "%s  %s  %s pages, %s stored\n", cmdline.Short(n.ID), text, cmdline.FormatPages(n.DeltaPages), cmdline.FormatBytes(n.FileBytes))
	return err
}
