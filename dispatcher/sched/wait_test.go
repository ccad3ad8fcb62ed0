package sched

import (
	"context"
	"math/rand"
	"slices"
	"testing"
	"time"
)

// TestWaitsUnderOverload: at twice and at five times of what the slots can do, with
// functions as differently popular as they are, all slots are used, and whoever is
// let in is served within three times the target, nearly always, and never much later.
// The clock is the test's own.
func TestWaitsUnderOverload(t *testing.T) {
	const (
		slots     = 8
		service   = 11 * time.Millisecond // on average
		functions = 100
		last      = 20 * time.Second
	)
	for _, load := range []float64{2, 5} {
		c := &clock{now: time.Unix(0, 0)}
		s := New(Options{Slots: slots, Now: c.Now})
		random := rand.New(rand.NewSource(1))
		zipf := rand.NewZipf(random, 1.1, 1, functions-1)
		var waits []time.Duration
		var waiting []*Ticket
		running := map[*Ticket]time.Time{} // when it ends
		begin := func(k *Ticket) {
			k.began = c.now
			waits = append(waits, c.now.Sub(k.since))
			running[k] = c.now.Add(time.Duration(float64(service) * (0.5 + random.Float64())))
		}
		// turns takes what the scheduler has decided of those that wait.
		turns := func() {
			waiting = slices.DeleteFunc(waiting, func(k *Ticket) bool {
				select {
				case err := <-k.turn:
					if err == nil {
						begin(k)
					} else {
						k.Release()
					}
					return true
				default:
					return false
				}
			})
		}
		arrival := c.now
		for end := c.now.Add(last); c.now.Before(end); {
			var first *Ticket
			for k, at := range running {
				if first == nil || at.Before(running[first]) {
					first = k
				}
			}
			if first != nil && running[first].Before(arrival) {
				c.now = running[first]
				delete(running, first)
				first.Release()
				turns()
				continue
			}
			c.now = arrival
			arrival = c.now.Add(time.Duration(random.ExpFloat64() * float64(service) / slots / load))
			k, err := s.Ask(string(rune('A'+zipf.Uint64())), -1)
			if err == nil {
				_, err = k.Enter(context.Background())
			}
			if err == nil && k.turn == nil {
				begin(k)
			} else if err == nil {
				waiting = append(waiting, k)
			}
			turns()
		}
		slices.Sort(waits)
		p99, most := waits[len(waits)*99/100], waits[len(waits)-1]
		t.Logf("%v times: %d served, waited %v at the median, %v at the 99th percentile, %v at most; refused %v", load, len(waits), waits[len(waits)/2], p99, most, s.refused)
		if could := int(last / service * slots); len(waits) < could*98/100 {
			t.Errorf("%v times: %d served, the slots can do %d", load, len(waits), could)
		}
		if p99 > 3*DefaultTarget || most > 4*DefaultTarget {
			t.Errorf("%v times: waited %v at the 99th percentile, %v at most", load, p99, most)
		}
	}
}
