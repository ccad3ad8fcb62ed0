package functioncmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/logs"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
)

func functionLogs(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "logs",
		ArgsUsage: "NAME",
		Usage:     "show what a function printed and what went wrong with it",
		Description: `
Shows what invocations of a function printed, their errors, what its code printed
while it was loaded, and attempts at asynchronous events that failed: of all its
versions, or of those that a qualifier stands for (NAME:VERSION, NAME:ALIAS).
seussctl serve keeps them, as long as its --logs-size, --logs-total and --logs-age
say; what is invoked without a daemon prints to the terminal.

With --json it is one document, with --follow one for each entry.`,
		Examples: []string{
			"seussctl function logs hello",
			"seussctl function logs hello --follow --since 10m",
			"seussctl function logs hello:3 --request 4f0c6f6e-5f5c-4d0e-9a6a-1c9b6f0a7d11 --json",
		},
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until Ctrl-C"},
			&cli.DurationFlag{Name: "since", Usage: "show the last `TIME`, such as 1h (default: all)"},
			&cli.StringFlag{Name: "request", Usage: "show the request with this `ID`"},
			&cli.IntFlag{Name: "limit", Value: logs.DefaultEntries, Usage: "show the newest `N` entries"},
		},
		MinArgs: 1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action:   showLogs,
	})
}

func showLogs(c *cli.Context, e *cmdline.Env) (err error) {
	name := cmdline.FunctionKey(c.Args().First())
	q := logs.Query{RequestID: c.String("request"), Entries: c.Int("limit")}
	if q.Entries < 1 || q.Entries > logs.MaxEntries {
		return cmdline.Usagef(c.Command.HelpName, "--limit %d: must be 1 to %d", q.Entries, logs.MaxEntries)
	}
	if since := c.Duration("since"); since < 0 {
		return cmdline.Usagef(c.Command.HelpName, "--since %v: must not be negative", since)
	} else if since > 0 {
		q.Since = time.Now().Add(-since)
	}
	d := e.Daemon()
	if d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
	}
	if c.Bool("follow") {
		if d == nil {
			return cmdline.Usagef(c.Command.HelpName, "--follow: no daemon serves this state directory, so nothing comes: start seussctl serve")
		}
		err := d.FollowLogs(c.Context, name, q, func(entry logs.Entry) error {
			if e.JSON {
				return json.NewEncoder(e.Stdout).Encode(entry)
			}
			return printEntry(e.Stdout, &entry)
		})
		if errors.Is(err, context.Canceled) {
			return nil // that is how it ends
		}
		return err
	}
	var list []logs.Entry
	if d != nil {
		list, err = d.Logs(c.Context, name, q)
	} else {
		list, err = storedLogs(e, name, q)
	}
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(list)
	}
	for i := range list {
		if err := printEntry(e.Stdout, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// printEntry prints a line for each that the function printed, with the time at which the
// invocation ended and its request.
func printEntry(w io.Writer, entry *logs.Entry) error {
	head := entry.Time.Local().Format("2006-01-02 15:04:05.000")
	if entry.RequestID != "" {
		head += " " + entry.RequestID
	} else {
		head += " " + string(entry.Kind)
	}
	if entry.Version != "" {
		head += ":" + entry.Version
	}
	var b strings.Builder
	line := func(stream, text string) {
		for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			fmt.Fprintf(&b, "%s %s: %s\n", head, stream, cmdline.Printable(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "    ")))
		}
	}
	if entry.Dropped > 0 {
		line("note", fmt.Sprintf("%d entries before this were dropped", entry.Dropped))
	}
	for _, l := range entry.Lines {
		line(l.Stream, l.Text)
	}
	if entry.Cut {
		line("note", "more output was dropped")
	}
	if entry.Error != nil {
		line("error", entry.Error.Type+": "+entry.Error.Message)
		for _, l := range entry.Error.Trace {
			line("error", l)
		}
	}
	if entry.Note != "" {
		line("note", entry.Note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// storedFunction finds the function that a deployment's name is of, where no daemon runs.
func storedFunction(e *cmdline.Env, name string) (f functions.Function, err error) {
	unknown := fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, functions.BaseName(name))
	s, err := e.ReadStore()
	if err != nil {
		return f, err
	}
	if s == nil {
		return f, unknown
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	deployed, err := cmdline.Deployments(s)
	if err != nil {
		return f, err
	}
	f, err = deployed.Get(functions.BaseName(name))
	if errors.Is(err, lineage.ErrNotFound) {
		return f, unknown
	}
	return f, err
}

func storedLogs(e *cmdline.Env, name string, q logs.Query) ([]logs.Entry, error) {
	f, err := storedFunction(e, name)
	if err != nil {
		return nil, err
	}
	if q.Versions, err = admission.LogVersions(&f, name); err != nil {
		return nil, err
	}
	return logs.Read(filepath.Join(e.StateDir, logs.Folder), logs.Key{Function: f.Name, ID: f.ID}, q)
}

func functionEvents(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "events",
		ArgsUsage: "NAME",
		Usage:     "list a function's asynchronous events",
		Description: `
Lists the asynchronous events of a function that are not done, with the error of
those that have failed, and those that were given up: the last 100 of a function.
With NAME:VERSION or NAME:ALIAS only those that were sent to that name are listed.
'seussctl function logs NAME --request ID' shows what an event's attempts printed.`,
		Examples: []string{"seussctl function events hello"},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action:   showEvents,
	})
}

func showEvents(c *cli.Context, e *cmdline.Env) (err error) {
	name := cmdline.FunctionKey(c.Args().First())
	var list []events.Status
	if d := e.Daemon(); d != nil {
		defer func() { err = errors.Join(err, d.Close()) }()
		list, err = d.Events(c.Context, name)
	} else {
		var f functions.Function
		if f, err = storedFunction(e, name); err == nil {
			_, err = dispatcher.VersionsOf(&f, name)
		}
		if err == nil {
			list, err = events.ReadJournal(filepath.Join(e.StateDir, cmdline.JournalName), name, f.ID)
		}
	}
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(list)
	}
	t := cmdline.NewTable("REQUEST", "FUNCTION", "STATE", "ACCEPTED", ">FAILURES", "NEXT", "ERROR")
	for _, s := range list {
		next := ""
		if s.Next != nil {
			next = cmdline.FormatTime(*s.Next)
		}
		text, _, _ := strings.Cut(s.Error, "\n")
		t.Row(s.RequestID, s.Function, strings.ReplaceAll(string(s.State), "_", " "), cmdline.FormatTime(s.Accepted), fmt.Sprint(s.Failures), next, text)
	}
	return t.Print(e.Stdout)
}
