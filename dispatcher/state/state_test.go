package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"
)

// open makes a session of a function, with rights such as "orders:rw".
func open(t *testing.T, s *Store, function string, rights ...string) *Session {
	t.Helper()
	r, err := ParseRights(rights)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.Open(Who{Owner: "ada", Function: function, Request: "r-" + function, Rights: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

func wants(t *testing.T, err, want error, says ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%v, want %v", err, want)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestValuesAreAsInAModel: random reads and writes do to a value what they do to a slice.
func TestValuesAreAsInAModel(t *testing.T) {
	const most = 5 * ChunkBytes
	s := New(Options{ValueBytes: most})
	defer s.Close()
	f := open(t, s, "f", "a:rw")
	r := rand.New(rand.NewSource(1))
	part := func(n int) []byte {
		p := make([]byte, r.Intn(n)+1)
		r.Read(p)
		return p
	}
	var model []byte
	set := false
	for n := range 1500 {
		p := part(2 * ChunkBytes / (1 + r.Intn(1000)))
		var m Meta
		var err error
		switch r.Intn(5) {
		case 0:
			m, err = f.Set("a/k", p, If{})
			model, set = bytes.Clone(p), true
		case 1, 2:
			if len(model)+len(p) > most {
				_, err := f.Append("a/k", p, If{})
				wants(t, err, ErrTooLarge)
				continue
			}
			m, err = f.Append("a/k", p, If{})
			model, set = append(model, p...), true
		case 3:
			at := r.Intn(most)
			if at+len(p) > most {
				_, err := f.SetRange("a/k", int64(at), p, If{})
				wants(t, err, ErrTooLarge)
				continue
			}
			m, err = f.SetRange("a/k", int64(at), p, If{})
			if end := at + len(p); end > len(model) {
				model = append(model, make([]byte, end-len(model))...)
			}
			copy(model[at:], p)
			set = true
		default:
			if !set {
				continue
			}
			at, want := r.Intn(len(model)+10), r.Intn(2*ChunkBytes)
			got, m, err := f.Get("a/k", int64(at), int64(want))
			if err != nil || m.Size != int64(len(model)) {
				t.Fatal(n, err, m)
			}
			at = min(at, len(model))
			if !bytes.Equal(got, model[at:min(at+want, len(model))]) {
				t.Fatalf("step %d: %d bytes from %d on are others", n, want, at)
			}
			continue
		}
		if err != nil || m.Size != int64(len(model)) {
			t.Fatal(n, err, m, len(model))
		}
	}
	if err := f.Delete("a/k", If{}); err != nil {
		t.Fatal(err)
	}
	if own, all := s.budget.used("ada"); own != 0 || all != 0 || len(s.budget.functions) != 0 {
		t.Errorf("what was deleted counts still: %d, %d, %v", own, all, s.budget.functions)
	}
}

// TestReadersKeepWhatTheyRead: appending in the room behind a chunk changes nothing for who
// reads the value of before.
func TestReadersKeepWhatTheyRead(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "a:rw")
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 500 {
				if n%2 == 0 {
					if _, err := f.Append("a/k", []byte("0123456789"), If{}); err != nil {
						t.Error(err)
					}
					continue
				}
				p, _, err := f.Get("a/k", 0, -1)
				if err == nil && (len(p)%10 != 0 || strings.ReplaceAll(string(p), "0123456789", "") != "") {
					t.Errorf("half of an append was read: %d bytes", len(p))
				}
			}
		})
	}
	wg.Wait()
}

