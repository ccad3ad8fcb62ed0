package instances

import "fmt"

// State is where an instance is in its life.
type State string

// The states.
const (
	Parked  State = "parked"  // it is asked for nothing; what it has to do by itself it does
	Running State = "running" // it does what it was asked for
	Paused  State = "paused"  // it stands still until it is asked for something, or resumed
	Failed  State = "failed"  // it is over, and can be rolled back
	Gone    State = "gone"    // it was removed, or its time has passed
)

// transitions lists, for each state, those that may follow.
var transitions = map[State][]State{
	Parked:  {Running, Paused, Failed, Gone},
	Running: {Parked, Paused, Failed, Gone},
	Paused:  {Running, Parked, Failed, Gone},
	Failed:  {Parked, Gone},
	Gone:    {},
}

// enter moves the instance to another state. mu is held.
func (i *Instance) enter(s State) {
	if i.info.State == s {
		return
	}
	for _, next := range transitions[i.info.State] {
		if next == s {
			i.info.State = s
			i.changed()
			return
		}
	}
	panic(fmt.Sprintf("an instance that is %s cannot become %s", i.info.State, s))
}
