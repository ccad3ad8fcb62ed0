package dispatcher

import (
	"context"
	"slices"
	"testing"
	"time"
)

// BenchmarkPooled invokes a function on a machine that stands ready: one request
// as soon as the machine is, and with pauses in which it falls asleep.
func BenchmarkPooled(b *testing.B) {
	d := openBench(b, "f")
	for _, pause := range []time.Duration{200 * time.Microsecond, 2 * time.Millisecond} {
		b.Run("after-"+pause.String(), func(b *testing.B) {
			var total, run []time.Duration
			for b.Loop() {
				r, err := d.Invoke(context.Background(), Request{Function: "f", Event: []byte(`{"n": 1}`)})
				if err != nil || r.Error != nil {
					b.Fatal(err, r)
				}
				total, run = append(total, r.Timings.Total), append(run, r.Timings.Run)
				time.Sleep(pause)
			}
			slices.Sort(total)
			slices.Sort(run)
			b.ReportMetric(float64(total[len(total)/2].Nanoseconds())/1000, "p50-µs")
			b.ReportMetric(float64(run[len(run)/2].Nanoseconds())/1000, "run-p50-µs")
		})
	}
}
