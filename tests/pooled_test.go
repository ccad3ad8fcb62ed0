package tests

import (
	"context"
	"slices"
	"testing"
	"time"

	"seuss/dispatcher"
)

// TestPooledLatency prints how long a pooled invocation takes; it asserts
// nothing about time.
func TestPooledLatency(t *testing.T) {
	d := open(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
	deploy(t, d, "json-fn", jsonFunction, nil)
	var run, total []time.Duration
	for range 1000 {
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "json-fn", Event: []byte(`{"a": [1, 2, {"b": null}]}`)})
		if err != nil {
			t.Fatal(describe(err))
		}
		run = append(run, r.Timings.Run)
		total = append(total, r.Timings.Total)
		time.Sleep(300 * time.Microsecond)
	}
	slices.Sort(run)
	slices.Sort(total)
	t.Logf("run p50 %v p99 %v; total p50 %v p99 %v", run[500], run[990], total[500], total[990])
}
