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

	"seuss/dispatcher/functions"
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
	noteBytes          = 64 // for a note after these
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
	Error     string     `json:"error,omitempty"` // of the last failure, at most 2 KiB and a note
}

// GivenUp is an event that is not tried any more.
type GivenUp struct {
	Status
	FunctionID string `json:"function_id,omitempty"`

	key uint64 // in the journal: that of the event
}

// cutError leaves maxErrorBytes, and a note where that is not all. What it has cut it does
// not cut again.
func cutError(text string) string {
	if len(text) <= maxErrorBytes+noteBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorBytes], "") + fmt.Sprintf(" [%d bytes were cut]", len(text)-maxErrorBytes)
}

// failed counts the failure of so many attempts; again is 0 if there is no further one.
func (q *Queue) failed(e *queued, err error, tried int, again time.Duration, rules Rules) {
	q.mu.Lock()
	e.failures += tried
	e.lastErr = cutError(err.Error())
	if again == 0 {
		e.state = Ended
	}
	q.mu.Unlock()
	if q.o.Failed != nil {
		q.o.Failed(Failure{e.Event, e.failures, rules.Attempts, again, err})
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

// bound drops what is too much: of the owner who has most, of his function that has most,
// the oldest.
func bound(list []GivenUp) (kept, dropped []GivenUp) {
	owners, counts := map[string]int{}, map[string]int{}
	for i := range list {
		owners[functions.OwnerOf(list[i].Function)]++
		counts[functions.BaseName(list[i].Function)]++
	}
	for {
		over := most(counts, func(name string) bool { return counts[name] > MaxGivenUpFunction })
		if over == "" && len(list) > MaxGivenUp {
			owner := most(owners, func(string) bool { return true })
			over = most(counts, func(name string) bool { return functions.OwnerOf(name) == owner })
		}
		if over == "" {
			return list, dropped
		}
		i := slices.IndexFunc(list, func(g GivenUp) bool { return functions.BaseName(g.Function) == over })
		dropped = append(dropped, list[i])
		list = slices.Delete(list, i, i+1)
		owners[functions.OwnerOf(over)]--
		counts[over]--
	}
}

// most returns which of some has the highest count, "" of none.
func most(counts map[string]int, of func(string) bool) (name string) {
	for other, n := range counts {
		if of(other) && (name == "" || n > counts[name] || n == counts[name] && other < name) {
			name = other
		}
	}
	return name
}

// List returns the events of a function, by its name and its identity, that are not done,
// and those that were given up: oldest first. A qualifier in the name leaves those whose
// caller named it.
func (q *Queue) List(name, id string) []Status {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := []Status{}
	for e := range q.events {
		if e.FunctionID == id && named(e.Function, name) {
			list = append(list, e.status())
		}
	}
	return sorted(append(list, ofFunction(q.given, name, id)...))
}

// named: what its caller named so is meant by a name.
func named(function, name string) bool {
	const latest = ":$LATEST" // stands for no qualifier
	if functions.BaseName(name) == name {
		return functions.BaseName(function) == name
	}
	return strings.TrimSuffix(function, latest) == strings.TrimSuffix(name, latest)
}

func (e *queued) status() Status {
	s := Status{RequestID: e.RequestID, Function: e.Function, State: cmp.Or(e.state, Queued), Accepted: e.accepted, Failures: e.failures, Error: e.lastErr}
	if e.state == Retry {
		next := e.next
		s.Next = &next
	}
	return s
}

func ofFunction(given []GivenUp, name, id string) (list []Status) {
	for _, g := range given {
		if g.FunctionID == id && named(g.Function, name) {
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
func ReadJournal(path, name, id string) ([]Status, error) {
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return []Status{}, nil // no service has come as far as making one
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("journal of asynchronous events %s: %w", path, err)
	}
	j := &Journal{db}
	defer db.Close()
	if err := db.View(checkVersion); err != nil {
		return nil, fmt.Errorf("journal of asynchronous events %s: %w", path, err)
	}
	waiting, _, err := j.load()
	if err != nil {
		return nil, err
	}
	list := []Status{}
	for _, e := range waiting {
		if e.FunctionID == id && named(e.Function, name) {
			list = append(list, e.status())
		}
	}
	given, err := j.givenUp()
	return sorted(append(list, ofFunction(given, name, id)...)), err
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
