package tests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
)

// calling is a function that calls others, as its event says.
const calling = `
import json, seuss, time

def handler(event, context):
    try:
        return {"ok": globals()[event["do"]](context, **event.get("with", {}))}
    except seuss.Error as e:
        if event["do"] == "raises": raise
        return {"error": type(e).__name__, "message": str(e)}

def echo(context, value):
    return value

def fail(context, kind):
    raise {"ValueError": ValueError("no such thing"), "KeyError": KeyError("k"), "OSError": OSError("gone"), "Own": Own("mine")}[kind]

class Own(Exception): pass

def nap(context, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: time.sleep(0.002)
    return seconds

def call(context, function, event, **how):
    return seuss.call(function, event, **how)

def deep(context, function, n):
    if n == 0: return [context.aws_request_id]
    below = call(context, function, {"do": "deep", "with": {"function": function, "n": n - 1}})
    if "error" in below: raise getattr(seuss, below["error"])(below["message"])
    return [context.aws_request_id] + below["ok"]

def errors(context, function):
    told = []
    for kind, own in ("ValueError", ValueError), ("KeyError", KeyError), ("OSError", OSError), ("Own", seuss.CallError):
        try:
            call(context, function, {"do": "fail", "with": {"kind": kind}})
        except own as e:
            told.append([isinstance(e, seuss.CallError), type(e).__name__, e.type, str(e), any("main.py" in line and "in fail" in line for line in e.called_trace)])
    return told

def raises(context, function):
    return seuss.await_call(seuss.chain_call(function, {"do": "fail", "with": {"kind": "ValueError"}}))

def fan(context, function, n):
    calls = [seuss.chain_call(function, {"do": "echo", "with": {"value": i}}) for i in range(n)]
    first = seuss.await_any(calls)
    one = seuss.await_call(first)["ok"]
    calls.remove(first)
    return sorted([one] + [r["ok"] for r in seuss.await_all(calls)])

def left(context):
    return context.get_remaining_time_in_millis()

def shrink(context, function):
    mine = context.get_remaining_time_in_millis()
    theirs = call(context, function, {"do": "left"})["ok"]
    short = call(context, function, {"do": "left"}, timeout=60)["ok"]
    return [theirs <= mine, short <= 60000]

def late(context, function):
    for n in range(8):
        try:
            call(context, function, {"do": "nap", "with": {"seconds": 250}}, timeout=0.3 * 2 ** n)
        except seuss.Timeout:
            pass # it had no turn in that time
        except TimeoutError as e:
            return e.type

def once(context, function):
    calls = [seuss.chain_call(function, {"do": "echo", "with": {"value": 1}}, key="k") for _ in range(2)]
    try:
        seuss.chain_call(function, {"do": "echo", "with": {"value": 2}}, key="k")
    except seuss.Mismatch:
        return [calls[0] == calls[1], seuss.await_call(calls[0])["ok"]]

def large(context, function, n):
    return len(call(context, function, {"do": "echo", "with": {"value": "x" * n}})["ok"])

def own(context):
    return seuss.await_call(context.aws_request_id)

def many(context, function, n):
    done = 0
    while True:
        try:
            seuss.chain_call(function, {"do": "nap", "with": {"seconds": 300}})
            done += 1
        except seuss.TooMany as e:
            return [done, str(e)]

def polls(context, function):
    call = seuss.chain_call(function, {"do": "nap", "with": {"seconds": 300}})
    told = []
    for poll in (lambda: seuss.await_call(call, wait=0)), (lambda: seuss.await_any([call], wait=0)):
        try:
            poll()
        except seuss.Timeout:
            told.append("Timeout")
    seuss.cancel(call)
    return told

def cancelled(context, function, id):
    call = seuss.chain_call(function, {"do": "nap", "with": {"seconds": 300}})
    seuss.cancel(call)
    told = []
    for f in seuss.await_call, seuss.cancel:
        for other in call, id:
            try:
                f(other)
            except seuss.NotFound:
                told.append("NotFound")
    return told
`

