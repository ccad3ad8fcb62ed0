package keyed

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestKeyedLocks(t *testing.T) {
	var k Locks
	ctx := context.Background()
	unlockA, err := k.Lock(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	unlockB, err := k.Lock(ctx, "b") // waits for nobody
	if err != nil {
		t.Fatal(err)
	}
	unlockB()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := k.Lock(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("waited for a lock that is held: %v", err)
	}
	// However many want it, one has it at a time, and in the end it is forgotten.
	var wg sync.WaitGroup
	holders, most := 0, 0
	for range 50 {
		wg.Go(func() {
			unlock, err := k.Lock(ctx, "a")
			if err != nil {
				t.Error(err)
				return
			}
			holders++ // the race detector looks on
			most = max(most, holders)
			holders--
			unlock()
		})
	}
	unlockA()
	wg.Wait()
	if most != 1 || len(k.held) != 0 {
		t.Errorf("%d holders at a time, %d locks are left", most, len(k.held))
	}
}
