package functionapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/state"
)

// Errors of what is asked.
var (
	// ErrInvalid: it is no request of the API, or a parameter of it cannot be.
	ErrInvalid   = errors.New("no request of this API")
	errNoRegions = fmt.Errorf("there are no regions here: %w", ErrInvalid)
)

// MaxBody bounds the body of a request.
const MaxBody = state.MaxTransfer

// maxWait bounds what a request may ask to wait: no invocation takes longer.
const maxWait = 15 * time.Minute

// API answers requests.
type API struct {
	// Session is who asks. It is called for each request.
	Session func() (*state.Session, error)
	// Calls is whose calls a request is about. It is called for each that is about some.
	Calls func() (*chain.Caller, error)
	// Regions pushes and pulls what they are asked for; nil: there are none.
	Regions Regions
}

// Regions pushes and pulls the region of a session's key, as a state.Session does its value.
type Regions interface {
	Push(ctx context.Context, s *state.Session, key string) (state.Meta, error)
	Pull(ctx context.Context, s *state.Session, key string) (state.Meta, error)
}

// asker is who asks.
type asker struct {
	*state.Session
	regions Regions
}

// query are a request's parameters, and the first thing that is wrong with them.
type query struct {
	url.Values
	err error
}

// number is a parameter; missing where it is not there.
func (q *query) number(name string, missing int64) int64 {
	text := q.Get(name)
	if text == "" {
		return missing
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if (err != nil || n < 0) && q.err == nil {
		q.err = fmt.Errorf("%s=%.40q: want a number from 0 on: %w", name, text, ErrInvalid)
	}
	return n
}

// duration is a parameter in milliseconds, 0 where it is not there.
func (q *query) duration(name string) time.Duration {
	ms := q.number(name, 0)
	if ms > int64(maxWait/time.Millisecond) && q.err == nil {
		q.err = fmt.Errorf("%s=%d: at most %d: %w", name, ms, maxWait/time.Millisecond, ErrInvalid)
	}
	return time.Duration(ms) * time.Millisecond
}

// positive is duration, but that 0 is refused: it would be taken for nothing said.
func (q *query) positive(name string) time.Duration {
	d := q.duration(name)
	if d == 0 && q.Get(name) != "" && q.err == nil {
		q.err = fmt.Errorf("%s=%.40q: want at least 1, or leave it out: %w", name, q.Get(name), ErrInvalid)
	}
	return d
}

// wait is what wait_ms says: 0 where it is not there. To wait for no time at all is not to wait
// without end.
func (q *query) wait() time.Duration {
	d := q.duration("wait_ms")
	if d == 0 && q.Get("wait_ms") != "" {
		return 1
	}
	return d
}

// condition is what has to hold for a write.
func (q *query) condition() (c state.If) {
	if q.Has("version") {
		v := uint64(q.number("version", 0))
		c.Version = &v
	}
	c.Fence = uint64(q.number("fence", 0))
	return c
}

// Serve answers a request: at once, or later.
func (a *API) Serve(r *http.Request, body []byte) (Answer, Later) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return failed(fmt.Errorf("%w: %w", ErrInvalid, err)), nil
	}
	q := query{Values: values}
	path := r.URL.Path
	if name, ok := strings.CutPrefix(path+"/", calls+"/"); ok {
		caller, err := a.Calls()
		if err != nil {
			return failed(err), nil
		}
		answer, later := call(caller, r.Method, strings.TrimSuffix(name, "/"), &q, body)
		if answer.Status == 0 && later == nil {
			answer = unknown(http.StatusMethodNotAllowed, r.Method, path)
		}
		return answer, later
	}
	session, err := a.Session()
	if err != nil {
		return failed(err), nil
	}
	who := asker{session, a.Regions}
	for prefix, serve := range routes {
		key, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		answer, later := serve(who, r.Method, key, &q, body)
		if answer.Status == 0 && later == nil {
			answer = unknown(http.StatusMethodNotAllowed, r.Method, path)
		}
		return answer, later
	}
	if path == "/v1/state" && r.Method == http.MethodGet {
		return list(who, &q)
	}
	return unknown(http.StatusNotFound, r.Method, path), nil
}

// unknown is the answer to what is no request.
func unknown(status int, method, path string) Answer {
	return problem(status, "Invalid", fmt.Errorf("%s %s is %w: see docs/state.md and docs/chaining.md", method, path, ErrInvalid))
}

// routes are the requests about a key, which stands behind the prefix. An answer without a
// status is to a method that there is not.
var routes = map[string]func(s asker, method, key string, q *query, body []byte) (Answer, Later){
	"/v1/state/": value,
	"/v1/locks/": lock,
	"/v1/push/": func(s asker, method, key string, q *query, _ []byte) (a Answer, _ Later) {
		switch {
		case method == http.MethodPost && q.Has("region") && s.regions == nil:
			return failed(errNoRegions), nil
		case method == http.MethodPost && q.Has("region"):
			return a, func(ctx context.Context) Answer { return done(s.regions.Push(ctx, s.Session, key)) }
		case method == http.MethodPost:
			return a, func(ctx context.Context) Answer { return done(s.Push(ctx, key)) }
		case method == http.MethodDelete:
			return a, func(ctx context.Context) Answer { return done(state.Meta{}, s.Forget(ctx, key)) }
		}
		return a, nil
	},
	"/v1/pull/": func(s asker, method, key string, q *query, _ []byte) (a Answer, _ Later) {
		if method != http.MethodPost {
			return a, nil
		}
		c := q.condition()
		switch {
		case q.err != nil:
			return failed(q.err), nil
		case q.Has("region") && s.regions == nil:
			return failed(errNoRegions), nil
		case q.Has("region") && (c.Version != nil || c.Fence != 0):
			return failed(fmt.Errorf("a region has no version, and no fence: %w", ErrInvalid)), nil
		case q.Has("region"):
			return a, func(ctx context.Context) Answer { return done(s.regions.Pull(ctx, s.Session, key)) }
		}
		return a, func(ctx context.Context) Answer { return done(s.Pull(ctx, key, c)) }
	},
}