func deployCalling(t *testing.T, d *dispatcher.Dispatcher, name string, calls ...string) {
	t.Helper()
	deploy(t, d, name, calling, func(s *dispatcher.FunctionSpec) { s.Settings.Calls, s.Settings.TimeoutSec = calls, 300 })
}

// TestChain: functions call those that their deployments name, and have their results, their
// errors and their time.
func TestChain(t *testing.T) {
	t.Parallel()
	d := openOwn(t, nil)
	deployCalling(t, d, "front", "back*", "front")
	deployCalling(t, d, "back-1")
	do := func(function, event string) stateAnswer {
		t.Helper()
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: function, Event: []byte(event)})
		if err != nil {
			t.Fatal(err)
		}
		return output[stateAnswer](t, r)
	}
	for event, want := range map[string]string{
		`{"do": "large", "with": {"function": "back-1", "n": 6200000}}`:                                     "6.2e+06",
		`{"do": "call", "with": {"function": "back-1", "event": {"do": "echo", "with": {"value": "ä"}}}}`:   "map[ok:ä]",
		`{"do": "errors", "with": {"function": "back-1"}}`:                                                  "[[true ValueError ValueError no such thing true] [true KeyError KeyError 'k' true] [true OSError OSError gone true] [true Own Own mine true]]",
		`{"do": "fan", "with": {"function": "back-1", "n": 5}}`:                                             "[0 1 2 3 4]",
		`{"do": "shrink", "with": {"function": "back-1"}}`:                                                  "[true true]",
		`{"do": "late", "with": {"function": "back-1"}}`:                                                    "Sandbox.Timedout",
		`{"do": "polls", "with": {"function": "back-1"}}`:                                                   "[Timeout Timeout]",
		`{"do": "once", "with": {"function": "back-1"}}`:                                                    "[true 1]",
		`{"do": "cancelled", "with": {"function": "back-1", "id": "2b1e2a6e-0000-4000-8000-000000000000"}}`: "[NotFound NotFound NotFound NotFound]",
	} {
		if got := do("front", event); got.Error != "" || fmt.Sprint(got.OK) != want {
			t.Errorf("%s: %+v, want %s", event, got, want)
		}
	}
	for event, want := range map[string]string{
		`{"do": "call", "with": {"function": "other", "event": 1}}`:      `Forbidden: call "other": function "front" may call back*, front, and "other"`,
		`{"do": "call", "with": {"function": "back-2", "event": 1}}`:     `NotFound: call of "back-2"`,
		`{"do": "call", "with": {"function": "ada/back-1", "event": 1}}`: "Invalid:",
		`{"do": "own"}`: "Deadlock: call",
	} {
		if got := do("front", event); !strings.HasPrefix(got.Error+": "+got.Message, want) {
			t.Errorf("%s: %+v, want %s", event, got, want)
		}
	}
	if got := do("back-1", `{"do": "call", "with": {"function": "front", "event": 1}}`); got.Error != "Forbidden" || !strings.Contains(got.Message, "--call front") {
		t.Errorf("%+v", got)
	}
	r := invoke(t, d, "front", `{"do": "raises", "with": {"function": "back-1"}}`)
	if r.Error == nil || r.Error.Type != "ValueError" || r.Error.Message != "no such thing" || !strings.Contains(strings.Join(r.Error.StackTrace, ""), "in raises") || !strings.Contains(strings.Join(r.Error.StackTrace, ""), "in fail") {
		t.Errorf("an error that went through its caller: %+v", r.Error)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // what was cancelled takes a while to end
		st := d.Chains.Stats()
		if st.Open-st.Kept == 0 && st.Waiting == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v is left", st)
		}
	}
}

// TestDeepChain: a chain that is deeper than there are machines works: who waits leaves his.
func TestDeepChain(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deployCalling(t, d, "front", "front")
	got := output[stateAnswer](t, invoke(t, d, "front", `{"do": "deep", "with": {"function": "front", "n": 32}}`))
	ids, _ := got.OK.([]any)
	if len(ids) != 33 {
		t.Fatalf("%+v", got)
	}
	var seen []string
	for _, id := range ids {
		if slices.Contains(seen, id.(string)) {
			t.Errorf("%v is there twice", id)
		}
		seen = append(seen, id.(string))
	}
}
