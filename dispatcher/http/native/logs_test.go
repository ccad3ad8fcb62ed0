package native

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/servertest"
	"seuss/dispatcher/logs"
)

// A qualifier leaves entries of the versions that it stands for, and events that were sent to
// it; one that stands for nothing is refused.
func TestLogsOfAQualifier(t *testing.T) {
	f := servertest.New(t)
	kept := logs.Open(logs.Options{Dir: t.TempDir()})
	t.Cleanup(func() { kept.Close(time.Minute) })
	s := f.Server(t, func(o *servertest.Options) {
		o.Logs, o.Delay = kept, func(int) time.Duration { return time.Microsecond }
	})
	f.Put(t, "echo")
	echo, err := f.Function("echo")
	if err != nil {
		t.Fatal(err)
	}
	echo.LastVersion = 3
	echo.Aliases = map[string]functions.Alias{"live": {Version: "2", Weights: map[string]float64{"3": 0.1}}, "next": {Version: "$LATEST"}}
	if _, err := f.FunctionStore().Put(echo, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"", "1", "2", "3"} {
		kept.Add(logs.Key{Function: "echo", ID: echo.ID}, logs.Entry{Time: time.Now(), Kind: logs.Invocation, Version: version, Note: "v" + version})
	}
	for _, name := range []string{"echo", "echo:2", "echo:live", "echo:$LATEST"} {
		if err := s.Events.Add(events.Event{Function: name, FunctionID: "of another", Payload: []byte("1"), RequestID: "other"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Events.Add(events.Event{Function: name, FunctionID: echo.ID, Payload: []byte(`{"fail":"no"}`), RequestID: name}); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(time.Minute); s.Events.Len() > 0 && time.Now().Before(end); { // all are given up
		time.Sleep(time.Millisecond)
	}
	const all = 4 + 4*1 + 2*1 + 2*(3+3) // made here, of others' events, of those that name no version there is, of three attempts each
	for end := time.Now().Add(time.Minute); kept.Stats().Written < all && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	ask := func(path string, into any) int {
		t.Helper()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code == http.StatusOK {
			if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
				t.Errorf("%s: %v: %s", path, err, w.Body)
			}
		}
		return w.Code
	}
	for name, want := range map[string]struct{ notes, sent, failed string }{
		"echo":         {"v v1 v2 v3", "echo echo:$LATEST echo:2 echo:live", "echo echo:$LATEST echo:2 echo:live"},
		"echo:$LATEST": {"v", "echo echo:$LATEST", "echo echo:$LATEST"},
		"echo:1":       {"v1", "", ""},
		"echo:2":       {"v2", "echo:2", "echo:2"},
		"echo:live":    {"v2 v3", "echo:live", "echo:2 echo:live"},
		"echo:next":    {"v", "", "echo echo:$LATEST"},
	} {
		var entries []logs.Entry
		var list []events.Status
		a, b := ask("/v1/functions/"+name+"/logs", &entries), ask("/v1/functions/"+name+"/events", &list)
		var notes, sent, failed []string
		for _, e := range entries {
			if e.Kind == logs.Invocation && e.Note != "" {
				notes = append(notes, e.Note)
			}
			if e.Kind == logs.Event && !slices.Contains(failed, e.RequestID) {
				failed = append(failed, e.RequestID)
			}
		}
		for _, e := range list {
			sent = append(sent, e.RequestID)
		}
		slices.Sort(sent)
		slices.Sort(failed)
		if a != http.StatusOK || b != http.StatusOK || strings.Join(notes, " ") != want.notes || strings.Join(sent, " ") != want.sent || strings.Join(failed, " ") != want.failed {
			t.Errorf("%s: %d %q and %q failed, %d %q", name, a, notes, failed, b, sent)
		}
	}
	for _, name := range []string{"echo:4", "echo:nobody"} {
		for _, of := range []string{"/logs", "/logs?follow=true", "/events"} {
			if code := ask("/v1/functions/"+name+of, nil); code != http.StatusNotFound {
				t.Errorf("%s%s: %d", name, of, code)
			}
		}
	}
}
