package app

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

func (e *env) benchWarmUp() *cli.Command {
	return e.command(spec{
		name:  "warmup",
		usage: "measure what warm-up invocations before a snapshot buy",
		description: `
Deploys the same function without and with warm-up invocations (function deploy
--warm-up), and measures the run of its handler in turns: in a new machine, and in
one that stands ready, every time as the first invocation of a fresh instance. The
function imports and compiles at its first use. Uses a state directory of its own
below the default, or the one given with --state.`,
		examples: []string{"seussctl bench warmup", "seussctl bench warmup --rounds 100 --json"},
		flags:    []cli.Flag{&cli.IntFlag{Name: "rounds", Value: 50, Usage: "`N` turns over all; 4 pooled invocations in each"}},
		action: func(c *cli.Context, e *env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			rows, err := e.measureWarmUp(c.Context, rounds)
			if err != nil {
				return err
			}
			e.progress.clear()
			if e.json {
				return e.printJSON(rows)
			}
			return printWarmUp(e.stdout, rows)
		},
	})
}

func (e *env) measureWarmUp(ctx context.Context, rounds int) ([]*warmUpRow, error) {
	e.ownState("bench")
	if err := e.freshImages(ctx); err != nil {
		return nil, err
	}
	rows := []*warmUpRow{{Runs: 0}, {Runs: 1}, {Runs: 20}}
	err := e.withEngine(dispatcher.Options{}, func(d service) error {
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
			e.progress.step("measuring warm-up", float64(round)/float64(rounds))
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
func (r *warmUpRow) measure(ctx context.Context, d service) error {
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
	t := newTable(">WARM-UPS", ">NODE PAGES", ">STORED", ">DIRTIED", ">NEW P50", ">RATIO", ">POOLED P50", ">RATIO", ">POOLED P99")
	for _, r := range rows {
		t.row(fmt.Sprint(r.Runs), formatPages(r.NodePages), formatBytes(r.StoredBytes), formatPages(r.PagesDirtied),
			formatMicros(r.Fresh.P50), formatRatio(r.Fresh.P50/rows[0].Fresh.P50), formatMicros(r.Pooled.P50), formatRatio(r.Pooled.P50/rows[0].Pooled.P50), formatMicros(r.Pooled.P99))
	}
	return t.print(w)
}
