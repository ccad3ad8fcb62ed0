package benchcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/native/client"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

const (
	chainName   = "chain-bench"
	chainRow    = 100
	chainAtOnce = 1000
	chainRounds = 5
)

// chainReport is what bench chain prints.
type chainReport struct {
	Platform string      `json:"platform"`
	Rows     []bench.Row `json:"rows"`
	// Exits are how often a caller's guest was left for each call that it awaits.
	Exits float64    `json:"exits"`
	Bars  []chainBar `json:"bars"`
}

// chainBar is a ratio and what it should be at most.
type chainBar struct {
	Name     string  `json:"name"`
	Measured float64 `json:"measured"`
	Limit    float64 `json:"limit"`
}

func BenchChain(e *cmdline.Env) *cli.Command {
	return inRounds(e, cmdline.Spec{
		Name:  "chain",
		Usage: "measure functions that call functions, beside forked Python processes",
		Description: `
A Python function calls a small JSON function, 100 times one after the other and 1,000
times at once: with machines enough, and with one machine, which the caller has to leave
for each call. Beside it the same function invoked on a pooled machine, and a Python
process that has a zygote fork children for it over a Unix socket. Turns about. Uses a
state directory of its own, or the one given with --state, on which no daemon may run.`,
		Examples: []string{"seussctl bench chain", "seussctl --platform process bench chain --rounds 2 --json"},
	}, chainRounds, measureChain, printChain)
}

// chainWork is what it is measured with.
type chainWork struct {
	*BenchWork
	samples map[string][]time.Duration
	exits   uint64
	calls   int
}

func measureChain(ctx context.Context, e *cmdline.Env, rounds int) (*chainReport, error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx); err != nil {
		return nil, err
	}
	w := &chainWork{samples: map[string][]time.Duration{}}
	err := e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		if _, served := d.(*client.Client); served {
			return cmdline.ErrServed
		}
		var err error
		if w.BenchWork, err = deployBench(ctx, e, d); err != nil {
			return err
		}
		spec := sample(chainName, samples.ChainBench, false, nil)
		spec.Settings = functions.Settings{Calls: []string{BenchEager}, TimeoutSec: 300}
		if _, err := d.Deploy(ctx, spec); err != nil {
			return err
		}
		return withSwitcher(e, func(one cmdline.Service) error {
			for round := range rounds + 1 { // the first one is not measured
				e.Progress.Step("measuring calls", float64(round)/float64(rounds+1))
				if round == 1 {
					w.samples, w.exits, w.calls = map[string][]time.Duration{}, 0, 0
				}
				if err := w.round(ctx, d, one); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return w.report(), nil
}

func (w *chainWork) round(ctx context.Context, d, one cmdline.Service) error {
	for _, p := range w.Paths(d, one) {
		if p.Name != "pooled" {
			continue
		}
		if err := p.Prepare(ctx); err != nil {
			return err
		}
		for range chainRow {
			took, err := p.Time(ctx)
			if err != nil {
				return err
			}
			w.samples["pooled"] = append(w.samples["pooled"], took)
		}
	}
	for _, c := range []struct {
		name   string
		on     cmdline.Service
		n      int
		atOnce bool
	}{{"call", d, chainRow, false}, {"call, caller parked", one, chainRow, false}, {"1,000 at once", d, chainAtOnce, true}} {
		if err := w.chain(ctx, c.name, c.on, c.n, c.atOnce); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	z, err := bench.CallZygote(ctx, samples.Zygote, samples.ZygoteCaller, bench.Handler{Python: python, Module: "greet", Code: samples.Greet, Event: []byte(benchEvent)}, chainRow, chainAtOnce)
	if err != nil {
		return err
	}
	w.add("zygote's child", z.Row...)
	w.add("100 zygote's children in a row", sum(z.Row))
	w.add("1,000 zygote's children at once", z.AtOnce)
	return nil
}

func (w *chainWork) add(name string, took ...time.Duration) {
	w.samples[name] = append(w.samples[name], took...)
}

func sum(list []time.Duration) (all time.Duration) {
	for _, d := range list {
		all += d
	}
	return all
}

// chain has the function call.
func (w *chainWork) chain(ctx context.Context, name string, d cmdline.Service, n int, atOnce bool) error {
	event, err := json.Marshal(map[string]any{"function": BenchEager, "event": json.RawMessage(benchEvent), "want": w.Answer, "n": n, "at_once": atOnce})
	if err != nil {
		return err
	}
	r, err := d.Invoke(ctx, dispatcher.Request{Function: chainName, Event: event, Timeout: 5 * time.Minute})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	if err != nil {
		return err
	}
	var took []time.Duration
	if err := json.Unmarshal(r.Output, &took); err != nil {
		return err
	}
	w.add(name, took...)
	if name == "call" {
		w.add("100 in a row", sum(took))
		w.exits, w.calls = w.exits+r.Exits, w.calls+n
	}
	return nil
}

func (w *chainWork) report() *chainReport {
	r := &chainReport{Platform: w.platform, Exits: float64(w.exits) / float64(max(w.calls, 1))}
	p50 := map[string]float64{}
	for _, name := range []string{"pooled", "call", "call, caller parked", "zygote's child", "100 in a row", "100 zygote's children in a row", "1,000 at once", "1,000 zygote's children at once"} {
		row := bench.NewRow(name, w.samples[name])
		r.Rows = append(r.Rows, row)
		p50[name] = row.P50
	}
	for _, bar := range []struct {
		what, to string
		limit    float64
	}{
		{"call", "pooled", 2.5}, {"call, caller parked", "pooled", 5},
		{"100 in a row", "100 zygote's children in a row", 0.2}, {"1,000 at once", "1,000 zygote's children at once", 0.2},
	} {
		r.Bars = append(r.Bars, chainBar{bar.what + " / " + bar.to + ", p50", p50[bar.what] / p50[bar.to], bar.limit})
	}
	return r
}

func printChain(w io.Writer, r *chainReport) error {
	if err := printTimes(w, r.Platform, r.Rows); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nA caller's guest is left %.1f times a call.\n\n", r.Exits); err != nil {
		return err
	}
	return printRatios(w, r.Bars)
}

func printTimes(w io.Writer, platform string, rows []bench.Row) error {
	t := cmdline.NewTable("ON "+platform, ">N", ">P50", ">P99")
	for _, row := range rows {
		t.Row(row.Path, fmt.Sprint(row.N), cmdline.FormatDuration(fromMicros(row.P50)), cmdline.FormatDuration(fromMicros(row.P99)))
	}
	return t.Print(w)
}

func fromMicros(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }

func printRatios(w io.Writer, bars []chainBar) error {
	t := cmdline.NewTable("BAR", ">MEASURED", ">LIMIT", "MET")
	for _, b := range bars {
		met := "no"
		if b.Measured <= b.Limit {
			met = "yes"
		}
		t.Row(b.Name, fmt.Sprintf("%.3f", b.Measured), fmt.Sprintf("≤ %.3f", b.Limit), met)
	}
	return t.Print(w)
}
