package kvm

import (
	"errors"
	"fmt"
	"os"

	"github.com/bobuhiro11/gokvm/kvm"

	"seuss/dirtytrack"
	"seuss/guest"
	"seuss/vmm/internal/mapped"
	"seuss/vmm/platform"
)

const (
	pageSize = guest.PageSize
	// dirtyRingEntryBytes is sizeof(struct kvm_dirty_gfn).
	dirtyRingEntryBytes = 16
	// tssAddr is where VMX without unrestricted guest keeps three pages of its
	// own (KVM_SET_TSS_ADDR, api.rst 4.35): below 4 GiB, where a guest with
	// that much RAM would have its firmware, and not in our memory map as long
	// as no real-mode code runs, which it never does.
	tssAddr = 0xfffbd000
)

// VM is one KVM virtual machine with one vCPU and one memory slot, and more where its
// guest asks for them: one has page tables of the far window, and each range that is
// shared with others has one.
type VM struct {
	platform *Platform
	h        handle
	vcpu     *VCPU
	mapped   uint64 // bytes of the slot, 0 = none
	memory   []byte // what it shows
	logDirty bool
}

var _ platform.VM = (*VM)(nil)

func (p *Platform) newVM() (*VM, error) {
	fd, err := p.dev.call("KVM_CREATE_VM", kvmCreateVM, 0)
	if err != nil {
		return nil, fmt.Errorf("create VM: %w", err)
	}
	vm := &VM{platform: p, h: newHandle(uintptr(fd), "kvm-vm")}
	if err := vm.init(); err != nil {
		return nil, errors.Join(fmt.Errorf("create VM: %w", err), vm.Close())
	}
	return vm, nil
}

func (vm *VM) init() error {
	p := vm.platform
	if !p.pvm && p.capability(kvm.CapSetTSSAddr) != 0 {
		if _, err := vm.h.call("KVM_SET_TSS_ADDR", kvmSetTSSAddr, tssAddr); err != nil {
			return err
		}
	}
	if p.filters {
		if err := vm.h.setMSRFilter(allowedMSRs); err != nil {
			return err
		}
	}
	if p.capability(capDisableQuirks2)&quirkSlotZapAll != 0 {
		if err := vm.h.enable("KVM_CAP_DISABLE_QUIRKS2", capDisableQuirks2, quirkSlotZapAll); err != nil {
			return err
		}
	}
	if p.ringBytes != 0 { // must come before the vCPU
		if err := vm.h.enable("KVM_CAP_DIRTY_LOG_RING", kvm.CapDirtyLogRing, p.ringBytes); err != nil {
			return err
		}
	}
	v, err := newVCPU(vm)
	if err != nil {
		return err
	}
	vm.vcpu = v
	return nil
}

// enable switches a capability of a VM or vCPU on.
func (h handle) enable(name string, c kvm.Capability, arg uint64) error {
	_, err := callPtr(h, "KVM_ENABLE_CAP "+name, kvmEnableCap, &enableCap{capability: uint32(c), args: [4]uint64{arg}})
	return err
}

// NewMemory implements platform.VM: the guest runs in the monitor's own mapping.
func (vm *VM) NewMemory(bytes uint64, logDirty bool) (platform.Backing, error) {
	b, err := mapped.New(bytes, !vm.platform.small)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of guest memory: %w", bytes, err)
	}
	if err := vm.MapMemory(b.Bytes(), 0, logDirty); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	vm.memory = b.Bytes()
	b.SetSlots(vm)
	return b, nil
}

// setSlot makes memory the guest's, or, without any, takes a slot's away.
func (vm *VM) setSlot(slot uint32, mem []byte, gpa guest.GPA, flags uint32) error {
	r := &kvm.UserspaceMemoryRegion{Slot: slot, Flags: flags, GuestPhysAddr: uint64(gpa), MemorySize: uint64(len(mem))}
	if len(mem) > 0 {
		r.UserspaceAddr = addressOf(mem)
	}
	if _, err := callPtr(vm.h, "KVM_SET_USER_MEMORY_REGION", kvmSetUserMemoryRegion, r); err != nil {
		return fmt.Errorf("map %d bytes at %#x: %w", len(mem), uint64(gpa), err)
	}
	return nil
}

