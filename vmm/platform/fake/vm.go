package fake

import (
	"errors"
	"sync/atomic"

	"seuss/vmm"
)

// VM is one machine.
type VM struct {
	platform *Platform
	memory   *memory
	vcpu     VCPU
	dead     atomic.Bool // the guest died by itself
	closed   bool
}

var _ vmm.VM = (*VM)(nil)

// NewMemory implements vmm.VM. There is no write tracking but that of the memory.
func (vm *VM) NewMemory(bytes uint64, _ bool) (vmm.Backing, error) {
	if vm.memory != nil {
		return nil, errors.New("the machine has its memory already")
	}
	b, err := vmm.NewPrivateBacking(bytes, false)
	if err != nil {
		return nil, err
	}
	vm.memory = &memory{PrivateBacking: b}
	return vm.memory, nil
}

// memory is the guest's: the monitor's own mapping, in which the guest runs.
type memory struct{ *vmm.PrivateBacking }

// MapPager implements vmm.Backing. The guest is Go code, which must not be the one who
// waits for a page, so all are filled before.
func (m *memory) MapPager(first, count uint64, p vmm.Pager, page uint64) error {
	if err := p.Fill(page, count); err != nil {
		return err
	}
	return m.MapFile(first, count, p.File(), int64(page*pageSize))
}

// VCPU implements vmm.VM.
func (vm *VM) VCPU() vmm.VCPU { return &vm.vcpu }

// Alive implements vmm.VM.
func (vm *VM) Alive() bool { return !vm.dead.Load() }

// Close implements vmm.VM.
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
