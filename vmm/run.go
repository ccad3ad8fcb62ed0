package vmm

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
	"seuss/vmm/vsock"
)

// Wait says what Run does when the guest has nothing to do.
type Wait uint8

const (
	// WaitNone returns StopIdle at once.
	WaitNone Wait = iota
	// WaitTimers sleeps while the guest has a timer set, and returns StopIdle
	// when it has none.
	WaitTimers
	// WaitEvents sleeps until a timer or a message for the guest, and returns
	// only for another reason than idleness.
	WaitEvents
)

// RunOptions adjust one Run.
type RunOptions struct {
	// Deadline is when Run gives up with StopTimeout; zero is never. A guest
	// that computes is stopped within 20 ms after it.
	Deadline time.Time
	// Wait says what to do when the guest is idle.
	Wait Wait
	// Done, if not nil, is asked whenever the guest is idle or was interrupted,
	// after its messages were taken, and when it has printed as much as is taken at
	// once; true makes Run return StopDone. It is called by the goroutine inside Run.
	Done func() bool
	// Leave, if not nil, is told when the guest waits, with WaitEvents: see Leaver.
	Leave Leaver
}

// StopKind says why Run returned.
type StopKind uint8

// The stops.
const (
	// StopIdle: the guest rests at its idle doorbell, and Run was not to wait, or
	// somebody else wants the machine. GuestDeadlineNS is its earliest timer.
	StopIdle StopKind = iota + 1
	// StopDone: RunOptions.Done said so. The machine is quiescent only if the
	// guest was idle: a thread may compute on after the answer was sent.
	StopDone
	// StopTimeout: the deadline passed.
	StopTimeout
	// StopInterrupted: Interrupt was called.
	StopInterrupted
	// StopExit: the program ended. Code is its exit status.
	StopExit
	// StopFault: the program was killed by a signal, which Code holds.
	StopFault
	// StopPanic: the kernel library gave up.
	StopPanic
	// StopCrash: the vCPU cannot go on. Exit says how.
	StopCrash
	// StopDeviceError: the guest broke the protocol of a device. Err says how.
	StopDeviceError
	// StopDirtyFull: the platform's dirty tracking must be collected before
	// the guest can go on.
	StopDirtyFull
)

var stopNames = [...]string{"none", "idle", "done", "timeout", "interrupted", "exit", "fault", "panic", "crash", "device error", "dirty tracking full"}

func (k StopKind) String() string {
	if int(k) < len(stopNames) {
		return stopNames[k]
	}
	return "invalid"
}

// Stop tells why Run returned. After StopIdle the machine is quiescent, after
// StopDone Quiescent tells. After StopTimeout, StopInterrupted and StopDirtyFull it can be
// run on. After the others it must be restored or closed; CrashReport tells
// more.
type Stop struct {
	Kind            StopKind
	Code            uint32
	GuestDeadlineNS uint64 // guest's monotonic ns, 0 = no timer
	Exit            platform.Exit
	Err             error
}

// processStart is the origin of host deadlines as plain numbers.
var processStart = time.Now()

// hostNow returns ns since processStart.
func hostNow() int64 { return int64(time.Since(processStart)) }

// maxDeadlineNS bounds what a guest's timer may ask for: hostile values must
// not overflow. A year is for ever.
const maxDeadlineNS = uint64(365 * 24 * time.Hour)

// Run lets the guest run until it is idle, finished, broken or out of time. It
// allocates nothing. Only a failure of the host is an error.
func (m *Machine) Run(o RunOptions) (Stop, error) {
	if m.closed {
		return Stop{}, fmt.Errorf("run: %w", ErrClosed)
	}
	if !m.running.CompareAndSwap(false, true) {
		return Stop{}, fmt.Errorf("run: %w", ErrBusy)
	}
	deadline := int64(0)
	if !o.Deadline.IsZero() {
		deadline = max(int64(o.Deadline.Sub(processStart)), 1)
	}
	m.deadline.Store(deadline)
	m.vcpu.ClearKick() // of an earlier Run; what caused it is looked at anew
	clockwork.start()
	loop := runLoop{Machine: m, options: o, until: deadline}
	stop, err := loop.run()
	m.quiescent = err == nil && m.atIdle && (stop.Kind == StopIdle || stop.Kind == StopDone)
	m.running.Store(false)
	m.ticking.Lock()
	//lint:ignore SA2001 the ticker, which looks at the machine under it, has to be done
	m.ticking.Unlock()
	if err != nil {
		return stop, fmt.Errorf("run: %w", err)
	}
	return stop, nil
}

// runLoop is one Run of a machine.
type runLoop struct {
	*Machine
	options RunOptions
	until   int64 // deadline in ns since processStart, 0 for none
	waits   waits
}

