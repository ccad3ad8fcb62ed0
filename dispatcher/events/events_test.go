package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"

	"seuss/dispatcher"
)

func journalAt(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestEventsOutliveTheService: what was accepted and is not done when a service
// ends is run by the next one, a failure's count included; what is done is not.
func TestEventsOutliveTheService(t *testing.T) {
	f := newFake(t)
	f.put(t, "echo")
	path := filepath.Join(t.TempDir(), "events.db")
	var mu sync.Mutex
	var ran []string
	block := make(chan struct{})
	f.invoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if string(r.Event) == `"fails"` {
			return &dispatcher.Result{Error: &dispatcher.FunctionError{Type: "E"}}, nil
		}
		if string(r.Event) != `"first"` {
			select {
			case <-block:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, string(r.Event))
		return &dispatcher.Result{}, nil
	}
	s := New(Options{Backend: f, Journal: journalAt(t, path)})
	add := func(event string) {
		t.Helper()
		if err := s.events.add(dispatcher.Request{Function: "echo", Event: []byte(event), RequestID: event, ClientContext: []byte(`{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	add(`"first"`)
	add(`"fails"`)
	for s.events.length() > 1 { // "first" is done
		time.Sleep(time.Millisecond)
	}
	for n := range 30 {
		add(fmt.Sprint(n))
	}
	for s.events.active() != 30 { // "fails" waits for its second attempt
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	j := journalAt(t, path)
	left, damaged, err := j.load()
	if err != nil || damaged != 0 || len(left) != 31 {
		t.Fatalf("%d are left, %d damaged, %v", len(left), damaged, err)
	}
	if e := left[0]; e.failures != 1 || e.request.RequestID != `"fails"` || string(e.request.ClientContext) != `{"a":1}` || time.Since(e.accepted) < 0 {
		t.Errorf("%+v", e)
	}
	close(block)
	s = New(Options{Backend: f, Journal: j})
	for s.events.active() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{`"first"`}
	for n := range 30 {
		want = append(want, fmt.Sprint(n))
	}
	slices.Sort(want)
	slices.Sort(ran)
	if !slices.Equal(ran, want) {
		t.Errorf("ran %v", ran)
	}
	j = journalAt(t, path)
	defer j.close()
	if left, _, err = j.load(); err != nil || len(left) != 1 || left[0].failures != 2 {
		t.Errorf("%v, %d are left: the one that failed twice waits for its third attempt", err, len(left))
	}
}

func (q *eventQueue) active() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// TestJournalRefused: an event that could not be stored was not accepted, and a
// file that is no journal is left alone.
func TestJournalRefused(t *testing.T) {
	f := newFake(t)
	f.put(t, "echo")
	j := journalAt(t, filepath.Join(t.TempDir(), "events.db"))
	s := New(Options{Backend: f, Journal: j})
	j.db.Close()
	if err := s.events.add(dispatcher.Request{Function: "echo", Event: []byte("1")}); !errors.Is(err, bolterrors.ErrDatabaseNotOpen) || s.events.length() != 0 {
		t.Errorf("%v, %d", err, s.events.length())
	}
	s.Close(t.Context())
	if _, err := OpenJournal(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
}

// FuzzJournalRecord: a record that was damaged on disk is refused or is an event.
func FuzzJournalRecord(f *testing.F) {
	f.Add([]byte(`{"function":"f","event":{"a":1},"request_id":"r","accepted":"2026-01-02T03:04:05Z","failures":1}`))
	f.Add([]byte(`{"function":"f","event":null,"failures":-1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeRecord(b)
		if err == nil && (e.request.Function == "" || !json.Valid(e.request.Event) || e.failures < 0) {
			t.Errorf("%+v", e)
		}
	})
}

// BenchmarkJournal accepts events from 1 and from 64 clients at a time.
func BenchmarkJournal(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			j := journalAt(b, filepath.Join(b.TempDir(), "events.db"))
			defer j.close()
			b.SetParallelism(max(clients/2, 1))
			if clients == 1 {
				for b.Loop() {
					if err := j.put(&asyncEvent{request: dispatcher.Request{Function: "f", Event: []byte("1")}}); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := j.put(&asyncEvent{request: dispatcher.Request{Function: "f", Event: []byte("1")}}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
