package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/http/native/client"
	"seuss/lineage"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

const coldRounds = 7

// coldFunction is measured with an event that differs from the recorded one.
type coldFunction struct {
	name            string
	code            []byte
	imports         []string
	lazy            bool
	stopAt          string
	first, measured string // events
}

var coldFunctions = []coldFunction{
	{name: "json", code: samples.JSONHash, imports: []string{"json", "re", "hashlib"},
		first:    `{"text": "The quick brown fox jumps over the lazy dog, and the dog sleeps on", "top": 3}`,
		measured: `{"text": "It was the best of times, it was the worst of times, it was the age of wisdom", "top": 5}`},
	{name: "numpy", code: samples.Matrix, imports: []string{"numpy"}, first: `{"n": 60}`, measured: `{"n": 85}`},
	{name: "table", code: samples.Table, imports: []string{"hashlib"}, lazy: true, stopAt: "query",
		first:    `{"table": {"rows": 110000, "seed": 7}, "query": {"customer": "c004711", "orders": 3}}`,
		measured: `{"table": {"rows": 110000, "seed": 7}, "query": {"customer": "c098765", "orders": 9}}`},
}

// coldWays are how memory gets from the disk into a machine.
var coldWays = []struct {
	name    string
	options dispatcher.Options
}{
	{"whole", dispatcher.Options{Verify: lineage.VerifyEager}},
	{"on demand", dispatcher.Options{Verify: lineage.VerifyDemand, Prefetch: dispatcher.PrefetchNone}},
	{"prefetch, then run", dispatcher.Options{Verify: lineage.VerifyDemand, Prefetch: dispatcher.PrefetchFirst}},
	{"both at once", dispatcher.Options{Verify: lineage.VerifyDemand}},
}

func BenchCold(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "cold",
		Usage: "measure starts from snapshots that are not in memory",
		Description: `
Starts a JSON, a NumPy and a 20 MB table function in a new dispatcher whose files
were dropped out of the page cache before: with everything loaded first; with pages
read when the guest touches them; with the recorded loading set read first; and with
that read while the guest runs. The recording was made with another event than is
measured. Samples are taken in turns. Uses a state directory of its own below the
default, or the one given with --state, on which no daemon may run.`,
		Examples: []string{"seussctl bench cold", "seussctl bench cold --rounds 20 --json"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "rounds", Value: coldRounds, Usage: "`N` turns over all ways"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			rows, err := measureCold(c.Context, e, rounds)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(struct {
					Rows []bench.ColdRow `json:"rows"`
				}{rows})
			}
			return printColdBench(e.Stdout, rows)
		},
	})
}

func measureCold(ctx context.Context, e *cmdline.Env, rounds int) ([]bench.ColdRow, error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx); err != nil {
		return nil, err
	}
	functions, err := deployCold(ctx, e)
	if err != nil {
		return nil, err
	}
	var rows []bench.ColdRow
	for i, f := range functions {
		samples := make([]bench.ColdSamples, len(coldWays))
		var answer string
		for round := range rounds {
			for w, way := range coldWays {
				e.Progress.Step("starting "+f.name, (float64(i)+float64(round)/float64(rounds))/float64(len(functions)))
				if err := coldStart(ctx, e, f, way.options, &samples[w], &answer); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", f.name, way.name, err)
				}
			}
		}
		set, err := loadingSet(e, f)
		if err != nil {
			return nil, err
		}
		for w, way := range coldWays {
			rows = append(rows, samples[w].Row(f.name, way.name, set))
		}
	}
	return rows, nil
}

// deployCold deploys the functions and records their first runs.
func deployCold(ctx context.Context, e *cmdline.Env) (functions []coldFunction, err error) {
	numpy, err := e.ImageHas(cmdline.DefaultImage, "/usr/lib/python3/dist-packages/numpy")
	if err != nil {
		return nil, err
	}
	for _, f := range coldFunctions {
		if f.name == "numpy" && !numpy {
			e.Notef("the image holds no NumPy; leaving out %s (apt-get install python3-numpy, then seussctl image build)", f.name)
			continue
		}
		err := e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
			if _, served := d.(*client.Client); served {
				return cmdline.ErrServed
			}
			e.Progress.Step("deploying "+f.name, -1)
			if _, err := d.Deploy(ctx, sample(f.name, f.code, f.lazy, f.imports)); err != nil || f.stopAt == "" {
				return err
			}
			_, err := d.CaptureArgument(ctx, f.name, dispatcher.Capture{Event: []byte(f.first), StopAt: f.stopAt})
			return err
		})
		if err == nil {
			err = e.WithEngine(dispatcher.Options{Verify: lineage.VerifyDemand}, func(d cmdline.Service) error { return coldInvoke(ctx, d, f, f.first, new(string)) })
		}
		if err != nil {
			return nil, err
		}
		functions = append(functions, f)
	}
	return functions, nil
}

func coldInvoke(ctx context.Context, d cmdline.Service, f coldFunction, event string, answer *string) error {
	r, err := d.Invoke(ctx, dispatcher.Request{Function: f.name, Event: []byte(event)})
	switch {
	case err != nil:
		return err
	case r.Error != nil:
		return r.Error
	case *answer == "":
		*answer = string(r.Output)
	case *answer != string(r.Output):
		return fmt.Errorf("it answers %s, another time %s", r.Output, *answer)
	}
	return nil
}

// coldStart takes one sample.
func coldStart(ctx context.Context, e *cmdline.Env, f coldFunction, o dispatcher.Options, samples *bench.ColdSamples, answer *string) error {
	if err := bench.ForgetFiles(e.StateDir, "images", "nodes"); err != nil {
		return err
	}
	o.ReadOnly = true // the recording stays as it is
	before, err := bench.ReadBytes()
	if err != nil {
		return err
	}
	start := time.Now()
	return e.WithEngine(o, func(d cmdline.Service) error {
		r, err := d.Invoke(ctx, dispatcher.Request{Function: f.name, Event: []byte(f.measured)})
		took := time.Since(start)
		if err == nil && r.Error != nil {
			err = r.Error
		}
		if err != nil {
			return err
		}
		if *answer == "" {
			*answer = string(r.Output)
		} else if *answer != string(r.Output) {
			return fmt.Errorf("it answers %s, another time %s", r.Output, *answer)
		}
		after, err := bench.ReadBytes()
		if err != nil {
			return err
		}
		samples.Add(took, r.Timings.Run, after-before, r.PagesPagedIn)
		return nil
	})
}

// loadingSet returns the size of what was recorded for a function.
func loadingSet(e *cmdline.Env, f coldFunction) (pages uint64, err error) {
	s, err := e.ReadStore()
	if err != nil || s == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, n := range s.Function(f.name) {
		set, err := s.LoadingSet(n)
		if err != nil {
			return 0, err
		}
		pages = max(pages, set.Len())
	}
	return pages, nil
}

func printColdBench(w io.Writer, rows []bench.ColdRow) error {
	t := cmdline.NewTable("FUNCTION", "WAY", ">N", ">P50", ">P99", ">RATIO", ">RUN P50", ">READ", ">PAGED IN", ">LOADING SET")
	var whole bench.ColdRow
	for _, r := range rows {
		if r.Way == coldWays[0].name {
			whole = r
		}
		t.Row(r.Function, r.Way, fmt.Sprint(r.N), FormatMicros(r.P50), FormatMicros(r.P99), cmdline.FormatRatio(r.P50/whole.P50),
			FormatMicros(r.Run), cmdline.FormatBytes(r.Read), cmdline.FormatPages(r.Touched), cmdline.FormatPages(r.Set))
	}
	return t.Print(w)
}
