package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/vmm"
)

// runToFrame runs the guest until the driver's next frame is complete.
func (i *Instance) runToFrame(deadline time.Time) (frame, error) {
	vm := i.vm
	var stop vmm.Stop
	var err error
	for {
		until := i.nextLook(deadline)
		if stop, err = vm.m.Run(vmm.RunOptions{Deadline: until, Wait: vmm.WaitEvents, Done: vm.stream.arrived}); err != nil {
			return frame{}, err
		}
		if stop.Kind != vmm.StopTimeout || until.Equal(deadline) {
			break
		}
		if err := i.checkMemory(); err != nil {
			return frame{}, err
		}
	}
	switch stop.Kind {
	case vmm.StopDone:
		if vm.stream.err != nil {
			return frame{}, vm.crash(stop, vm.stream.err.Error())
		}
		return vm.stream.frame, nil
	case vmm.StopTimeout:
		return frame{}, ErrTimeout
	case vmm.StopInterrupted:
		return frame{}, errInterrupted
	case vmm.StopExit:
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

// interruption ends a guest's run when a context ends.
type interruption struct {
	ctx  context.Context
	stop func() bool
	done chan struct{} // closed when the guest was interrupted
}

func interruptOn(ctx context.Context, m *vmm.Machine) interruption {
	done := make(chan struct{})
	return interruption{ctx, context.AfterFunc(ctx, func() {
		m.Interrupt()
		close(done)
	}), done}
}

// end is called once when the guest runs no more.
func (i *interruption) end(err error) error {
	if !i.stop() {
		<-i.done // or it might hit the machine's next run
	}
	if errors.Is(err, errInterrupted) {
		return fmt.Errorf("cancelled: %w", context.Cause(i.ctx))
	}
	return err
}
