package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/images/runtimes"
	"seuss/lineage"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/benchcmd"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/snapshotcmd"
)

func demo(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "demo",
		Usage: "run sample functions on every start path and show the lineage",
		Description: `
Builds the Python image if it is missing, takes the base snapshot, deploys three
functions (one imports json, re and hashlib, one NumPy, one builds a table of 20
MB from its first argument) and two of each other runtime that there is, invokes each
several times on each start path, and prints what that took and the snapshots behind
it; a live interpreter is forked a hundred times. Uses a state directory of its own below the default, or the one given with --state.`,
		Examples: []string{"seussctl demo", "seussctl demo --json"},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			e.OwnState("demo")
			if err := e.FreshImages(c.Context, e.OtherRuntimes()...); err != nil {
				return err
			}
			return e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error { return runDemo(c.Context, e, d) })
		},
	})
}

// demoFunction is one function of the demo.
type demoFunction struct {
	runtimes.Sample
	name string // under which it is deployed
}

// demoPath is a start path with how often each function takes it.
type demoPath struct {
	name  string
	path  dispatcher.StartPath
	fresh bool
	n     int
}

var demoPaths = []demoPath{
	{"cold", dispatcher.PathCold, true, 2},
	{"base", dispatcher.PathBase, true, 5},
	{"function", dispatcher.PathFunction, true, 20},
	{"argument", dispatcher.PathArgument, true, 20},
	{"pooled", "", false, 100},
}

// demoRow is one line of the demo's table.
type demoRow struct {
	Function     string  `json:"function"`
	Path         string  `json:"path"`
	N            int     `json:"n"`
	P50          float64 `json:"p50_us"`
	P99          float64 `json:"p99_us"`
	PagesDirtied uint64  `json:"pages_dirtied"` // of one more invocation
	StoredBytes  uint64  `json:"stored_bytes"`  // of the snapshot that it started from
	Node         string  `json:"node"`
}

func runDemo(ctx context.Context, e *cmdline.Env, d cmdline.Service) error {
	functions, err := deployDemo(ctx, e, d)
	if err != nil {
		return err
	}
	var rows []demoRow
	done, all := 0, len(functions)*len(demoPaths)
	for _, f := range functions {
		var answer json.RawMessage
		for _, p := range demoPaths {
			e.Progress.Step("invoking", float64(done)/float64(all))
			done++
			if p.path == dispatcher.PathArgument && !f.Lazy {
				continue // it has no arguments to start behind
			}
			row, err := f.measure(ctx, d, p, &answer)
			if err != nil {
				return fmt.Errorf("function %s on path %s: %w", f.name, p.name, err)
			}
			rows = append(rows, row)
		}
	}
	e.Progress.Step("forking a live interpreter", -1)
	forks, err := forkDemo(ctx, d)
	if err != nil {
		return err
	}
	e.Progress.Clear()
	list, err := d.Snapshots(ctx)
	if err != nil {
		return err
	}
	trees := api.Forest(list)
	if e.JSON {
		return e.PrintJSON(struct {
			Rows  []demoRow       `json:"rows"`
			Forks *demoForks      `json:"forks"`
			Tree  []*api.Snapshot `json:"tree"`
		}{rows, forks, trees})
	}
	if err := printDemo(e.Stdout, rows); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.Stdout, "A live interpreter, forked %d times: %d different results in %s, the first %s.\n\n", forks.Copies, forks.Different, benchcmd.FormatMicros(forks.TookUS), forks.First); err != nil {
		return err
	}
	return snapshotcmd.PrintTrees(e.Stdout, trees, cmdline.ImageTags(ctx, e))
}

// deployDemo deploys the functions that this machine's image can run.
func deployDemo(ctx context.Context, e *cmdline.Env, d cmdline.Service) ([]demoFunction, error) {
	if _, err := d.Base(ctx, cmdline.DefaultImage, ""); err != nil {
		return nil, err
	}
	var functions []demoFunction
	for _, r := range append([]*runtimes.Runtime{runtimes.Default()}, e.BuiltRuntimes()...) {
		for _, s := range r.Samples {
			if s.Event == "" {
				continue
			}
			f := demoFunction{s, s.Name}
			if !r.Default {
				f.name = r.Name + "-" + s.Name
			}
			has, err := e.ImageHas(r.Name, s.Needs)
			if err != nil {
				return nil, err
			}
			if !has {
				e.Notef("leaving out %s, for which the image lacks %s", f.name, s.Lacking)
				continue
			}
			if err := f.deploy(ctx, d, r); err != nil {
				return nil, err
			}
			functions = append(functions, f)
		}
	}
	return functions, nil
}

// deploy deploys the function and takes its argument snapshot.
func (f *demoFunction) deploy(ctx context.Context, d cmdline.Service, r *runtimes.Runtime) error {
	if _, err := d.Deploy(ctx, benchcmd.SampleOf(r, f.name, f.Code, f.Lazy, f.Imports)); err != nil {
		return err
	}
	if f.StopAt == "" {
		return nil
	}
	_, err := d.CaptureArgument(ctx, f.name, dispatcher.Capture{Event: []byte(f.Event), StopAt: f.StopAt, AllowImpure: true})
	return err
}

// measure invokes the function on one path. All invocations must give the same
// answer, wherever they start.
func (f *demoFunction) measure(ctx context.Context, d cmdline.Service, p demoPath, answer *json.RawMessage) (demoRow, error) {
	row := demoRow{Function: f.name, Path: p.name, N: p.n}
	request := dispatcher.Request{Function: f.name, Event: []byte(f.Event), MaxPath: p.path, Fresh: p.fresh}
	var took []time.Duration
	warmUp := 0
	if !p.fresh {
		warmUp = 2 * dispatcher.DefaultPoolSize // brings the shells to the node
	}
	for i := range warmUp + p.n {
		start := time.Now()
		r, err := d.Invoke(ctx, request)
		elapsed := time.Since(start)
		switch {
		case err != nil:
			return row, err
		case r.Error != nil:
			return row, r.Error
		case p.path != "" && r.Path != p.path:
			return row, fmt.Errorf("it started from %s", r.Path)
		case *answer == nil:
			*answer = r.Output
		case string(r.Output) != string(*answer):
			return row, fmt.Errorf("it answers %s, on another path %s", r.Output, *answer)
		}
		if i < warmUp {
			continue
		}
		took = append(took, elapsed)
		row.Node = r.NodeID
	}
	summary := bench.NewRow(p.name, took)
	row.P50, row.P99 = summary.P50, summary.P99
	request.Memory = true // finding out takes time
	r, err := d.Invoke(ctx, request)
	if err != nil {
		return row, err
	}
	row.PagesDirtied = r.PagesDirtied
	if n, err := d.Snapshot(ctx, row.Node); err == nil && n.Kind != lineage.KindImage {
		row.StoredBytes = n.FileBytes
	}
	return row, nil
}

func printDemo(w io.Writer, rows []demoRow) error {
	t := cmdline.NewTable("FUNCTION", "START PATH", ">N", ">P50", ">P99", ">PAGES DIRTIED", ">BYTES STORED")
	last := ""
	for _, r := range rows {
		name := r.Function
		if name == last {
			name = ""
		}
		last = r.Function
		t.Row(name, r.Path, fmt.Sprint(r.N), benchcmd.FormatMicros(r.P50), benchcmd.FormatMicros(r.P99), cmdline.FormatPages(r.PagesDirtied), cmdline.FormatBytes(r.StoredBytes))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
