package process

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"seuss/vmm/internal/host"
)

// The XSAVE area, Intel SDM vol. 1, 13.4, and the state after initialisation.
const (
	xFCW      = 0
	xMXCSR    = 24
	xMask     = 28 // MXCSR_MASK
	xLegacy   = 160
	xYMMEnd   = 416
	xSoftware = 464 // left to software: the kernel's signal frames use it
	xHeader   = 512
	xEnd      = 576

	initFCW   = 0x37f
	initMXCSR = 0x1f80
)

// component is a part of the area behind the header.
type component struct{ bit, off, size int }

// componentsOf returns the parts for the bits of XCR0, by place.
func componentsOf(cpuid host.CPUIDFunc, xcr0 uint64) (out []component) {
	for rest := xcr0 &^ 3; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros64(rest)
		size, off, _, _ := cpuid(host.LeafXSave, uint32(bit))
		out = append(out, component{bit, int(off), int(size)})
	}
	slices.SortFunc(out, func(a, b component) int { return a.off - b.off })
	return out
}

// canonical makes two areas with the same meaning the same bytes: a component
// in its initial state, which XSAVE need not write, holds that state.
func canonical(x []byte, xcr0 uint64, parts []component) {
	clear(x[xSoftware:xHeader])
	present := binary.LittleEndian.Uint64(x[xHeader:]) & xcr0
	binary.LittleEndian.PutUint64(x[xHeader:], present)
	clear(x[xHeader+8 : xEnd])
	if present&1 == 0 { // x87
		clear(x[:xMXCSR])
		binary.LittleEndian.PutUint16(x[xFCW:], initFCW)
		clear(x[xMask+4 : xLegacy])
	}
	if present&2 == 0 { // SSE; MXCSR goes with AVX as well
		clear(x[xLegacy:xYMMEnd])
	}
	if present&6 == 0 {
		binary.LittleEndian.PutUint32(x[xMXCSR:], initMXCSR)
	}
	clear(x[xYMMEnd:xSoftware])
	end := xEnd
	for _, c := range parts {
		lo, hi := min(c.off, len(x)), min(c.off+c.size, len(x))
		clear(x[min(end, lo):lo]) // a gap
		if present>>c.bit&1 == 0 {
			clear(x[lo:hi])
		}
		end = max(end, hi)
	}
	clear(x[end:])
}