func (m *runLoop) run() (Stop, error) {
	if why := m.missing.Load(); why != nil {
		return Stop{}, *why
	}
	if m.stopAsked.Swap(false) {
		return Stop{Kind: StopInterrupted}, nil
	}
	if stop, err := m.service(m.until); stop.Kind != 0 || err != nil {
		return stop, err
	}
	if m.atIdle {
		m.vsock.TakeInterrupt() // the guest looks at its queues when it is entered
	}
	for {
		if stop, err := m.goOn(); stop.Kind != 0 || err != nil {
			return stop, err
		}
		exit, err := m.enter()
		if err != nil {
			return Stop{}, err
		}
		var stop Stop
		switch exit.Kind {
		case platform.ExitDoorbell:
			m.stats.Doorbells++
			stop, err = m.doorbell(exit)
		case platform.ExitMMIORead, platform.ExitMMIOWrite:
			m.stats.MMIO++
			if stop, err = m.mmio(exit); err != nil {
				return stop, err
			}
			if stop.Kind == 0 && exit.Kind == platform.ExitMMIOWrite && m.options.Done != nil && m.options.Done() {
				stop.Kind = StopDone // the guest announced what it sent and goes on computing
			}
		case platform.ExitInterrupted:
			m.stats.Kicks++
			stop, err = m.interrupted()
		case platform.ExitDirtyFull:
			stop.Kind = StopDirtyFull
		default:
			stop = Stop{Kind: StopCrash, Exit: exit}
		}
		if stop.Kind == 0 && err == nil {
			stop = m.due(m.until)
		}
		if stop.Kind != 0 || err != nil {
			return stop, err
		}
	}
}

// due reports whether Run has to stop, whatever the guest does. It is asked after
// every exit and between the slices of longer work, so that nothing a guest rings
// keeps a deadline or an interruption waiting for longer than that.
func (m *runLoop) due(until int64) Stop {
	switch {
	case m.stopAsked.Load() && m.stopAsked.Swap(false):
		return Stop{Kind: StopInterrupted}
	case until != 0 && hostNow() >= until:
		return Stop{Kind: StopTimeout}
	}
	return Stop{}
}

// goOn does what the guest waits for, slice by slice. Where Run has to stop before
// that is done, the next one goes on with it.
func (m *runLoop) goOn() (Stop, error) {
	for m.owed.any() {
		if err := m.owed.slice(m.Machine); err != nil {
			return m.deviceError(err)
		}
		if stop := m.due(m.until); stop.Kind != 0 {
			return stop, nil
		}
	}
	return Stop{}, nil
}

// enter runs the vCPU once. The counter tells the ticker whether, and since
// when, the guest runs.
func (m *Machine) enter() (platform.Exit, error) {
	m.quiescent, m.atIdle = false, false
	m.stats.Entries++
	m.entries.Add(1)
	exit, err := m.vcpu.Run()
	m.entries.Add(1)
	if why := m.missing.Load(); why != nil {
		return platform.Exit{}, *why
	}
	return exit, err
}

// service moves messages and console output in both directions. The rings may
// be looked at whenever the guest does not run. What is left when Run has to stop is
// for the next one.
func (m *runLoop) service(until int64) (Stop, error) {
	if m.console.pending(m.control) {
		m.console.drain(m.control)
	}
	for {
		if err := m.vsock.Service(); err != nil {
			return m.deviceStop(err)
		}
		if !m.vsock.More() {
			return Stop{}, nil
		}
		if stop := m.due(until); stop.Kind != 0 {
			return stop, nil
		}
	}
}

// deviceStop tells the guest's mistakes from the host's.
func (m *Machine) deviceStop(err error) (Stop, error) {
	var broken *vsock.RingError
	if errors.As(err, &broken) {
		return m.deviceError(err)
	}
	return Stop{}, err
}

func (m *runLoop) doorbell(e platform.Exit) (Stop, error) {
	switch e.GPA {
	case guest.DoorbellIdle:
		return m.idle()
	case guest.DoorbellConsole:
		m.console.drain(m.control)
		if m.options.Done != nil && m.options.Done() {
			return Stop{Kind: StopDone}, nil
		}
		return Stop{}, nil
	case guest.DoorbellGive, guest.DoorbellOffer:
		if err := m.owed.give(m.control, e.Value, e.GPA == guest.DoorbellOffer); err != nil {
			return m.deviceError(err)
		}
		return Stop{}, nil
	case guest.DoorbellProtect:
		if err := m.owed.protect(m.control, m.mem); err != nil {
			return m.deviceError(err)
		}
		return Stop{}, nil
	case guest.DoorbellFar:
		var err error
		if m.owed.far, err = m.mem.mapFar(m.control, false); err != nil {
			return m.deviceError(err)
		}
		return Stop{}, nil
	case guest.DoorbellRegion:
		if err := m.owed.region(m.Machine); err != nil {
			return m.deviceError(err)
		}
		return Stop{}, nil
	case guest.DoorbellApi:
		return m.askedAPI()
	case guest.DoorbellContent:
		return readContent(m.Machine)
	case guest.DoorbellExit, guest.DoorbellFault, guest.DoorbellPanic:
		stop, err := m.service(0)
		if stop.Kind != 0 || err != nil {
			return stop, err
		}
		stop.Code = uint32(e.Value)
		switch e.GPA {
		case guest.DoorbellExit:
			stop.Kind = StopExit
		case guest.DoorbellFault:
			stop.Kind = StopFault
		default:
			stop.Kind = StopPanic
		}
		return stop, nil
	}
	return Stop{Kind: StopCrash, Exit: e}, nil
}

