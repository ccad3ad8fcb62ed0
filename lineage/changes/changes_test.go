package changes

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSince(t *testing.T) {
	var f Feed
	start := f.Now()
	if f.Since("a", start) || f.Any(start) {
		t.Error("something has changed in a new feed")
	}
	f.Changed("a")
	if !f.Since("a", start) || !f.Any(start) {
		t.Error("a change is not told")
	}
	after := f.Now()
	if f.Since("a", after) || f.Any(after) {
		t.Error("a change is told to who has read after it")
	}
	f.ChangedAll()
	for i := range 100 {
		if !f.Since(fmt.Sprint(i), after) {
			t.Fatalf("key %d has not changed with all", i)
		}
	}
}

// A change of one key is no change of most others.
func TestKeysAreToldApart(t *testing.T) {
	var f Feed
	g := f.Now()
	f.Changed("a")
	changed := 0
	for i := range 1000 {
		if f.Since(fmt.Sprint(i), g) {
			changed++
		}
	}
	if changed > 10 {
		t.Errorf("%d of 1000 other keys have changed", changed)
	}
}

func TestWait(t *testing.T) {
	var f Feed
	a, b := f.Wait(), f.Wait()
	select {
	case <-a:
		t.Fatal("closed before a change")
	default:
	}
	f.Changed("a")
	<-a
	<-b
	select {
	case <-f.Wait():
		t.Error("a new channel is closed already")
	default:
	}
}

func TestAskingAllocatesNothing(t *testing.T) {
	var f Feed
	f.Changed("a")
	if n := testing.AllocsPerRun(100, func() { f.Since("a", 0); f.Any(f.Now()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A cache that follows the rule of the package never keeps what is out of date.
func TestCacheIsNeverStale(t *testing.T) {
	var f Feed
	var stored, told atomic.Uint64 // a store of one value; what its changes have reported
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(20000) {
			stored.Store(i + 1)
			f.Changed("key")
			told.Store(i + 1)
		}
	})
	for range 3 {
		wg.Go(func() {
			var value uint64
			var g Generation
			for value < 20000 {
				least := told.Load()
				if f.Since("key", g) || g == 0 {
					g = f.Now()
					value = stored.Load()
				}
				if value < least {
					t.Errorf("the cache has %d after %d was reported", value, least)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSince(b *testing.B) {
	var f Feed
	f.Changed("other")
	for b.Loop() {
		f.Since("some-function", 0)
	}
}
