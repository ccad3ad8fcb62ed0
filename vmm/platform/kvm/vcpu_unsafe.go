package kvm

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// runPageOf casts the vCPU's mapping to struct kvm_run, and its first word to
// an atomic, since Kick sets immediate_exit while the kernel reads it.
func runPageOf(mapping []byte) (*runPage, *atomic.Uint32, error) {
	if uintptr(len(mapping)) < unsafe.Sizeof(runPage{}) {
		return nil, nil, fmt.Errorf("run page of %d bytes: need at least %d", len(mapping), unsafe.Sizeof(runPage{}))
	}
	p := unsafe.Pointer(unsafe.SliceData(mapping))
	return (*runPage)(p), (*atomic.Uint32)(p), nil
}

// addressOf returns the host address of mem, for the kernel.
func addressOf(mem []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
}

// attrOf points a device attribute at its value.
func attrOf(group uint32, attr uint64, value *uint64) deviceAttr {
	return deviceAttr{group: group, attr: attr, addr: uint64(uintptr(unsafe.Pointer(value)))}
}

// setMSRFilter lets guests of a VM use some MSRs and no others.
func (h handle) setMSRFilter(allowed []msrRange) error {
	f := &msrFilter{flags: msrFilterDefaultDeny}
	var bitmaps [len(f.ranges)][]byte
	for i, r := range allowed {
		bitmaps[i] = bytes.Repeat([]byte{0xff}, int(r.count+7)/8)
		f.ranges[i] = msrFilterRange{flags: msrFilterRead | msrFilterWrite, count: r.count, base: r.first,
			bitmap: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(bitmaps[i]))))}
	}
	_, err := callPtr(h, "KVM_X86_SET_MSR_FILTER", kvmSetMSRFilter, f)
	runtime.KeepAlive(&bitmaps)
	return err
}
