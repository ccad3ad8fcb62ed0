package native

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/sched"
)

// underWay is what a token is shown once there are so many.
func (a *house) underWay(t *testing.T, token, query string, want int) (doc api.UnderWay) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		w := a.ask(token, "GET", "/v1/invocations"+query, "")
		doc = api.UnderWay{}
		if err := api.Decode(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK {
			t.Fatal(w.Code, err, w.Body)
		}
		if doc.Total == want {
			return doc
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s sees %d, want %d: %+v", token, doc.Total, want, doc)
		}
	}
}

// seven is a machine of that number.
type seven struct{}

func (seven) Number() uint64 { return 7 }
func (seven) Interrupt()     {}

// TestUnderWay: who may read sees what waits and runs of the functions that he reaches, and
// nothing of others; who may deploy them kills them, and its caller is told.
func TestUnderWay(t *testing.T) {
	f := servertest.New(t)
	f.OnInvoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if r.Progress == nil { // it is not deployed
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		r.Progress.Place(seven{}, nil, time.Now().Add(time.Hour))
		r.Progress.Changed(3)
		select {
		case <-r.Progress.Done():
			return &dispatcher.Result{RequestID: r.RequestID, Error: &dispatcher.FunctionError{Type: "Sandbox.Killed", Cause: dispatcher.ErrKilled}}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	a := newHouseOf(t, f, func(o *servertest.Options) { o.Scheduler = sched.New(sched.Options{Slots: 2, Target: -1}) },
		access.Token{Name: "alice", Owner: "alice", Rights: []string{"invoke", "read", "deploy"}},
		access.Token{Name: "reads", Owner: "alice", Rights: []string{"read"}},
		access.Token{Name: "bob", Owner: "bob", Rights: []string{"invoke", "read", "deploy"}},
		access.Token{Name: "ops", Owner: "ops", Rights: []string{"admin"}})
	a.Put(t, "alice/hello")
	var asked sync.WaitGroup
	call := func(path, body string) chan *httptest.ResponseRecorder {
		got := make(chan *httptest.ResponseRecorder, 1)
		asked.Go(func() { got <- a.ask("alice", "POST", path, body) })
		return got
	}
	run := call("/v1/run", `{"function":{"name":"run","handler":"main.handler","files":{"main.py":"eA=="}},"invocation":{"event":{}}}`)
	a.underWay(t, "alice", "", 1)
	first := call("/v1/functions/hello/invoke", `{"event":{}}`)
	a.underWay(t, "alice", "", 2)
	second := call("/2015-03-31/functions/hello/invocations", `{}`)
	for a.underWay(t, "reads", "", 3).Invocations[1].State != "running" {
		time.Sleep(time.Millisecond)
	}
	doc := a.underWay(t, "reads", "", 3)
	var said []string
	for _, u := range doc.Invocations {
		said = append(said, fmt.Sprint(u.Operation, " ", u.Function, " ", u.State, " ", u.Machine, " ", u.ChangedBytes != nil && *u.ChangedBytes == 3*4096, " ", u.LeftMS != nil && *u.LeftMS > 3e6, " ", u.Owner))
	}
	if want := []string{"run run running 0 false false alice", "invoke hello running 7 true true alice", "invoke hello waiting 0 false false alice"}; !slices.Equal(said, want) {
		t.Errorf("%q\nwant %q", said, want)
	}
	a.underWay(t, "bob", "", 0)
	if all := a.underWay(t, "ops", "?limit=2", 3); len(all.Invocations) != 2 || all.Invocations[1].Function != "alice/hello" || all.Next == "" {
		t.Errorf("%+v", all)
	} else if rest := a.underWay(t, "ops", "?limit=2&after="+all.Next, 3); len(rest.Invocations) != 1 || rest.Invocations[0].RequestID != doc.Invocations[2].RequestID || rest.Next != "" {
		t.Errorf("%+v", rest)
	}
	for _, u := range doc.Invocations {
		for token, want := range map[string]int{"bob": 404, "reads": 403} {
			if w := a.ask(token, "DELETE", "/v1/invocations/"+u.RequestID, ""); w.Code != want {
				t.Errorf("%s kills another's: %d %s", token, w.Code, w.Body)
			}
		}
	}
	a.underWay(t, "alice", "", 3)
	kill := func(n int) {
		t.Helper()
		id := doc.Invocations[n].RequestID
		if w := a.ask("alice", "DELETE", "/v1/invocations/"+id, ""); w.Code != http.StatusNoContent {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	kill(2)
	if w := <-second; w.Code != http.StatusConflict || w.Header().Get("X-Amzn-Errortype") != "InvocationKilled" {
		t.Errorf("one that waited: %d %v %s", w.Code, w.Header(), w.Body)
	}
	kill(1)
	if w := <-first; w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Sandbox.Killed") {
		t.Errorf("one that ran: %d %s", w.Code, w.Body)
	}
	kill(0)
	if w := <-run; w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), `"code":"killed"`) {
		t.Errorf("code that is not deployed: %d %s", w.Code, w.Body)
	}
	asked.Wait()
	a.underWay(t, "ops", "", 0)
	if w := a.ask("alice", "DELETE", "/v1/invocations/"+doc.Invocations[0].RequestID, ""); w.Code != http.StatusNotFound {
		t.Errorf("one that is over: %d %s", w.Code, w.Body)
	}
}

// TestManyUnderWay: ten thousand wait, and are listed page by page, each once, in order.
func TestManyUnderWay(t *testing.T) {
	const n = 10_000
	f := servertest.New(t)
	f.OnInvoke = func(ctx context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	s := f.Server(t, func(o *servertest.Options) {
		o.Scheduler = sched.New(sched.Options{Slots: 1, Queue: n, FunctionQueue: n, Target: -1, MaxWait: time.Hour})
	})
	f.Put(t, "hello")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r := httptest.NewRequestWithContext(ctx, "POST", "/v1/functions/hello/invoke", strings.NewReader(`{"event":{}}`))
			s.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	page := func(query string) (doc api.UnderWay) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/invocations"+query, nil))
		if err := api.Decode(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err, w.Code)
		}
		return doc
	}
	for page("?limit=1").Total != n {
		time.Sleep(10 * time.Millisecond)
	}
	seen := map[string]bool{}
	var last time.Time
	for after, pages := "", 0; ; pages++ {
		doc := page("?after=" + after)
		for _, u := range doc.Invocations {
			if seen[u.RequestID] || u.Since.Before(last) {
				t.Fatalf("%+v is listed again, or after one that came later", u)
			}
			seen[u.RequestID], last = true, u.Since
		}
		if after = doc.Next; after == "" {
			if len(seen) != n || pages != n/1000-1 {
				t.Errorf("%d are listed on %d pages", len(seen), pages+1)
			}
			break
		}
	}
	cancel()
	all.Wait()
	if doc := page(""); doc.Total != 0 {
		t.Errorf("%d are left", doc.Total)
	}
}
