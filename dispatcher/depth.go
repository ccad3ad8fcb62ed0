package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// maxBenchDepth bounds the chains that BenchDepth makes.
const maxBenchDepth = 200

// depthImport is imported once more at every level of a chain. The module is
// there already, so a level's delta is what the driver's own work leaves behind:
// what the function dirties is the same at every depth, and only depth differs.
const depthImport = "sys"

const depthFunction = "def handler(event, context):\n    return len(event)\n"

// BenchDepth measures how long a machine takes to be brought back to a function
// node after a run, n times for each depth, where depth is the number of nodes
// below the base. The depths take turns, so that a noisy machine disturbs all
// alike. It makes the chains that it needs and removes the functions, not the
// import nodes.
func (d *Dispatcher) BenchDepth(ctx context.Context, depths []int, n int) (map[int][]time.Duration, error) {
	var benches []*depthBench
	defer func() {
		for _, b := range benches {
			if b.loan.Instance != nil {
				b.loan.release(false, nil)
			}
		}
	}()
	for _, depth := range depths {
		if depth < 1 || depth > maxBenchDepth {
			return nil, fmt.Errorf("lineage depth %d is not in 1 to %d", depth, maxBenchDepth)
		}
		b, err := d.newDepthBench(ctx, depth)
		if err != nil {
			return nil, fmt.Errorf("lineage depth %d: %w", depth, err)
		}
		benches = append(benches, b)
	}
	const warmUp = 20
	times := map[int][]time.Duration{}
	for k := range n + warmUp {
		for _, b := range benches {
			took, err := b.reset(ctx)
			if err != nil {
				return nil, fmt.Errorf("lineage depth %d: %w", b.depth, err)
			}
			if k >= warmUp {
				times[b.depth] = append(times[b.depth], took)
			}
		}
	}
	for _, b := range benches {
		if err := d.RemoveFunction(b.f.spec.Name); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// depthBench is a function at one depth, on a machine of its own.
type depthBench struct {
	depth int
	f     *function
	loan  loan
}

func (d *Dispatcher) newDepthBench(ctx context.Context, depth int) (*depthBench, error) {
	name := fmt.Sprintf("bench-depth-%d", depth)
	// The function node itself is one level: depth 1 is a child of the base.
	spec := FunctionSpec{Name: name, Handler: "main.handler", Imports: slices.Repeat([]string{depthImport}, depth-1),
		Files: map[string][]byte{"main.py": []byte(depthFunction)}}
	if _, err := d.Deploy(ctx, spec); err != nil {
		return nil, err
	}
	deployed, err := d.Lookup(name)
	if err != nil {
		return nil, err
	}
	f, err := d.cache.get(deployed)
	if err != nil {
		return nil, err
	}
	l, err := d.pools.lend(ctx, nil, f.image, f.node, true)
	if err != nil {
		return nil, err
	}
	return &depthBench{depth, f, l}, nil
}

// reset runs the function once and times the way back to its node.
func (b *depthBench) reset(ctx context.Context) (time.Duration, error) {
	i, err := newInvocation(b.f, &Request{Event: []byte(`{"a": 1}`)}, time.Now())
	if err != nil {
		return 0, err
	}
	if _, err := b.loan.Converse(ctx, i.deadline).Call(i.how(), i.context, i.event.raw); err != nil {
		return 0, err
	}
	vm := b.loan.End()
	start := time.Now()
	_, err = vm.Restore(b.f.node)
	took := time.Since(start)
	if err == nil {
		b.loan.Instance, err = vm.Begin(b.f.node)
	}
	if err != nil {
		b.loan.discard(vm)
		b.loan.Instance = nil
		b.f.node.Release()
	}
	return took, err
}
