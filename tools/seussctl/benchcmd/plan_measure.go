package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
	"seuss/lineage"
	"seuss/lineage/pages"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

// planMaking bounds the making of one tree's nodes.
const planMaking = time.Hour

// plans is one run of bench plan.
type plans struct {
	planOptions
	*planPackages
	e      *cmdline.Env
	report *bench.PlanReport
	done   float64 // of all that is to be measured
	steps  float64
}

func measurePlans(ctx context.Context, e *cmdline.Env, o planOptions) (*bench.PlanReport, error) {
	e.OwnState("bench-plan")
	modules, err := freshPlanImage(ctx, e)
	if err != nil {
		return nil, err
	}
	p := &plans{planOptions: o, e: e, report: &bench.PlanReport{Pairs: o.pairs, First: []bench.Row{}}}
	p.steps = float64(o.pairs * (2 + 2*len(o.sizes)*len(o.methods)))
	err = p.engine(func(d cmdline.Service) (err error) {
		p.planPackages, err = probePackages(ctx, e, d, modules)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.report.Packages, p.report.LeftOut = p.modules, p.leftOut
	for pair := range o.pairs {
		t, err := p.trace(o.functions, uint64(pair))
		if err != nil {
			return nil, err
		}
		if err := p.pair(ctx, t); err != nil {
			return nil, err
		}
		if pair == 0 {
			if err := p.firsts(ctx, t); err != nil {
				return nil, err
			}
		}
	}
	return p.report, nil
}

// engine opens a dispatcher that makes what is planned at once. Each tree has its own, so
// that what it takes of memory is seen.
func (p *plans) engine(f func(cmdline.Service) error) error {
	return p.e.WithEngine(dispatcher.Options{Plans: planner.Hurried, PoolSize: p.atATime}, f)
}

// pair measures all trees on one pair of traces.
func (p *plans) pair(ctx context.Context, t *planTrace) error {
	// What another pair has made would serve SOCK's policy, which starts with nothing.
	if err := p.engine(func(d cmdline.Service) error { return forget(ctx, d) }); err != nil {
		return err
	}
	rows := []bench.PlanRow{}
	add := func(rs ...bench.PlanRow) { rows = append(rows, rs...) }
	row, err := p.snapshots(ctx, t, bench.PlanRow{Way: bench.NoTree, Size: 1}, nil)
	if err != nil {
		return err
	}
	add(row)
	if row, err = p.processes(ctx, t, bench.PlanRow{Way: bench.NoTree, Size: 1}, nil); err != nil {
		return err
	}
	add(row)
	if row, err = p.dynamic(ctx, t); err != nil {
		return err
	}
	add(row)
	for _, m := range p.methods {
		for _, size := range p.sizes {
			tree, err := m.fit(ctx, t, size)
			if err != nil {
				return fmt.Errorf("fit %d nodes by the method %s: %w", size, m.name, err)
			}
			predicted, err := plan.Evaluate(tree, t.test, plan.LookupBest, t.costs)
			if err != nil {
				return err
			}
			of := bench.PlanRow{Way: m.name, Size: size, Left: predicted.RemainingMS / max(predicted.WithoutMS, 1)}
			if row, err = p.snapshots(ctx, t, of, tree); err != nil {
				return err
			}
			add(row)
			switch row, err = p.processes(ctx, t, of, tree); {
			case errors.Is(err, bench.ErrHostFull):
				p.report.LeftOut = append(p.report.LeftOut, fmt.Sprintf("processes, %s, %d nodes: %v", m.name, size, err))
			case err != nil:
				return err
			default:
				add(row)
			}
		}
	}
	p.report.Add(rows)
	return nil
}

func (p *plans) step(of bench.PlanRow, side string) {
	p.e.Progress.Step(fmt.Sprintf("%s, %d nodes, in %s", of.Way, of.Size, side), min(p.done/p.steps, 1))
	p.done++
}

// forget removes the snapshots, and the plan.
func forget(ctx context.Context, d cmdline.Service) error {
	if err := d.DropPlan(ctx, planner.Which{Image: planImage, Shared: true}); err != nil && !errors.Is(err, lineage.ErrNotFound) {
		return err
	}
	list, err := d.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Kind == lineage.KindBase {
			if err := d.RemoveSnapshot(ctx, s.ID, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshots measures a tree of import nodes; nil: none.
func (p *plans) snapshots(ctx context.Context, t *planTrace, row bench.PlanRow, tree *plan.Tree) (bench.PlanRow, error) {
	row.Side, row.Nodes = bench.InSnapshots, 1
	p.step(row, row.Side)
	err := p.engine(func(d cmdline.Service) error {
		if tree != nil {
			st, err := p.apply(ctx, d, tree)
			if err != nil {
				return err
			}
			made := map[string]bool{}
			for _, n := range st.Nodes {
				made[n.ID] = n.State == planner.Made
			}
			if err := count(ctx, d, &row, func(s *api.Snapshot) bool { return made[s.ID] }); err != nil {
				return err
			}
		}
		return p.invoke(ctx, d, t, &row, nil)
	})
	return row, err
}

// count notes the nodes of a tree and what they take.
func count(ctx context.Context, d cmdline.Service, row *bench.PlanRow, of func(*api.Snapshot) bool) error {
	list, err := d.Snapshots(ctx)
	row.Nodes = 1
	for _, s := range list {
		if of(s) {
			row.Nodes++
			row.Stored += s.FileBytes
			row.Memory += s.DeltaBytes
		}
	}
	return err
}

// apply has a plan made.
func (p *plans) apply(ctx context.Context, d cmdline.Service, tree *plan.Tree) (*planner.Status, error) {
	st, err := d.ApplyPlan(ctx, planner.Ask{Which: planner.Which{Image: planImage, Shared: true}, Tree: tree.Root, Now: true})
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(planMaking); ; {
		list, err := d.Plans(ctx)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(o *planner.Status) bool { return o.Digest == st.Digest && o.Owner == st.Owner })
		switch {
		case i < 0:
			return nil, errors.New("the plan was dropped")
		case list[i].Trouble != "":
			return nil, fmt.Errorf("the plan's nodes cannot be made: %s", list[i].Trouble)
		case list[i].Left == 0:
			return list[i], nil
		case time.Now().After(end):
			return nil, fmt.Errorf("%d of the plan's nodes are not made within %v", list[i].Left, planMaking)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// invoke measures the functions of a trace. from says which import node one starts from, where
// that is not the plan's to say.
func (p *plans) invoke(ctx context.Context, d cmdline.Service, t *planTrace, row *bench.PlanRow, from func(modules []string) []string) error {
	run := func(ctx context.Context, modules []string) error {
		spec := pairSpec("pair", modules)
		if from != nil {
			spec.Imports = from(modules)
		}
		r, err := d.RunOnce(ctx, spec, dispatcher.Request{Event: []byte("{}")})
		if err == nil && r.Error != nil {
			err = r.Error
		}
		return err
	}
	if err := p.warm(ctx, run); err != nil {
		return err
	}
	before := pages.FlatBytes()
	if err := p.take(ctx, t, row, run); err != nil {
		return err
	}
	if after := pages.FlatBytes(); row.Nodes > 1 && after > before {
		row.Memory += after - before
	}
	return nil
}

// warm has the machines, or the processes' pages, there before anything is measured.
func (p *plans) warm(ctx context.Context, run func(context.Context, []string) error) error {
	_, _, err := bench.AtATime(ctx, 2*p.atATime, p.atATime, func(ctx context.Context, _ int) error { return run(ctx, nothing) })
	return err
}

// take measures each function of a trace once.
func (p *plans) take(ctx context.Context, t *planTrace, row *bench.PlanRow, run func(context.Context, []string) error) error {
	each, together, err := bench.AtATime(ctx, len(t.functions), p.atATime, func(ctx context.Context, i int) error { return run(ctx, t.functions[i]) })
	if err == nil {
		row.Took(each, together)
	}
	return err
}

// nothing is imports of a function that is not measured: what every runtime has.
var nothing = []string{"sys"}

// dynamic measures SOCK's policy: a function for which no node has all makes one. Each module
// is a node, as function deploy --import makes them.
func (p *plans) dynamic(ctx context.Context, t *planTrace) (bench.PlanRow, error) {
	row := bench.PlanRow{Way: bench.DynamicTree, Side: bench.InSnapshots, Nodes: 2}
	p.step(row, row.Side)
	err := p.engine(func(d cmdline.Service) error {
		if err := forget(ctx, d); err != nil {
			return err
		}
		paths := dynamicPaths{made: map[string]bool{}}
		if err := p.invoke(ctx, d, t, &row, paths.of); err != nil {
			return err
		}
		return count(ctx, d, &row, func(s *api.Snapshot) bool { return s.Kind == lineage.KindImport })
	})
	return row, err
}

// dynamicPaths are the import nodes that SOCK's policy has made.
type dynamicPaths struct {
	mu   sync.Mutex
	made map[string]bool // by modules from the base to the node
}

// of returns the way to the node of a function: the one that has all, or below the greatest
// that has a part.
func (d *dynamicPaths) of(modules []string) []string {
	if &modules[0] == &nothing[0] {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	best, most := modules, 0
	for first := range modules {
		path := append([]string{modules[first]}, slices.Delete(slices.Clone(modules), first, first+1)...)
		for n := len(path); n > most; n-- {
			if d.made[strings.Join(path[:n], " ")] {
				best, most = path, n
			}
		}
	}
	for n := range best {
		d.made[strings.Join(best[:n+1], " ")] = true
	}
	return best
}

// processes measures a tree of Python processes; nil: the root alone.
func (p *plans) processes(ctx context.Context, t *planTrace, row bench.PlanRow, tree *plan.Tree) (_ bench.PlanRow, err error) {
	row.Side = bench.InProcesses
	p.step(row, row.Side)
	f, err := bench.NewForkTree(ctx, python, samples.ZygoteTree)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	nodes, err := p.grow(ctx, f, tree)
	if err != nil {
		return row, err
	}
	if row.Memory, err = f.Bytes(); err != nil {
		return row, err
	}
	row.Nodes = f.Len()
	run := func(ctx context.Context, modules []string) error {
		at := nodes.best(p.loaded([][]string{modules})[0])
		_, err := f.Run(ctx, at, pairSource(modules))
		return err
	}
	if err := p.warm(ctx, run); err != nil {
		return row, err
	}
	return row, p.take(ctx, t, &row, run)
}

// processNodes are the processes of a tree with the packages that each has.
type processNodes []map[string]bool

// grow makes the processes of a tree.
func (p *plans) grow(ctx context.Context, f *bench.ForkTree, tree *plan.Tree) (processNodes, error) {
	nodes := processNodes{{}}
	if tree == nil {
		return nodes, nil
	}
	var below func(n *plan.Node, at int) error
	below = func(n *plan.Node, at int) error {
		for _, c := range n.Children {
			var modules []string
			has := maps.Clone(nodes[at])
			for _, pin := range c.Packages {
				modules, has[pin] = append(modules, p.tops[pin]...), true
			}
			id, err := f.Grow(ctx, at, modules)
			if err != nil {
				return err
			}
			nodes = append(nodes, has)
			if err := below(c, id); err != nil {
				return err
			}
		}
		return nil
	}
	err := below(tree.Root, 0)
	return nodes, err
}

// best is the process that saves a function most of those that have nothing beyond what it
// needs, as where snapshots are started from.
func (n processNodes) best(f plan.Loaded) (at int) {
	ms := map[string]float64{}
	for _, needed := range f.Packages {
		ms[needed.Pin] = needed.Cost.MS
	}
	saves := 0.0
next:
	for i, has := range n {
		sum := 0.0
		for pin := range has {
			of, ok := ms[pin]
			if !ok {
				continue next
			}
			sum += of
		}
		if sum > saves {
			at, saves = i, sum
		}
	}
	return at
}

// firsts measures functions from the order to deploy them to their first answer, one at a
// time, without a plan and with one.
func (p *plans) firsts(ctx context.Context, t *planTrace) error {
	tree, err := planMethods[0].fit(ctx, t, p.sizes[len(p.sizes)-1])
	if err != nil {
		return err
	}
	n := min(p.first, len(t.functions))
	for _, with := range []bool{false, true} {
		row := "no plan"
		err := p.engine(func(d cmdline.Service) error {
			if err := forget(ctx, d); err != nil {
				return err
			}
			if with {
				st, err := p.apply(ctx, d, tree)
				if err != nil {
					return err
				}
				row = fmt.Sprintf("a plan of %d nodes", len(st.Nodes)+1)
			} else if _, err := d.Base(ctx, planImage); err != nil {
				return err
			}
			var took []time.Duration
			for i := range n {
				p.e.Progress.Step("first invocations, "+row, float64(i)/float64(n))
				start := time.Now()
				if err := first(ctx, d, fmt.Sprintf("first-%d", i), t.functions[i]); err != nil {
					return err
				}
				took = append(took, time.Since(start))
			}
			p.report.First = append(p.report.First, bench.NewRow(row, took))
			for i := range n {
				if err := d.RemoveFunction(ctx, fmt.Sprintf("first-%d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func first(ctx context.Context, d cmdline.Service, name string, modules []string) error {
	if _, err := d.Deploy(ctx, pairSpec(name, modules)); err != nil {
		return err
	}
	r, err := d.Invoke(ctx, dispatcher.Request{Function: name, Event: []byte("{}")})
	if err == nil && r.Error != nil {
		err = r.Error
	}
	return err
}
