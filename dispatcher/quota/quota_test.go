package quota

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/sched"
)

func TestCheck(t *testing.T) {
	q := access.Quota{Functions: 2, CodeBytes: 100, NodeBytes: 1000}
	for want, u := range map[string]Use{"": {2, 100, 1000}, "functions": {3, 0, 0}, "bytes of code": {0, 101, 0}, "bytes of snapshots": {0, 0, 1001}} {
		err := u.Check("alice", q)
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, ErrExceeded) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "alice")) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if err := (Use{1 << 30, 1 << 60, 1 << 60}).Check("alice", access.Quota{}); err != nil {
		t.Error(err)
	}
}

func reason(err error) sched.Reason {
	var refused *sched.RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

func TestInstances(t *testing.T) {
	b := NewBook(func(owner string) access.Quota { return map[string]access.Quota{"alice": {Instances: 2}}[owner] })
	first, err := b.Enter("alice")
	second, err2 := b.Enter("alice")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if _, err := b.Enter("alice"); reason(err) != sched.OwnerInstances {
		t.Errorf("a third one: %v", err)
	}
	for range 5 {
		if leave, err := b.Enter("bob"); leave != nil || err != nil {
			t.Error("who has no quota is counted", err)
		}
	}
	first(time.Hour) // without a quota of time it costs nothing
	third, err := b.Enter("alice")
	if err != nil {
		t.Fatal(err)
	}
	second(0)
	third(0)
	var none *Book
	if leave, err := none.Enter("alice"); leave != nil || err != nil {
		t.Error("no book")
	}
}

// TestTime: half a machine's time, of a minute at once at most.
func TestTime(t *testing.T) {
	b := NewBook(func(string) access.Quota { return access.Quota{MachinePct: 50} })
	now := time.Unix(1000, 0)
	b.now = func() time.Time { return now }
	use := func(took time.Duration) error {
		leave, err := b.Enter("alice")
		if err == nil {
			leave(took)
		}
		return err
	}
	if err := use(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := use(15 * time.Second); err != nil { // 5 s more than there are
		t.Fatal(err)
	}
	err := use(0)
	var refused *sched.RefusedError
	if !errors.As(err, &refused) || refused.Reason != sched.OwnerTime || refused.RetryAfter != 10*time.Second {
		t.Fatalf("%+v", err)
	}
	now = now.Add(11 * time.Second)
	if err := use(time.Second); err != nil {
		t.Error(err)
	}
	now = now.Add(time.Hour)
	if err := use(30 * time.Second); err != nil {
		t.Error(err)
	}
	if err := use(0); reason(err) != sched.OwnerTime {
		t.Error("an hour's rest is more than a minute's time")
	}
}

func TestManyOwners(t *testing.T) {
	b := NewBook(func(string) access.Quota { return access.Quota{Instances: 1} })
	now := time.Unix(1000, 0)
	b.now = func() time.Time { return now }
	for i := range 3 * maxOwners {
		now = now.Add(time.Second)
		leave, err := b.Enter(fmt.Sprint("owner", i))
		if err != nil {
			t.Fatal(err)
		}
		leave(0)
	}
	if len(b.owners) > maxOwners {
		t.Errorf("%d owners are remembered", len(b.owners))
	}
}
