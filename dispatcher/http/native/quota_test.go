package native

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/bundle"
	"seuss/dispatcher/sched"
)

// TestQuotaOfInstances: an owner with as many instances as he may have is refused with
// 429 in both APIs; others are not, and he neither when one has ended.
func TestQuotaOfInstances(t *testing.T) {
	rights := []string{"invoke"}
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: rights}, access.Token{Name: "bob", Owner: "bob", Rights: rights})
	if err := access.Change(a.StateDir(), func(f *access.File) error {
		f.SetQuota("alice", func(q *access.Quota) { q.Instances = 1 })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.s.Keys.Reload(); err != nil {
		t.Fatal(err)
	}
	a.Put(t, "alice/hello", "alice/other", "bob/hello")
	began, end := make(chan bool, 1), make(chan bool)
	a.OnInvoke = func(_ context.Context, r dispatcher.Request) (*dispatcher.Result, error) {
		if strings.Contains(string(r.Event), "hold") {
			began <- true
			<-end
		}
		return &dispatcher.Result{RequestID: r.RequestID, Output: []byte("1")}, nil
	}
	done := make(chan int)
	go func() { done <- a.ask("alice", "POST", "/v1/functions/hello/invoke", `{"event":{"hold":1}}`).Code }()
	<-began
	for path, body := range map[string]string{"/v1/functions/other/invoke": `{"event":{}}`, "/2015-03-31/functions/other/invocations": `{}`} {
		w := a.ask("alice", "POST", path, body)
		if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "quota of instances") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
	if w := a.ask("bob", "POST", "/v1/functions/hello/invoke", `{"event":{}}`); w.Code != http.StatusOK {
		t.Errorf("another owner: %d %s", w.Code, w.Body)
	}
	close(end)
	if code := <-done; code != http.StatusOK {
		t.Error(code)
	}
	if w := a.ask("alice", "POST", "/v1/functions/other/invoke", `{"event":{}}`); w.Code != http.StatusOK {
		t.Errorf("after its end: %d %s", w.Code, w.Body)
	}
}

// TestNoMachine: where the host gives no machine it is said so, and that it may be tried
// again.
func TestNoMachine(t *testing.T) {
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: []string{"invoke"}})
	a.Put(t, "alice/hello")
	a.OnInvoke = func(context.Context, dispatcher.Request) (*dispatcher.Result, error) {
		return nil, fmt.Errorf("machine for image %q: %w: cannot allocate memory", "python", dispatcher.ErrNoMachine)
	}
	for path, body := range map[string]string{"/v1/functions/hello/invoke": `{"event":{}}`, "/2015-03-31/functions/hello/invocations": `{}`} {
		w := a.ask("alice", "POST", path, body)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "seussctl doctor") || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

// TestSlotForEveryMachine: whatever needs a machine waits for its turn, in both APIs:
// where no turns are given nothing of it is done.
func TestSlotForEveryMachine(t *testing.T) {
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: []string{"admin"}})
	a.Put(t, "alice/hello")
	deploys := a.Deploys.Load()
	if err := a.s.Scheduler.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	const L = "/2015-03-31/functions"
	file := `"handler":"main.handler","files":{"main.py":"eA=="}`
	var zip bytes.Buffer
	if err := bundle.WriteZip(&zip, map[string][]byte{"main.py": []byte("x = 1")}); err != nil {
		t.Fatal(err)
	}
	archive := base64.StdEncoding.EncodeToString(zip.Bytes())
	for _, c := range [][3]string{
		{"PUT", "/v1/functions/made", `{` + file + `}`},
		{"POST", "/v1/functions/hello/invoke", `{"event":1}`},
		{"POST", "/v1/functions/hello/snapshots", `{"event":{},"stop_at":"k"}`},
		{"POST", "/v1/run", `{"function":{"name":"run",` + file + `},"invocation":{"event":{}}}`},
		{"POST", "/v1/images/python/base", ``},
		{"POST", "/v1/images/python/imports", `{"modules":["json"]}`},
		{"POST", L, `{"FunctionName":"made","Runtime":"python3.11","Role":"arn:aws:iam::000000000000:role/r","Handler":"main.handler","Code":{"ZipFile":"` + archive + `"}}`},
		{"PUT", L + "/hello/code", `{"ZipFile":"` + archive + `"}`},
		{"PUT", L + "/hello/configuration", `{"Handler":"main.other"}`},
		{"POST", L + "/hello/invocations", `{}`},
	} {
		if w := a.ask("alice", c[0], c[1], c[2]); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), string(sched.Draining)) {
			t.Errorf("%s %s: %d %s", c[0], c[1], w.Code, w.Body)
		}
	}
	if a.Deploys.Load() != deploys {
		t.Error("something was deployed without a turn")
	}
}
