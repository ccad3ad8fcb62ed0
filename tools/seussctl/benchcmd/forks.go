package benchcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	"seuss/tools/seussctl/bench"
	"seuss/tools/seussctl/cmdline"
	"seuss/tools/seussctl/samples"
)

// What forks, rollbacks and checkpoints of a live interpreter take, beside a process that
// forks.

// heapMiB is what an interpreter has of its own where its copies are large.
const heapMiB = 100

// forksReport is what became of that. Times are p50s in microseconds where nothing else is said.
type forksReport struct {
	Platform   string  `json:"platform"`
	Pooled     float64 `json:"pooled_us"`
	Zygote     float64 `json:"zygote_us"`      // small heap
	ZygoteHeap float64 `json:"zygote_heap_us"` // 100 MiB
	Fork       float64 `json:"fork_us"`        // to the copy's first result
	ForkHeap   float64 `json:"fork_heap_us"`
	Forks      float64 `json:"forks_us"`        // of --forks copies to all first results
	ZygoteAll  float64 `json:"zygote_forks_us"` // of as many
	Copies     int     `json:"copies"`
	Rollback   float64 `json:"rollback_us"` // to the first result
	Shallow    float64 `json:"fork_shallow_us"`
	Deep       float64 `json:"fork_deep_us"`
	ParkCPU    float64 `json:"park_resume_cpu_us"` // with what is executed between
	PooledCPU  float64 `json:"pooled_cpu_us"`
	Branches   int     `json:"branches"`
	Branch     float64 `json:"branch_us"`       // mean, of rollback, a line, checkpoint
	BranchKept float64 `json:"branch_bytes"`    // stored of each
	Forked     int     `json:"forked"`          // branches as processes
	ForkBranch float64 `json:"fork_branch_us"`  // mean
	ForkKept   float64 `json:"fork_bytes_each"` // proportional memory of each
}

// live is an instance of the bench's.
type live struct {
	k   *instances.Keeper
	ctx context.Context
}

func (l live) create() (*instances.Instance, error) {
	info, err := l.k.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: cmdline.DefaultImage})
	if err != nil {
		return nil, err
	}
	return l.k.Get(functions.DefaultOwner, info.Name)
}

func (l live) exec(i *instances.Instance, code string) error {
	a, err := i.Do(l.ctx, &instances.Call{Code: &code})
	if err == nil && a.Error != nil {
		err = a.Error
	}
	return err
}

// fork makes n copies and has each give its first result.
func (l live) fork(i *instances.Instance, n int) (list []*instances.Instance, err error) {
	infos, err := i.Fork(l.ctx, n, nil)
	for at := 0; err == nil && at < len(infos); at++ {
		var f *instances.Instance
		if f, err = l.k.Get(functions.DefaultOwner, infos[at].Name); err == nil {
			list = append(list, f)
			err = l.exec(f, "x")
		}
	}
	return list, err
}

