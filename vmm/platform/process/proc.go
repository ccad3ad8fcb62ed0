package process

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"seuss/vmm/internal/x86"
	"seuss/vmm/platform/process/stub"
)

// errBroken means that a stub does not follow the protocol: its guest has
// meddled with it. The machine is of no more use.
var errBroken = errors.New("the guest's process does not follow the monitor's protocol")

const (
	// pollPeriodMS is how often a waiting monitor looks whether the stub lives.
	pollPeriodMS = 50
	// signalAgain is how long the signal of a kick may be under way before it is
	// sent once more.
	signalAgain = 50 * time.Millisecond
)

// proc is a stub process and the monitor's side of the hand-over.
//
// The turn goes back and forth in the area's word turn. Whoever waits spins a
// little first and then sleeps: the monitor in poll, the stub in a system call
// that the filter reports (it parks). Both are the same descriptor, notify, so
// that a stub which parks wakes the monitor.
type proc struct {
	pid     int
	process *os.Process
	ended   chan struct{} // closed when the process is gone
	left    func()        // called then by close; may be nil
	state   *os.ProcessState

	area   *stub.Area
	mem    []byte // the area as bytes
	socket int
	notify int
	spin   uint64 // TSC ticks that the monitor spins
	parked uint64 // id of the notification of a parked stub, 0 = not received
	parkIP uint64
	// settled: the stub is known to be within its own code until the next run.
	settled     bool
	canWakeHere bool         // the kernel can wake a parked stub, and the monitor, on the waker's CPU
	wakesHere   bool         // and does so
	wokenHere   bool         // the stub was, since await was last called
	rested      uint64       // time-stamp counter when it last gave the turn back
	signalledAt atomic.Int64 // time of the last signal of a kick, as sinceStart
	kickedAt    atomic.Int64 // time of a kick that nothing came of, as sinceStart; 0 = none
}

// make has the stub make the first n calls of the area.
func (p *proc) make(n int) error {
	p.area.CallCount = uint32(n)
	return p.command(stub.CommandCalls)
}

// command has the stub do something that involves no guest.
func (p *proc) command(c uint32) error {
	if err := p.hand(c); err != nil {
		return err
	}
	if err := p.await(commandPatience); err != nil {
		return err
	}
	if p.area.Reason != stub.ReasonDone {
		return fmt.Errorf("%w: command %d ended with reason %d", errBroken, c, p.area.Reason)
	}
	return nil
}

// call has the stub make one system call.
func (p *proc) call(number uint64, args ...uint64) error {
	c := stub.Call{Number: number}
	copy(c.Args[:], args)
	p.area.Calls[0] = c
	if err := p.make(1); err != nil {
		return err
	}
	if r := p.area.Calls[0].Result; r < 0 && r > -4096 {
		return unix.Errno(-r)
	}
	return nil
}

// hand gives the stub the turn.
func (p *proc) hand(command uint32) error {
	p.area.Command = command
	if command == stub.CommandRun {
		p.settled = false
	}
	if atomic.SwapUint32(&p.area.Turn, stub.TurnStub) == stub.TurnParked {
		return p.unpark()
	}
	return nil
}

// unpark answers the notification of a parked stub.
//
// A stub that has rested for longer than anybody spins is woken on this CPU, and
// the monitor sleeps until it is woken here in turn: no other CPU has to be
// interrupted. One that is used again at once will stop again soon: it is woken
// wherever there is a CPU, and both sides spin.
func (p *proc) unpark() error {
	if here := p.canWakeHere && x86.TSC()-p.rested > p.spin; here != p.wakesHere {
		if err := p.setWake(here); err != nil {
			return err
		}
	}
	p.wokenHere = p.wakesHere
	for {
		if err := p.receiveParked(); err != nil {
			return err
		}
		r := response{id: p.parked}
		p.parked = 0
		err := ioctl(p.notify, notifSend, &r)
		if err == nil {
			return nil
		}
		if err != unix.ENOENT { // else a signal ended that call, and another one follows
			return fmt.Errorf("wake the guest's process: %w", err)
		}
	}
}

// receiveParked waits for the notification of a stub that is about to park.
func (p *proc) receiveParked() error {
	w := watch{limit: patience, what: "it does not park"}
	for p.parked == 0 {
		ready, hangup, err := pollIn(p.notify, pollPeriodMS)
		switch {
		case err != nil:
			return fmt.Errorf("wait for the guest's process: %w", err)
		case ready:
			if err := p.receive(); err != nil {
				return err
			}
			continue
		case hangup || p.gone():
			return p.death()
		}
		if err := p.watch(&w); err != nil {
			return err
		}
	}
	return nil
}

// receive takes one notification: the stub has parked. There is no other.
func (p *proc) receive() error {
	var n notification
	if err := ioctl(p.notify, notifReceive, &n); err != nil {
		if err == unix.ENOENT {
			return nil // a signal ended that call
		}
		return fmt.Errorf("receive from the guest's process: %w", err)
	}
	if n.data.number != unix.SYS_PAUSE || n.data.instruction != p.parkIP {
		p.kill()
		return fmt.Errorf("%w: system call %d at %#x", errBroken, n.data.number, n.data.instruction)
	}
	p.parked = n.id
	return nil
}

