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

// clock is a book's time.
type clock struct{ now time.Time }

func bookOf(limits func(string) access.Quota) (*Book, *clock) {
	b, c := NewBook(limits), &clock{time.Unix(1000, 0)}
	b.now = func() time.Time { return c.now }
	return b, c
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
		stay, err := b.Enter("bob")
		if stay != nil || err != nil {
			t.Error("who has no quota is counted", err)
		}
		stay.Begin()
		stay.Leave()
	}
	first.Leave()
	third, err := b.Enter("alice")
	if err != nil {
		t.Fatal(err)
	}
	second.Leave()
	third.Leave()
	var none *Book
	if stay, err := none.Enter("alice"); stay != nil || err != nil {
		t.Error("no book")
	}
}

// TestTime: half a machine's time, of a minute at once at most.
func TestTime(t *testing.T) {
	b, c := bookOf(func(string) access.Quota { return access.Quota{MachinePct: 50} })
	use := func(took time.Duration) error {
		stay, err := b.Enter("alice")
		if err == nil {
			stay.Begin()
			c.now = c.now.Add(took)
			stay.Leave()
		}
		return err
	}
	if err := use(40 * time.Second); err != nil { // of 30 s, and 20 more that come meanwhile
		t.Fatal(err)
	}
	if err := use(30 * time.Second); err != nil { // 5 s more than there are
		t.Fatal(err)
	}
	err := use(0)
	var refused *sched.RefusedError
	if !errors.As(err, &refused) || refused.Reason != sched.OwnerTime || refused.RetryAfter != 10*time.Second {
		t.Fatalf("%+v", err)
	}
	c.now = c.now.Add(11 * time.Second)
	if err := use(time.Second); err != nil {
		t.Error(err)
	}
	c.now = c.now.Add(time.Hour)
	if err := use(60 * time.Second); err != nil {
		t.Error(err)
	}
	if err := use(0); reason(err) != sched.OwnerTime {
		t.Error("an hour's rest is more than a minute's time")
	}
}

// TestTimeOfMany: what runs is counted while it runs, and its time is not given to others
// too: an owner has the machines that he may have, and few more, however long his
// invocations take and however many he starts at a time.
func TestTimeOfMany(t *testing.T) {
	for _, took := range []time.Duration{time.Millisecond, time.Second, time.Minute, 15 * time.Minute} {
		const machines, slots, ask = 2.5, 64, 100 * time.Millisecond
		b, c := bookOf(func(string) access.Quota { return access.Quota{MachinePct: 100 * machines} })
		type run struct {
			stay *Stay
			ends time.Time
		}
		var running []run
		var had time.Duration
		start, last := c.now, max(time.Hour, 10*took)
		for c.now.Sub(start) < last {
			for len(running) > 0 && !running[0].ends.After(c.now) {
				running[0].stay.Leave()
				running = running[1:]
			}
			for len(running) < slots {
				stay, err := b.Enter("alice")
				if err != nil {
					break
				}
				stay.Begin()
				running = append(running, run{stay, c.now.Add(took)})
				had += took
			}
			c.now = c.now.Add(max(ask, min(took, time.Second)))
		}
		// What is a minute's, and what was begun before it was known how long it takes.
		most := machines*(last+window).Seconds() + slots*took.Seconds()
		if got := had.Seconds(); got > most || took >= ask && got < 0.9*machines*last.Seconds() {
			t.Errorf("invocations of %v had %.0f s of machines in %.0f s, of %.0f", took, got, last.Seconds(), machines*last.Seconds())
		}
	}
}

// TestManyAtOnce: those that have been let in count before they have taken their time.
func TestManyAtOnce(t *testing.T) {
	b, c := bookOf(func(string) access.Quota { return access.Quota{MachinePct: 200} })
	first, err := b.Enter("alice")
	if err != nil {
		t.Fatal(err)
	}
	first.Begin()
	c.now = c.now.Add(10 * time.Minute)
	first.Leave()
	in := 0
	for ; in < 1000; in++ { // they wait, all of them
		if _, err := b.Enter("alice"); err != nil {
			break
		}
	}
	if in != 2 {
		t.Errorf("%d invocations that take ten minutes are let in at once, of an owner with two machines", in)
	}
}

// TestNoDebtWithoutTime: who has a quota of instances alone has no time to pay back when
// he is given one of time.
func TestNoDebtWithoutTime(t *testing.T) {
	q := access.Quota{Instances: 1}
	b, c := bookOf(func(string) access.Quota { return q })
	stay, err := b.Enter("alice")
	if err != nil {
		t.Fatal(err)
	}
	stay.Begin()
	c.now = c.now.Add(24 * time.Hour)
	stay.Leave()
	q.MachinePct = 1
	if stay, err = b.Enter("alice"); err != nil {
		t.Fatal(err)
	}
	stay.Leave()
}

// TestLargeQuotas: the most that a quota may say, after a rest of years.
func TestLargeQuotas(t *testing.T) {
	b, c := bookOf(func(string) access.Quota { return access.Quota{MachinePct: access.MaxMachinePct} })
	for range 3 {
		stay, err := b.Enter("alice")
		if err != nil {
			t.Fatal(err)
		}
		stay.Begin()
		c.now = c.now.Add(10 * 365 * 24 * time.Hour)
		stay.Leave()
	}
}

func TestManyOwners(t *testing.T) {
	for _, q := range []access.Quota{{Instances: 1}, {MachinePct: 10}} {
		b, c := bookOf(func(string) access.Quota { return q })
		for i := range 3 * maxOwners {
			c.now = c.now.Add(10 * time.Millisecond)
			stay, err := b.Enter(fmt.Sprint("owner", i))
			if err != nil {
				t.Fatal(err)
			}
			stay.Begin()
			c.now = c.now.Add(time.Millisecond)
			stay.Leave()
		}
		if len(b.owners) > maxOwners {
			t.Errorf("%d owners are remembered", len(b.owners))
		}
	}
	b, _ := bookOf(func(string) access.Quota { return access.Quota{Instances: 1} })
	for i := range 2 * maxOwners { // all of whom have something running
		if _, err := b.Enter(fmt.Sprint("owner", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Enter("owner0"); reason(err) != sched.OwnerInstances {
		t.Errorf("what runs was forgotten: %v", err)
	}
}
