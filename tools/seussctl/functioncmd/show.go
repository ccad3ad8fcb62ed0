package functioncmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/planner"
	"seuss/tools/seussctl/cmdline"
)

func functionShow(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:      "show",
		ArgsUsage: "NAME",
		Usage:     "print everything about one function",
		Description: `
What counts of the network, the host's ports, time, memory and output is what both
the deployment and the daemon allow. What loading the code has imported is as the function
itself has measured it; pages are of 4 KiB, and TOTAL counts what a distribution has
imported of others. What the handler imports is looked at in the first runs: IN is in how
many of them it was imported, with means over these. --json has the modules too. What plans say of where its code is loaded
is asked of a daemon.`,
		Examples: []string{"seussctl function show hello", "seussctl function show hello:3"},
		MinArgs:  1, MaxArgs: 1,
		Complete: cmdline.FunctionNames,
		Action: func(c *cli.Context, e *cmdline.Env) error {
			list, damaged, err := deployed(c.Context, e)
			if err != nil {
				return err
			}
			for _, f := range list {
				if f.Name == cmdline.FunctionKey(c.Args().First()) {
					return showFunction(c, e, &f)
				}
			}
			if damaged != nil {
				return damaged
			}
			return fmt.Errorf("%w: %q", dispatcher.ErrUnknownFunction, c.Args().First())
		},
	})
}

// shownFunction is a function with the modules that it imports.
type shownFunction struct {
	*api.Function
	Loaded *imports.Record `json:"loaded,omitempty"`
	Start  *planner.Start  `json:"start,omitempty"` // nil: no daemon lives with plans
}

func showFunction(c *cli.Context, e *cmdline.Env, f *api.Function) error {
	doc := shownFunction{Function: f}
	err := e.Reading(func(r cmdline.Reader) (err error) {
		if f.Loaded != nil && e.JSON {
			doc.Loaded, err = r.FunctionImports(c.Context, f.Name)
		}
		if err == nil {
			doc.Start, err = r.FunctionStart(c.Context, f.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	if e.JSON {
		return e.PrintJSON(doc)
	}
	t := cmdline.NewTable("FIELD", "VALUE")
	add := func(name, format string, args ...any) { t.Row(name, fmt.Sprintf(format, args...)) }
	add("name", "%s", f.Name)
	add("handler", "%s", f.Handler)
	add("arguments", "%s", map[bool]string{true: "lazy", false: "eager"}[f.Lazy])
	add("image", "%s", f.Image)
	if own := f.Settings.Container; own != nil {
		add("container image", "%s", cmdline.Printable(own.URI))
	}
	if p := f.Settings.Program; p != nil {
		add("contract", "%s", p.Contract)
		add("command", "%s", cmdline.Printable(strings.Join(p.Command, " ")))
	}
	if len(f.Imports) > 0 {
		add("imports", "%s", strings.Join(f.Imports, ", "))
	}
	add("code", "%s", f.CodeDigest)
	add("deployed", "%s", cmdline.FormatTime(f.Deployed))
	if doc.Start != nil {
		add("plan", "%s", cmdline.Printable(doc.Start.String()))
	}
	add("snapshots", "%d, %s stored, %d hits", f.Nodes, cmdline.FormatBytes(f.StoredBytes), f.Hits)
	if b := f.Bounds; b != nil {
		add("network", "%s", listOr(b.Network, "nothing"))
		add("host ports", "%s", listOr(b.HostPorts, "none"))
		if len(f.Settings.Shares) > 0 {
			add("shares", "%s", strings.Join(f.Settings.Shares, ", "))
		}
		if len(f.Settings.Calls) > 0 {
			add("calls", "%s", strings.Join(f.Settings.Calls, ", "))
		}
		add("time", "%v", time.Duration(b.TimeoutMS)*time.Millisecond)
		if b.MemoryMiB > 0 {
			add("memory", "%d MiB", b.MemoryMiB)
		} else {
			add("memory", "the image's")
		}
		add("output", "%s", cmdline.FormatBytes(uint64(b.OutputBytes)))
		for _, what := range b.Beyond {
			add("not allowed", "%s", what)
		}
	}
	for _, qualifier := range slices.Sorted(maps.Keys(f.Attached)) {
		if u := f.Attached[qualifier].URL; u != nil {
			add("url", "%s for %s%s", addressOf(c.Context, e, u), who[u.Auth], map[bool]string{true: ", of " + qualifier}[qualifier != dispatcher.Latest])
		}
	}
	if n := f.Settings.Concurrency; n != nil {
		add("concurrency", "%d", *n)
	}
	l := f.Loaded
	if l != nil {
		add("imported", "%d modules, %s, %d pages%s", l.ModuleCount, millis(l.MS), l.Pages, map[bool]string{true: fmt.Sprintf("; %d more are not listed", l.LeftOut)}[l.LeftOut > 0])
	}
	if l != nil && l.Later != nil {
		add("imported later", "%d modules, %s a run; %d runs were looked at%s", l.Later.ModuleCount, millis(l.Later.MS), l.Later.Runs, map[bool]string{true: fmt.Sprintf("; %d more are not listed", l.Later.LeftOut)}[l.Later.LeftOut > 0])
	}
	if err := t.Print(e.Stdout); err != nil || l == nil {
		return err
	}
	return showImports(e, l)
}

func showImports(e *cmdline.Env, l *imports.Summary) error {
	columns := func(d *imports.Distribution) []string {
		return []string{cmdline.Printable(d.Name), cmdline.Printable(d.Version), fmt.Sprint(d.Modules), millis(d.MS), millis(d.TotalMS), fmt.Sprint(d.Pages)}
	}
	if len(l.Distributions) > 0 {
		fmt.Fprintln(e.Stdout)
		t := cmdline.NewTable("DISTRIBUTION", "VERSION", ">MODULES", ">TIME", ">TOTAL", ">PAGES")
		for _, d := range l.Distributions {
			t.Row(columns(&d)...)
		}
		if err := t.Print(e.Stdout); err != nil {
			return err
		}
	}
	if l.Later == nil || len(l.Later.Distributions) == 0 {
		return nil
	}
	fmt.Fprintln(e.Stdout)
	t := cmdline.NewTable("IMPORTED LATER", "VERSION", ">MODULES", ">TIME", ">TOTAL", ">PAGES", ">IN")
	for _, d := range l.Later.Distributions {
		t.Row(append(columns(&d.Distribution), fmt.Sprintf("%d of %d", d.Runs, l.Later.Runs))...)
	}
	return t.Print(e.Stdout)
}

func millis(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

// listOr is a list for people.
func listOr[T any](list []T, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ", ")
}