// p50 is that of n times f, in microseconds; after, if not nil, is not in the times.
func p50(n int, f func() error, after func()) (float64, error) {
	var took []time.Duration
	for range n {
		began := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		if after != nil {
			after()
		}
	}
	slices.Sort(took)
	return micros(took[len(took)/2]), nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cpu is the processor time of this process and those that it has waited for.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

const forkRounds = 50

func measureForks(ctx context.Context, e *cmdline.Env, copies, branches int) (*forksReport, error) {
	r := &forksReport{Copies: copies}
	err := e.WithEngine(dispatcher.Options{}, func(d cmdline.Service) error {
		has, ok := d.(interface{ Live() *instances.Keeper })
		if !ok {
			return cmdline.ErrServed
		}
		if _, err := d.Deploy(ctx, sample("greet", samples.Greet, false, nil)); err != nil {
			return err
		}
		l := live{has.Live(), ctx}
		return errors.Join(l.zygotes(e, r), l.copies(e, d, r), l.tree(e, d, r, branches))
	})
	return r, err
}

// zygotes measures processes that fork.
func (l live) zygotes(e *cmdline.Env, r *forksReport) error {
	e.Progress.Step("measuring zygotes", -1)
	for _, heap := range []bool{false, true} {
		code := samples.Greet
		if heap {
			code = append(fmt.Appendf(nil, "import os\nheap = [os.urandom(4096) for _ in range(%d)]\n", heapMiB<<8), code...)
		}
		z, err := bench.NewZygote(l.ctx, samples.Zygote, bench.Handler{Python: python, Module: "greet", Code: code, Event: []byte(benchEvent)})
		if err != nil {
			return err
		}
		run := func() error { _, err := z.Run(l.ctx); return err }
		p, err := p50(4*forkRounds, run, nil)
		if heap {
			r.ZygoteHeap = p
		} else if r.Zygote = p; err == nil {
			began := time.Now()
			for range r.Copies {
				err = errors.Join(err, run())
			}
			r.ZygoteAll = micros(time.Since(began))
		}
		if err = errors.Join(err, z.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (l live) copies(e *cmdline.Env, d cmdline.Service, r *forksReport) error {
	e.Progress.Step("measuring copies", -1)
	pooled := func() error {
		got, err := d.Invoke(l.ctx, dispatcher.Request{Function: "greet", Event: []byte(benchEvent)})
		if err == nil {
			r.Platform = got.Platform
		}
		return err
	}
	if _, err := p50(forkRounds, pooled, nil); err != nil { // so that machines are there
		return err
	}
	before := cpu()
	var err error
	if r.Pooled, err = p50(4*forkRounds, pooled, func() { time.Sleep(2 * time.Millisecond) }); err != nil {
		return err
	}
	r.PooledCPU = micros(cpu()-before) / (4 * forkRounds)
	for _, heap := range []bool{false, true} {
		i, err := l.create()
		if err != nil {
			return err
		}
		code := "x = 1"
		if heap {
			code = fmt.Sprintf("import os\nx = 1\nheap = [os.urandom(4096) for _ in range(%d)]\nNone", heapMiB<<8)
		}
		if err := l.exec(i, code); err != nil {
			return err
		}
		var made []*instances.Instance
		done := func() {
			for _, f := range made {
				f.Remove()
			}
			made = nil
		}
		one := func() (err error) {
			made, err = l.fork(i, 1)
			return err
		}
		for range 3 {
			if err := one(); err != nil {
				return err
			}
			done()
		}
		p, err := p50(forkRounds, one, done)
		if err != nil {
			return err
		}
		if heap {
			r.ForkHeap = p
			i.Remove()
			continue
		}
		r.Fork = p
		began := time.Now()
		made, err = l.fork(i, r.Copies)
		r.Forks = micros(time.Since(began))
		if err != nil {
			return err
		}
		done()
		if err := l.depths(i, r); err != nil {
			return err
		}
		node, err := i.Checkpoint(l.ctx)
		if err != nil {
			return err
		}
		if r.Rollback, err = p50(forkRounds, func() error { return errors.Join(i.Rollback(l.ctx, node), l.exec(i, "x")) }, nil); err != nil {
			return err
		}
		before := cpu()
		away := func() error { return errors.Join(l.exec(i, "x"), i.Pause(l.ctx, false)) } // or it stands where it is
		if _, err = p50(4*forkRounds, away, func() { time.Sleep(2 * time.Millisecond) }); err != nil {
			return err
		}
		r.ParkCPU = micros(cpu()-before) / (4 * forkRounds)
		i.Remove()
	}
	return nil
}

// depths forks a copy of a copy, and so on.
func (l live) depths(i *instances.Instance, r *forksReport) error {
	var took []time.Duration
	var all []*instances.Instance
	defer func() {
		for _, f := range all {
			f.Remove()
		}
	}()
	for range 200 {
		began := time.Now()
		list, err := l.fork(i, 1)
		if err != nil {
			return err
		}
		took = append(took, time.Since(began))
		i, all = list[0], append(all, list[0])
	}
	half := func(list []time.Duration) float64 {
		list = slices.Sorted(slices.Values(list))
		return micros(list[len(list)/2])
	}
	r.Shallow, r.Deep = half(took[:50]), half(took[150:])
	return nil
}

// tree is a search: each branch begins at a random earlier point, executes a line, is kept.
func (l live) tree(e *cmdline.Env, d cmdline.Service, r *forksReport, branches int) error {
	if branches == 0 {
		return nil
	}
	e.Progress.Step("searching a tree", -1)
	i, err := l.create()
	if err != nil {
		return err
	}
	defer i.Remove()
	if err := l.exec(i, "x = 0"); err != nil {
		return err
	}
	node, err := i.Checkpoint(l.ctx)
	if err != nil {
		return err
	}
	nodes := []string{node}
	began := time.Now()
	for n := range branches {
		err := i.Rollback(l.ctx, nodes[rand.IntN(len(nodes))])
		if err == nil {
			err = l.exec(i, fmt.Sprintf("x = x * 31 + %d", n))
		}
		if err == nil {
			node, err = i.Checkpoint(l.ctx)
		}
		if err != nil {
			return fmt.Errorf("branch %d: %w", n, err)
		}
		nodes = append(nodes, node)
		if n%100 == 0 {
			e.Progress.Step("searching a tree", float64(n)/float64(branches))
		}
	}
	r.Branches, r.Branch = branches, micros(time.Since(began))/float64(branches)
	for _, node := range nodes[1:] {
		s, err := d.Snapshot(l.ctx, node)
		if err != nil {
			return err
		}
		r.BranchKept += float64(s.FileBytes) / float64(branches)
	}
	return l.forked(e, r, branches)
}

// forked is tree with processes, as many as fit.
func (l live) forked(e *cmdline.Env, r *forksReport, branches int) (err error) {
	t, err := bench.NewForkTree(l.ctx, python, samples.ZygoteTree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	began := time.Now()
	for n := range branches {
		if _, err := t.Grow(l.ctx, rand.IntN(t.Len()), []string{}); errors.Is(err, bench.ErrHostFull) {
			break
		} else if err != nil {
			e.Notef("after %d processes: %v", n, err)
			break
		}
		r.Forked = n + 1
		if n%100 == 0 {
			e.Progress.Step("forking a tree of processes", float64(n)/float64(branches))
		}
	}
	r.ForkBranch = micros(time.Since(began)) / float64(max(r.Forked, 1))
	bytes, err := t.Bytes()
	r.ForkKept = float64(bytes) / float64(max(r.Forked, 1))
	return err
}

func printForks(w io.Writer, r *forksReport) error {
	t := cmdline.NewTable("WHAT ("+r.Platform+")", ">MEASURED", ">LIMIT", "MET")
	bar := func(what string, got, limit float64) {
		met := "yes"
		if got > limit {
			met = "no"
		}
		t.Row(what, FormatMicros(got), FormatMicros(limit), met)
	}
	bar(fmt.Sprintf("fork with %d MiB of heap, to its first result (the zygote's)", heapMiB), r.ForkHeap, r.ZygoteHeap)
	bar("fork with a small heap (3 x pooled)", r.Fork, 3*r.Pooled)
	bar(fmt.Sprintf("%d forks to all first results (0.3 x the zygote's)", r.Copies), r.Forks, 0.3*r.ZygoteAll)
	bar("rollback, to the first result (2 x pooled)", r.Rollback, 2*r.Pooled)
	bar("forks 150 to 200 deep (1.15 x those to 50)", r.Deep, 1.15*r.Shallow)
	bar("processor time of resume, a line, park (3 x pooled)", r.ParkCPU, 3*r.PooledCPU)
	if r.Branches > 0 {
		bar(fmt.Sprintf("%d branches, each (DeltaBox: 10.8 ms and 1.9 ms)", r.Branches), r.Branch, 12_700)
	}
	if err := t.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nPooled %s, zygote %s, with heap %s. A branch keeps %s; one of %d processes takes %s and %s of memory.\n", FormatMicros(r.Pooled), FormatMicros(r.Zygote), FormatMicros(r.ZygoteHeap),
		cmdline.FormatBytes(uint64(r.BranchKept)), r.Forked, FormatMicros(r.ForkBranch), cmdline.FormatBytes(uint64(r.ForkKept)))
	return err
}
