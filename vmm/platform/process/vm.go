package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/vmm/platform"
	"seuss/vmm/platform/process/stub"
)

// VM is a machine: a stub process and its memory.
type VM struct {
	platform *Platform
	mem      *memory
	proc     *proc
	vcpu     *VCPU
}

var _ platform.VM = (*VM)(nil)

// NewMemory implements platform.VM. There is no write tracking but that of the
// memory itself.
func (vm *VM) NewMemory(bytes uint64, _ bool) (platform.Backing, error) {
	if vm.mem != nil {
		return nil, errors.New("the machine has its memory already")
	}
	m, err := newMemory(vm, bytes)
	if err != nil {
		return nil, err
	}
	p, err := vm.platform.newProc(m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	vm.mem, vm.proc = m, p
	if err := m.attach(p.pid); err != nil {
		vm.proc = nil
		return nil, errors.Join(fmt.Errorf("look into the guest's process: %w", err), p.close(), m.Close())
	}
	vm.vcpu.prepare()
	return m, nil
}

// setUps bounds the stubs that are set up at a time: each takes locks of the kernel's that
// are one for the host (namespaces, mounts), and a thousand in a row there would each wait
// for all others.
var setUps = make(chan struct{}, 2*runtime.NumCPU())

// setUpWait is how long one waits for its turn: those before it have starvedAfter each.
const setUpWait = 5 * starvedAfter

// takeTurn waits for one of the turns to be set up.
func takeTurn(turns chan struct{}, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case turns <- struct{}{}:
		return nil
	case <-t.C:
		return fmt.Errorf("%w (it waits to be set up, for %v, behind others of which %d are at a time)", errStarved, most, cap(turns))
	}
}

// newProc starts a stub and locks it in.
func (p *Platform) newProc(m *memory) (_ *proc, err error) {
	if err := takeTurn(setUps, setUpWait); err != nil {
		return nil, err
	}
	defer func() { <-setUps }()
	areaFile, err := memfd("seuss-area", stub.SharedSize)
	if err != nil {
		return nil, err
	}
	defer areaFile.Close()
	area, areaBytes, err := mapArea(areaFile)
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket to the guest's process: %w", err), unix.Munmap(areaBytes))
	}
	theirs := os.NewFile(uintptr(pair[1]), "stub-socket")
	defer theirs.Close()
	defer unix.Close(pair[0])
	area.Spin = p.stubSpin
	process, ended, err := p.startStub(m.file, areaFile, theirs)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(areaBytes))
	}
	c := &proc{pid: process.Pid, process: process, ended: make(chan struct{}), area: area, mem: areaBytes,
		socket: pair[0], notify: -1, spin: p.monitorSpin, parkIP: p.entries.Parked}
	go func() {
		awaitEnd(ended)
		c.state, _ = process.Wait() // an error leaves no state, and the channel tells all the same
		close(c.ended)
	}()
	if p.guest != nil {
		if c.left, err = p.guest(c.pid, uint64(len(m.window))); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	if err := c.setUp(p, m); err != nil {
		return nil, errors.Join(fmt.Errorf("set up the guest's process: %w", err), c.close())
	}
	return c, nil
}

// close ends the process and releases the area.
func (p *proc) close() error {
	p.kill()
	<-p.ended
	if p.left != nil {
		p.left()
	}
	var errs []error
	if p.notify >= 0 {
		errs = append(errs, unix.Close(p.notify))
		p.notify = -1
	}
	errs = append(errs, unix.Munmap(p.mem))
	p.area, p.mem = nil, nil
	return errors.Join(errs...)
}

// VCPU implements platform.VM.
func (vm *VM) VCPU() platform.VCPU { return vm.vcpu }

// WriteTracker implements platform.VM: there is none.
func (vm *VM) WriteTracker() (dirtytrack.Tracker, error) {
	return nil, errors.New("write tracking: processes have none but that of the memory")
}

// Process implements platform.VM.
func (vm *VM) Process() int { return vm.proc.pid }

// Alive implements platform.VM.
func (vm *VM) Alive() bool { return vm.proc == nil || !vm.proc.gone() }

// Close implements platform.VM.
func (vm *VM) Close() error {
	if vm.proc == nil {
		return nil
	}
	p := vm.proc
	vm.proc = nil
	if err := p.close(); err != nil {
		return fmt.Errorf("close the guest's process: %w", err)
	}
	return nil
}
