package events

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// State says where an event is on its way.
type State string

// The states.
const (
	Queued  State = "queued"
	Running State = "running"
	Retry   State = "retry" // it has failed, or was refused, and is tried again
	Ended   State = "given_up"
)

// Bounds of what is remembered of events that were given up.
const (
	MaxGivenUp         = 1000
	MaxGivenUpFunction = 100
	maxErrorBytes      = 2 << 10
)

// Status is an event as an operator sees it.
type Status struct {
	RequestID string     `json:"request_id"`
	Function  string     `json:"function"` // as its caller named it
	State     State      `json:"state"`
	Accepted  time.Time  `json:"accepted"`
	Failures  int        `json:"failures"`
	Next      *time.Time `json:"next,omitempty"`  // of a Retry: when
	Ended     *time.Time `json:"ended,omitempty"` // of one that was given up: when
	Error     string     `json:"error,omitempty"` // of the last failure, at most 2 KiB
}

// GivenUp is an event that is not tried any more.
type GivenUp struct {
	Status
	FunctionID string `json:"function_id,omitempty"`

	key uint64 // in the journal: that of the event
}

func cutError(text string) string {
	if len(text) <= maxErrorBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorBytes], "") + fmt.Sprintf(" [%d bytes were cut]", len(text)-maxErrorBytes)
}

// failed notes a failure; again is 0 if there is no further attempt.
func (q *Queue) failed(e *queued, err error, again time.Duration) {
	q.mu.Lock()
	e.lastErr = cutError(err.Error())
	if again == 0 {
		e.state = Ended
	}
	q.mu.Unlock()
	if q.o.Failed != nil {
		q.o.Failed(Failure{e.Event, e.failures, again, err})
	}
}

func (q *Queue) mark(e *queued, s State, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.state, e.next = s, next
}

// giveUp remembers an event that was given up; for one that was not it does nothing. It
// returns what is remembered, and what is not any more in its place.
func (q *Queue) giveUp(e *queued) (given *GivenUp, drop []GivenUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.state != Ended {
		return nil, nil
	}
	now := time.Now()
	given = &GivenUp{Status{RequestID: e.RequestID, Function: e.Function, State: Ended, Accepted: e.accepted, Failures: e.failures, Ended: &now, Error: e.lastErr}, e.FunctionID, e.key}
	q.given, drop = bound(append(q.given, *given))
	return given, drop
}

// bound drops what is too much: the oldest of the function that has most.
func bound(list []GivenUp) (kept, dropped []GivenUp) {
	counts := map[string]int{}
	for i := range list {
		counts[baseName(list[i].Function)]++
	}
	for {
		most := ""
		for name, n := range counts {
			if n > counts[most] || n == counts[most] && name < most {
				most = name
			}
		}
		if counts[most] <= MaxGivenUpFunction && len(list) <= MaxGivenUp {
			return list, dropped
		}
		i := slices.IndexFunc(list, func(g GivenUp) bool { return baseName(g.Function) == most })
		dropped = append(dropped, list[i])
		list = slices.Delete(list, i, i+1)
		counts[most]--
	}
}

// baseName is a function's name without what follows a colon.
func baseName(name string) string {
	name, _, _ = strings.Cut(name, ":")
	return name
}

// List returns the events of a function, by its name without a qualifier and its identity,
// that are not done, and those that were given up: oldest first.
func (q *Queue) List(function, id string) []Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := []Status{}
	for e := range q.events {
		if baseName(e.Function) == function && e.FunctionID == id {
			list = append(list, e.status())
		}
	}
	return sorted(append(list, ofFunction(q.given, function, id)...))
}

func (e *queued) status() Status {
	s := Status{RequestID: e.RequestID, Function: e.Function, State: cmp.Or(e.state, Queued), Accepted: e.accepted, Failures: e.failures, Error: e.lastErr}
	if e.state == Retry {
		next := e.next
		s.Next = &next
	}
	return s
}

func ofFunction(given []GivenUp, function, id string) (list []Status) {
	for _, g := range given {
		if baseName(g.Function) == function && g.FunctionID == id {
			list = append(list, g.Status)
		}
	}
	return list
}

func sorted(list []Status) []Status {
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(a.Accepted.Compare(b.Accepted), cmp.Compare(a.RequestID, b.RequestID))
	})
	return list
}

// ReadJournal is List for a journal that no service has open.
func ReadJournal(path, function, id string) ([]Status, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return []Status{}, nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("journal of asynchronous events %s: %w", path, err)
	}
	j := &Journal{db}
	defer db.Close()
	waiting, _, err := j.load()
	if err != nil {
		return nil, err
	}
	list := []Status{}
	for _, e := range waiting {
		if baseName(e.Function) == function && e.FunctionID == id {
			list = append(list, e.status())
		}
	}
	given, err := j.givenUp()
	return sorted(append(list, ofFunction(given, function, id)...)), err
}

// givenUp returns what is remembered of events that were given up. What cannot be read is
// left out.
func (j *Journal) givenUp() (list []GivenUp, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(givenUpBucket)
		if b == nil {
			return nil // an older service's
		}
		return b.ForEach(func(k, v []byte) error {
			if g, err := decodeGivenUp(v); err == nil && len(k) == 8 {
				g.key = binary.BigEndian.Uint64(k)
				list = append(list, g)
			}
			return nil
		})
	})
	list, _ = bound(list)
	return list, err
}

func decodeGivenUp(b []byte) (g GivenUp, err error) {
	if err := json.Unmarshal(b, &g); err != nil {
		return g, fmt.Errorf("an event that was given up: %w", err)
	}
	if g.State != Ended || g.Ended == nil || g.Failures < 0 {
		return g, fmt.Errorf("no event that was given up: %q", g.State)
	}
	g.Error = cutError(g.Error)
	return g, nil
}
