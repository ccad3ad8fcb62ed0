package fake

import (
	"errors"
	"os"
	"sync/atomic"

	"seuss/dirtytrack"
	"seuss/vmm/internal/mapped"
	"seuss/vmm/platform"
)

// VM is one machine.
type VM struct {
	platform *Platform
	memory   *memory
	vcpu     VCPU
	dead     atomic.Bool // the guest died by itself
	closed   bool
}

var _ platform.VM = (*VM)(nil)

// NewMemory implements platform.VM. There is no write tracking but that of the memory.
func (vm *VM) NewMemory(bytes uint64, _ bool) (platform.Backing, error) {
	if vm.memory != nil {
		return nil, errors.New("the machine has its memory already")
	}
	b, err := mapped.New(bytes, false)
	if err != nil {
		return nil, err
	}
	vm.memory = &memory{Memory: b}
	return vm.memory, nil
}

// memory is the guest's: the monitor's own mapping, in which the guest runs.
type memory struct{ *mapped.Memory }

// MapPager implements platform.Backing. The guest is Go code, which must not be the one who
// waits for a page, so all are filled before.
func (m *memory) MapPager(first, count uint64, p platform.Pager, page uint64) error {
	if err := p.Fill(page, count); err != nil {
		return err
	}
	return m.MapFile(first, count, p.File(), int64(page*pageSize))
}

// VCPU implements platform.VM.
func (vm *VM) VCPU() platform.VCPU { return &vm.vcpu }

// WriteTracker implements platform.VM: there is none.
func (vm *VM) WriteTracker() (dirtytrack.Tracker, error) {
	return nil, errors.New("write tracking: the fake platform has none but that of the memory")
}

// Process implements platform.VM.
func (vm *VM) Process() int { return os.Getpid() }

// Alive implements platform.VM.
func (vm *VM) Alive() bool { return !vm.dead.Load() }

// Close implements platform.VM.
func (vm *VM) Close() error {
	if vm.closed {
		return nil
	}
	vm.closed = true
	vm.vcpu.abandon()
	p := vm.platform
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live--
	return nil
}