// Items is the document of a list.
type Items struct {
	Items []state.Item `json:"items"`
	// Next is what to ask for behind the last one; "": there are no more.
	Next string `json:"next,omitempty"`
}

func list(s asker, q *query) (a Answer, _ Later) {
	limit := int(min(q.number("limit", 0), state.MaxList))
	if q.err != nil {
		return failed(q.err), nil
	}
	prefix, after := q.Get("prefix"), q.Get("after")
	if q.Has("pushed") {
		return a, func(ctx context.Context) Answer { return listed(s.Pushed(ctx, prefix, after, limit)) }
	}
	return listed(s.List(prefix, after, limit)), nil
}

func listed(found []state.Item, more bool, err error) Answer {
	if err != nil {
		return failed(err)
	}
	doc := Items{Items: found}
	if more {
		doc.Next = found[len(found)-1].Key
	}
	return document(http.StatusOK, doc)
}

func value(s asker, method, key string, q *query, body []byte) (a Answer, later Later) {
	c := q.condition()
	at, n := q.number("offset", 0), q.number("length", -1)
	known, appended, wait := q.number("known", 0), q.number("appended", 0), q.wait()
	if q.err != nil {
		return failed(q.err), nil
	}
	switch {
	case method == http.MethodGet && q.Has("known"):
		return watch(s, key, uint64(known), wait)
	case method == http.MethodGet && q.Has("appended"):
		return readAppended(s, key, appended, wait)
	case method == http.MethodGet:
		return read(s.Get(key, at, n)), nil
	case method == http.MethodHead:
		return done(s.Stat(key)), nil
	case method == http.MethodPut && q.Has("offset"):
		return done(s.SetRange(key, at, body, c)), nil
	case method == http.MethodPut:
		return done(s.Set(key, body, c)), nil
	case method == http.MethodPost:
		return done(s.Append(key, body, c)), nil
	case method == http.MethodDelete:
		return done(state.Meta{}, s.Delete(key, c)), nil
	}
	return a, nil
}

// within has f wait so long; 0: for as long as its caller.
func within(wait time.Duration, f func(ctx context.Context) Answer) Later {
	return func(ctx context.Context) Answer {
		if wait > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, wait)
			defer cancel()
		}
		return f(ctx)
	}
}

func watch(s asker, key string, known uint64, wait time.Duration) (a Answer, _ Later) {
	m, err := s.Stat(key)
	if errors.Is(err, state.ErrNotFound) {
		m, err = state.Meta{}, nil
	}
	if err != nil || m.Version != known {
		return done(m, err), nil
	}
	return a, within(wait, func(ctx context.Context) Answer { return done(s.Watch(ctx, key, known)) })
}

func readAppended(s asker, key string, at int64, wait time.Duration) (a Answer, _ Later) {
	m, err := s.Stat(key)
	if err == nil && m.Size == at || errors.Is(err, state.ErrNotFound) {
		return a, within(wait, func(ctx context.Context) Answer { return read(s.ReadAppended(ctx, key, at)) })
	}
	return read(s.ReadAppended(expired, key, at)), nil // it does not wait
}

// expired is for what must not wait.
var expired = func() context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	cancel()
	return ctx
}()

// held is the document of a lock that was granted.
type held struct {
	Token   uint64 `json:"token"`
	LeaseMS int64  `json:"lease_ms"` // what is left of it
}

func granted(g state.Grant, err error) Answer {
	if err != nil {
		return failed(err)
	}
	return document(http.StatusOK, held{g.Token, time.Until(g.Until).Milliseconds()})
}

// taken is granted of a lock that was asked for: who is not there any more does not hold it.
func taken(s asker, key string, g state.Grant, err error) Answer {
	a := granted(g, err)
	if err == nil {
		a.undo = func() { _ = s.Unlock(key, g.Token) } // else it has ended
	}
	return a
}

func lock(s asker, method, key string, q *query, _ []byte) (a Answer, _ Later) {
	token, thread := uint64(q.number("token", 0)), uint64(q.number("thread", 0))
	lease, wait := q.positive("lease_ms"), q.wait()
	if q.err != nil {
		return failed(q.err), nil
	}
	switch method {
	case http.MethodPost:
		turn, err := s.Ask(key, q.Has("shared"), lease, thread)
		if err != nil {
			return failed(err), nil
		}
		select {
		case <-turn.Done():
			g, err := turn.Grant()
			return taken(s, key, g, err), nil
		default:
		}
		if wait == 1 { // not at all
			g, err := turn.Wait(expired)
			return taken(s, key, g, err), nil
		}
		return a, within(wait, func(ctx context.Context) Answer {
			g, err := turn.Wait(ctx)
			return taken(s, key, g, err)
		})
	case http.MethodPut:
		return granted(s.Renew(key, token, lease)), nil
	case http.MethodDelete:
		return done(state.Meta{}, s.Unlock(key, token)), nil
	}
	return a, nil
}
