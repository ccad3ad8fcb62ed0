package tasks

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestClose: what has begun is waited for, and nothing begins after that.
func TestClose(t *testing.T) {
	g := New()
	var done atomic.Bool
	begun := make(chan struct{})
	if !g.Background(func() {
		close(begun)
		<-g.Ends()
		done.Store(true)
	}) {
		t.Fatal("a new group takes no work")
	}
	if !g.Begin() {
		t.Fatal("a new group takes no work")
	}
	time.AfterFunc(time.Millisecond, g.End)
	<-begun
	g.Close()
	if !done.Load() || !g.Closing() {
		t.Errorf("closed before what ran had ended: %v, %v", done.Load(), g.Closing())
	}
	if g.Background(func() { t.Error("it runs") }) || g.Begin() {
		t.Error("a closed group takes work")
	}
}
