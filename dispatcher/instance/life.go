package instance

import "fmt"

// State is where a VM is in its life.
type State uint8

const (
	// Made: its memory shows a view, and nothing can run yet.
	Made State = iota
	// Ready: it shows a snapshot, memory, registers and devices: whoever begins there is
	// a fresh instance.
	Ready
	// Placing: an instance that was parked is brought to it.
	Placing
	// Running: an instance lives on it, whether its guest computes now or waits.
	Running
	// Ran: an instance was on it and has left it as it was, at its end or to be parked. It
	// has to be brought to a snapshot, or to a parked instance, before it is anything.
	Ran
	// Dead: closed, or a restore failed half way. It can only be closed.
	Dead
	states
)

func (s State) String() string {
	return [...]string{"made", "ready", "placing", "running", "ran", "dead"}[s]
}

// transitions lists, for each state, those that may follow.
var transitions = [states][states]bool{
	Made:    {Ready: true, Placing: true, Running: true /* a cold boot */, Dead: true},
	Ready:   {Ready: true, Placing: true, Running: true, Dead: true},
	Placing: {Running: true, Dead: true},
	Running: {Ran: true, Dead: true},
	Ran:     {Ready: true, Placing: true, Dead: true},
	Dead:    {Dead: true},
}

// enter moves the VM to another state. What the table does not list is a mistake of the
// program's, after which nothing of the machine can be trusted.
func (vm *VM) enter(s State) {
	if !transitions[vm.state][s] {
		panic(fmt.Sprintf("a machine that is %v cannot become %v", vm.state, s))
	}
	vm.state = s
	if s == Running {
		vm.plan.ran = true
	}
}
