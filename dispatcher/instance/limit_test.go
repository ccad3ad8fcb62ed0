package instance

import (
	"testing"
	"time"
)

func TestMemoryIsLookedAt(t *testing.T) {
	i := &Instance{}
	end := time.Now().Add(time.Hour)
	if !i.nextLook(end).Equal(end) || !i.nextLook(time.Time{}).IsZero() {
		t.Error("a run without a limit is interrupted")
	}
	i.MemoryPages = 1
	if soon := time.Now().Add(memoryLook / 100); !i.nextLook(end).Before(end) || !i.nextLook(soon).Equal(soon) || i.nextLook(time.Time{}).IsZero() {
		t.Error("a run with a limit is not looked at in time")
	}
}
