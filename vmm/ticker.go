package vmm

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tickPeriod is the time slice of a guest's threads and the granularity
	// of its timers while it computes.
	tickPeriod = 4 * time.Millisecond
	// retryPeriod follows a tick that kicked: a kick that found the guest in
	// its kernel library may have come just after the library looked.
	retryPeriod = time.Millisecond
	// restTicks is after how many ticks without any Run the ticker rests: a
	// busy host keeps it going, so that a short Run never has to wake it.
	restTicks = 50
)

// ticker kicks guests that run for long and have something waiting. There is
// one for the process, and it runs only while machines run.
type ticker struct {
	mu       sync.Mutex
	machines []*Machine
	alive    bool // the goroutine exists

	runs    atomic.Uint64 // times a machine started to run
	resting atomic.Bool
	wake    chan struct{}
}

// clockwork is the process's ticker.
var clockwork = ticker{wake: make(chan struct{}, 1)}

// add registers a machine.
func (t *ticker) add(m *Machine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.machines = append(t.machines, m)
	if !t.alive {
		t.alive = true
		go t.loop()
	}
}

// remove unregisters a machine, if it is registered. After it the ticker does
// not touch the machine any more.
func (t *ticker) remove(m *Machine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.machines, m); i >= 0 {
		t.machines = slices.Delete(t.machines, i, i+1)
	}
	if len(t.machines) == 0 {
		t.rouse() // so that the goroutine can end
	}
}

// start tells the ticker that a machine is about to run.
func (t *ticker) start() {
	t.runs.Add(1)
	if t.resting.Load() {
		t.rouse()
	}
}

func (t *ticker) rouse() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// loop runs while machines exist.
func (t *ticker) loop() {
	idle, seen := 0, uint64(0)
	period := tickPeriod
	for {
		time.Sleep(period)
		busy, kicked, alive := t.tick()
		if !alive {
			return
		}
		period = tickPeriod
		if kicked {
			period = retryPeriod
		}
		if runs := t.runs.Load(); busy || runs != seen {
			idle, seen = 0, runs
			continue
		}
		if idle++; idle < restTicks {
			continue
		}
		t.resting.Store(true)
		// A Run that began before it could see resting is in the count.
		if t.runs.Load() == seen {
			<-t.wake
		}
		t.resting.Store(false)
		idle = 0
	}
}

// tick looks at every machine. alive is false when there are none and the
// goroutine has to end.
func (t *ticker) tick() (busy, kicked, alive bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.machines) == 0 {
		t.alive = false
		return false, false, false
	}
	now := hostNow()
	for _, m := range t.machines {
		if m.running.Load() {
			busy = true
			kicked = m.tick(now) || kicked
		}
	}
	return busy, kicked, true
}
