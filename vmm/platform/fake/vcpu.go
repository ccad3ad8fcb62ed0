package fake

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/vmm/platform"
)

const pageSize = guest.PageSize

// VCPU runs the guest as a coroutine: it yields an exit wherever a processor would
// leave the guest. Kick may be called from any goroutine.
type VCPU struct {
	vm    *VM
	state platform.CPUState
	fault uint64 // CR2
	read  uint64 // value of a load, see CompleteRead
	count uint64 // stores of the guest, as page faults

	next func() (platform.Exit, bool) // nil: the guest rests
	stop func()

	kicked atomic.Bool
	kick   chan struct{} // ends a Spin
}

var _ platform.VCPU = (*VCPU)(nil)

// resting is where a guest that rests is, in the kernel library.
const resting = guest.KernelGPA + 0x100

func (v *VCPU) init(vm *VM) {
	v.vm, v.kick = vm, make(chan struct{}, 1)
	v.state = platform.CPUState{XCR0: vm.platform.cpu.XCR0, XSave: make([]byte, vm.platform.cpu.XSaveBytes)}
}

// Run implements platform.VCPU.
func (v *VCPU) Run() (platform.Exit, error) {
	if !v.vm.Alive() {
		return platform.Exit{}, fmt.Errorf("run vCPU: the guest is dead: %w", unix.ESRCH)
	}
	if v.kicked.Load() {
		v.ClearKick()
		return platform.Exit{Kind: platform.ExitInterrupted}, nil
	}
	if v.next == nil {
		v.next, v.stop = iter.Pull(v.guest)
	}
	exit, more := v.next()
	if !more {
		v.next, v.stop = nil, nil
		exit = platform.Exit{Kind: platform.ExitDoorbell, GPA: guest.DoorbellIdle, Size: 4}
		v.state.Regs.RIP = resting
	}
	if exit.Kind == platform.ExitInterrupted {
		v.ClearKick()
	}
	if !v.vm.Alive() {
		v.abandon()
		return platform.Exit{}, fmt.Errorf("run vCPU: the guest died: %w", unix.ESRCH)
	}
	return exit, nil
}

// errAbandoned unwinds a guest that is no more.
var errAbandoned = errors.New("the guest is another instance now")

// guest runs the program until it returns or is abandoned.
func (v *VCPU) guest(yield func(platform.Exit) bool) {
	c := &CPU{v: v, mem: v.vm.memory.Bytes(), yield: yield}
	defer func() {
		if r := recover(); r != nil && r != any(errAbandoned) {
			panic(r)
		}
	}()
	for again := true; again; again = c.attention() {
		v.vm.platform.o.Guest(c)
		c.save()
	}
}

// abandon ends the guest wherever it is.
func (v *VCPU) abandon() {
	if v.stop != nil {
		v.stop()
		v.next, v.stop = nil, nil
	}
}

// Kick implements platform.VCPU.
func (v *VCPU) Kick() {
	v.kicked.Store(true)
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// ClearKick implements platform.VCPU.
func (v *VCPU) ClearKick() {
	v.kicked.Store(false)
	select {
	case <-v.kick:
	default:
	}
}

// CompleteRead implements platform.VCPU.
func (v *VCPU) CompleteRead(value uint64) { v.read = value }

// Settle implements platform.VCPU: the guest runs inside Run only.
func (v *VCPU) Settle() error { return ask(v.vm.platform.o.Settle) }

func ask(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// GuestCalls implements platform.VCPU.
func (v *VCPU) GuestCalls() platform.GuestCalls { return platform.GuestCalls{} }

// Regs implements platform.VCPU.
func (v *VCPU) Regs(into *platform.Regs) { *into = v.state.Regs }

// SetRegs implements platform.VCPU.
func (v *VCPU) SetRegs(r *platform.Regs) { v.state.Regs = *r }

// Faults implements platform.VCPU: each store counts as one.
func (v *VCPU) Faults() uint64 { return v.count }

// FaultAddress implements platform.VCPU.
func (v *VCPU) FaultAddress() (uint64, error) { return v.fault, nil }

// EventPending implements platform.VCPU.
func (v *VCPU) EventPending() bool { return false }

// TSCOffset implements platform.VCPU.
func (v *VCPU) TSCOffset() int64 { return 0 }

// State implements platform.VCPU.
func (v *VCPU) State(into *platform.CPUState) error {
	x, msrs := into.XSave, into.MSRs
	*into = v.state
	into.XSave = append(x[:0], v.state.XSave...)
	into.MSRs = append(msrs[:0], v.state.MSRs...)
	return nil
}

// SetState implements platform.VCPU.
func (v *VCPU) SetState(s *platform.CPUState) error {
	if err := ask(v.vm.platform.o.SetState); err != nil {
		return err
	}
	v.abandon()
	v.state = s.Clone()
	v.fault, v.read = 0, 0
	return nil
}
