package members

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"seuss/dispatcher/cluster/held"
)

// clock is a time that the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newTable(c *clock) *Table {
	c.at = time.Now()
	return NewTable("self", 1, c.now)
}

func stateOf(t *testing.T, table *Table, name string) State {
	t.Helper()
	m, err := table.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return m.State
}

// TestWhoIsSilentIsGone: within five seconds of its last beat, whatever its own clock says,
// and it is here again with its next one.
func TestWhoIsSilentIsGone(t *testing.T) {
	var c clock
	table := newTable(&c)
	skewed := &Beat{Member: "a", Life: 7, Started: c.at.Add(100 * time.Hour)}
	if err := table.Hear(skewed); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		passes time.Duration
		want   State
	}{{0, Here}, {GoneAfter - 1, Here}, {1, Gone}, {time.Hour, Gone}} {
		c.at = c.at.Add(step.passes)
		if got := stateOf(t, table, "a"); got != step.want {
			t.Errorf("after %v more: %s, want %s", step.passes, got, step.want)
		}
	}
	if GoneAfter+BeatEvery > 5*time.Second {
		t.Error("a member is seen gone later than after five seconds")
	}
	if err := table.Hear(skewed); err != nil || stateOf(t, table, "a") != Here {
		t.Errorf("it does not come back: %v", err)
	}
	c.at = c.at.Add(ForgetAfter + 1)
	if list := table.List(); len(list) != 0 {
		t.Errorf("it is never forgotten: %v", list)
	}
}

// TestNamesAreTakenOnce: who has a name keeps it while he is heard; a member that is started
// again, where it was, has its name at once.
func TestNamesAreTakenOnce(t *testing.T) {
	var c clock
	table := newTable(&c)
	if err := table.Hear(&Beat{Member: "self", Life: 2}); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	first, other := &Beat{Member: "a", Life: 2, Address: "x:1"}, &Beat{Member: "a", Life: 3, Address: "y:1"}
	if err := table.Hear(first); err != nil {
		t.Error(err)
	}
	if err := table.Hear(other); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	if err := table.Hear(&Beat{Member: "a", Life: 4, Address: "x:1"}); err != nil {
		t.Errorf("started again: %v", err)
	}
	c.at = c.at.Add(GoneAfter)
	if err := table.Hear(other); err != nil {
		t.Errorf("the name of one that is gone: %v", err)
	}
}

// TestLeaving: who says that he leaves gets nothing new, and his successor is taken at once.
func TestLeaving(t *testing.T) {
	var c clock
	table := newTable(&c)
	for _, b := range []Beat{{Member: "a", Life: 2}, {Member: "a", Life: 2, Leaving: true}, {Member: "a", Life: 2}} {
		if err := table.Hear(&b); err != nil {
			t.Error(err)
		}
	}
	m, err := table.Get("a")
	if err != nil || m.State != Leaving || m.Usable() {
		t.Errorf("%+v, %v", m, err)
	}
	if err := table.Hear(&Beat{Member: "a", Life: 3, Address: "elsewhere:1"}); err != nil || stateOf(t, table, "a") != Here {
		t.Error(err)
	}
}

func TestUnknownAndTooMany(t *testing.T) {
	var c clock
	table := newTable(&c)
	if _, err := table.Get("nobody"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	for n := range MaxMembers {
		if err := table.Hear(&Beat{Member: fmt.Sprint("m", n), Life: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Hear(&Beat{Member: "more", Life: 1}); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if got := len(table.List()); got != MaxMembers {
		t.Error(got)
	}
}

// FuzzDecode: whatever is heard, a beat is whole or refused by name.
func FuzzDecode(f *testing.F) {
	b := Beat{Member: "a", Life: 1 << 60, Load: Load{Slots: 3}}
	whole, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(whole), "", "{}", `{"member":"a.b","life":"1"}`, `{"member":"a","life":"0"}`, `{"member":"a","life":"1","load":{"slots":-1}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		b, err := Decode(message)
		if err != nil {
			if !errors.Is(err, ErrBeat) {
				t.Fatal(err)
			}
			return
		}
		again, err := b.Encode()
		if err != nil || !ValidName(b.Member) || b.Life == 0 || b.Load.Slots < 0 {
			t.Fatalf("%+v, %v", b, err)
		}
		if len(again) <= MaxBeatBytes {
			if _, err := Decode(again); err != nil {
				t.Fatalf("%s: %v", again, err)
			}
		}
	})
}

// TestHeld: what a member holds stays known where a beat does not repeat it, ends with its
// process, and is refused where it is no filter.
func TestHeld(t *testing.T) {
	var c clock
	table := newTable(&c)
	key := held.KeyOf("f", "code")
	knows := func() bool {
		m, err := table.Get("a")
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Held.Filter) > 0 {
			t.Error("the filter is listed")
		}
		return m.Holds.Has(key)
	}
	hear := func(life uint64, filter []byte) error {
		message, err := (&Beat{Member: "a", Life: life, Held: Held{1, filter}}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := Decode(message)
		if err != nil {
			t.Fatal(err)
		}
		return table.Hear(b)
	}
	full := make([]held.Key, held.MaxFunctions)
	full[0] = key
	for _, filter := range [][]byte{held.New(full).Encode(), nil} {
		if err := hear(1, filter); err != nil || !knows() {
			t.Errorf("not known: %v", err)
		}
	}
	if err := hear(1, []byte("no filter")); !errors.Is(err, ErrBeat) {
		t.Error(err)
	}
	if err := hear(1, held.New(nil).Encode()); err != nil || knows() {
		t.Errorf("it still holds it: %v", err)
	}
	if err := errors.Join(hear(1, held.New(full).Encode()), hear(2, nil)); err != nil || knows() {
		t.Errorf("another process holds it: %v", err)
	}
}
