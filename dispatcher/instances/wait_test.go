package instances

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestComesOnce: what has come for an instance is said once, and is not forgotten where it could
// not be brought to a machine then.
func TestComesOnce(t *testing.T) {
	b := &bodies{steps: make(chan struct{}, 1000), comes: make(chan struct{}, 1)}
	k := newKeeper(t, b, Options{})
	c := &turns{}
	var refused atomic.Int32
	k.Admit(func(ctx context.Context, cancel context.CancelCauseFunc, owner, name string) (Turn, error) {
		if name == "one" && refused.Add(1) <= 3 {
			return nil, ErrBusy
		}
		return c.admit(ctx, cancel, owner, name)
	})
	refused.Store(3)
	create(t, k, "a", "one")
	refused.Store(0)
	b.comes <- struct{}{}
	select {
	case <-b.steps:
	case <-time.After(time.Minute):
		t.Error("what came is forgotten")
	}
}

// TestWaits: who waits for a state is told, whatever else is asked of the instance.
func TestWaits(t *testing.T) {
	b := &bodies{gate: make(chan struct{})}
	k := newKeeper(t, b, Options{})
	i := create(t, k, "a", "one")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually := func(so func() bool) {
		for ; ; time.Sleep(time.Millisecond) {
			i.mu.Lock()
			yes := so()
			i.mu.Unlock()
			if yes || ctx.Err() != nil {
				return
			}
		}
	}
	var wg sync.WaitGroup
	hold, x := "hold", "x"
	wg.Go(func() { i.Do(ctx, &Call{Code: &hold}) })
	if _, err := i.Wait(ctx, Running); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		wg.Go(func() { i.Do(ctx, &Call{Code: &x}) })
	}
	eventually(func() bool { return len(i.queue) == 50 })
	if _, err := i.Wait(ctx, Running); err != nil {
		t.Errorf("it runs, and more waits: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := i.Wait(ctx, Failed)
		ended <- err
	}()
	eventually(func() bool { return i.waiters != nil })
	close(b.gate)
	if err := <-ended; err != nil {
		t.Errorf("it has failed, and so has what waited: %v", err)
	}
	wg.Wait()
}
