package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"seuss/dispatcher/sched"
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
	path := filepath.Join(t.TempDir(), "events.db")
	var mu sync.Mutex
	var ran []string
	block := make(chan struct{})
	run := func(ctx context.Context, e Event) error {
		if string(e.Payload) == `"fails"` {
			return errors.New("the function failed")
		}
		if string(e.Payload) != `"first"` {
			select {
			case <-block:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, string(e.Payload))
		return nil
	}
	q := New(Options{Run: unanswered(run), Journal: journalAt(t, path)})
	add := func(event string) {
		t.Helper()
		if err := q.Add(Event{Function: "echo", Payload: []byte(event), RequestID: event, ClientContext: []byte(`{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	add(`"first"`)
	add(`"fails"`)
	for q.Len() > 1 { // "first" is done
		time.Sleep(time.Millisecond)
	}
	for n := range 30 {
		add(fmt.Sprint(n))
	}
	for q.active() != 30 { // "fails" waits for its second attempt
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Close(ctx); err != nil {
		t.Error(err)
	}
	j := journalAt(t, path)
	left, damaged, err := j.load()
	if err != nil || damaged != 0 || len(left) != 31 {
		t.Fatalf("%d are left, %d damaged, %v", len(left), damaged, err)
	}
	if e := left[0]; e.failures != 1 || e.RequestID != `"fails"` || string(e.ClientContext) != `{"a":1}` || time.Since(e.accepted) < 0 {
		t.Errorf("%+v", e)
	}
	close(block)
	q = New(Options{Run: unanswered(run), Journal: j})
	for q.active() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := q.Close(t.Context()); err != nil {
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
	defer j.Close()
	if left, _, err = j.load(); err != nil || len(left) != 1 || left[0].failures != 2 {
		t.Errorf("%v, %d are left: the one that failed twice waits for its third attempt", err, len(left))
	}
}

func (q *Queue) active() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// TestAttempts: a failure is tried again and counted, a refusal is put off and is
// not, and what is permanent ends at once.
func TestAttempts(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name    string
		answers []error // the last one for ever
		want    int64   // attempts
	}{
		{"success", []error{nil}, 1},
		{"a failure, then success", []error{failed, nil}, 2},
		{"failures", []error{failed}, Attempts},
		{"refusals do not count", []error{&sched.RefusedError{RetryAfter: 1}, fmt.Errorf("run: %w", &sched.RefusedError{RetryAfter: 1}), failed}, 2 + Attempts},
		{"permanent", []error{fmt.Errorf("run: %w", Permanent(failed))}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var attempts atomic.Int64
			q := New(Options{Delay: func(int) time.Duration { return 1 }, Run: unanswered(func(context.Context, Event) error {
				n := attempts.Add(1)
				return c.answers[min(int(n), len(c.answers))-1]
			})})
			if err := q.Add(Event{Function: "f", Payload: []byte("1")}); err != nil {
				t.Fatal(err)
			}
			for q.Len() > 0 {
				time.Sleep(time.Millisecond)
			}
			if err := q.Close(t.Context()); err != nil || attempts.Load() != c.want {
				t.Errorf("%d attempts, want %d; %v", attempts.Load(), c.want, err)
			}
		})
	}
	if !errors.Is(Permanent(failed), failed) {
		t.Error("Permanent hides what failed")
	}
}

// TestQueueIsBounded: in number and in bytes, and closed for good.
func TestQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	q := New(Options{Run: unanswered(func(context.Context, Event) error { <-block; return nil })})
	large := make([]byte, MaxPayload)
	var refused *sched.RefusedError
	n := 0
	for ; ; n++ {
		if err := q.Add(Event{Function: "f", Payload: large}); err != nil {
			if !errors.As(err, &refused) || refused.Reason != OwnerFull {
				t.Error(err)
			}
			break
		}
	}
	if n != MaxPayloadBytes/MaxPayload/2 { // one owner's share
		t.Errorf("%d large events were taken", n)
	}
	close(block)
	if err := q.Close(t.Context()); err != nil || q.Len() != 0 {
		t.Error(q.Len(), err)
	}
	if err := q.Add(Event{Function: "f", Payload: []byte("1")}); !errors.As(err, &refused) || refused.Reason != sched.Draining {
		t.Error(err)
	}
}

// An owner who floods leaves room and workers for others, in events and in bytes; who comes
// then is run though none of the first one's ends.
func TestOwnersShareEvents(t *testing.T) {
	for name, payload := range map[string][]byte{"many": []byte("1"), "large": make([]byte, MaxPayload)} {
		t.Run(name, func(t *testing.T) {
			var loud, quiet, all atomic.Int64
			q := New(Options{Run: unanswered(func(ctx context.Context, e Event) error {
				if e.Function == "quiet/f" {
					quiet.Add(1)
					return nil
				}
				if e.Function == "loud/f" {
					loud.Add(1)
				}
				all.Add(1)
				<-ctx.Done()
				return context.Cause(ctx)
			})})
			fill := func(function string, payload []byte) (n int, reason sched.Reason) {
				for {
					err := q.Add(Event{Function: function, Payload: payload})
					var refused *sched.RefusedError
					if errors.As(err, &refused) {
						return n, refused.Reason
					}
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
			most := min(MaxEvents, MaxPayloadBytes/len(payload))
			if n, reason := fill("loud/f", payload); n != most/2 || reason != OwnerFull {
				t.Errorf("one owner has %d of %d events: %s", n, most, reason)
			}
			if n, reason := fill("loud/g:live", payload); n != 0 || reason != OwnerFull {
				t.Errorf("another function of his has %d: %s", n, reason)
			}
			if n, reason := fill("other", payload); n != most/4 || reason != OwnerFull {
				t.Errorf("the next owner has %d of %d events: %s", n, most, reason)
			}
			for _, f := range []string{"third/f", "fourth/f"} {
				if err := q.Add(Event{Function: f, Payload: payload}); err != nil {
					t.Error(err)
				}
			}
			for range 10 {
				if err := q.Add(Event{Function: "quiet/f", Payload: payload}); err != nil {
					t.Error(err)
				}
			}
			for end := time.Now().Add(time.Minute); (quiet.Load() < 10 || loud.Load() < ownerWorkers || all.Load() < 2*ownerWorkers+2) && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if quiet.Load() != 10 || loud.Load() != ownerWorkers || all.Load() != 2*ownerWorkers+2 {
				t.Errorf("%d of 10 ran; of the loud one's %d run, of all %d", quiet.Load(), loud.Load(), all.Load())
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := q.Close(ctx); err == nil || !strings.Contains(err.Error(), "are lost") {
				t.Error(err)
			}
		})
	}
}

// What is listed while events fail is whole: the race detector looks on.
func TestListWhileEventsFail(t *testing.T) {
	q := New(Options{Delay: func(int) time.Duration { return time.Microsecond }, Run: unanswered(func(context.Context, Event) error { return errors.New("no") })})
	for range 50 {
		if err := q.Add(Event{Function: "f", Payload: []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	for q.Len() > 0 {
		for _, s := range q.List("f", "") {
			if s.Failures < 0 || s.Failures > Attempts || (s.Failures == 0) != (s.Error == "") {
				t.Fatalf("%+v", s)
			}
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestJournalRefused: an event that could not be stored was not accepted, and a
// file that is no journal is left alone.
func TestJournalRefused(t *testing.T) {
	j := journalAt(t, filepath.Join(t.TempDir(), "events.db"))
	q := New(Options{Run: unanswered(func(context.Context, Event) error { return nil }), Journal: j})
	j.db.Close()
	if err := q.Add(Event{Function: "echo", Payload: []byte("1")}); !errors.Is(err, bolterrors.ErrDatabaseNotOpen) || q.Len() != 0 {
		t.Errorf("%v, %d", err, q.Len())
	}
	q.Close(t.Context())
	if _, err := OpenJournal(t.TempDir()); err == nil {
		t.Error("a directory was opened")
	}
}

// TestJournalOfAnotherRelease: events in a format that this program does not know are not
// passed over: the journal is refused by name, and nothing of it is changed.
func TestJournalOfAnotherRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("seuss events 99"))
		return errors.Join(err, b.Put([]byte("k"), []byte("v")))
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := OpenJournal(path); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "seuss events 99") || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", j, err)
	}
	if list, err := ReadJournal(path, "f", ""); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v", list, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("it was changed: %v", err)
	}
}

// A service that was killed while it made its journal has accepted nothing.
func TestJournalOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	check := func(what string) {
		if list, err := ReadJournal(path, "f", ""); err != nil || len(list) != 0 {
			t.Errorf("%s: %v, %v", what, list, err)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("empty")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	check("without buckets")
	if err := journalAt(t, path).Close(); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreCutOnce(t *testing.T) {
	for _, n := range []int{0, maxErrorBytes, maxErrorBytes + noteBytes, maxErrorBytes + noteBytes + 1, 1 << 20} {
		text := strings.Repeat("é", n)[:n]
		cut := cutError(text)
		if cutError(cut) != cut || len(cut) > maxErrorBytes+noteBytes {
			t.Errorf("%d bytes: %d, then %d", n, len(cut), len(cutError(cut)))
		}
	}
}

// What failed is listed with its error, what was given up too, by this service and the
// next, and for its own function alone; how much of it is bounded, fairly.
func TestGivenUpEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	var mu sync.Mutex
	var told []Failure
	o := Options{
		Run:   unanswered(func(_ context.Context, e Event) error { return fmt.Errorf("%s does not like it", e.Function) }),
		Delay: func(n int) time.Duration { return time.Duration(n) * time.Millisecond },
		Failed: func(f Failure) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, f)
		},
	}
	add := func(q *Queue, function, id string, n int) {
		t.Helper()
		for i := range n {
			if err := q.Add(Event{Function: function, FunctionID: id, Payload: []byte("1"), RequestID: fmt.Sprint(function, i)}); err != nil {
				t.Fatal(err)
			}
		}
		for q.Len() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	o.Journal = journalAt(t, path)
	q := New(o)
	add(q, "quiet:live", "1", 2)
	add(q, "loud", "1", MaxGivenUpFunction+20)
	check := func(list []Status, want int) {
		t.Helper()
		if len(list) != want {
			t.Errorf("%d, want %d", len(list), want)
		}
		for _, s := range list {
			if s.State != Ended || s.Failures != Attempts || s.Ended == nil || s.Error != s.Function+" does not like it" {
				t.Errorf("%+v", s)
			}
		}
	}
	check(q.List("quiet", "1"), 2)
	check(q.List("loud", "1"), MaxGivenUpFunction)
	check(q.List("loud", "2"), 0) // that was made anew
	if len(told) != Attempts*(MaxGivenUpFunction+22) || told[0].Again == 0 {
		t.Errorf("%d failures were told, first %+v", len(told), told[0])
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored, err := ReadJournal(path, "quiet", "1")
	if err != nil {
		t.Error(err)
	}
	check(stored, 2)
	o.Journal, o.Delay = journalAt(t, path), func(int) time.Duration { return time.Hour }
	q = New(o)
	check(q.List("loud", "1"), MaxGivenUpFunction)
	if err := q.Add(Event{Function: "quiet", FunctionID: "1", Payload: []byte("1"), RequestID: "new"}); err != nil {
		t.Fatal(err)
	}
	for q.active() > 0 {
		time.Sleep(time.Millisecond)
	}
	if list := q.List("quiet", "1"); len(list) != 3 || list[2].State != Retry || list[2].Next == nil || list[2].Failures != 1 || list[2].Error == "" {
		t.Errorf("%+v", list)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list, err := ReadJournal(path, "quiet", "1"); err != nil || len(list) != 3 || list[2].Error == "" || list[2].State != Queued {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := ReadJournal(path+".none", "quiet", "1"); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	all := make([]GivenUp, 0, 5000)
	for n := range 5000 {
		all = append(all, GivenUp{Status: Status{Function: fmt.Sprint("f", n%50)}})
	}
	kept, dropped := bound(append(all, GivenUp{Status: Status{Function: "rare"}}))
	if len(kept) != MaxGivenUp || len(dropped) != 4001 || kept[len(kept)-1].Function != "rare" {
		t.Errorf("%d are kept", len(kept))
	}
	// Many functions of one owner do not drive out those of another.
	all = make([]GivenUp, 0, MaxGivenUp+10)
	for range 10 {
		all = append(all, GivenUp{Status: Status{Function: "quiet/f"}})
	}
	for n := range MaxGivenUp {
		all = append(all, GivenUp{Status: Status{Function: fmt.Sprint("loud/f", n)}})
	}
	if kept, _ := bound(all); len(kept) != MaxGivenUp || kept[9].Function != "quiet/f" {
		t.Errorf("of %d that are kept the tenth is %s", len(kept), kept[9].Function)
	}
}

// FuzzGivenUp: the same for what is remembered of an event that was given up.
func FuzzGivenUp(f *testing.F) {
	f.Add([]byte(`{"request_id":"r","function":"f","state":"given_up","accepted":"2026-01-02T03:04:05Z","failures":3,"ended":"2026-01-02T03:04:05Z","error":"no"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := decodeGivenUp(b); err == nil && (g.Ended == nil || len(g.Error) > maxErrorBytes+64) {
			t.Errorf("%+v", g)
		}
	})
}

// FuzzJournalRecord: a record that was damaged on disk is refused or is an event.
func FuzzJournalRecord(f *testing.F) {
	f.Add([]byte(`{"function":"f","event":{"a":1},"request_id":"r","accepted":"2026-01-02T03:04:05Z","failures":1}`))
	f.Add([]byte(`{"function":"f","event":null,"failures":-1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeRecord(b)
		if err == nil && (e.Function == "" || !json.Valid(e.Payload) || e.failures < 0) {
			t.Errorf("%+v", e)
		}
	})
}

// BenchmarkJournal accepts events from 1 and from 64 clients at a time.
func BenchmarkJournal(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			j := journalAt(b, filepath.Join(b.TempDir(), "events.db"))
			defer j.Close()
			b.SetParallelism(max(clients/2, 1))
			if clients == 1 {
				for b.Loop() {
					if err := j.put(&queued{Event: Event{Function: "f", Payload: []byte("1")}}); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := j.put(&queued{Event: Event{Function: "f", Payload: []byte("1")}}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// unanswered makes a Run of what gives no answer.
func unanswered(run func(context.Context, Event) error) Run {
	return func(ctx context.Context, e Event) (Answer, error) { return Answer{}, run(ctx, e) }
}