// mmio serves a device register, or ends the machine if there is none.
func (m *runLoop) mmio(e platform.Exit) (Stop, error) {
	const base, end = guest.VsockMMIOGPA, guest.VsockMMIOGPA + pageSize
	if e.Kind == platform.ExitMMIORead && e.GPA == guest.DoorbellGPA+guest.DoorbellCr2 {
		address, err := m.vcpu.FaultAddress()
		if err != nil {
			return Stop{Kind: StopCrash, Exit: e, Err: err}, nil
		}
		m.vcpu.CompleteRead(address)
		return Stop{}, nil
	}
	if e.GPA < base || e.GPA >= end {
		return Stop{Kind: StopCrash, Exit: e}, nil
	}
	if e.Kind == platform.ExitMMIORead {
		m.vcpu.CompleteRead(m.vsock.ReadRegister(uint32(e.GPA-base), e.Size))
		return Stop{}, nil
	}
	if err := m.vsock.WriteRegister(uint32(e.GPA-base), e.Size, e.Value); err != nil {
		return m.deviceError(err)
	}
	if m.vsock.More() {
		return m.service(m.until)
	}
	return Stop{}, nil
}

// idle decides at the idle doorbell: go on (no stop), stop or sleep.
func (m *runLoop) idle() (Stop, error) {
	m.atIdle = true
	stop, err := m.rest()
	if m.waits != notYet {
		m.waited()
	}
	return stop, err
}

func (m *runLoop) rest() (Stop, error) {
	for {
		if stop, err := m.service(m.until); stop.Kind != 0 || err != nil {
			return stop, err
		}
		if m.options.Done != nil && m.options.Done() {
			return Stop{Kind: StopDone, GuestDeadlineNS: m.guestDeadline()}, nil
		}
		if m.stopAsked.Swap(false) {
			return Stop{Kind: StopInterrupted}, nil
		}
		if m.vsock.TakeInterrupt() {
			return Stop{}, nil
		}
		timer := m.guestDeadline()
		until := int64(-1) // ns from now, -1 = no timer
		if timer != 0 {
			now := m.clock.now()
			if timer <= now {
				return Stop{}, nil
			}
			until = int64(min(timer-now, maxDeadlineNS))
		}
		if m.options.Wait == WaitNone || m.options.Wait == WaitTimers && timer == 0 {
			return Stop{Kind: StopIdle, GuestDeadlineNS: timer}, nil
		}
		if m.until != 0 {
			left := m.until - hostNow()
			if left <= 0 {
				return Stop{Kind: StopTimeout}, nil
			}
			if until < 0 || left < until {
				until = left
			}
		}
		if m.options.Leave == nil || until >= 0 && until < leastAway {
			m.sleep(until)
		} else if m.leaves(until) {
			return Stop{Kind: StopIdle, GuestDeadlineNS: timer}, nil
		}
	}
}

// guestDeadline is the guest's earliest timer.
func (m *Machine) guestDeadline() uint64 { return loadU64(m.control[guest.ControlDeadlineNS:]) }

// sleep waits for ns nanoseconds (negative: for ever), or until Nudge.
func (m *Machine) sleep(ns int64) {
	if ns < 0 {
		<-m.wake
		return
	}
	m.timer.Reset(time.Duration(ns))
	select {
	case <-m.wake:
		m.timer.Stop()
	case <-m.timer.C:
	}
}

// Nudge ends a sleep inside Run: there is something for the guest, or its Leaver is to be
// asked again. It may be called from any goroutine.
func (m *Machine) Nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Interrupt makes the current Run return StopInterrupted, or else the next
// one, as soon as the guest can be stopped. It may be called from any
// goroutine; on a closed machine it does nothing.
func (m *Machine) Interrupt() {
	m.ticking.Lock()
	defer m.ticking.Unlock()
	if m.gone {
		return
	}
	m.stopAsked.Store(true)
	m.vcpu.Kick()
	m.Nudge()
}

// deviceError tells what the guest did wrong from what its process died of in the
// middle of a service.
func (m *Machine) deviceError(err error) (Stop, error) {
	if errors.Is(err, unix.ESRCH) || !m.vm.Alive() {
		return Stop{}, fmt.Errorf("the guest's process is gone: %w", err)
	}
	return Stop{Kind: StopDeviceError, Err: err}, nil
}
