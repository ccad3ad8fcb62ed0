package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
	"seuss/tools/seussctl/samples/languages"
)

const (
	languageRounds = 5
	languagePort   = 8080 // of servers in guests
	languageSec    = 120  // timeout of a request
	languageEvent  = `{"name": "Ada"}`
)

// BenchLanguages is seussctl bench languages.
func BenchLanguages(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "languages",
		Usage: "measure programs of many languages over each contract, and beside them the same without a guest",
		Description: `
Deploys a small program for each language and contract (Lambda's Runtime API, HTTP on
a port, standard input) and measures, in turns: the program started on this machine to
its first answer; a cold boot; its node on a new machine; a pooled machine; and of
servers the answer of one that runs on this machine all the time, which has answered
before; so has the snapshot, whose ready path is asked. Beside them a Python function of
the driver's and a Python zygote. What this machine lacks is named with the
package to install. Uses a state directory of its own below the default, or the one
given with --state.`,
		Examples: []string{"seussctl bench languages", "seussctl bench languages --programs go-http,flask --rounds 20"},
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "rounds", Value: languageRounds, Usage: "`N` turns over all paths"},
			&cli.StringFlag{Name: "programs", Usage: "comma-separated `NAMES` of programs (default: all that this machine can run)"},
		},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			list, err := languages.Embedded()
			if err != nil {
				return err
			}
			if list, err = chosenPrograms(c, list); err != nil {
				return err
			}
			report, err := measureLanguages(c.Context, e, list, rounds)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(report)
			}
			return printLanguages(e.Stdout, report)
		},
	})
}

