package instance

import (
	"context"
	"fmt"
	"time"

	"seuss/lineage"
	"seuss/vmm"
	"seuss/vmm/vsock"
)

// What a contract other than a driver's has of an instance: runs of its guest, the streams
// that its program opens to the monitor, and what it writes to its standard output.

// Until runs the guest until done, which is asked by this goroutine whenever the guest has
// sent something or rests. Whatever else ends the run is an error.
func (i *Instance) Until(ctx context.Context, deadline time.Time, done func() bool) error {
	_, err := i.run(ctx, deadline, done)
	return err
}

// Rest lets the guest run until all its threads wait, as a capture does: what it has
// printed by then is known. Where it is parked they do.
func (i *Instance) Rest(deadline time.Time) error {
	if i.parked != nil {
		return nil
	}
	return i.vm.rest(deadline)
}

// Meet has the streams accepted that the program opens to the ports of contracts, from now
// to the end of the instance; nil: they are refused. It is called by the goroutine that
// runs the guest, and an error of its refuses the stream.
func (i *Instance) Meet(accept vsock.AcceptFunc) { i.met = accept }

// Keep makes c the stream that has to be open when the instance is captured, and that
// instances of the snapshot find again; nil: there is none. All others end there.
func (i *Instance) Keep(c *vsock.Conn) { i.stream().conn = c }

// As notes that the guest is a program of a contract now, which it was not when it began.
func As(i *Instance, contract string) { i.contract = contract }

// InputOf is what is known of the program's standard input as the guest rests. Where a guest of
// an earlier release says nothing of it, that it is not open.
func InputOf(i *Instance) vmm.Input { return vmm.InputOf(i.vm.m.Memory()) }

// Forsake has the instance keep no stream which its program has ended.
func Forsake(i *Instance) {
	if s := i.stream(); s.conn != nil && !s.open() {
		s.conn = nil
	}
}

// Kept is the stream that was open when the instance's snapshot was taken, or that Keep was
// given; nil: none.
func (i *Instance) Kept() *vsock.Conn { return i.stream().conn }

// stream is the instance's, wherever it is.
func (i *Instance) stream() *Stream {
	if i.parked != nil {
		return &i.parked.stream
	}
	return &i.vm.stream
}

// Output has what the guest prints given to f until the end of the instance: fd is 1 or 2,
// or 0 for the kernel library's own messages; p is valid during the call. What f does not
// take goes into the logs, within their bound; what it takes has no bound but f's.
func (i *Instance) Output(f func(fd uint16, p []byte) (taken bool)) {
	if i.parked != nil {
		i.parked.logs.output = f
		return
	}
	i.vm.logs.output = f
	i.vm.m.LimitConsole(unlimited)
}

// unlimited is for output that somebody else bounds, a number of bytes.
const unlimited = 1 << 62

// Taken is what the instance has taken in from outside since it began, which for a driver's
// is what Purity says at a question.
func (i *Instance) Taken() (lineage.Purity, error) { return i.Purity(Want{}) }

// met takes a stream to a contract's port.
func (vm *VM) met(c *vsock.Conn) error {
	if vm.instance == nil || vm.instance.met == nil {
		return fmt.Errorf("port %d: nobody serves its contract: %w", c.HostPort(), errNoWay)
	}
	return vm.instance.met(c)
}
