package benchcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

const warmUpEvent = `{"number": "A-1", "lines": ["EUR 12.50", "EUR 3", "EUR 104.99"]}`

// warmUpRow is what a function costs with some number of warm-up invocations.
type warmUpRow struct {
	Runs         int       `json:"warm_up_runs"`
	NodePages    uint64    `json:"node_pages"`
	StoredBytes  uint64    `json:"stored_bytes"`
	Fresh        bench.Row `json:"new_machine"` // run of the handler in a new machine
	Pooled       bench.Row `json:"pooled"`      // and in one that stood ready
	PagesDirtied uint64    `json:"pages_dirtied"`

	name          string
	fresh, pooled []time.Duration
	dirtied       []uint64
}

func BenchWarmUp(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "warmup",
		Usage: "measure what warm-up invocations before a snapshot buy",
		Description: `
Deploys the same function without and with warm-up invocations (function deploy
--warm-up), and measures the run of its handler in turns: in a new machine, and in
one that stands ready, every time as the first invocation of a fresh instance. The
function imports and compiles at its first use. Uses a state directory of its own
below the default, or the one given with --state.`,
		Examples: []string{"seussctl bench warmup", "seussctl bench warmup --rounds 100 --json"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "rounds", Value: 50, Usage: "`N` turns over all; 4 pooled invocations in each"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			rows, err := measureWarmUp(c.Context, e, rounds)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(rows)
			}
			return printWarmUp(e.Stdout, rows)
		},
	})
}

func measureWarmUp(ctx context.Context, e *cmdline.Env, rounds int) ([]*warmUpRow, error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx); err != nil {
		return nil, err
	}
	rows := []*warmUpRow{{Runs: 0}, {Runs: 1}, {Runs: 20}}
	err := e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		for _, r := range rows {
			r.name = fmt.Sprintf("invoice-%d", r.Runs)
			spec := sample(r.name, samples.Invoice, false, nil)
			for range r.Runs {
				spec.WarmUp = append(spec.WarmUp, json.RawMessage(warmUpEvent))
			}
			n, err := d.Deploy(ctx, spec)
			if err != nil {
				return err
			}
			r.NodePages, r.StoredBytes = n.DeltaPages, n.FileBytes
		}
		for round := range rounds {
			e.Progress.Step("measuring warm-up", float64(round)/float64(rounds))
			for _, r := range rows {
				if err := r.measure(ctx, d); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, r := range rows {
		r.Fresh, r.Pooled = bench.NewRow("new machine", r.fresh), bench.NewRow("pooled", r.pooled)
		if len(r.dirtied) > 0 {
			slices.Sort(r.dirtied)
			r.PagesDirtied = r.dirtied[len(r.dirtied)/2]
		}
	}
	return rows, err
}

// measure takes one turn: a new machine, and after one more invocation, which
// brings a machine to the node, some on machines that stand there.
func (r *warmUpRow) measure(ctx context.Context, d cmdline.Service) error {
	const pooled = 4
	for n := range 2 + pooled {
		got, err := d.Invoke(ctx, dispatcher.Request{Function: r.name, Event: []byte(warmUpEvent), Fresh: n == 0})
		if err == nil && got.Error != nil {
			err = got.Error
		}
		switch {
		case err != nil:
			return err
		case n == 0:
			r.fresh = append(r.fresh, got.Timings.Run)
			r.dirtied = append(r.dirtied, got.PagesDirtied)
		case n > 1:
			r.pooled = append(r.pooled, got.Timings.Run)
		}
	}
	return nil
}

func printWarmUp(w io.Writer, rows []*warmUpRow) error {
	t := cmdline.NewTable(">WARM-UPS", ">NODE PAGES", ">STORED", ">DIRTIED", ">NEW P50", ">RATIO", ">POOLED P50", ">RATIO", ">POOLED P99")
	for _, r := range rows {
		t.Row(fmt.Sprint(r.Runs), cmdline.FormatPages(r.NodePages), cmdline.FormatBytes(r.StoredBytes), cmdline.FormatPages(r.PagesDirtied),
			FormatMicros(r.Fresh.P50), cmdline.FormatRatio(r.Fresh.P50/rows[0].Fresh.P50), FormatMicros(r.Pooled.P50), cmdline.FormatRatio(r.Pooled.P50/rows[0].Pooled.P50), FormatMicros(r.Pooled.P99))
	}
	return t.Print(w)
}
