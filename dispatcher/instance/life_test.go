package instance

import "testing"

// TestTransitions: what is in the table happens, everything else is a mistake that is
// not let pass.
func TestTransitions(t *testing.T) {
	for from := range states {
		for to := range states {
			vm := &VM{state: from}
			func() {
				defer func() {
					if refused := recover() != nil; refused == transitions[from][to] {
						t.Errorf("from %v to %v: refused %v", from, to, refused)
					}
				}()
				vm.enter(to)
			}()
			if want := map[bool]State{true: to, false: from}[transitions[from][to]]; vm.state != want {
				t.Errorf("from %v to %v: it is %v", from, to, vm.state)
			}
		}
		if !transitions[from][Dead] {
			t.Errorf("a machine that is %v cannot be closed", from)
		}
	}
	// No instance begins where another has been.
	if transitions[Ran][Running] || transitions[Running][Running] || transitions[Running][Ready] {
		t.Error("an instance can begin on what another left")
	}
}
