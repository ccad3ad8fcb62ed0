package process

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"seuss/vmm/internal/host"
)

// TestCanonical: what a component in its initial state has left in the area makes
// no difference, what one in use holds is kept, and twice is as good as once.
func TestCanonical(t *testing.T) {
	xcr0 := host.XCR0() &^ amx
	if xcr0&3 != 3 {
		t.Skip("the CPU or the host's kernel has no XSAVE")
	}
	parts := componentsOf(host.CPUID(), xcr0)
	size, err := host.XSaveBytes(host.CPUID(), xcr0)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	area := func(present uint64) []byte {
		x := make([]byte, max(minXSave, size))
		for i := range x {
			x[i] = byte(r.Uint32())
		}
		binary.LittleEndian.PutUint64(x[xHeader:], present)
		binary.LittleEndian.PutUint32(x[xMask:], 0x2ffff) // the processor's own
		canonical(x, xcr0, parts)
		return x
	}
	if a, b := area(0), area(0); !bytes.Equal(a, b) {
		t.Error("two initial states differ")
	} else if binary.LittleEndian.Uint32(a[xMXCSR:]) != initMXCSR || binary.LittleEndian.Uint16(a[xFCW:]) != initFCW {
		t.Errorf("initial state: MXCSR %#x, control word %#x", a[xMXCSR:xMXCSR+4], a[xFCW:xFCW+2])
	}
	a, b := area(xcr0), area(xcr0)
	for _, c := range parts {
		if bytes.Equal(a[c.off:c.off+c.size], b[c.off:c.off+c.size]) {
			t.Errorf("component %d in use was wiped", c.bit)
		}
	}
	again := bytes.Clone(a)
	canonical(again, xcr0, parts)
	if !bytes.Equal(a, again) {
		t.Error("the canonical form is not its own")
	}
}
