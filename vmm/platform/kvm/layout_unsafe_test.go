package kvm

import (
	"fmt"
	"unsafe"

	"github.com/bobuhiro11/gokvm/kvm"
)

// LayoutForTest returns sizes, offsets and requests in the order of
// headerProgram.
func LayoutForTest() []string {
	var out []string
	var run runPage
	for _, n := range []uintptr{
		unsafe.Sizeof(kvm.Regs{}), unsafe.Sizeof(kvm.Sregs{}), unsafe.Sizeof(kvm.Segment{}), unsafe.Sizeof(kvm.Descriptor{}),
		unsafe.Sizeof(kvm.VCPUEvents{}), unsafe.Sizeof(kvm.DebugRegs{}), unsafe.Sizeof(kvm.XCRS{}), unsafe.Sizeof(kvm.MPState{}),
		unsafe.Sizeof(kvm.UserspaceMemoryRegion{}), unsafe.Sizeof(kvm.CPUIDEntry2{}), unsafe.Sizeof(msrEntry{}),
		unsafe.Sizeof(enableCap{}), unsafe.Sizeof(deviceAttr{}), unsafe.Sizeof(msrFilter{}), unsafe.Sizeof(msrFilterRange{}), unsafe.Offsetof(msrFilterRange{}.bitmap), unsafe.Sizeof(kvm.DirtyLog{}), dirtyRingEntryBytes,
		unsafe.Offsetof(run.ExitReason), unsafe.Offsetof(run.ImmediateExit), unsafe.Offsetof(run.Data),
		unsafe.Offsetof(run.validRegs), unsafe.Offsetof(run.dirtyRegs), unsafe.Offsetof(run.regs),
		unsafe.Offsetof(run.sregs), unsafe.Offsetof(run.events),
	} {
		out = append(out, fmt.Sprint(n))
	}
	for _, request := range []uintptr{
		kvmGetAPIVersion, kvmCreateVM, kvmGetMSRIndexList, kvmCheckExtension, kvmGetVCPUMmapSize, kvmGetSupportedCPUID,
		kvmCreateVCPU, kvmSetUserMemoryRegion, kvmSetTSSAddr, kvmRun, kvmGetRegs, kvmSetRegs, kvmGetSregs, kvmSetSregs,
		kvmGetMSRs, kvmSetMSRs, kvmSetCPUID2, kvmGetMPState, kvmSetMPState, kvmGetVCPUEvents, kvmSetVCPUEvents,
		kvmGetDebugRegs, kvmSetDebugRegs, kvmGetTSCKHz, kvmEnableCap, kvmGetXSave, kvmSetXSave, kvmGetXCRs, kvmSetXCRs,
		kvmGetXSave2, kvmSetMSRFilter, kvmSetDeviceAttr, kvmGetDeviceAttr, kvmHasDeviceAttr,
		uintptr(exitDirtyRingFull), uintptr(capEnforcePVFeatureCPUID), uintptr(capDisableQuirks2),
	} {
		out = append(out, fmt.Sprintf("%#x", request))
	}
	return out
}
