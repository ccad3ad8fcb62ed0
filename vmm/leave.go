package vmm

import "time"

// Leaver decides whether an instance that waits gives its machine up. It is not asked, and
// costs nothing, where the guest never waits for long. Its methods are called by the
// goroutine inside Run.
type Leaver interface {
	// Waits: the guest has had nothing to do for a moment, and no timer for a while. True
	// makes Run return StopIdle; else it is asked again after each Nudge.
	Waits() (leave bool)
	// Works: the guest that was said to wait goes on, or its Run ends otherwise.
	Works()
}

const (
	// nap is how long a guest has nothing to do before it is said to wait: an answer from
	// nearby comes within less, and bringing an instance back takes as long.
	nap = 500 * time.Microsecond
	// leastAway is how far a guest's next timer, or Run's deadline, has to be, in ns: ten
	// times what it takes to take an instance off a machine and bring it back.
	leastAway = int64(5 * time.Millisecond)
)

// waits is what a Leaver knows of the guest's rest.
type waits uint8

const (
	notYet waits = iota // nothing
	napped              // nothing, and the nap is over
	told                // that it waits
)

// leaves sleeps for ns at most (negative: for ever) where it is not to leave the machine.
func (m *runLoop) leaves(ns int64) bool {
	switch m.waits {
	case notYet:
		m.waits = napped
		m.sleep(int64(nap))
		return false
	case napped:
		m.waits = told
	}
	if m.options.Leave.Waits() {
		return true
	}
	m.sleep(ns)
	return false
}

// waited ends that.
func (m *runLoop) waited() {
	if m.waits == told {
		m.options.Leave.Works()
	}
	m.waits = notYet
}
