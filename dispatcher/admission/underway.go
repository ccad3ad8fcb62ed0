package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/inflight"
	"seuss/lineage"
)

// What waits and runs: invocations, and what Once does.

// ErrNotUnderWay: nothing of that id waits or runs.
var ErrNotUnderWay = errors.New("nothing of that request id waits or runs")

// Operation is what is under way.
type Operation string

// The operations.
const (
	Invoke  Operation = "invoke"
	Run     Operation = "run"    // code that is not deployed
	Deploy  Operation = "deploy" // a function is loaded and captured
	Capture Operation = "capture"
	Base    Operation = "base"
	Import  Operation = "import"
	Live    Operation = "instance" // what an instance that lives on is asked for
)

// Work is what Once does.
type Work struct {
	Operation Operation
	Function  string // its key, or an owner's with no name
	RequestID string
}

func (w *Work) state() inflight.State {
	if w.Operation == Run {
		return inflight.Running
	}
	return inflight.Capturing
}

type work struct {
	Work
	arrived  time.Time
	cancel   context.CancelCauseFunc
	progress inflight.Progress
}

// UnderWay is something that waits or runs. What is not known yet is left out.
type UnderWay struct {
	RequestID string    `json:"request_id"`
	Operation Operation `json:"operation"`
	Function  string    `json:"function"`        // with the version that runs
	Alias     string    `json:"alias,omitempty"` // by which it was asked for
	Owner     string    `json:"owner,omitempty"` // not the default one
	// Of what another function has called: the requests of its caller, and of the first of
	// its chain.
	Parent string    `json:"parent,omitempty"`
	Root   string    `json:"root,omitempty"`
	State  string    `json:"state"`          // waiting, running, capturing, parked
	Since  time.Time `json:"since"`          // when it was there with its event
	Began  time.Time `json:"began,omitzero"` // when its turn came
	// Where it started: the path, the node and its kind.
	Path dispatcher.StartPath `json:"path,omitempty"`
	Node string               `json:"node,omitempty"`
	Kind lineage.Kind         `json:"kind,omitempty"`
	// Machine is a number that no other machine of the daemon has had.
	Machine uint64 `json:"machine,omitempty"`
	// ChangedBytes is what it has changed of its machine's memory, at most, as of the last
	// look, which only functions with a limit of memory are given.
	ChangedBytes *uint64   `json:"changed_bytes,omitempty"`
	Deadline     time.Time `json:"deadline,omitzero"`
	LeftMS       *int64    `json:"left_ms,omitempty"` // until then; negative: it is about to be ended
}

// Bounds of Query.Most.
const (
	DefaultUnderWay = 1000
	MaxUnderWay     = 10_000
)

// Query asks for what is under way.
type Query struct {
	Wanted func(function string) bool // by the key of its deployment
	After  string                     // a Next; "": from the first on
	Most   int                        // 1 to MaxUnderWay
}

// key is the order in which things are listed.
type key struct {
	since int64
	id    string
}

func (k key) compare(l key) int {
	return cmp.Or(cmp.Compare(k.since, l.since), cmp.Compare(k.id, l.id))
}

func (k key) String() string { return strconv.FormatInt(k.since, 10) + "-" + k.id }

func parseKey(text string) (k key, err error) {
	since, id, ok := strings.Cut(text, "-")
	if k.since, err = strconv.ParseInt(since, 10, 64); err != nil || !ok {
		return k, fmt.Errorf("after %q: want what an answer has as next: %w", text, lineage.ErrInvalid)
	}
	k.id = id
	return k, nil
}

// found is one of them, before more is known of it than its place.
type found struct {
	key
	entry *Entry // or
	work  *work
}

// List lists what waits and runs, what has come first before the rest. total counts all
// that is wanted, and next, if it is not empty, is where the list goes on. It delays no
// request, whatever there is: what begins or ends meanwhile is in it or not.
func (c *Control) List(q Query) (list []UnderWay, total int, next string, err error) {
	if q.Most < 1 || q.Most > MaxUnderWay {
		return nil, 0, "", fmt.Errorf("limit %d is not 1 to %d: %w", q.Most, MaxUnderWay, lineage.ErrInvalid)
	}
	var after key
	if q.After != "" {
		if after, err = parseKey(q.After); err != nil {
			return nil, 0, "", err
		}
	}
	var all []found
	add := func(f found, function string) {
		if !q.Wanted(function) {
			return
		}
		total++
		if q.After == "" || f.compare(after) > 0 {
			all = append(all, f)
		}
	}
	for e := range c.entries.All() {
		add(found{key: key{e.times.arrived.UnixNano(), e.request.RequestID}, entry: e}, e.target.Name)
	}
	for w := range c.works.All() {
		add(found{key: key{w.arrived.UnixNano(), w.RequestID}, work: w}, w.Function)
	}
	slices.SortFunc(all, func(a, b found) int { return a.compare(b.key) })
	if len(all) > q.Most {
		all = all[:q.Most]
		next = all[q.Most-1].String()
	}
	now := time.Now()
	list = make([]UnderWay, len(all))
	for i, f := range all {
		list[i] = f.describe(now)
	}
	return list, total, next, nil
}

func (f *found) describe(now time.Time) UnderWay {
	u := UnderWay{RequestID: f.id, Since: time.Unix(0, f.since)}
	var seen inflight.Seen
	if e := f.entry; e != nil {
		u.Operation, u.Function, seen = Invoke, e.target.Name, e.progress.Look()
		if link := e.request.Link; link != nil {
			u.Parent, u.Root = link.Parent, link.Root
		}
		if e.asked != e.target.Name {
			_, u.Alias, _ = strings.Cut(e.asked, ":")
		}
	} else {
		u.Operation, u.Function, seen = f.work.Operation, f.work.Function, f.work.progress.Look()
	}
	u.State, u.Began, u.Machine, u.Deadline = seen.State.String(), seen.Began, seen.Machine, seen.Deadline
	if n := seen.Node; n != nil {
		u.Node, u.Kind, u.Path = n.Info.ID, n.Info.Kind, dispatcher.PathOf(n.Info.Kind)
	}
	if seen.Looked {
		bytes := seen.Pages * lineage.PageSize
		u.ChangedBytes = &bytes
	}
	if !seen.Deadline.IsZero() {
		left := seen.Deadline.Sub(now).Milliseconds()
		u.LeftMS = &left
	}
	return u
}

// Kill ends what waits or runs under a request's id, if it may be: what its caller gets is
// dispatcher.ErrKilled, or a result with an error that it is the cause of. The error is
// ErrNotUnderWay if there is no such request, if it is over, and if it may not be.
func (c *Control) Kill(id string, may func(function string) bool) error {
	for e := range c.entries.All() {
		if e.request.RequestID == id && may(e.target.Name) && e.progress.Kill() {
			return nil
		}
	}
	for w := range c.works.All() {
		if w.RequestID == id && may(w.Function) && w.progress.Kill() {
			w.cancel(dispatcher.ErrKilled)
			return nil
		}
	}
	return ErrNotUnderWay
}
