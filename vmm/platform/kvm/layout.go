package kvm

import "github.com/bobuhiro11/gokvm/kvm"

// Requests of include/uapi/linux/kvm.h whose numbers gokvm does not export.
// The size in a request is that of the structure in the kernel's header; the
// test compares them all with the compiler's view of that header.
var (
	kvmGetAPIVersion       = kvm.IIO(0x00)
	kvmCreateVM            = kvm.IIO(0x01)
	kvmGetMSRIndexList     = kvm.IIOWR(0x02, 4)
	kvmCheckExtension      = kvm.IIO(0x03)
	kvmGetVCPUMmapSize     = kvm.IIO(0x04)
	kvmGetSupportedCPUID   = kvm.IIOWR(0x05, 8)
	kvmCreateVCPU          = kvm.IIO(0x41)
	kvmSetUserMemoryRegion = kvm.IIOW(0x46, 32)
	kvmSetTSSAddr          = kvm.IIO(0x47)
	kvmRun                 = kvm.IIO(0x80)
	kvmGetRegs             = kvm.IIOR(0x81, 144)
	kvmSetRegs             = kvm.IIOW(0x82, 144)
	kvmGetSregs            = kvm.IIOR(0x83, 312)
	kvmSetSregs            = kvm.IIOW(0x84, 312)
	kvmGetMSRs             = kvm.IIOWR(0x88, 8)
	kvmSetMSRs             = kvm.IIOW(0x89, 8)
	kvmSetCPUID2           = kvm.IIOW(0x90, 8)
	kvmGetMPState          = kvm.IIOR(0x98, 4)
	kvmSetMPState          = kvm.IIOW(0x99, 4)
	kvmGetVCPUEvents       = kvm.IIOR(0x9f, 64)
	kvmSetVCPUEvents       = kvm.IIOW(0xa0, 64)
	kvmGetDebugRegs        = kvm.IIOR(0xa1, 128)
	kvmSetDebugRegs        = kvm.IIOW(0xa2, 128)
	kvmGetTSCKHz           = kvm.IIO(0xa3)
	kvmEnableCap           = kvm.IIOW(0xa3, 104)
	kvmGetXSave            = kvm.IIOR(0xa4, 4096)
	kvmSetXSave            = kvm.IIOW(0xa5, 4096)
	kvmGetXCRs             = kvm.IIOR(0xa6, 392)
	kvmSetXCRs             = kvm.IIOW(0xa7, 392)
	kvmGetXSave2           = kvm.IIOR(0xcf, 4096)
	kvmSetMSRFilter        = kvm.IIOW(0xc6, 392)
	kvmSetDeviceAttr       = kvm.IIOW(0xe1, 24)
	kvmGetDeviceAttr       = kvm.IIOW(0xe2, 24)
	kvmHasDeviceAttr       = kvm.IIOW(0xe3, 24)
)

// apiVersion is KVM_API_VERSION, the only one there has been since 2007.
const apiVersion = 12

// Bits of kvm_valid_regs and kvm_dirty_regs, KVM_SYNC_X86_*.
const (
	syncRegs   = 1 << 0
	syncSregs  = 1 << 1
	syncEvents = 1 << 2
	syncAll    = syncRegs | syncSregs | syncEvents
)

// capEnforcePVFeatureCPUID (KVM_CAP_ENFORCE_PV_FEATURE_CPUID) makes KVM refuse
// paravirtual MSRs that CPUID does not announce.
const capEnforcePVFeatureCPUID = kvm.CapEnforcePVFeatureCPUID

// capDisableQuirks2 (KVM_CAP_DISABLE_QUIRKS2) tells and takes quirks that can be done without.
const capDisableQuirks2 = 213

// quirkSlotZapAll (KVM_X86_QUIRK_SLOT_ZAP_ALL, since Linux 6.12): with a slot KVM drops what it has
// mapped and shadowed of all slots, and not just of that one.
const quirkSlotZapAll = 1 << 7

// memLogDirtyPages is KVM_MEM_LOG_DIRTY_PAGES.
const memLogDirtyPages = 1 << 0

// memReadOnly is KVM_MEM_READONLY.
const memReadOnly = 1 << 1

// Memory slots of a machine.
const (
	slotRAM = iota
	slotTables
	slotShared // the first of those for what is shared
)

// runPage is the beginning of struct kvm_run: header, exit data and the
// register block of KVM_CAP_SYNC_REGS. KVM writes it during KVM_RUN only.
type runPage struct {
	kvm.RunData
	validRegs uint64
	dirtyRegs uint64
	regs      kvm.Regs
	sregs     kvm.Sregs
	events    kvm.VCPUEvents
}

// immediateExitBit is the byte immediate_exit of struct kvm_run as part of the
// 32-bit word at its beginning (request_interrupt_window is byte 0).
const immediateExitBit = 1 << 8

// exitDirtyRingFull is KVM_EXIT_DIRTY_RING_FULL.
const exitDirtyRingFull kvm.ExitType = 31

// cpuidEntries is how many CPUID entries we have room for: KVM_MAX_CPUID_ENTRIES.
const cpuidEntries = 256

// cpuidList is struct kvm_cpuid2 with its array.
type cpuidList struct {
	count, _ uint32
	entries  [cpuidEntries]kvm.CPUIDEntry2
}

// msrListMax bounds the MSR index list; Linux 6.18 has about 130 entries.
const msrListMax = 1024

type msrList struct {
	count   uint32
	indices [msrListMax]uint32
}

// maxMSRs is how many MSRs one call takes: less than MAX_IO_MSRS of arch/x86/kvm/x86.c.
const maxMSRs = 255

// msrBlock is struct kvm_msrs.
type msrBlock struct {
	count, _ uint32
	entries  [maxMSRs]msrEntry
}

type msrEntry struct {
	index, _ uint32
	value    uint64
}

// msrFilter is struct kvm_msr_filter, and msrFilterRange struct kvm_msr_filter_range:
// a bit for each MSR, 1 allows it.
type msrFilter struct {
	flags, _ uint32
	ranges   [16]msrFilterRange // KVM_MSR_FILTER_MAX_RANGES
}

type msrFilterRange struct {
	flags, count, base, _ uint32
	bitmap                uint64 // address
}

const (
	msrFilterDefaultDeny = 1 << 0 // KVM_MSR_FILTER_DEFAULT_DENY
	msrFilterRead        = 1 << 0 // KVM_MSR_FILTER_READ
	msrFilterWrite       = 1 << 1 // KVM_MSR_FILTER_WRITE
)

// enableCap is struct kvm_enable_cap.
type enableCap struct {
	capability, _ uint32 // and flags
	args          [4]uint64
	_             [64]byte
}

// deviceAttr is struct kvm_device_attr.
type deviceAttr struct {
	_, group   uint32 // flags first
	attr, addr uint64
}
