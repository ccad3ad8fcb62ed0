package dispatcher

import (
	"testing"

	"seuss/dispatcher/instance/instancetest"
)

// TestPooledAllocations: what an invocation on a machine that stands ready allocates is
// counted, and does not grow. The reset is included.
func TestPooledAllocations(t *testing.T) {
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"echo": func(*instancetest.Call) (string, error) { return "1", nil }}}, Options{PoolSize: 1})
	s.deploy("echo", "echo", false)
	idle := func(p PoolStats) bool { return p.Free == p.Machines && p.Ready == p.Free }
	event := []byte(`{"n": 1}`)
	for _, c := range []struct {
		name string
		here bool
		most float64
	}{{"returned", false, 13}, {"delivered", true, 11}} {
		t.Run(c.name, func(t *testing.T) {
			run := func() {
				r, err := s.Invoke(t.Context(), Request{Function: "echo", Event: event, Deliver: func(*Result) bool { return c.here }})
				if err != nil || r.Error != nil {
					t.Fatal(r, err)
				}
			}
			for range 10 { // what is learned is learned
				run()
				s.settled(idle)
			}
			each, where := instancetest.Allocations(t, 100, run)
			t.Logf("%.1f allocations", each)
			if each > c.most {
				t.Errorf("an invocation allocates %.1f times, at most %.0f are allowed:\n%s", each, c.most, where)
			}
		})
	}
}