// setWake chooses where a notification wakes the other side: on this CPU, or
// anywhere.
func (p *proc) setWake(here bool) error {
	flags := uintptr(0)
	if here {
		flags = wakeHere
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.notify), notifFlags, flags); errno != 0 {
		return fmt.Errorf("choose where the guest's process is woken: %w", errno)
	}
	p.wakesHere = here
	return nil
}

// await waits until it is the monitor's turn, spinning first, unless the stub was
// woken on this CPU and needs it. limit, of the stub's own processor time, bounds the
// wait for what the stub does itself; that for a guest, 0, ends with a kick.
func (p *proc) await(limit time.Duration) error {
	defer func() { p.rested = x86.TSC() }()
	a := p.area
	start := x86.TSC()
	here := p.wokenHere
	for p.wokenHere = false; !here; {
		if atomic.LoadUint32(&a.Turn) != stub.TurnStub {
			return nil
		}
		if x86.TSC()-start > p.spin {
			break
		}
	}
	if a.Sealed == 0 {
		return p.awaitUnsealed()
	}
	w := watch{limit: limit, what: "it does not do what it is told"}
	if limit == 0 {
		w = watch{limit: patience, what: "it does not stop"}
	}
	for {
		atomic.StoreUint32(&a.Asleep, 1)
		if atomic.LoadUint32(&a.Turn) != stub.TurnStub {
			atomic.StoreUint32(&a.Asleep, 0)
			return nil
		}
		ready, hangup, err := pollIn(p.notify, pollPeriodMS)
		atomic.StoreUint32(&a.Asleep, 0)
		switch {
		case err != nil:
			return fmt.Errorf("wait for the guest's process: %w", err)
		case atomic.LoadUint32(&a.Turn) != stub.TurnStub:
			return nil
		case ready:
			if err := p.receive(); err != nil {
				return err
			}
			if p.parked != 0 {
				// It rests where a stub parks, so it is the monitor's turn,
				// whatever the word in the area says.
				atomic.StoreUint32(&a.Turn, stub.TurnParked)
				return nil
			}
		case hangup || p.gone():
			return p.death()
		}
		// A kick is none of a stub's that runs no guest.
		if limit > 0 || p.kicked() {
			if err := p.watch(&w); err != nil {
				return err
			}
		}
	}
}

// awaitUnsealed waits for a stub that cannot park yet. Most of what it is told then takes
// microseconds; it is asked ever more seldom.
func (p *proc) awaitUnsealed() error {
	w := watch{limit: setUpPatience, halt: starvedAfter, what: "it does not set itself up"}
	const first, last = 20 * time.Microsecond, pollPeriodMS * time.Millisecond / 10
	pause, slept := first, time.Duration(0)
	for atomic.LoadUint32(&p.area.Turn) == stub.TurnStub {
		if p.gone() {
			return p.death()
		}
		if slept >= pollPeriodMS*time.Millisecond {
			if err := p.watch(&w); err != nil {
				return err
			}
			slept = 0
		}
		time.Sleep(pause)
		slept += pause
		pause = min(pause+pause/4, last)
	}
	return nil
}

// settle parks the stub and has the kernel say so.
func (p *proc) settle() error {
	if p.settled && p.parked != 0 {
		return nil
	}
	p.area.Command = stub.CommandPark
	atomic.SwapUint32(&p.area.Turn, stub.TurnStub) // a stub that parks by itself does not look any more
	if err := p.receiveParked(); err != nil {
		return err
	}
	atomic.StoreUint32(&p.area.Turn, stub.TurnParked)
	p.settled = true
	return nil
}

var started = time.Now()

// sinceStart is a time in ns, more than 0, on the monotonic clock: when the
// machine's wall clock is set no guest may seem to have been kicked long ago.
func sinceStart() int64 { return int64(time.Since(started)) + 1 }

// kick stops a running guest.
func (p *proc) kick() {
	p.kickedAt.CompareAndSwap(0, sinceStart())
	atomic.StoreUint32(&p.area.Kick, 1)
	if atomic.LoadUint32(&p.area.Turn) != stub.TurnStub {
		return
	}
	// One signal at a time: a stub that does not get a processor would pile up
	// their frames, none of which it has begun to handle, until its stack is full.
	// The guest may forge the word, but gains little time by that.
	now := sinceStart()
	if atomic.SwapUint32(&p.area.Signalled, 1) != 0 && time.Duration(now-p.signalledAt.Load()) < signalAgain {
		return
	}
	p.signalledAt.Store(now)
	_ = unix.Tgkill(p.pid, p.pid, kickSignal) // a process that is gone needs no kick
}

// kicked reports whether there was a kick that nothing came of. The guest, which can
// write to the area, has no say in it.
func (p *proc) kicked() bool { return p.kickedAt.Load() != 0 }

func (p *proc) clearKick() {
	p.kickedAt.Store(0)
	atomic.StoreUint32(&p.area.Kick, 0)
}

func (p *proc) kill() { _ = p.process.Kill() }

func (p *proc) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// deathError tells how a stub's process ended.
type deathError struct{ state *os.ProcessState }

func (e *deathError) Error() string { return "the guest's process died: " + e.state.String() }

// signal is what killed it, 0 if it ended by itself.
func (e *deathError) signal() syscall.Signal {
	if e.state == nil {
		return 0
	}
	if status, ok := e.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

func (p *proc) death() error {
	<-p.ended
	return &deathError{p.state}
}
