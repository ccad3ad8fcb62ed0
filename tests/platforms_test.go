package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process"
	"seuss/vmm/vmmtest"
)

// TestNodesMoveBetweenPlatforms: a node that was captured under KVM is deployed
// by the process platform and the other way round, at whatever privilege level
// KVM's guests run; children captured there serve here again.
func TestNodesMoveBetweenPlatforms(t *testing.T) {
	kvm := vmmtest.RequireKVM(t)
	processes, err := process.New(process.Options{})
	if errors.Is(err, platform.ErrUnavailable) {
		t.Skip("skipped where guests cannot run as processes:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { processes.Close() })
	for name, order := range map[string][2]platform.Platform{"from KVM": {kvm, processes}, "from process": {processes, kvm}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			linkTree(t, sharedState(t)+"/images", dir+"/images")
			on := func(p platform.Platform, f func(d *dispatcher.Dispatcher)) {
				t.Helper()
				d, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: p})
				if err != nil {
					t.Fatal(err)
				}
				f(d)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			run := func(d *dispatcher.Dispatcher, function, event, want string, path dispatcher.StartPath) {
				t.Helper()
				for range 3 { // a new machine, then one that was reset
					r := invoke(t, d, function, event)
					if string(r.Output) != want {
						t.Errorf("%s: %s %v, want %s", function, r.Output, r.Error, want)
					}
					if r.Path != path {
						t.Errorf("%s started from %s, want %s", function, r.Path, path)
					}
				}
			}
			const lazy = "import threading\nkept = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(2)]\n" +
				"for k in kept: k.start()\n" +
				"def handler(event, context):\n    table = sum(n * n for n in range(event['rows']))\n    return table + event['query']\n"
			far := strings.Replace(farFunction, "LOAD", "protect(here, 16, 3); fill(here, 16, 65)\ndef check(): return right(here, 16, 65)\nCHANGED = here, 16, 1", 1)
			on(order[0], func(d *dispatcher.Dispatcher) {
				deploy(t, d, "far", far, nil)
				run(d, "far", `{"how": "grow"}`, `"right"`, dispatcher.PathFunction)
				deploy(t, d, "first", lazy, func(s *dispatcher.FunctionSpec) { s.Lazy = true })
				if _, err := d.CaptureArgument(context.Background(), "first", dispatcher.Capture{Event: []byte(`{"rows": 1000}`)}); err != nil {
					t.Fatal(err)
				}
			})
			on(order[1], func(d *dispatcher.Dispatcher) {
				run(d, "far", `{"how": "write"}`, `"right"`, dispatcher.PathFunction)
				run(d, "far", `{"how": "again"}`, `"right"`, dispatcher.PathFunction)
				run(d, "first", `{"rows": 1000, "query": 5}`, "332833505", dispatcher.PathArgument)
				deploy(t, d, "second", victimFunction, nil) // below the other's base
				run(d, "second", `{"n": 14}`, `"14"`, dispatcher.PathFunction)
				if n := len(d.Store().Kind(lineage.KindBase)); n != 1 {
					t.Errorf("%d base nodes, want the other platform's alone", n)
				}
			})
			on(order[0], func(d *dispatcher.Dispatcher) {
				run(d, "second", `{"n": 15}`, `"15"`, dispatcher.PathFunction)
				run(d, "first", `{"rows": 1000, "query": 6}`, "332833506", dispatcher.PathArgument)
			})
		})
	}
}

