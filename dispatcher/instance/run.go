package instance

import (
	"context"
	"fmt"
	"strings"
	"time"

	"seuss/vmm"
)

// exchange sends the driver a frame, unless request is nil, and runs the guest until the
// driver's next one is complete, whose payload is valid until the next exchange. It ends
// at a deadline, with ctx, or when it is killed.
func (i *Instance) exchange(ctx context.Context, deadline time.Time, request []byte) (frame, error) {
	vm := i.vm
	if request != nil {
		vm.stream.reply = vm.stream.reply[:0]
		if err := vm.stream.conn.Send(request); err != nil {
			return frame{}, fmt.Errorf("%w: %w", ErrStream, err)
		}
	}
	stop, err := i.run(ctx, deadline, nil)
	if err != nil {
		return frame{}, err
	}
	s := &i.vm.stream
	if s.err != nil {
		return frame{}, i.vm.crash(stop, s.err.Error())
	}
	return s.frame, nil
}

// run runs the guest until done, which is asked whenever the guest has sent something or
// rests; nil: until the driver has said something. The instance may be parked meanwhile.
// Everything else that ends the run is an error.
func (i *Instance) run(ctx context.Context, deadline time.Time, done func() bool) (stop vmm.Stop, err error) {
	for {
		if i.Progress.Killed() {
			return stop, ErrKilled
		}
		stop, err = i.stretch(ctx, deadline, done)
		switch {
		case err != nil, stop.Kind == vmm.StopDone:
			return stop, err
		case stop.Kind == vmm.StopIdle:
			if err := i.away(ctx, deadline); err != nil {
				return stop, err
			}
			if !deadline.IsZero() && !time.Now().Before(deadline) {
				return stop, ErrTimeout // what has waited until then does nothing more
			}
		case stop.Kind == vmm.StopTimeout:
			return stop, ErrTimeout
		case stop.Kind == vmm.StopInterrupted:
			if cause := context.Cause(ctx); cause != nil {
				return stop, fmt.Errorf("cancelled: %w", cause)
			} // else it was for a run that had ended by itself
		default: // the guest has ended
			if done == nil {
				i.vm.stream.arrived() // what it streamed of its answer last
			}
			if stop.Kind == vmm.StopExit {
				return stop, &ExitError{Status: int(int32(stop.Code))}
			}
			return stop, i.vm.crash(stop, "")
		}
	}
}

// stretch runs the guest on the VM that it is on, until it is done, over, or leaves the VM
// (vmm.StopIdle).
func (i *Instance) stretch(ctx context.Context, deadline time.Time, done func() bool) (stop vmm.Stop, err error) {
	vm := i.vm
	var over func() bool
	if ctx.Done() != nil {
		over = context.AfterFunc(ctx, vm.interrupt)
	}
	options := vmm.RunOptions{Wait: vmm.WaitEvents, Done: done}
	if done == nil {
		options.Done = vm.arrived
	}
	if i.Parking != nil {
		options.Leave = i.Parking
	}
	for {
		options.Deadline = i.nextLook(deadline)
		stop, err = vm.m.Run(options)
		if err != nil || stop.Kind != vmm.StopTimeout || options.Deadline.Equal(deadline) {
			break
		}
		if err = i.checkMemory(); err != nil {
			break
		}
	}
	if over != nil && !over() {
		<-vm.interrupted // or it might hit the machine's next run
	}
	return stop, err
}

// crash makes the error for a guest that died.
func (vm *VM) crash(stop vmm.Stop, summary string) error {
	report := vm.m.CrashReport(stop, nil)
	text := report.String()
	if summary == "" {
		summary, _, _ = strings.Cut(text, "\n")
	}
	return &CrashError{Summary: summary, Report: text}
}

// interruption is what ends a run of a machine's guest when a context ends, to be given
// to context.AfterFunc. Whoever cannot take it back waits for done, each time.
func interruption(m *vmm.Machine) (interrupt func(), done <-chan struct{}) {
	interrupted := make(chan struct{}, 1)
	return func() {
		m.Interrupt()
		interrupted <- struct{}{}
	}, interrupted
}
