package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkPooled invokes a function on a machine that stands ready: one request
// as soon as the machine is, and with pauses in which it falls asleep. Who has the
// result delivered resets the machine himself, after that.
func BenchmarkPooled(b *testing.B) {
	d := openBench(b, "f")
	for _, pause := range []time.Duration{0, 200 * time.Microsecond, 2 * time.Millisecond} {
		for _, way := range []string{"returned", "delivered"} {
			b.Run(fmt.Sprintf("after-%v/%s", pause, way), func(b *testing.B) {
				var total, run []time.Duration
				for b.Loop() {
					began, ended := time.Now(), time.Time{}
					request := Request{Function: "f", Event: []byte(`{"n": 1}`)}
					if way == "delivered" {
						request.Deliver = func(*Result) bool { ended = time.Now(); return true }
					}
					r, err := d.Invoke(context.Background(), request)
					if err != nil || r.Error != nil {
						b.Fatal(err, r)
					}
					if ended.IsZero() {
						ended = time.Now()
					}
					total, run = append(total, ended.Sub(began)), append(run, r.Timings.Run)
					time.Sleep(pause)
				}
				slices.Sort(total)
				slices.Sort(run)
				b.ReportMetric(float64(total[len(total)/2].Nanoseconds())/1000, "p50-µs")
				b.ReportMetric(float64(run[len(run)/2].Nanoseconds())/1000, "run-p50-µs")
			})
		}
	}
}