// chosenPrograms are those that are named; else all but those that are compiled with
// packages of this module.
func chosenPrograms(c *cli.Context, list []languages.Program) ([]languages.Program, error) {
	list = slices.DeleteFunc(list, func(p languages.Program) bool { return p.Module })
	if !c.IsSet("programs") {
		return list, nil
	}
	names, err := cmdline.SplitList(c.String("programs"))
	if err != nil {
		return nil, cmdline.Usagef(c.Command.HelpName, "--programs %q: %w", c.String("programs"), err)
	}
	var all []string
	for _, p := range list {
		all = append(all, p.Name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, cmdline.Usagef(c.Command.HelpName, "--programs: %q is not one of %s", name, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(list, func(p languages.Program) bool { return !slices.Contains(names, p.Name) }), nil
}

// languageBench is what is deployed, and runs natively.
type languageBench struct {
	*cmdline.Env
	engine cmdline.Service
	report *bench.LanguageReport
	paths  []bench.Path
	ends   []func() error
}

func measureLanguages(ctx context.Context, e *cmdline.Env, list []languages.Program, rounds int) (*bench.LanguageReport, error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx); err != nil {
		return nil, err
	}
	b := &languageBench{Env: e, report: &bench.LanguageReport{Rows: []bench.LanguageRow{}, Skipped: []bench.Skipped{}}}
	defer b.close()
	images := map[string]string{}
	for _, p := range list { // before the engine is there, which holds the store
		if p.Lacks() != "" || len(p.Packages) == 0 {
			continue
		}
		built, err := cmdline.BuildSource(ctx, e, cmdline.FromSource{Reference: "debian:" + strings.Join(p.Packages, ","), MemoryBytes: p.MemoryMiB << 20})
		if err != nil {
			return nil, fmt.Errorf("image of %s: %w", p.Name, err)
		}
		images[p.Name] = built.Digest
	}
	err := e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		b.engine = d
		if err := b.beside(ctx); err != nil {
			return err
		}
		for i := range list {
			p := &list[i]
			if lacks := p.Lacks(); lacks != "" {
				b.report.Skipped = append(b.report.Skipped, bench.Skipped{Program: p.Name, Lacks: lacks})
				continue
			}
			if err := b.add(ctx, p, images[p.Name]); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		rows, err := bench.Measure(ctx, b.paths, rounds, func(f float64) { e.Progress.Step("measuring languages", f) })
		b.sum(rows)
		return err
	})
	return b.report, err
}

func (b *languageBench) close() {
	for _, end := range b.ends {
		if err := end(); err != nil {
			b.Notef("%v", err)
		}
	}
}

// beside adds what all are compared with.
func (b *languageBench) beside(ctx context.Context) error {
	if _, err := b.engine.Deploy(ctx, sample(BenchEager, samples.Greet, false, nil)); err != nil {
		return err
	}
	zygote, err := bench.NewZygote(ctx, samples.Zygote, bench.Handler{Python: python, Module: "greet", Code: samples.Greet, Event: []byte(benchEvent)})
	if err != nil {
		return err
	}
	b.ends = append(b.ends, zygote.Close)
	driver := b.invoke(BenchEager, benchEvent, "", dispatcher.PathFunction)
	b.paths = append(b.paths, bench.Path{Name: "driver", PerRound: 50, Prepare: once(driver), Run: driver},
		bench.Path{Name: "zygote", PerRound: 20, Run: func(ctx context.Context, _ func()) error { _, err := zygote.Run(ctx); return err }})
	return nil
}

// add deploys a program and adds its paths.
func (b *languageBench) add(ctx context.Context, p *languages.Program, image string) error {
	b.Progress.Step("deploying "+p.Name, -1)
	dir, err := os.MkdirTemp("", "seuss-language-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files, err := p.Code(dir, "")
	if err != nil {
		return err
	}
	spec := dispatcher.FunctionSpec{Name: p.Name, Image: image, Files: languages.WithPort(files, languagePort)}
	spec.Settings = functions.Settings{Environment: p.Environment, TimeoutSec: languageSec, Program: &functions.Program{
		Contract: p.Contract, Command: p.Words(p.Command, languagePort, p.Built), SharedGenerators: true,
	}}
	event := languageEvent
	if p.Contract == "http" {
		spec.Settings.Program.Port, spec.Settings.Program.ReadyPath = languagePort, p.Ready
		if event, err = requestEvent(p.Requests[0]); err != nil {
			return err
		}
	}
	node, err := b.engine.Deploy(ctx, spec)
	if err != nil {
		return err
	}
	native, err := bench.NewNative(p, files, languageEvent)
	if err != nil {
		return err
	}
	b.ends = append(b.ends, native.Close)
	b.report.Rows = append(b.report.Rows, bench.LanguageRow{Program: p.Name, Contract: p.Contract, NodeBytes: node.DeltaBytes})
	pooled := b.invoke(p.Name, event, "", dispatcher.PathFunction)
	b.paths = append(b.paths,
		bench.Path{Name: p.Name + " native", PerRound: 1, Run: native.Start},
		bench.Path{Name: p.Name + " cold", PerRound: 1, Run: b.invoke(p.Name, event, dispatcher.PathCold, dispatcher.PathCold)},
		bench.Path{Name: p.Name + " function", PerRound: 3, Run: b.invoke(p.Name, event, dispatcher.PathFunction, dispatcher.PathFunction)},
		bench.Path{Name: p.Name + " pooled", PerRound: 20, Prepare: once(pooled), Run: pooled})
	if p.Contract != "http" {
		return nil
	}
	end, ask, err := native.Serve(ctx)
	if err != nil {
		return err
	}
	b.ends = append([]func() error{func() error { end(); return nil }}, b.ends...) // before its files go
	b.paths = append(b.paths, bench.Path{Name: p.Name + " serving", PerRound: 20, Run: func(ctx context.Context, _ func()) error { return ask(ctx) }})
	return nil
}

// requestEvent is a request as an event of function URLs, payload format 2.0.
func requestEvent(r languages.Request) (string, error) {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	b, err := json.Marshal(map[string]any{"version": "2.0", "rawPath": r.Path, "requestContext": map[string]any{"http": map[string]string{"method": method}}})
	return string(b), err
}

// invoke runs a function from where path says, on a new machine where one is named.
func (b *languageBench) invoke(name, event string, path, want dispatcher.StartPath) func(context.Context, func()) error {
	return func(ctx context.Context, answered func()) error {
		got, err := b.engine.Invoke(ctx, dispatcher.Request{
			Function: name, Event: []byte(event), MaxPath: path, Fresh: path != "",
			Deliver: func(*dispatcher.Result) bool { answered(); return true },
		})
		switch {
		case err != nil:
			return err
		case got.Error != nil:
			return got.Error
		case got.Path != want:
			return fmt.Errorf("invocation of %s started from %s, want %s", name, got.Path, want)
		}
		b.report.Platform = got.Platform
		return nil
	}
}

// sum puts what was measured into the rows.
func (b *languageBench) sum(rows []bench.Row) {
	p50 := map[string]float64{}
	for _, r := range rows {
		p50[r.Path] = r.P50
	}
	b.report.Driver, b.report.Zygote = p50["driver"], p50["zygote"]
	for i := range b.report.Rows {
		r := &b.report.Rows[i]
		r.Native, r.Cold, r.Function = p50[r.Program+" native"], p50[r.Program+" cold"], p50[r.Program+" function"]
		r.Pooled, r.Serving = p50[r.Program+" pooled"], p50[r.Program+" serving"]
	}
}

func printLanguages(w io.Writer, r *bench.LanguageReport) error {
	t := cmdline.NewTable("PROGRAM", "CONTRACT", ">NATIVE", ">COLD", ">FUNCTION", ">POOLED", ">SERVING", ">NODE", ">POOLED / NATIVE")
	for _, row := range r.Rows {
		serving := "-"
		if row.Serving > 0 {
			serving = FormatMicros(row.Serving)
		}
		t.Row(row.Program, row.Contract, FormatMicros(row.Native), FormatMicros(row.Cold), FormatMicros(row.Function), FormatMicros(row.Pooled), serving,
			cmdline.FormatBytes(row.NodeBytes), cmdline.FormatRatio(row.Pooled/row.Native))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\na Python function of the driver's, pooled: %s; a Python zygote: %s\n\n", FormatMicros(r.Driver), FormatMicros(r.Zygote))
	if err = errors.Join(err, printBars(w, r.Bars())); err != nil {
		return err
	}
	for _, s := range r.Skipped {
		if _, err := fmt.Fprintf(w, "left out: %s, for want of %s\n", s.Program, s.Lacks); err != nil {
			return err
		}
	}
	return nil
}
