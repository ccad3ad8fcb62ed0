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
	// lookStep is what the time since the last look counts for at most: a monitor that
	// looks later was kept from running itself, and so may be what the stub waits for, be
	// it the kernel's or another process that has a lock.
	lookStep = 2 * pollPeriodMS * time.Millisecond
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

	begun, looked int64         // as sinceStart: first and last; 0 = not yet
	used          time.Duration // processor time that it had used first
	last          turns         // that it had had last
	still         time.Duration // since when it has had none, as far as looks tell
}

// turns is what a stub has had of the host's processors.
type turns struct {
	used, waited time.Duration // for a processor, until the last time that it had one
	count        uint64
}

// look judges what is seen of the stub: what it has had of the host's processors, and its
// state, as in /proc/PID/stat.
func (w *watch) look(now int64, t turns, state byte) error {
	if w.begun == 0 {
		w.begun, w.looked, w.used, w.last = now, now, t.used, t
	}
	if w.still += min(time.Duration(now-w.looked), lookStep); t != w.last || state == 'R' {
		w.still = 0
	}
	w.looked, w.last = now, t
	halt, ran := cmp.Or(w.halt, haltedAfter), t.used-w.used
	switch {
	case ran > w.limit:
		return fmt.Errorf("%w: %s", errBroken, w.what)
	case w.still > halt:
		return fmt.Errorf("%w (%s, for %v in state %c)", errHalted, w.what, halt, state)
	case time.Duration(now-w.begun) > starvedAfter:
		return fmt.Errorf("%w (%s, for %v, of which it has run %v)", errStarved, w.what, starvedAfter, ran)
	}
	return nil
}

// watch looks at the stub, and ends it where the wait is over.
func (p *proc) watch(w *watch) error {
	t, state, err := p.seen()
	if err == nil {
		err = w.look(sinceStart(), t, state)
	} else if p.gone() {
		return p.death()
	}
	if err != nil {
		p.kill()
	}
	return err
}

// seen tells what the stub has had of the host's processors, and its state.
func (p *proc) seen() (t turns, state byte, err error) {
	const clockOfProcess = 2 // CPUCLOCK_SCHED, linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|clockOfProcess), &ts); err != nil {
		return t, 0, fmt.Errorf("read the processor time of the guest's process: %w", err)
	}
	t.used = time.Duration(ts.Nano())
	// Kernels without CONFIG_SCHED_INFO do not say how long it has waited.
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.pid)); err == nil {
		var used int64
		_, _ = fmt.Sscan(string(stat), &used, &t.waited, &t.count)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return t, 0, fmt.Errorf("read the state of the guest's process: %w", err)
	}
	_, rest, ok := bytes.Cut(stat, []byte(") ")) // its name has none
	if !ok || len(rest) == 0 {
		return t, 0, fmt.Errorf("read the state of the guest's process: %q", stat)
	}
	return t, rest[0], nil
}
