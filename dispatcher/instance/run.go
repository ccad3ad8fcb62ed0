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
	if !i.Progress.Run(vm.interrupt) {
		return frame{}, ErrKilled
	}
	var over func() bool
	if ctx.Done() != nil {
		over = context.AfterFunc(ctx, vm.interrupt)
	}
	var stop vmm.Stop
	var err error
	for {
		until := i.nextLook(deadline)
		stop, err = vm.m.Run(vmm.RunOptions{Deadline: until, Wait: vmm.WaitEvents, Done: vm.arrived})
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
		return frame{}, ErrKilled
	case err != nil:
		return frame{}, err
	case stop.Kind == vmm.StopDone && vm.stream.err == nil:
		return vm.stream.frame, nil
	case stop.Kind == vmm.StopDone:
		return frame{}, vm.crash(stop, vm.stream.err.Error())
	case stop.Kind == vmm.StopTimeout:
		return frame{}, ErrTimeout
	case stop.Kind == vmm.StopInterrupted:
		return frame{}, fmt.Errorf("cancelled: %w", cmp.Or(context.Cause(ctx), errInterrupted))
	case stop.Kind == vmm.StopExit:
		return frame{}, fmt.Errorf("%w: exit status %d", ErrGuestExit, int32(stop.Code))
	}
	return frame{}, vm.crash(stop, "")
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
