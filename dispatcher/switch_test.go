package dispatcher

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

// openBench opens a dispatcher with one machine and small functions of these names.
func openBench(b testing.TB, names ...string) *Dispatcher {
	b.Helper()
	return openBenchAs(b, lineage.VerifyEager, names...)
}

func openBenchAs(b testing.TB, verify lineage.Verify, names ...string) *Dispatcher {
	b.Helper()
	platform := vmmtest.Require(b)
	dir, err := instancetest.MakeStateDir(context.Background())
	if dir != "" {
		b.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(Options{StateDir: dir, Platform: platform, PoolSize: 1, Verify: verify})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	for _, name := range names {
		source := fmt.Sprintf("import json\n\ndef handler(event, context):\n    return {'from': '%s', 'n': event['n'] + 1}\n", name)
		if _, err := d.Deploy(context.Background(), FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(source)}}); err != nil {
			b.Fatal(err)
		}
	}
	return d
}

// BenchmarkSwitch compares switching a machine to a function whose node is loaded
// with switching it to one that has to be read, expanded from differences and checked
// first. Times are those of finding the node and bringing the machine's memory and
// registers to it, without the run. Each is from a third function, to which the machine
// was switched after two collections: these and their traces in the caches are no part
// of either. Pages are checked on demand, as by the daemon, or each when it is loaded.
func BenchmarkSwitch(b *testing.B) {
	b.Run("demand", func(b *testing.B) { benchmarkSwitch(b, lineage.VerifyDemand) })
	b.Run("eager", func(b *testing.B) { benchmarkSwitch(b, lineage.VerifyEager) })
}

func benchmarkSwitch(b *testing.B, verify lineage.Verify) {
	names := []string{"a", "b", "from", "from2"}
	d := openBenchAs(b, verify, names...)
	invoke := func(name string) time.Duration {
		r, err := d.Invoke(context.Background(), Request{Function: name, Event: []byte(`{"n": 1}`)})
		if err != nil || r.Error != nil {
			b.Fatal(err, r)
		}
		time.Sleep(2 * time.Millisecond) // the reset that follows is not a switch's
		return r.Timings.Match + r.Timings.Deploy
	}
	switchTo := func(name string, forget bool) time.Duration {
		var gone []weak.Pointer[lineage.View]
		for _, n := range d.store.Function(name) {
			if forget {
				gone = append(gone, weak.Make(n.View()))
				d.store.Unload(n.ID)
				d.cache.unloaded(n) // as for room
			}
		}
		invoke("from")
		runtime.GC()
		runtime.GC()
		for _, view := range gone {
			if view.Value() != nil {
				b.Fatal("something still holds the node's memory")
			}
		}
		invoke("from2")
		return invoke(name)
	}
	for i := range 30 {
		invoke(names[i%len(names)])
	}
	var hot, expand []time.Duration
	for i := 0; b.Loop(); i++ {
		name := names[i%2]
		hot = append(hot, switchTo(name, false))
		expand = append(expand, switchTo(name, true))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds()) / 1000
	}
	b.ReportMetric(median(hot), "hot-µs")
	b.ReportMetric(median(expand), "expand-µs")
	b.ReportMetric(median(expand)/median(hot), "ratio")
}
