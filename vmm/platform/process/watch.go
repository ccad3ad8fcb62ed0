package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever waits for a stub must not blame its guest for what the host does: a host with
// too much to do runs it late, and somebody may have stopped it. So what a stub has to do
// is counted in its own processor time.

const (
	// patience is how long a kicked guest may run until it stops, and a stub until it
	// parks. Both take microseconds.
	patience = time.Second
	// setUpPatience is the same for each step of setting a stub up.
	setUpPatience = 20 * time.Second
	// commandPatience is for what a stub does itself, as mapping memory.
	commandPatience = 10 * time.Second
	// haltedAfter is how long a stub may neither run nor wait for a processor, once it runs
	// its guest. Before that it waits for locks of the host's kernel (namespaces, mounts)
	// in a row with all others that are set up: starvedAfter bounds that.
	haltedAfter = 2 * time.Second
	// starvedAfter is how long the monitor waits in any case.
	starvedAfter = time.Minute
)

// Errors of the host's, not of the guest's.
var (
	errHalted  = errors.New("the guest's process is kept from running: something has stopped it, or it waits for the host's disk or memory")
	errStarved = errors.New("the guest's process gets too little of the host's processors: run fewer guests at a time")
)

// watch is one wait for a stub.
type watch struct {
	limit time.Duration // of processor time
	halt  time.Duration // how long the stub may neither run nor wait for a processor; 0 = haltedAfter
	what  string        // the stub did not do, if it takes that

	begun, ran int64         // of the wait, and when the stub was last seen to run, as sinceStart; 0 = not yet
	used, last time.Duration // processor time that it had used then
}

// look judges what is seen of the stub: the processor time that it has used, and its
// state, as in /proc/PID/stat.
func (w *watch) look(now int64, used time.Duration, state byte) error {
	if w.begun == 0 {
		w.begun, w.used = now, used
	}
	if w.ran == 0 || used != w.last || state == 'R' {
		w.ran, w.last = now, used
	}
	halt := cmp.Or(w.halt, haltedAfter)
	switch {
	case used-w.used > w.limit:
		return fmt.Errorf("%w: %s", errBroken, w.what)
	case time.Duration(now-w.ran) > halt:
		return fmt.Errorf("%w (%s, for %v in state %c)", errHalted, w.what, halt, state)
	case time.Duration(now-w.begun) > starvedAfter:
		return fmt.Errorf("%w (%s, for %v, of which it has run %v)", errStarved, w.what, starvedAfter, used-w.used)
	}
	return nil
}

// watch looks at the stub, and ends it where the wait is over.
func (p *proc) watch(w *watch) error {
	used, state, err := p.seen()
	if err == nil {
		err = w.look(sinceStart(), used, state)
	} else if p.gone() {
		return p.death()
	}
	if err != nil {
		p.kill()
	}
	return err
}

// seen tells how much processor time the stub has used, and its state.
func (p *proc) seen() (used time.Duration, state byte, err error) {
	const clockOfProcess = 2 // CPUCLOCK_SCHED, linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|clockOfProcess), &ts); err != nil {
		return 0, 0, fmt.Errorf("read the processor time of the guest's process: %w", err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read the state of the guest's process: %w", err)
	}
	_, rest, ok := bytes.Cut(stat, []byte(") ")) // its name has none
	if !ok || len(rest) == 0 {
		return 0, 0, fmt.Errorf("read the state of the guest's process: %q", stat)
	}
	return time.Duration(ts.Nano()), rest[0], nil
}