// TestKilledProcesses: guests that are processes and die at any time are errors
// of single requests; the dispatcher goes on and nothing is left over.
func TestKilledProcesses(t *testing.T) {
	if vmmtest.Require(t).Name() != "process" {
		t.Skip("skipped: guests are no processes here")
	}
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 3 })
	deploy(t, d, "impure", impureFunction, nil)
	invoke(t, d, "impure", `{"secret": "12345"}`)
	before := footprint(t)
	r := rand.New(rand.NewPCG(3, 5))
	stop := make(chan struct{})
	var killer, clients sync.WaitGroup
	killed := 0
	var good, bad atomic.Int64
	killer.Go(func() {
		defer close(stop)
		for end := time.Now().Add(patience(2 * time.Minute)); (killed < 20 || good.Load() == 0) && time.Now().Before(end); {
			time.Sleep(time.Duration(100+r.IntN(150)) * time.Millisecond)
			if pids := children(t); len(pids) > 0 && syscall.Kill(pids[r.IntN(len(pids))], syscall.SIGKILL) == nil {
				killed++
			}
		}
	})
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				result, err := d.Invoke(context.Background(), dispatcher.Request{Function: "impure", Event: []byte(`{"secret": "12345"}`)})
				switch {
				case err != nil:
					if !strings.Contains(err.Error(), "process") {
						t.Errorf("an error that does not tell the reason: %v", err)
					}
					bad.Add(1)
				case string(result.Output) != "[1, 1, 5, 5]":
					t.Errorf("output %s %v", result.Output, result.Error)
				default:
					good.Add(1)
				}
			}
		})
	}
	killer.Wait()
	clients.Wait()
	t.Logf("%d processes killed, %d invocations right, %d with an error", killed, good.Load(), bad.Load())
	if killed < 20 || good.Load() == 0 {
		t.Error("the test showed little")
	}
	late := 0 // found dead only by the request that they were given to
	for range 20 {
		got, err := d.Invoke(context.Background(), dispatcher.Request{Function: "impure", Event: []byte(`{"secret": "54321"}`)})
		switch {
		case err != nil:
			late++
		case string(got.Output) != "[1, 1, 5, 5]":
			t.Errorf("afterwards: %s %v", got.Output, got.Error)
		}
	}
	if late > 1 { // only the last one killed may not have been reaped yet
		t.Errorf("%d machines that had died were given to requests", late)
	}
	for deadline := time.Now().Add(time.Minute); len(children(t)) > 3 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // a machine that was made in vain is still being closed
	}
	if after := footprint(t); after.children > 3 || after.fds > before.fds+2*10 {
		t.Errorf("before %+v, after %+v: something is left over", before, after)
	}
}

// TestProcessesEndWithTheMonitor: guests that are processes do not outlive a
// monitor that is killed.
func TestProcessesEndWithTheMonitor(t *testing.T) {
	c := newCLI(t)
	if c.platform != "process" {
		t.Skip("skipped: guests are no processes here")
	}
	linkTree(t, sharedState(t)+"/images", c.state+"/images")
	cmd, _, stderr := c.command("", "run", c.file("main.py", "import time\ndef handler(e, c):\n    time.sleep(60)\n"), "--event", "{}")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var guests []int
	for end := time.Now().Add(2 * time.Minute); len(guests) == 0 && time.Now().Before(end) && cmd.Process.Signal(syscall.Signal(0)) == nil; {
		guests = named(t, childrenOf(t, cmd.Process.Pid), "seuss-guest")
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _ = cmd.Wait(); len(guests) == 0 {
		t.Fatalf("no guest was started: %s", stderr)
	}
	for start := time.Now(); len(named(t, guests, "seuss-guest")) > 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("processes %v are left", named(t, guests, "seuss-guest"))
		}
	}
}

// named returns those of processes that run and have the name.
func named(t *testing.T, pids []int, name string) (running []int) {
	t.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		if _, rest, ok := strings.Cut(string(stat), "("+name+") "); ok && !strings.HasPrefix(rest, "Z") {
			running = append(running, pid)
		}
	}
	return running
}

// TestBenchMemory: the figures are of the order of a machine's private pages.
func TestBenchMemory(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	linkTree(t, sharedState(t)+"/images", c.state+"/images")
	type row struct {
		Function string
		Machines int
		Total    float64 `json:"total_bytes"`
		Tables   float64 `json:"page_tables_bytes"`
	}
	report := document[struct {
		Platform string
		Rows     []row
	}](c, "bench", "memory", "--machines", "3")
	if len(report.Rows) == 0 || !strings.HasPrefix(report.Platform, c.platform) {
		t.Fatalf("%+v", report)
	}
	if r := report.Rows[0]; r.Function != "hold" || r.Machines < 1 || r.Total < 256<<10 || r.Total > 64<<20 || r.Tables <= 0 {
		t.Errorf("%+v", r)
	}
}

// TestBenchInstances: what sleeps is answered, by a daemon with its defaults.
func TestBenchInstances(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	linkTree(t, sharedState(t)+"/images", c.state+"/images")
	type sleepers struct {
		N, Answered, Refused int
		Took                 float64 `json:"took_s"`
	}
	report := document[struct {
		Sleepers sleepers
		Children struct{ N int }
		Forks    map[string]any
	}](c, "bench", "instances", "--sleepers", "100", "--seconds", "0.5", "--children", "2", "--forks", "3", "--branches", "3")
	if s := report.Sleepers; s.N != 100 || s.Answered != 100 || s.Refused != 0 || s.Took < 0.5 || report.Children.N != 2 {
		t.Errorf("%+v", report)
	}
	for _, name := range []string{"fork_us", "fork_heap_us", "forks_us", "rollback_us", "fork_deep_us", "branch_us", "fork_branch_us"} {
		if took, _ := report.Forks[name].(float64); took <= 0 {
			t.Errorf("%s: %v", name, report.Forks[name])
		}
	}
}
