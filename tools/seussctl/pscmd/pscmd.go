// Package pscmd has the commands about what waits and runs in a daemon, ps and kill, and what
// its starts are made of, stats. It keeps no state.
package pscmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/cmdline"
)

// watchEvery is how often ps --watch looks.
const watchEvery = time.Second

// errNoDaemon: only a daemon has something under way that others can see.
var errNoDaemon = errors.New("no daemon serves this state directory, so nothing runs that could be listed: start seussctl serve")

// Ps makes the command that lists it.
func Ps(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "ps",
		Usage: "list what waits and runs in the daemon",
		Description: `
Lists invocations that wait, run or are captured, and what else needs a machine:
deployments, snapshots, code that is not deployed. What has come first is first.

CHANGED is what an invocation has written of its machine's memory, at most; it is
known of functions that have a limit of memory. LEFT is the time until its deadline.
PARENT and ROOT, with --wide, are of what a function has called: the requests of its
caller, and of the first of its chain.
Asynchronous events that have no turn yet are in 'seussctl function events'.`,
		Examples: []string{
			"seussctl ps",
			"seussctl ps --watch --wide",
			"seussctl kill $(seussctl ps -q)",
		},
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: "quiet", Aliases: []string{"q"}, Usage: "print request ids only"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "watch", Aliases: []string{"w"}, Usage: "look again each second, until Ctrl-C"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "wide", Usage: "print PARENT and ROOT, too"},
			&cli.IntFlag{Name: "limit", Value: admission.DefaultUnderWay, Usage: "show the oldest `N`"},
		},
		Action: showUnderWay,
	})
}

func showUnderWay(c *cli.Context, e *cmdline.Env) (err error) {
	most := c.Int("limit")
	if most < 1 || most > admission.MaxUnderWay {
		return cmdline.Usagef(c.Command.HelpName, "--limit %d: must be 1 to %d", most, admission.MaxUnderWay)
	}
	d := e.Daemon()
	if d == nil {
		return errNoDaemon
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	show := func() error { return printUnderWay(c.Context, e, d, most, c.Bool("quiet"), c.Bool("wide")) }
	if !c.Bool("watch") {
		return show()
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := show(); err != nil && c.Context.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return nil // that is how it ends
		}
	}
}

func printUnderWay(ctx context.Context, e *cmdline.Env, d *client.Client, most int, quiet, wide bool) error {
	page, err := d.UnderWay(ctx, "", most)
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(page)
	}
	var b bytes.Buffer
	if quiet {
		for _, u := range page.Invocations {
			fmt.Fprintln(&b, u.RequestID)
		}
	} else if err := tableOfUnderWay(&b, &page, time.Now(), wide); err != nil {
		return err
	}
	_, err = e.Stdout.Write(b.Bytes())
	if left := page.Total - len(page.Invocations); err == nil && left > 0 {
		_, err = fmt.Fprintf(e.Stderr, "%d more wait or run: --limit shows up to %d\n", left, admission.MaxUnderWay)
	}
	return err
}

func tableOfUnderWay(w io.Writer, page *api.UnderWay, now time.Time, wide bool) error {
	columns := []string{"REQUEST", "FUNCTION", "WHAT", "STATE", ">SINCE", "FROM", ">MACHINE", ">CHANGED", ">LEFT"}
	if wide {
		columns = append(columns, "PARENT", "ROOT")
	}
	t := cmdline.NewTable(columns...)
	for _, u := range page.Invocations {
		name, from, machine, changed, left := u.Function, string(u.Path), "", "", ""
		if u.Alias != "" {
			name += " (" + u.Alias + ")"
		}
		if u.Node != "" {
			from += " " + cmdline.Short(u.Node)
		}
		if u.Machine > 0 {
			machine = strconv.FormatUint(u.Machine, 10)
		}
		if u.ChangedBytes != nil {
			changed = cmdline.FormatBytes(*u.ChangedBytes)
		}
		if u.LeftMS != nil {
			left = cmdline.FormatDuration(max(time.Duration(*u.LeftMS)*time.Millisecond, 0))
		}
		row := []string{u.RequestID, name, string(u.Operation), u.State, cmdline.FormatDuration(max(now.Sub(u.Since), 0)), from, machine, changed, left}
		if wide {
			row = append(row, u.Parent, u.Root)
		}
		t.Row(row...)
	}
	return t.Print(w)
}

// maxKills bounds the arguments of one command.
const maxKills = admission.MaxUnderWay

// Kill makes the command that ends it.
func Kill(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "kill",
		ArgsUsage: "ID...",
		Usage:     "end what waits or runs in the daemon",
		Description: `
Ends what has these request ids ('seussctl ps' lists them). Its caller gets the error
killed, or a result with the error Sandbox.Killed; an asynchronous event is given up.
The machine goes back to its pool.`,
		Examples: []string{"seussctl kill 4f0c6f6e-5f5c-4d0e-9a6a-1c9b6f0a7d11"},
		MinArgs:  1, MaxArgs: maxKills,
		Action: func(c *cli.Context, e *cmdline.Env) (err error) {
			d := e.Daemon()
			if d == nil {
				return errNoDaemon
			}
			defer func() { err = errors.Join(err, d.Close()) }()
			killed := []string{}
			var errs []error
			for _, id := range c.Args().Slice() {
				if err := d.Kill(c.Context, id); err != nil {
					errs = append(errs, err)
					continue
				}
				killed = append(killed, id)
				if !e.JSON {
					fmt.Fprintln(e.Stdout, id)
				}
			}
			if e.JSON {
				errs = append(errs, e.PrintJSON(struct {
					Killed []string `json:"killed"`
				}{killed}))
			}
			return errors.Join(errs...)
		},
	})
}
