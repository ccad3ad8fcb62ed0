package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"seuss/guest"
)

// maxBenchDepth bounds the chains that BenchDepth makes.
const maxBenchDepth = 200

// depthImport is imported once more at every level of a chain. The module is
// there already, so a level's delta is what the driver's own work leaves behind:
// what the function dirties is the same at every depth, and only depth differs.
const depthImport = "sys"

const depthFunction = "def handler(event, context):\n    return len(event)\n"

// BenchDepth measures how long a shell takes to be brought back to a function
// node after a run, n times for each depth, where depth is the number of nodes
// between the base and the function. It makes the chains that it needs and
// removes the functions, not the import nodes.
func (d *Dispatcher) BenchDepth(ctx context.Context, depths []int, n int) (map[int][]time.Duration, error) {
	times := map[int][]time.Duration{}
	for _, depth := range depths {
		if depth < 1 || depth > maxBenchDepth {
			return nil, fmt.Errorf("lineage depth %d is not in 1 to %d", depth, maxBenchDepth)
		}
		name := fmt.Sprintf("bench-depth-%d", depth)
		// The function node itself is one level: depth 1 is a child of the base.
		spec := FunctionSpec{Name: name, Handler: "main.handler", Imports: slices.Repeat([]string{depthImport}, depth-1),
			Files: map[string][]byte{"main.py": []byte(depthFunction)}}
		if _, err := d.Deploy(ctx, spec); err != nil {
			return nil, err
		}
		took, err := d.benchReset(ctx, name, n)
		if err != nil {
			return nil, fmt.Errorf("depth %d: %w", depth, err)
		}
		times[depth] = took
		if err := d.RemoveFunction(name); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// benchReset runs a function n times on one machine and times the resets.
func (d *Dispatcher) benchReset(ctx context.Context, name string, n int) ([]time.Duration, error) {
	f, err := d.catalog.function(name)
	if err != nil {
		return nil, err
	}
	e, err := f.event([]byte(`{"a": 1}`))
	if err != nil {
		return nil, err
	}
	l, err := d.lend(ctx, f.image, f.node, true)
	if err != nil {
		return nil, err
	}
	defer l.release(d)
	const warmUp = 20
	took := make([]time.Duration, 0, n)
	for k := range n + warmUp {
		if err := l.becomeInstance(); err != nil {
			return nil, err
		}
		i := d.newInvocation(f, e, 0, time.Now())
		var seed [guest.SeedBytes]byte
		if _, err := l.exchange(i.deadline, guest.MsgInvoke, seed[:], i.context, e.raw); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := l.bring(f.node); err != nil {
			return nil, err
		}
		if k >= warmUp {
			took = append(took, time.Since(start))
		}
	}
	return took, nil
}