func TestRightsByName(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "orders:rw", "models:r")
	none := open(t, s, "g")
	if _, err := f.Set("orders/a", []byte("x"), If{}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Set("models/a", nil, If{})
	wants(t, err, ErrForbidden, `"f" may only read "models"`, "--share models:rw")
	_, err = f.Lock(t.Context(), "models/a", false, 0)
	wants(t, err, ErrForbidden)
	_, _, err = f.Get("secrets/a", 0, 1)
	wants(t, err, ErrForbidden, "models, orders", "--share secrets:r")
	_, _, err = none.Get("orders/a", 0, 1)
	wants(t, err, ErrForbidden, "has no shares")
	_, _, err = none.List("orders/", "", 0)
	wants(t, err, ErrForbidden)
	wants(t, none.Until(t.Context(), "orders/a", nil), ErrForbidden)
	for _, key := range []string{"orders", "orders/", "/a", "or ders/a", "orders/a\n", "orders/\xff", "orders/" + strings.Repeat("a", MaxNameBytes+1), "../a/b"} {
		_, err := f.Set(key, nil, If{})
		wants(t, err, ErrKey)
	}
	other, err := s.Open(Who{Owner: "bob", All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, _, err = other.Get("orders/a", 0, 1)
	wants(t, err, ErrNotFound)
	for _, entries := range [][]string{{"a"}, {"a:w"}, {":r"}, {"a:r", "a:rw"}, {"a/b:r"}} {
		_, err := ParseRights(entries)
		wants(t, err, ErrKey)
	}
}

func TestConditions(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "a:rw")
	version := func(v uint64) If { return If{Version: &v} }
	m := must(f.Set("a/k", []byte("1"), version(0)))(t)
	_, err := f.Set("a/k", []byte("2"), version(0))
	wants(t, err, ErrChanged, fmt.Sprint("version ", m.Version))
	next := must(f.Set("a/k", []byte("2"), version(m.Version)))(t)
	_, err = f.Append("a/k", []byte("3"), version(m.Version))
	wants(t, err, ErrChanged)
	wants(t, f.Delete("a/k", version(m.Version)), ErrChanged)
	if err := f.Delete("a/k", version(next.Version)); err != nil {
		t.Fatal(err)
	}
	again := must(f.Set("a/k", nil, If{}))(t)
	if again.Version <= next.Version {
		t.Error("a key that was made anew has a version that was there before")
	}
}

func TestBudgets(t *testing.T) {
	s := New(Options{Bytes: 1 << 20, Host: "ada"})
	f, g := open(t, s, "f", "a:rw"), open(t, s, "g", "a:rw")
	_, err := f.Set("a/1", make([]byte, 900<<10), If{})
	wants(t, err, ErrFull, `function "f"`)
	if _, err := f.Set("a/1", make([]byte, 700<<10), If{}); err != nil {
		t.Fatal(err)
	}
	_, err = g.Set("a/2", make([]byte, 400<<10), If{})
	wants(t, err, ErrFull, "all state", "is the most")
	if _, err := g.Set("a/1", make([]byte, 100), If{}); err != nil { // less is always taken
		t.Fatal(err)
	}
	bob, err := s.Open(Who{Owner: "bob", All: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bob.Set("a/1", make([]byte, 900<<10), If{})
	wants(t, err, ErrFull, "owner")
	_, err = f.SetRange("a/1", 1<<40, []byte("x"), If{})
	wants(t, err, ErrTooLarge)
	_, err = f.SetRange("a/1", -1, []byte("x"), If{})
	wants(t, err, ErrRange)
	_, err = f.Set("a/1", make([]byte, MaxTransfer+1), If{})
	wants(t, err, ErrTooLarge, "in ranges")
}

func TestListIsPaged(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "a:rw", "ab:rw")
	for n := range 2500 {
		if _, err := f.Set(fmt.Sprintf("a/k%04d", n), nil, If{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Set("ab/k", nil, If{}); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for after, more := "", true; more; {
		var items []Item
		var err error
		if items, more, err = f.List("a/k", after, 999); err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			keys = append(keys, item.Key)
			after = item.Key
		}
	}
	if len(keys) != 2500 || keys[0] != "a/k0000" || keys[2499] != "a/k2499" {
		t.Errorf("%d keys, %v", len(keys), keys[:1])
	}
	if items, more, err := f.List("a/k01", "", 0); err != nil || more || len(items) != 100 {
		t.Error(len(items), more, err)
	}
}

func TestWatch(t *testing.T) {
	s := New(Options{})
	f := open(t, s, "f", "a:rw")
	seen := make(chan Meta, 1)
	watch := func(ctx context.Context, known uint64) {
		m, err := f.Watch(ctx, "a/k", known)
		if err != nil {
			t.Error(err)
		}
		seen <- m
	}
	go watch(t.Context(), 0)
	m := must(f.Set("a/k", []byte("x"), If{}))(t)
	if got := <-seen; got != m {
		t.Error(got, m)
	}
	go watch(t.Context(), m.Version)
	if err := f.Delete("a/k", If{}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got.Version != 0 {
		t.Error(got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := f.Watch(ctx, "a/k", 0)
	wants(t, err, context.DeadlineExceeded)
	// What is appended is read as it comes, and a value that is written anew is told.
	got := make(chan []byte, 1)
	go func() {
		p, _, err := f.ReadAppended(t.Context(), "a/log", 0)
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	must(f.Append("a/log", []byte("one"), If{}))(t)
	if p := <-got; string(p) != "one" {
		t.Errorf("%q", p)
	}
	_, _, err = f.ReadAppended(t.Context(), "a/log", 100)
	wants(t, err, ErrRange)
	for range maxWaits {
		go func() { _, _ = f.Watch(t.Context(), "a/k", 0) }()
	}
	for s.Stats("ada").Waiting < maxWaits {
		time.Sleep(time.Millisecond)
	}
	_, err = f.Watch(t.Context(), "a/k", 0)
	wants(t, err, ErrTooMany)
	f.Close()
	for s.Stats("ada").Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	if len(f.t.watches) > 0 {
		t.Error("watches outlive who watches")
	}
}
