package dispatcher

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"seuss/vmm/vmmtest"
)

// openBench opens a dispatcher with one machine and small functions of these names.
func openBench(b testing.TB, names ...string) *Dispatcher {
	b.Helper()
	platform := vmmtest.Require(b)
	dir, err := makeLawDir(context.Background())
	if dir != "" {
		b.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(Options{StateDir: dir, Platform: platform, PoolSize: 1})
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

// BenchmarkSwitch compares switching a machine between two functions whose nodes
// are loaded with switching it to one that has to be read, expanded from
// differences and checked first. Times are those of finding the node and bringing
// the machine's memory and registers to it, without the run.
func BenchmarkSwitch(b *testing.B) {
	names := []string{"a", "b"}
	d := openBench(b, names...)
	next := 0
	invoke := func() time.Duration {
		r, err := d.Invoke(context.Background(), Request{Function: names[next%2], Event: []byte(`{"n": 1}`)})
		next++
		if err != nil || r.Error != nil {
			b.Fatal(err, r)
		}
		time.Sleep(2 * time.Millisecond) // the reset that follows is not a switch's
		return r.Timings.Match + r.Timings.Deploy
	}
	forget := func(name string) {
		for _, n := range d.store.Function(name) {
			d.store.Unload(n.ID)
			d.catalog.unloaded(n) // as for room
		}
		runtime.GC() // nothing of it is left in memory
		runtime.GC()
	}
	for range 30 {
		invoke()
	}
	var hot, expand []time.Duration
	for b.Loop() {
		hot = append(hot, invoke())
		forget(names[next%2])
		expand = append(expand, invoke())
		next++ // so that each function takes either turn
		invoke()
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Nanoseconds()) / 1000
	}
	b.ReportMetric(median(hot), "hot-µs")
	b.ReportMetric(median(expand), "expand-µs")
	b.ReportMetric(median(expand)/median(hot), "ratio")
}
