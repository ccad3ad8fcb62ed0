// Package elsewhere passes invocations on to other members of the cluster, and runs what they
// pass on. An invocation goes straight to the chosen member, once: what a member was passed it
// runs or refuses. Who asked was let in, and his rights were checked, where he asked; quotas of
// owners and the limits of functions are those of the member that runs it.
//
// Units: bytes. Ownership: none.
//
// Locks: none.
package elsewhere

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/api"
	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/cluster/placement"
	"seuss/dispatcher/sched"
	"seuss/lineage"
)

const (
	path     = "/v1/invoke"
	headName = "Seuss-Invocation"
	// maxBodies bounds the events that other members have passed on, maxResult a result.
	maxBodies = 512 << 20
	maxResult = 64 << 20
	// tries is how many members are asked.
	tries = 2
	// fresh is how old a table of members may be.
	fresh = 100 * time.Millisecond
)

// Elsewhere is the other members for package admission.
type Elsewhere struct {
	cluster   *cluster.Cluster
	control   *admission.Control
	scheduler *sched.Scheduler
	sent      placement.Sent
	table     atomic.Pointer[dated]
	bodies    *semaphore.Weighted
}

type dated struct {
	*placement.Table
	at time.Time
}

// Start has a Control's invocations be passed on where that is better, and serves those of
// others. It is called before anybody is let in.
func Start(c *cluster.Cluster, control *admission.Control, scheduler *sched.Scheduler) *Elsewhere {
	e := &Elsewhere{cluster: c, control: control, scheduler: scheduler, bodies: semaphore.NewWeighted(maxBodies)}
	c.Peers().Handle("POST "+path, e.serve)
	control.PassOn(e)
	return e
}

// members returns a table that is fresh.
func (e *Elsewhere) members() *placement.Table {
	t := e.table.Load()
	if t == nil || time.Since(t.at) > fresh {
		t = &dated{placement.New(e.cluster.List(), &e.sent), time.Now()}
		e.table.Store(t)
	}
	return t.Table
}

// Better implements admission.Elsewhere: this member is cordoned, or who comes now would wait
// here and another member has room.
func (e *Elsewhere) Better(f *dispatcher.Deployment) bool {
	cordoned := e.cluster.Cordoned()
	if !cordoned && !e.scheduler.Busy() {
		return false
	}
	member, free := e.members().Choose(f.Base(), f.CodeDigest)
	return member != "" && (cordoned || free)
}

// Any implements admission.Elsewhere.
func (e *Elsewhere) Any() bool { return e.members().Len() > 0 }

// head says what is to be run.
type head struct {
	Function      string         `json:"function"`
	Code          string         `json:"code"` // its digest: a member that has other code does not run it
	RequestID     string         `json:"request_id"`
	ARN           string         `json:"arn,omitempty"`
	ClientContext []byte         `json:"client_context,omitempty"`
	How           api.Invocation `json:"how"` // without the event
	Deadline      time.Time      `json:"deadline,omitzero"`

	began bool // whoever runs it: its code did
}

// refusal is why a member has not run something, or what went wrong.
type refusal struct {
	api.Error
	Began bool `json:"began,omitempty"` // the code ran before that
}

// again reports whether another member may run it: this one has run nothing, and has no room,
// or not what the function needs.
func (r *refusal) again() bool {
	switch r.Code {
	case api.Refused, api.Unavailable, api.UnknownFunction, api.QuotaExceeded, api.NoImage, api.NotFound:
		return !r.Began
	}
	return false
}

// Invoke implements admission.Elsewhere. done reports whether a member has run it, or may have.
func (e *Elsewhere) Invoke(ctx context.Context, target *dispatcher.Deployment, r *dispatcher.Request) (result *dispatcher.Result, done bool, err error) {
	h := head{Function: target.Name, Code: target.CodeDigest, RequestID: r.RequestID, ARN: r.ARN, ClientContext: r.ClientContext, How: api.InvocationOf(*r), Deadline: r.Deadline}
	h.How.Event = nil
	text, err := json.Marshal(h)
	if err != nil {
		return nil, false, err
	}
	header := http.Header{headName: {base64.StdEncoding.EncodeToString(text)}}
	var tried []string
	for range tries {
		member, _ := e.members().Choose(target.Base(), target.CodeDigest, tried...)
		if member == "" {
			break
		}
		tried = append(tried, member)
		var sent bool
		result, sent, err = e.pass(ctx, member, header, r.Event)
		if sent || ctx.Err() != nil {
			e.cluster.Traffic.Passed.Add(1)
			return result, true, err
		}
	}
	return nil, false, err
}

