package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"seuss/dispatcher"
	"seuss/images/runtimes"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

// Names of what the benchmark deploys.
const (
	BenchEager = "greet"
	BenchLazy  = "greet-lazy"
	BenchOther = "sort"
	python     = "/usr/bin/python3"
)

// benchEvent is small on purpose: what is measured is the start.
const benchEvent = `{"name": "Ada", "items": [3, 1, {"x": [1.5, true, null]}, "four"]}`

// otherEvent is for the function that a shell switches to.
const otherEvent = `{"name": "Ada", "items": [3, 1, 2]}`

// BenchWork is what one measurement works on.
type BenchWork struct {
	Answer        json.RawMessage // of the event, from the first start
	platform      string          // that ran it
	functionBytes uint64
	turn          int                 // counts switches
	others        []*runtimes.Runtime // besides the default, whose functions are deployed too
}

// deployBench deploys the functions, takes the argument snapshot, and learns
// the right answer.
func deployBench(ctx context.Context, e *cmdline.Env, d cmdline.Service) (*BenchWork, error) {
	w := &BenchWork{}
	for _, f := range []struct {
		name string
		code []byte
		lazy bool
	}{{BenchEager, samples.Greet, false}, {BenchLazy, samples.Greet, true}, {BenchOther, samples.Sort, false}} {
		e.Progress.Step("deploying "+f.name, -1)
		n, err := d.Deploy(ctx, sample(f.name, f.code, f.lazy, nil))
		if err != nil {
			return nil, err
		}
		if f.name == BenchEager {
			w.functionBytes = n.DeltaBytes
		}
	}
	if _, err := d.CaptureArgument(ctx, BenchLazy, dispatcher.Capture{Event: []byte(benchEvent), StopAt: "items"}); err != nil {
		return nil, err
	}
	w.others = e.BuiltRuntimes()
	for _, r := range w.others {
		eager, lazy := otherGreet(r)
		for _, name := range []string{eager, lazy} {
			e.Progress.Step("deploying "+name, -1)
			if _, err := d.Deploy(ctx, SampleOf(r, name, r.Sample("greet").Code, name == lazy, nil)); err != nil {
				return nil, err
			}
		}
		// Node.js states are never pure (docs/decisions/drivers.md).
		if _, err := d.CaptureArgument(ctx, lazy, dispatcher.Capture{Event: []byte(benchEvent), StopAt: "items", AllowImpure: true}); err != nil {
			return nil, err
		}
	}
	r, err := d.Invoke(ctx, dispatcher.Request{Function: BenchEager, Event: []byte(benchEvent)})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	if err != nil {
		return nil, fmt.Errorf("invoke %s: %w", BenchEager, err)
	}
	w.Answer, w.platform = r.Output, r.Platform
	return w, nil
}

// otherGreet returns the names of what is deployed for a runtime beside the default.
func otherGreet(r *runtimes.Runtime) (eager, lazy string) {
	return r.Name + "-" + BenchEager, r.Name + "-" + BenchLazy
}

// sample is the deployment of an embedded function of the default runtime.
func sample(name string, code []byte, lazy bool, imports []string) dispatcher.FunctionSpec {
	return SampleOf(runtimes.Default(), name, code, lazy, imports)
}

func SampleOf(r *runtimes.Runtime, name string, code []byte, lazy bool, imports []string) dispatcher.FunctionSpec {
	return dispatcher.FunctionSpec{
		Name: name, Handler: "main." + r.Handler, Files: map[string][]byte{r.Module("main"): code},
		Image: r.Name, Imports: imports, Lazy: lazy,
	}
}

