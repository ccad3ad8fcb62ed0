package tests

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/tests/attacks"
)

// TestForgedTables: a guest that makes its page tables show memory in another place has
// no effect on the next instance in its machine, of its own function or of another,
// whose program might else run on pages that it has not put where they are. (Processes have
// the monitor's mappings, whatever the tables say of places.)
func TestForgedTables(t *testing.T) {
	t.Parallel()
	for _, how := range attacks.TableForgeries {
		t.Run(how, func(t *testing.T) {
			d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 1 })
			names := []string{"forger", "neighbour"}
			for _, name := range names {
				deploy(t, d, name, attacks.ForgedTables, nil)
			}
			run := func(name, how string, i, j int) (out []int) {
				t.Helper()
				r, err := d.Invoke(t.Context(), dispatcher.Request{
					Function: name, Event: fmt.Appendf(nil, `{"how": %q, "i": %d, "j": %d}`, how, i, j), Timeout: patience(20 * time.Second)})
				if err != nil {
					t.Fatalf("%s %s: %s", name, how, describe(err))
				}
				if r.Error != nil {
					t.Fatalf("%s %s: %v", name, how, r.Error)
				}
				if json.Unmarshal(r.Output, &out) != nil {
					out = []int{output[int](t, r)}
				}
				return out
			}
			free := run("forger", "free", 0, 0)
			if len(free) < 2 {
				t.Fatalf("free stretches: %v", free)
			}
			for round := range 4 {
				run("forger", how, free[0], free[1])
				if n := run(names[round%2], "look", free[0], free[1])[0]; n != 0 {
					t.Errorf("round %d: %d pages of %s are where the instance before has put them", round, n, names[round%2])
				}
			}
		})
	}
}
