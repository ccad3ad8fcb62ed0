package dispatcher

import (
	"testing"
	"time"

	"seuss/dispatcher/functions"
	"seuss/images"
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
		f := &function{image: &image{config: images.Config{MemoryBytes: 256 << 20}}, spec: functions.Function{Settings: functions.Settings{MemoryMiB: c.memoryMiB}}}
		if got := (&invocation{f: f}).memoryLimit(&target{pages: c.held}); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	s := &shell{}
	end := time.Now().Add(time.Hour)
	if !s.nextLook(end).Equal(end) || !s.nextLook(time.Time{}).IsZero() {
		t.Error("a run without a limit is interrupted")
	}
	s.memoryPages = 1
	if soon := time.Now().Add(memoryLook / 100); !s.nextLook(end).Before(end) || !s.nextLook(soon).Equal(soon) || s.nextLook(time.Time{}).IsZero() {
		t.Error("a run with a limit is not looked at in time")
	}
}
