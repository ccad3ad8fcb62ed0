package benchcmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/lineage/pages"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
)

// hugeReport compares starts in new machines with and without the host's huge pages.
type hugeReport struct {
	Offered   bool      `json:"offered"` // huge pages for files in memory
	Rows      []hugeRow `json:"rows"`
	CopyBytes uint64    `json:"copy_bytes"` // of images
}

type hugeRow struct {
	Path  string     `json:"path"`
	Huge  hugeSample `json:"huge"`
	Small hugeSample `json:"small"`
}

// hugeSample is in microseconds.
type hugeSample struct {
	Least  float64 `json:"least_us"`
	Median float64 `json:"p50_us"`
}

func newHugeSample(took []time.Duration) hugeSample {
	slices.Sort(took)
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return hugeSample{us(took[0]), us(took[len(took)/2])}
}

func BenchHuge(e *cmdline.Env) *cli.Command {
	return e.Command(cmdline.Spec{
		Name:  "huge",
		Usage: "measure starts in new machines with and without the host's huge pages",
		Description: `
Starts a small JSON function, and the same in Node.js, in new machines from a cold boot,
the base and the function snapshot, in turns with and without huge pages, as serve
would. Whether
the host gives them to files in memory, doctor tells. Uses a state directory of its own
below the default, or the one given with --state.`,
		Examples: []string{"seussctl bench huge --rounds 20"},
		Flags:    []cli.Flag{&cli.IntFlag{Name: "rounds", Value: defaultRounds, Usage: "`N` turns over all paths"}},
		Action: func(c *cli.Context, e *cmdline.Env) error {
			rounds := c.Int("rounds")
			if rounds < 1 {
				return cmdline.Usagef(c.Command.HelpName, "--rounds %d: want 1 or more", rounds)
			}
			if !e.HugePages {
				return cmdline.Usagef(c.Command.HelpName, "--huge-pages never leaves nothing to compare")
			}
			r, err := measureHuge(c.Context, e, rounds)
			if err != nil {
				return err
			}
			e.Progress.Clear()
			if e.JSON {
				return e.PrintJSON(r)
			}
			return printHuge(e.Stdout, r)
		},
	})
}

func measureHuge(ctx context.Context, e *cmdline.Env, rounds int) (r *hugeReport, err error) {
	e.OwnState("bench")
	if err := e.FreshImages(ctx, e.OtherRuntimes()...); err != nil {
		return nil, err
	}
	r = &hugeReport{Offered: pages.HugePagesOffered(), Rows: []hugeRow{}}
	err = e.WithEngine(dispatcher.Options{HugePages: true, Verify: lineage.VerifyDemand}, func(huge cmdline.Service) error {
		w, err := deployBench(ctx, e, huge)
		if err != nil {
			return err
		}
		e.HugePages = false // the second platform's
		defer func() { e.HugePages = true }()
		return e.WithEngine(dispatcher.Options{ReadOnly: true, Verify: lineage.VerifyDemand}, func(small cmdline.Service) error {
			err := compareHuge(ctx, e, w, huge, small, rounds, r)
			r.CopyBytes = pages.HugeBytes()
			return err
		})
	})
	return r, err
}

func compareHuge(ctx context.Context, e *cmdline.Env, w *BenchWork, huge, small cmdline.Service, rounds int, r *hugeReport) error {
	left, right := w.Paths(huge, huge), w.Paths(small, small)
	for i := range left {
		name := left[i].Name
		if !slices.Contains([]string{"cold", "base", "function"}, strings.TrimPrefix(name, "node-")) {
			continue
		}
		var took [2][]time.Duration
		for round := range rounds + 1 {
			e.Progress.Step("measuring "+name, float64(round)/float64(rounds+1))
			for side, path := range []*bench.Path{&left[i], &right[i]} {
				one, err := path.Time(ctx)
				if err != nil {
					return fmt.Errorf("measure %s: %w", name, err)
				}
				if round > 0 {
					took[side] = append(took[side], one)
				}
			}
		}
		r.Rows = append(r.Rows, hugeRow{name, newHugeSample(took[0]), newHugeSample(took[1])})
	}
	return nil
}

func printHuge(w io.Writer, r *hugeReport) error {
	t := cmdline.NewTable("PATH", ">HUGE P50", ">SMALL P50", ">RATIO", ">HUGE LEAST", ">SMALL LEAST", ">RATIO")
	for _, row := range r.Rows {
		t.Row(row.Path, FormatMicros(row.Huge.Median), FormatMicros(row.Small.Median), cmdline.FormatRatio(row.Huge.Median/row.Small.Median),
			FormatMicros(row.Huge.Least), FormatMicros(row.Small.Least), cmdline.FormatRatio(row.Huge.Least/row.Small.Least))
	}
	if err := t.Print(w); err != nil {
		return err
	}
	if !r.Offered {
		_, err := fmt.Fprintln(w, "the host gives no huge pages to files in memory, so images have none: see seussctl doctor")
		return err
	}
	_, err := fmt.Fprintln(w, "copies of images in huge pages:", humanize.IBytes(r.CopyBytes))
	return err
}