// pass asks one member. sent reports whether the answer is the invocation's, or nobody knows.
func (e *Elsewhere) pass(ctx context.Context, member string, header http.Header, event []byte) (result *dispatcher.Result, sent bool, err error) {
	done := e.sent.Add(member)
	defer done()
	answer, err := e.cluster.Peers().Do(ctx, member, http.MethodPost, path, header, bytes.NewReader(event))
	var refused *peers.Refusal
	switch {
	case errors.As(err, &refused):
		var doc refusal
		if json.Unmarshal([]byte(refused.Text), &doc) != nil || doc.Code == "" {
			return nil, false, err
		}
		return nil, !doc.again(), fmt.Errorf("member %q: %w", member, doc.Err())
	case errors.Is(err, peers.ErrNotSent):
		return nil, false, err
	case err != nil:
		return nil, true, fmt.Errorf("it was passed on to a member that has ended, or is not reached any more; it may have run: %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxResult+1))
	if err == nil && len(b) > maxResult {
		err = fmt.Errorf("the result takes more than %d bytes", maxResult)
	}
	if err != nil {
		return nil, true, fmt.Errorf("member %q has run it, and its result is lost: %w: %w", member, peers.ErrUnreachable, err)
	}
	if result, err = decode(b); err != nil {
		return nil, true, fmt.Errorf("member %q: its result: %w", member, err)
	}
	return result, true, nil
}

// carried is a result on its way.
type carried struct {
	*dispatcher.Result
	// Bytes are its output, byte for byte as the function gave it: encoding/json would write a
	// document anew, and refuse what is none.
	Bytes []byte `json:"bytes,omitempty"`
}

func encode(r *dispatcher.Result) ([]byte, error) {
	rest := *r
	rest.Output = nil
	return json.Marshal(carried{&rest, r.Output})
}

func decode(b []byte) (*dispatcher.Result, error) {
	s := carried{Result: new(dispatcher.Result)}
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	s.Output = s.Bytes
	return s.Result, nil
}

// serve runs what a member passes on.
func (e *Elsewhere) serve(w http.ResponseWriter, q *http.Request, member string) error {
	var h head
	text, err := base64.StdEncoding.DecodeString(q.Header.Get(headName))
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return fmt.Errorf("what is to be invoked: %w: %w", err, lineage.ErrInvalid)
	}
	if err := e.run(w, q, &h); err != nil {
		doc := refusal{api.ErrorOf(err, h.RequestID), h.began}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(api.FaultOf(err).Status)
		return ignored(json.NewEncoder(w).Encode(doc))
	}
	return nil
}

// ignored: who has gone does not get it.
func ignored(error) error { return nil }

func (e *Elsewhere) run(w http.ResponseWriter, q *http.Request, h *head) error {
	if n := q.ContentLength; n < 0 || n > dispatcher.MaxEventBytes {
		return fmt.Errorf("an event of %d bytes: %w", n, dispatcher.ErrBadEvent)
	} else if !e.bodies.TryAcquire(n) {
		return &sched.RefusedError{Reason: sched.Overload, RetryAfter: time.Second}
	}
	defer e.bodies.Release(q.ContentLength)
	request, err := h.How.Request(h.Function)
	if err != nil {
		return err
	}
	entry, err := e.control.EnterHere(h.Function)
	if err != nil {
		return err
	}
	defer entry.End(q.Context())
	if got := entry.Deployment().CodeDigest; got != h.Code {
		return fmt.Errorf("function %q has code %.12s here, not %.12s: %w", h.Function, got, h.Code, dispatcher.ErrUnknownFunction)
	}
	request.Event = make([]byte, q.ContentLength)
	if _, err := io.ReadFull(q.Body, request.Event); err != nil {
		return fmt.Errorf("its event: %w: %w", err, dispatcher.ErrBadEvent)
	}
	request.RequestID, request.ARN, request.ClientContext, request.Deadline = h.RequestID, h.ARN, h.ClientContext, h.Deadline
	request.Began = func() { h.began = true }
	result, err := entry.Invoke(q.Context(), &request)
	if err != nil {
		return err
	}
	e.cluster.Traffic.Served.Add(1)
	b, err := encode(result)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return ignored(err)
}
