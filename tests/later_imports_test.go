package tests

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/imports"
	"seuss/dispatcher/plan"
	"seuss/dispatcher/planner"
)

// laterHandler imports what its event says, and returns whose import system it runs with.
const laterHandler = `
import json, sys
def handler(event, context):
    import _frozen_importlib
    for name in event:
        __import__(name)
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("self"), "recorder"):
        frame = frame.f_back
    driver = frame.f_locals["self"]
`

// TestLaterImports: what a handler imports is known from its first runs, and later ones are
// not looked at; plans are fitted to it, and a handler that lies, or keeps its driver from
// telling, has its result all the same.
func TestLaterImports(t *testing.T) {
	t.Parallel()
	dir := withPackages(t, "packages", sitePackages)
	l := living{t, openAt(t, dir, nil)}
	store, err := functions.Open(dir, functions.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	const looks = "    return _frozen_importlib._find_and_load.__module__\n"
	l.deploy("late", laterHandler+looks, nil)
	l.deploy("asks", laterHandler+looks, func(s *dispatcher.FunctionSpec) { s.Lazy = true })
	l.deploy("lies", laterHandler+`    driver.recorder.tell = lambda *_: b'{"distributions": [{"name": "evil==1,", "version": "1"}], "imports": [["x", 0, 0, 1, 1, 1]]}'`+"\n"+looks, nil)
	l.deploy("hangs", laterHandler+`    driver.recorder.tell = lambda *_: __import__("time").sleep(1000)`+"\n"+looks, nil)
	l.deploy("dies", laterHandler+`    driver.recorder.tell = lambda *_: __import__("os")._exit(1)`+"\n"+looks, nil)
	run := func(name, event, want string) {
		t.Helper()
		if got := output[string](t, invoke(t, l.Dispatcher, name, event)); got != want {
			t.Errorf("%s runs with the import system of %s, want %s", name, got, want)
		}
	}
	// seen is what is known once so many runs were looked at: nobody waits for its being written.
	seen := func(name string, runs int) *imports.Record {
		t.Helper()
		for end := time.Now().Add(patience(20 * time.Second)); ; time.Sleep(5 * time.Millisecond) {
			f, err := store.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := api.ImportsOf(store, f)
			if err == nil && r.Later != nil && r.Later.Runs == runs {
				return r
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %+v, %v", name, r, err)
			}
		}
	}
	const looked, own = "imported", "_frozen_importlib"
	run("late", `["alpha", "gamma"]`, looked)
	seen("late", 1)
	run("late", `["alpha"]`, looked)
	seen("late", 2)
	run("late", `["alpha"]`, looked)
	seen("late", 3)
	for range 2 {
		run("late", `["evil"]`, own)
	}
	check := func(r *imports.Record) {
		t.Helper()
		var found []string
		for _, d := range r.Later.Distributions {
			found = append(found, d.Pin())
			if runs := map[string]int{"gamma==1.0": 1}[d.Pin()]; d.Runs != max(runs, 3*(1-runs)) || d.MS < 10 || d.Modules != 1 {
				t.Errorf("%+v", d)
			}
		}
		if !slices.Equal(found, []string{"beta==1.0", "alpha==1.0", "gamma==1.0"}) || !slices.Equal(r.Later.Distributions[1].Needs, found[:1]) || r.Later.MS < 50 || len(r.LaterModules) != r.Later.ModuleCount {
			t.Errorf("%+v", r)
		}
	}
	check(seen("late", 3))
	// Fits know in which part of the calls what is imported.
	h, err := plan.NewHistory([]plan.Loaded{planner.LoadedOf("late", 30, &seen("late", 3).Summary)})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(h.Calls); string(got) != `[{"name":"late","packages":[],"calls":30,"later":{"alpha==1.0":30,"beta==1.0":30,"gamma==1.0":10}}]` {
		t.Errorf("%s", got)
	}
	// It stays when the code is loaded anew, below another node, and when the process begins anew.
	l.deploy("late", laterHandler+looks, func(s *dispatcher.FunctionSpec) { s.Imports = []string{"gamma"} })
	check(seen("late", 3))
	run("late", `["evil"]`, own)

	run("asks", `{"alpha": 1}`, own)
	for _, name := range []string{"lies", "hangs", "dies"} {
		for range 3 {
			run(name, `["alpha"]`, looked)
		}
		run(name, `["alpha"]`, own)
		if f, err := store.Get(name); err != nil {
			t.Error(err)
		} else if r, _ := api.ImportsOf(store, f); r != nil && r.Later != nil {
			t.Errorf("%s is believed: %+v", name, r.Later)
		}
	}
	// What was there before sees nothing of it.
	run("late", `["gamma"]`, own)
}
