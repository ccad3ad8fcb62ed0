package x86

import "testing"

func TestTSCAdvances(t *testing.T) {
	for range 1000 {
		if a, b := TSC(), TSC(); b <= a {
			// Allowed only if the thread moved to another CPU in between; not a
			// thousand times in a row.
			continue
		}
		return
	}
	t.Error("the time-stamp counter stands still")
}

func TestCPUIDAndXCR0(t *testing.T) {
	if highest, b, _, _ := CPUID(0, 0); highest == 0 || b == 0 {
		t.Errorf("leaf 0: %d, %#x", highest, b)
	}
	if _, _, c, _ := CPUID(1, 0); c>>27&1 == 0 {
		t.Skip("the CPU or the host's kernel has no XSAVE")
	}
	if x := XGETBV(); x&3 != 3 {
		t.Errorf("XCR0 %#x", x)
	}
}