// Paths are the start paths. PerRound is chosen so that each takes a similar
// part of the time, but enough samples of the fast ones for a p99.
func (w *BenchWork) Paths(d, switcher cmdline.Service) []bench.Path {
	invoke := func(e cmdline.Service, want dispatcher.StartPath, check bool, r dispatcher.Request) func(context.Context, func()) error {
		return func(ctx context.Context, answered func()) error {
			r := r
			r.Deliver = func(*dispatcher.Result) bool { answered(); return true }
			return w.invoke(ctx, e, r, want, check)
		}
	}
	event, other := []byte(benchEvent), []byte(otherEvent)
	pooled := invoke(d, dispatcher.PathFunction, true, dispatcher.Request{Function: BenchEager, Event: event})
	a := invoke(switcher, dispatcher.PathFunction, true, dispatcher.Request{Function: BenchEager, Event: event})
	b := invoke(switcher, dispatcher.PathFunction, false, dispatcher.Request{Function: BenchOther, Event: other})
	fresh := func(name string, perRound int, path dispatcher.StartPath, function string) bench.Path {
		return bench.Path{Name: name, PerRound: perRound, Run: invoke(d, path, true, dispatcher.Request{
			Function: function, Event: event, MaxPath: path, Fresh: true,
		})}
	}
	paths := []bench.Path{
		fresh("cold", 1, dispatcher.PathCold, BenchEager),
		fresh("base", 5, dispatcher.PathBase, BenchEager),
		fresh("function", 10, dispatcher.PathFunction, BenchEager),
		fresh("argument", 10, dispatcher.PathArgument, BenchLazy),
		{Name: "pooled", PerRound: 200, Prepare: once(pooled), Run: pooled},
		{Name: "switch", PerRound: 50, Prepare: once(b), Run: func(ctx context.Context, answered func()) error {
			if w.turn++; w.turn%2 == 1 {
				return a(ctx, answered)
			}
			return b(ctx, answered)
		}},
	}
	for _, r := range w.others {
		eager, lazy := otherGreet(r)
		pooled := invoke(d, dispatcher.PathFunction, true, dispatcher.Request{Function: eager, Event: event})
		paths = append(paths,
			fresh(r.Name+"-cold", 1, dispatcher.PathCold, eager),
			fresh(r.Name+"-base", 3, dispatcher.PathBase, eager),
			fresh(r.Name+"-function", 5, dispatcher.PathFunction, eager),
			fresh(r.Name+"-argument", 5, dispatcher.PathArgument, lazy),
			bench.Path{Name: r.Name + "-pooled", PerRound: 100, Prepare: once(pooled), Run: pooled})
	}
	return paths
}

// once is a run that nobody measures.
func once(run func(context.Context, func()) error) func(context.Context) error {
	return func(ctx context.Context) error { return run(ctx, func() {}) }
}

// invoke runs one invocation and checks that it started where it should and,
// where asked, that it answers the same.
func (w *BenchWork) invoke(ctx context.Context, d cmdline.Service, r dispatcher.Request, want dispatcher.StartPath, check bool) error {
	got, err := d.Invoke(ctx, r)
	switch {
	case err != nil:
		return err
	case got.Error != nil:
		return got.Error
	case got.Path != want:
		return fmt.Errorf("invocation of %s started from %s, want %s", r.Function, got.Path, want)
	case check && string(got.Output) != string(w.Answer): // Node.js writes JSON in another way
		return checkAnswer(string(want), got.Output, w.Answer)
	}
	return nil
}

// startBaselines starts what the paths are measured against. A missing
// compiler costs a row, nothing else.
func startBaselines(ctx context.Context, e *cmdline.Env, w *BenchWork) (list []bench.Baseline, err error) {
	defer func() {
		if err != nil {
			for _, b := range list {
				err = errors.Join(err, b.Close())
			}
		}
	}()
	h := bench.Handler{Python: python, Module: "greet", Code: samples.Greet, Event: []byte(benchEvent)}
	starts := []func() (bench.Baseline, error){
		func() (bench.Baseline, error) { return bench.NewPythonCold(h) },
		func() (bench.Baseline, error) { return bench.NewZygote(ctx, samples.Zygote, h) },
	}
	for _, r := range w.others {
		if r.Name != "node" {
			continue // nothing is measured natively
		}
		node, err := r.Find()
		if err != nil {
			return nil, err
		}
		starts = append(starts, func() (bench.Baseline, error) {
			return bench.NewNodeStart(node, r.Sample("greet").Code, []byte(benchEvent))
		})
	}
	for _, start := range starts {
		b, err := start()
		if err != nil {
			return list, err
		}
		list = append(list, b)
		answer, err := b.Run(ctx)
		if err != nil {
			return list, err
		}
		if err := checkAnswer(b.Name(), answer, w.Answer); err != nil {
			return list, err
		}
	}
	b, err := bench.NewForkExec(ctx, samples.ForkExec)
	if errors.Is(err, bench.ErrNoCompiler) {
		e.Notef("fork-exec-c is left out: %v", err)
		return list, nil
	} else if err != nil {
		return list, err
	}
	return append(list, b), nil
}

func baselinePath(b bench.Baseline) bench.Path {
	perRound := map[string]int{"python-cold": 3, "node-start": 2, "zygote": 50, "fork-exec-c": 20}[b.Name()]
	return bench.Path{Name: b.Name(), PerRound: perRound, Run: func(ctx context.Context, _ func()) error {
		_, err := b.Run(ctx)
		return err
	}}
}
