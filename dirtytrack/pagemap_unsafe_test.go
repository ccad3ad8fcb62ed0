package dirtytrack

import (
	"testing"
	"unsafe"
)

func TestPagemapStructSizes(t *testing.T) {
	if n := unsafe.Sizeof(scanArg{}); n != 96 {
		t.Errorf("struct pm_scan_arg is %d bytes, want 96", n)
	}
	if n := unsafe.Sizeof(pageRegion{}); n != 24 {
		t.Errorf("struct page_region is %d bytes, want 24", n)
	}
	if ioctlPagemapScan != 0xc0606610 {
		t.Errorf("PAGEMAP_SCAN is %#x, want 0xc0606610", uint(ioctlPagemapScan))
	}
}
