package instance

import (
	"cmp"
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
	stop, err := i.run(ctx, deadline, vm.arrived)
	if err != nil {
		return frame{}, err
	}
	if vm.stream.err != nil {
		return frame{}, vm.crash(stop, vm.stream.err.Error())
	}
	return vm.stream.frame, nil
}

// run runs the guest until done, which is asked whenever the guest has sent something or
// rests. Everything else that ends the run is an error.
func (i *Instance) run(ctx context.Context, deadline time.Time, done func() bool) (vmm.Stop, error) {
	vm := i.vm
	if !i.Progress.Run(vm.interrupt) {
		return vmm.Stop{}, ErrKilled
	}
	var over func() bool
	if ctx.Done() != nil {
		over = context.AfterFunc(ctx, vm.interrupt)
	}
	var stop vmm.Stop
	var err error
	for {
		until := i.nextLook(deadline)
		stop, err = vm.m.Run(vmm.RunOptions{Deadline: until, Wait: vmm.WaitEvents, Done: done})
		if err != nil || stop.Kind != vmm.StopTimeout || until.Equal(deadline) {
			break
		}
		if err = i.checkMemory(); err != nil {
			break
		}
	}
	if over != nil && !over() {
		<-vm.interrupted // or it might hit the machine's next run
	}
	alive := i.Progress.Stopped(vm.interrupted)
	switch {
	case !alive:
		err = ErrKilled
	case err != nil, stop.Kind == vmm.StopDone:
	case stop.Kind == vmm.StopTimeout:
		err = ErrTimeout
	case stop.Kind == vmm.StopInterrupted:
		err = fmt.Errorf("cancelled: %w", cmp.Or(context.Cause(ctx), errInterrupted))
	case stop.Kind == vmm.StopExit:
		err = &ExitError{Status: int(int32(stop.Code))}
	default:
		err = vm.crash(stop, "")
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
