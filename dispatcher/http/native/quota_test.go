package native

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
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
