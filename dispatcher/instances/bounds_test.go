package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"seuss/dispatcher/instances/records"
)

// seals counts the bodies that are sealed at a time; each waits a little for the next.
type seals struct {
	now, most atomic.Int64
	all       atomic.Int64
}

func (b *body) Seal() (string, error) {
	b.seals.all.Add(1)
	now := b.seals.now.Add(1)
	defer b.seals.now.Add(-1)
	for most := b.seals.most.Load(); now > most && !b.seals.most.CompareAndSwap(most, now); most = b.seals.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return b.Node(), nil
}

// TestForkBounds: no more than MaxFork copies are made at a time, and an instance that does
// not come to where it can be forked is not.
func TestForkBounds(t *testing.T) {
	b := &bodies{gate: make(chan struct{})}
	k := newKeeper(t, b, Options{})
	i := create(t, k, "a", "one")
	for _, n := range []int{-1, 0, MaxFork + 1, 1 << 40} {
		if list, err := i.Fork(t.Context(), n, nil); !errors.Is(err, ErrInvalid) || len(list) > 0 {
			t.Errorf("%d copies: %d, %v", n, len(list), err)
		}
	}
	if list, err := i.Fork(t.Context(), MaxFork, nil); err != nil || len(list) != MaxFork || k.Stats().Instances != MaxFork+1 {
		t.Errorf("%d, %v", len(list), err)
	}
	k.forkTime = time.Millisecond
	held := make(chan error)
	go func() {
		code := "hold"
		_, err := i.Do(context.Background(), &Call{Code: &code})
		held <- err
	}()
	if _, err := i.Wait(t.Context(), Running); err != nil {
		t.Fatal(err)
	}
	if list, err := i.Fork(t.Context(), 1, nil); !errors.Is(err, ErrBusy) || k.Stats().Instances != MaxFork+1 {
		t.Errorf("it was forked in the middle of something: %v, %v", list, err)
	}
	b.gate <- struct{}{}
	<-held
}

// sealing are bodies that seal a node for their copies, which take little then.
type sealing struct{ *body }

func (s sealing) Fork(ctx context.Context, t Turn, names []string) ([]Body, error) {
	s.size = 10
	return s.body.Fork(ctx, t, names)
}

// TestForksOfMuch: copies count as what they take, not as what they would take if nothing was
// sealed for them.
func TestForksOfMuch(t *testing.T) {
	b := &bodies{size: 1000}
	whole := newKeeper(t, b, Options{Bytes: 10_000})
	if _, err := create(t, whole, "a", "one").Fork(t.Context(), 20, nil); !errors.Is(err, ErrTooMany) || whole.Stats().Instances != 1 || whole.Stats().Bytes != 1000 || b.closed.Load() != 20 {
		t.Errorf("%+v, %d closed, %v", whole.Stats(), b.closed.Load(), err)
	}
	k := New(Options{Bytes: 10_000, Make: func(ctx context.Context, owner string, s *Spec) (Body, error) {
		made, err := b.make(ctx, owner, s)
		if err != nil {
			return nil, err
		}
		return sealing{made.(*body)}, nil
	}})
	t.Cleanup(k.Close)
	if list, err := create(t, k, "a", "one").Fork(t.Context(), 20, nil); err != nil || len(list) != 20 || k.Stats().Bytes != 210 {
		t.Errorf("%d, %+v, %v", len(list), k.Stats(), err)
	}
}

// TestMaxPorts: so many connections of an instance are open at a time.
func TestMaxPorts(t *testing.T) {
	k := newKeeper(t, &bodies{}, Options{})
	i := create(t, k, "a", "one")
	var open []net.Conn
	for n := range MaxPorts + 1 {
		c, err := i.Dial(t.Context(), 80)
		if n == MaxPorts {
			if !errors.Is(err, ErrBusy) {
				t.Errorf("connection %d: %v", n+1, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := create(t, k, "a", "two").Dial(t.Context(), 80); err != nil {
		t.Errorf("another: %v", err)
	}
	open[3].Close()
	open[3].Close() // counts once
	for n := range 2 {
		if _, err := i.Dial(t.Context(), 80); (err == nil) != (n == 0) {
			t.Errorf("after one was closed, %d: %v", n, err)
		}
	}
}

// TestEndIsBounded: where the service ends in order, all that is to be kept is, a few at a time.
func TestEndIsBounded(t *testing.T) {
	b := &bodies{}
	k := newKeeper(t, b, Options{Records: filepath.Join(t.TempDir(), "instances")})
	if err := k.Restore(); err != nil {
		t.Fatal(err)
	}
	const count = 300
	for n := range count {
		create(t, k, "a", fmt.Sprint("n", n))
	}
	k.Close()
	if all, most := b.seals.all.Load(), b.seals.most.Load(); all != count || most > int64(runtime.GOMAXPROCS(0)) {
		t.Errorf("%d of %d are kept, %d at a time", all, count, most)
	}
}

// TestLostElsewhere: what is lost is rolled back to snapshots of its own image only, and of an
// instance that is paused durably it is known whether it was resumed.
func TestLostElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "instances")
	b := &bodies{image: "one"}
	restore := func() *Keeper {
		k := newKeeper(t, b, Options{Records: file})
		if err := k.Restore(); err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := restore()
	create(t, k, "a", "x")
	k.Close()
	b.fail = errors.New("the snapshot is gone")
	k = restore()
	i, err := k.Get("a", "x")
	if err != nil || i.Info().State != Failed {
		t.Fatalf("%+v, %v", i, err)
	}
	b.fail, b.image = nil, "another"
	if err := i.Rollback(t.Context(), "0"); !errors.Is(err, ErrInvalid) || i.Info().State != Failed || b.closed.Load() != 2 {
		t.Errorf("%v, %+v, %d bodies were closed", err, i.Info(), b.closed.Load())
	}
	b.image = "one"
	if err := i.Rollback(t.Context(), "0"); err != nil {
		t.Fatal(err)
	}
	for _, paused := range []bool{true, false, true} {
		if paused {
			err = i.Pause(t.Context(), true)
		} else {
			err = i.Resume(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		var r record
		if list, err := noted(file); err != nil || json.Unmarshal(list["a/x"], &r) != nil || r.Paused != paused || r.Kept == "" {
			t.Errorf("paused %v: %s, %v", paused, list["a/x"], err)
		}
	}
}

// noted is what is in a file of records, as after the service's death.
func noted(file string) (map[string]json.RawMessage, error) {
	list, _, err := records.Read(file)
	return list, err
}
