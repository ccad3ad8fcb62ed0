package bench

import (
	"context"
	"fmt"
	"time"
)

// Path is one way to get from an event to a result.
type Path struct {
	Name     string
	PerRound int
	// Prepare runs before the samples of a round and is not measured; nil if
	// nothing is needed.
	Prepare func(context.Context) error
	// Run makes one start-to-result. It calls answered when it has the result but
	// has not tidied up yet; else that is when it returns.
	Run func(ctx context.Context, answered func()) error
}

// Measure takes PerRound samples of every path in each round, after one
// unmeasured round of a single sample each. progress, which may be nil, is
// told the finished part.
func Measure(ctx context.Context, paths []Path, rounds int, progress func(fraction float64)) ([]Row, error) {
	samples := make([][]time.Duration, len(paths))
	for round := range rounds + 1 {
		for i, p := range paths {
			n := p.PerRound
			if round == 0 {
				n = 1
			}
			took, err := p.sample(ctx, n)
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", p.Name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], took...)
			}
			if progress != nil {
				progress((float64(round) + float64(i+1)/float64(len(paths))) / float64(rounds+1))
			}
		}
	}
	var rows []Row
	for i, p := range paths {
		rows = append(rows, NewRow(p.Name, samples[i]))
	}
	return rows, nil
}

func (p *Path) sample(ctx context.Context, n int) ([]time.Duration, error) {
	if p.Prepare != nil {
		if err := p.Prepare(ctx); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	took := make([]time.Duration, 0, n)
	for range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		one, err := p.Time(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, one)
	}
	return took, nil
}

// Time takes the time of one run.
func (p *Path) Time(ctx context.Context) (took time.Duration, err error) {
	var ended time.Time
	start := time.Now()
	if err := p.Run(ctx, func() { ended = time.Now() }); err != nil {
		return 0, err
	}
	if ended.IsZero() {
		ended = time.Now()
	}
	return ended.Sub(start), nil
}
