// Package host asks the host's processor what platforms need to know: CPUID as
// unprivileged code sees it, the layout of the extended state, the frequency
// of the time-stamp counter. Sizes are bytes, frequencies kHz. There is nothing
// to own and no lock.
package host

import (
	"fmt"
	"math/bits"

	"seuss/vmm/internal/x86"
)

// LeafXSave is the leaf of CPUID about the extended state, Intel SDM vol. 1, 13.2.
const LeafXSave = 0xd

// Other leaves that are looked at here.
const (
	leafExtended = 0x80000000
	cpuidOSXSAVE = 1 << 27 // leaf 1, ECX
)

// CPUIDFunc returns the registers of a CPUID leaf.
type CPUIDFunc func(leaf, subleaf uint32) (a, b, c, d uint32)

// CPUID returns the host CPU's own CPUID, zeros for leaves that it lacks.
// Answers are remembered, since CPUID exits where the host is itself a guest.
func CPUID() CPUIDFunc {
	known := map[[2]uint32][4]uint32{}
	get := func(leaf, subleaf uint32) [4]uint32 {
		key := [2]uint32{leaf, subleaf}
		r, ok := known[key]
		if !ok {
			r[0], r[1], r[2], r[3] = x86.CPUID(leaf, subleaf)
			known[key] = r
		}
		return r
	}
	return func(leaf, subleaf uint32) (a, b, c, d uint32) {
		// A leaf above the largest returns the largest one's content (SDM).
		if leaf > get(leaf&leafExtended, 0)[0] {
			return 0, 0, 0, 0
		}
		r := get(leaf, subleaf)
		return r[0], r[1], r[2], r[3]
	}
}

// XCR0 returns the extended state components that the host has enabled, 0 if
// it has none.
func XCR0() uint64 {
	if _, _, c, _ := x86.CPUID(1, 0); c&cpuidOSXSAVE == 0 {
		return 0
	}
	return x86.XGETBV()
}

// XSaveBytes returns the size of an XSAVE area, standard format, for the given
// components, from their places in CPUID leaf 0xd.
func XSaveBytes(cpuid CPUIDFunc, components uint64) (uint32, error) {
	const legacyAndHeader = 512 + 64
	size := uint32(legacyAndHeader)
	for rest := components &^ 3; rest != 0; rest &= rest - 1 {
		component := uint32(bits.TrailingZeros64(rest))
		bytes, offset, _, _ := cpuid(LeafXSave, component)
		if bytes == 0 {
			return 0, fmt.Errorf("CPUID leaf %#x: XCR0 component %d has no place", LeafXSave, component)
		}
		size = max(size, offset+bytes)
	}
	return size, nil
}