// MapTables implements mapped.Slots. Hardware that walks a guest's tables needs to be able
// to write to them (APM vol. 2, 15.25.5; SDM vol. 3, 29.3.5).
func (vm *VM) MapTables(mem []byte, gpa guest.GPA) (writable bool, err error) {
	if !vm.platform.pvm {
		return true, vm.setSlot(slotTables, mem, gpa, 0)
	}
	return false, vm.setSlot(slotTables, mem, gpa, memReadOnly)
}

// MapShared implements mapped.Slots. KVM lets nobody write through a slot that is read-only.
func (vm *VM) MapShared(n int, mem []byte, gpa guest.GPA, writable bool) error {
	flags := uint32(memReadOnly)
	if writable {
		flags = 0
	}
	return vm.setSlot(slotShared+uint32(n), mem, gpa, flags)
}

// UnmapShared implements mapped.Slots.
func (vm *VM) UnmapShared(n int) error { return vm.setSlot(slotShared+uint32(n), nil, 0, 0) }

// UnmapTables implements mapped.Slots: with a slot KVM drops all it has shadowed of it.
func (vm *VM) UnmapTables() error { return vm.setSlot(slotTables, nil, 0, 0) }

// Forget implements mapped.Slots in the same way. What KVM had logged of writes is lost.
func (vm *VM) Forget() error {
	if err := vm.setSlot(slotRAM, nil, 0, 0); err != nil {
		return err
	}
	return vm.MapMemory(vm.memory, 0, vm.logDirty)
}

// MapMemory makes mem guest RAM at gpa. Both must be page aligned and mem must
// be mapped (not Go heap) memory that outlives the VM. A second call replaces the first one's memory
// or flags, as long as address and size are the same.
func (vm *VM) MapMemory(mem []byte, gpa guest.GPA, logDirty bool) error {
	addr := addressOf(mem)
	if len(mem) == 0 || addr%pageSize != 0 || uint64(gpa)%pageSize != 0 || len(mem)%pageSize != 0 {
		return fmt.Errorf("map guest memory of %d bytes from %#x at %#x: not page aligned", len(mem), addr, uint64(gpa))
	}
	r := &kvm.UserspaceMemoryRegion{Slot: slotRAM, GuestPhysAddr: uint64(gpa), MemorySize: uint64(len(mem)), UserspaceAddr: addr}
	if logDirty {
		r.Flags |= memLogDirtyPages
	}
	if _, err := callPtr(vm.h, "KVM_SET_USER_MEMORY_REGION", kvmSetUserMemoryRegion, r); err != nil {
		return fmt.Errorf("map guest memory of %d bytes at %#x: %w", len(mem), uint64(gpa), err)
	}
	vm.mapped, vm.logDirty = r.MemorySize, logDirty
	return nil
}

// VCPU implements platform.VM.
func (vm *VM) VCPU() platform.VCPU { return vm.vcpu }

// WriteTracker implements platform.VM: KVM's dirty ring, where the platform was opened
// with Options.DirtyRingEntries, else its dirty log.
func (vm *VM) WriteTracker() (dirtytrack.Tracker, error) {
	if !vm.logDirty {
		return nil, errors.New("write tracking: the memory was mapped without it")
	}
	if ring := vm.platform.ringBytes; ring != 0 {
		return dirtytrack.NewDirtyRing(vm.h.file, vm.vcpu.h.file, slotRAM, vm.mapped/pageSize, ring)
	}
	return dirtytrack.NewDirtyLog(vm.h.file, slotRAM, vm.mapped/pageSize)
}

// Process implements platform.VM.
func (vm *VM) Process() int { return os.Getpid() }

// Alive implements platform.VM.
func (vm *VM) Alive() bool { return true }

// Close implements platform.VM.
func (vm *VM) Close() error {
	var errs []error
	if vm.vcpu != nil {
		errs = append(errs, vm.vcpu.close())
		vm.vcpu = nil
	}
	if err := vm.h.close(); err != nil {
		errs = append(errs, fmt.Errorf("close VM: %w", err))
	}
	return errors.Join(errs...)
}
