package dispatcher

import (
	"testing"

	"seuss/dispatcher/bounds"
	"seuss/dispatcher/instance"
)

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		memoryMiB int
		held      uint64 // pages
		want      uint64
	}{
		{0, 100, 0},   // none is set
		{256, 100, 0}, // the guest's own
		{512, 100, 0}, // more than that
		{128, 100, 32768 - 100},
		{128, 40000, 1}, // its snapshot alone is larger: it may not write at all
	} {
		f := &function{image: &image{Image: &instance.Image{MemoryBytes: 256 << 20}}, bounds: bounds.Function{MemoryMiB: c.memoryMiB}}
		if got := (&invocation{f: f}).memoryLimit(&instance.Snapshot{Pages: c.held}); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
