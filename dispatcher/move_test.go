package dispatcher

import (
	"fmt"
	"testing"

	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/platform/fake"
)

// TestMoveOfUntouched: a machine that has stood ready since its reset is brought to
// another snapshot by what differs, however much of its memory is its own: nothing is
// looked at, and what is right already is not copied. What it shows then is fresh.
func TestMoveOfUntouched(t *testing.T) {
	const scratch = 200 // pages that each invocation writes
	scribble := func(c *instancetest.Call) (string, error) {
		for n := range scratch {
			at := fake.FreeGPA + 0x100000 + vmm.GPA(n*lineage.PageSize)
			if c.CPU.Read(at, 1)[0] != 0 {
				return "", fmt.Errorf("page %d holds what another instance wrote", n)
			}
			c.CPU.Write(at, []byte{byte(n) | 1})
		}
		return fmt.Sprintf("[%s,%d]", c.Event, c.Before), nil
	}
	s := newFakeService(t, &instancetest.Runtime{Handlers: map[string]instancetest.Handler{"scribble": scribble}}, Options{PoolSize: 1})
	s.deploy("a", "scribble", false)
	s.deploy("b", "scribble", false)
	idle := func(p PoolStats) bool { return p.Free == 1 && p.Ready == 1 }
	for n := range 12 { // through all that a reset learns
		s.settled(idle)
		before := s.Stats()
		name := string("ab"[n%2])
		r := s.want(ask(name, fmt.Sprint(n)), fmt.Sprintf("[%d,0]", n))
		if n < 2 {
			continue // its pages become its own
		}
		private := s.settled(idle).Bytes / lineage.PageSize
		if r.Pooled || r.PagesCopied == 0 || r.PagesCopied >= scratch/2 || private < scratch {
			t.Errorf("%s: %d pages copied of about %d", name, r.PagesCopied, private)
		}
		if after := s.Stats(); after.PagesCompared-before.PagesCompared < scratch {
			t.Errorf("%s: %d pages compared by the reset", name, after.PagesCompared-before.PagesCompared)
		}
	}
}
