package native

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/logs"
)

// events opens an answer of server-sent events, which arrive on the channel as "NAME DATA";
// it is closed at the answer's end.
func (a *house) events(t *testing.T, url, token, path string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.secrets[token])
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatal(path, answer.Status)
	}
	c := make(chan string, 64)
	go func() {
		defer close(c)
		defer answer.Body.Close()
		name := ""
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = text
			} else if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				c <- name + " " + text
			}
		}
	}()
	return c
}

// until waits for an event, and returns those before it, too.
func until(t *testing.T, c <-chan string, name string) (all []string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case e, ok := <-c:
			if !ok {
				t.Fatalf("the answer ended with no %s: %v", name, all)
			}
			if all = append(all, e); strings.HasPrefix(e, name+" ") {
				return all
			}
		case <-deadline:
			t.Fatalf("no %s: %v", name, all)
		}
	}
}

// TestStreamsOfATokenThatIsTaken: what goes on for long ends with the token that it was
// asked with, or when that reaches the function no more; others' go on.
func TestStreamsOfATokenThatIsTaken(t *testing.T) {
	rights := []string{"read"}
	a := newHouse(t, access.Token{Name: "taken", Owner: "alice", Rights: rights}, access.Token{Name: "narrowed", Owner: "alice", Rights: rights},
		access.Token{Name: "stays", Owner: "alice", Rights: rights})
	kept := logs.Open(logs.Options{Dir: t.TempDir()})
	defer kept.Close(time.Minute)
	a.s = a.Server(t, func(o *servertest.Options) { o.Keys, o.Logs = a.s.Keys, kept })
	h := httptest.NewServer(a.s.Access(serviceToken, false))
	t.Cleanup(h.Close) // when the test's context has ended its streams
	a.Put(t, "alice/hello")
	const follow = "/v1/functions/hello/logs?follow=true"
	streams := map[string]<-chan string{}
	for _, path := range []string{"/v1/watch", follow} {
		for _, token := range []string{"taken", "narrowed", "stays"} {
			streams[token+path] = a.events(t, h.URL, token, path)
			until(t, streams[token+path], "ready")
		}
	}
	if err := access.Change(a.StateDir(), func(f *access.File) error {
		for i := range f.Tokens {
			if f.Tokens[i].Name == "narrowed" {
				f.Tokens[i].Functions = []string{"other"}
			}
		}
		return f.Remove("taken")
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.s.Keys.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"taken/v1/watch", "taken" + follow, "narrowed" + follow} {
		if all := until(t, streams[of], "end"); !strings.Contains(all[len(all)-1], tokenTaken) {
			t.Errorf("%s: %v", of, all)
		}
	}
	a.AddImage(t)
	until(t, streams["narrowed/v1/watch"], "added")
	until(t, streams["stays/v1/watch"], "added")
	select {
	case e, ok := <-streams["stays"+follow]:
		t.Errorf("%q %v", e, ok)
	default:
	}
}

// TestWatchersAreBounded: of one owner and of all; who goes makes room.
func TestWatchersAreBounded(t *testing.T) {
	rights := []string{"read"}
	a := newHouse(t, access.Token{Name: "alice", Owner: "alice", Rights: rights}, access.Token{Name: "bob", Owner: "bob", Rights: rights})
	h := httptest.NewServer(a.h)
	t.Cleanup(h.Close) // when the test's context has ended its streams
	for range newWatchers().mostOfOne {
		a.events(t, h.URL, "alice", "/v1/watch")
	}
	if w := a.ask("alice", "GET", "/v1/watch", ""); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "too many watch") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	until(t, a.events(t, h.URL, "bob", "/v1/watch"), "ready")

	w := newWatchers()
	var leave []func()
	for i := range w.most {
		l, err := w.enter(string(rune('a' + i)))
		if err != nil {
			t.Fatal(i, err)
		}
		leave = append(leave, l)
	}
	if _, err := w.enter("one more"); err == nil {
		t.Error("more than all may")
	}
	leave[0]()
	if _, err := w.enter("one more"); err != nil {
		t.Error(err)
	}
	if len(w.owners) != w.most {
		t.Errorf("%d owners are kept", len(w.owners))
	}
}
