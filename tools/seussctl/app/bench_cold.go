package app

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

func (e *env) benchCold() *cli.Command {
	return e.command(spec{
		name:  "cold",
		usage: "measure starts from snapshots that are not in memory",
		description: `
Starts a JSON, a NumPy and a 20 MB table function in a new dispatcher whose files
were dropped out of the page cache before: with everything loaded first; with pages
read when the guest touches them; with the recorded loading set read first; and with
that read while the guest runs. The recording was made with another event than is
measured. Samples are taken in turns. Uses a state directory of its own below the
default, or the one given with --state, on which no daemon may run.`,
		examples: []string{"seussctl bench cold", "seussctl bench cold --rounds 20 --json"},
		flags:    []cli.Flag{&cli.IntFlag{Name: "rounds", Value: coldRounds, Usage: "`N` turns over all ways"}},
		action: func(c *cli.Context, e *env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			rows, err := e.measureCold(c.Context, rounds)
			if err != nil {
				return err
			}
			e.progress.clear()
			if e.json {
				return e.printJSON(struct {
					Rows []bench.ColdRow `json:"rows"`
				}{rows})
			}
			return printColdBench(e.stdout, rows)
		},
	})
}

func (e *env) measureCold(ctx context.Context, rounds int) ([]bench.ColdRow, error) {
	e.ownState("bench")
	if err := e.freshImages(ctx); err != nil {
		return nil, err
	}
	functions, err := e.deployCold(ctx)
	if err != nil {
		return nil, err
	}
	var rows []bench.ColdRow
	for i, f := range functions {
		samples := make([]bench.ColdSamples, len(coldWays))
		var answer string
		for round := range rounds {
			for w, way := range coldWays {
				e.progress.step("starting "+f.name, (float64(i)+float64(round)/float64(rounds))/float64(len(functions)))
				if err := e.coldStart(ctx, f, way.options, &samples[w], &answer); err != nil {
					return nil, fmt.Errorf("%s, %s: %w", f.name, way.name, err)
				}
			}
		}
		set, err := e.loadingSet(f)
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
func (e *env) deployCold(ctx context.Context) (functions []coldFunction, err error) {
	numpy, err := e.imageHas(defaultImage, "/usr/lib/python3/dist-packages/numpy")
	if err != nil {
		return nil, err
	}
	for _, f := range coldFunctions {
		if f.name == "numpy" && !numpy {
			e.notef("the image holds no NumPy; leaving out %s (apt-get install python3-numpy, then seussctl image build)", f.name)
			continue
		}
		err := e.withEngine(dispatcher.Options{}, func(d service) error {
			if _, served := d.(*client.Client); served {
				return errServed
			}
			e.progress.step("deploying "+f.name, -1)
			if _, err := d.Deploy(ctx, sample(f.name, f.code, f.lazy, f.imports)); err != nil || f.stopAt == "" {
				return err
			}
			_, err := d.CaptureArgument(ctx, f.name, []byte(f.first), f.stopAt)
			return err
		})
		if err == nil {
			err = e.withEngine(dispatcher.Options{Verify: lineage.VerifyDemand}, func(d service) error { return coldInvoke(ctx, d, f, f.first, new(string)) })
		}
		if err != nil {
			return nil, err
		}
		functions = append(functions, f)
	}
	return functions, nil
}

func coldInvoke(ctx context.Context, d service, f coldFunction, event string, answer *string) error {
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
func (e *env) coldStart(ctx context.Context, f coldFunction, o dispatcher.Options, samples *bench.ColdSamples, answer *string) error {
	if err := bench.ForgetFiles(e.stateDir, "images", "nodes"); err != nil {
		return err
	}
	o.ReadOnly = true // the recording stays as it is
	before, err := bench.ReadBytes()
	if err != nil {
		return err
	}
	start := time.Now()
	return e.withEngine(o, func(d service) error {
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
func (e *env) loadingSet(f coldFunction) (pages uint64, err error) {
	s, err := e.readStore()
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
	t := newTable("FUNCTION", "WAY", ">N", ">P50", ">P99", ">RATIO", ">RUN P50", ">READ", ">PAGED IN", ">LOADING SET")
	var whole bench.ColdRow
	for _, r := range rows {
		if r.Way == coldWays[0].name {
			whole = r
		}
		t.row(r.Function, r.Way, fmt.Sprint(r.N), formatMicros(r.P50), formatMicros(r.P99), formatRatio(r.P50/whole.P50),
			formatMicros(r.Run), formatBytes(r.Read), formatPages(r.Touched), formatPages(r.Set))
	}
	return t.print(w)
}
