package tests

import (
	"fmt"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/state"
)

// reading is a function that reads what is in its share's window, and goes on reading from where
// a snapshot may be taken.
const reading = `
from seuss import state
import _seuss_host

def handler(event, context):
    if event["a"] == "write":
        for n in range(60):
            state.set("a/n", "written %d" % n)
            got = state.get("a/n")
            if got.decode() != "written %d" % n or got.size != len(got):
                return "%r after writing %d" % (got, n)
    for _ in range(event["c"]):
        got = state.get("a/n")
    event["b"]
    return [len(_seuss_host._places), state.get("a/n").decode(), state.get("a/none")]
`

// TestStateWindow: what is read often is read without leaving the guest, as it is now, also in
// what begins from a snapshot with a window that is open.
func TestStateWindow(t *testing.T) {
	d := openOwn(t, nil)
	for name, right := range map[string]string{"writes": "a:rw", "reads": "a:r"} {
		if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Lazy: true, Files: map[string][]byte{"main.py": []byte(reading)}, Settings: functions.Settings{Shares: []string{right}}}); err != nil {
			t.Fatal(describe(err))
		}
	}
	do := func(function, event, want string) (exits uint64) {
		t.Helper()
		r := invoke(t, d, function, event)
		if got := fmt.Sprint(output[any](t, r)); got != want {
			t.Errorf("%s %s: %s, want %s", function, event, got, want)
		}
		return r.Exits
	}
	const times = 20000
	do("writes", `{"a": "write", "b": 2, "c": 0}`, "[1 written 59 <nil>]")
	few := do("reads", `{"a": "read", "b": 2, "c": 100}`, "[1 written 59 <nil>]")
	if many := do("reads", fmt.Sprintf(`{"a": "read", "b": 2, "c": %d}`, times), "[1 written 59 <nil>]"); many > few+times/10 {
		t.Errorf("%d reads took %d exits, 100 took %d", times, many, few)
	}
	if _, err := d.CaptureArgument(t.Context(), "reads", dispatcher.Capture{Event: []byte(`{"a": "read", "b": 2, "c": 50}`), StopAt: "b"}); err == nil {
		t.Error("captured behind reads of a window")
	}
	if _, err := d.CaptureArgument(t.Context(), "reads", dispatcher.Capture{Event: []byte(`{"a": "read", "b": 2, "c": 50}`), StopAt: "b", AllowImpure: true}); err != nil {
		t.Fatal(describe(err))
	}
	s, err := d.Shared.Open(state.Who{Owner: functions.DefaultOwner, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range []string{"one", "another", "one that is much longer than it was before, and has no room where that lay, so that it has to lie elsewhere"} {
		if _, err := s.Set("a/n", []byte(n), state.If{}); err != nil {
			t.Fatal(err)
		}
		r := invoke(t, d, "reads", `{"a": "read", "b": 2, "c": 50}`)
		if got := output[[]any](t, r); fmt.Sprint(got[1:]) != fmt.Sprintf("[%s <nil>]", n) {
			t.Errorf("after a snapshot: %v, want %q", got, n)
		}
	}
}

// TestStateWindowOfNode: the module for Node.js reads windows, too.
func TestStateWindowOfNode(t *testing.T) {
	d := openNode(t)
	const code = `
const { state } = require('seuss');
exports.handler = async (event) => {
  for (let n = 0; n < 60; n++) {
    await state.set('windows/n', 'written ' + n);
    const got = await state.get('windows/n');
    if (String(got) !== 'written ' + n || got.size !== got.length) return String(got) + ' after writing ' + n;
  }
  const last = await state.set('windows/n', 'x'.repeat(4096));
  for (let n = 0; n < event.times; n++) {
    const got = await state.get('windows/n');
    if (got.length !== 4096 || got.version !== last) return String(got);
  }
  await state.delete('windows/n');
  return [await state.get('windows/n') === undefined];
};
`
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "windows", Handler: "index.handler", Image: "node", Files: map[string][]byte{"index.js": []byte(code)}, Settings: functions.Settings{Shares: []string{"windows:rw"}}}); err != nil {
		t.Fatal(describe(err))
	}
	do := func(times uint64) uint64 {
		t.Helper()
		r := invoke(t, d, "windows", fmt.Sprintf(`{"times": %d}`, times))
		if got := fmt.Sprint(output[any](t, r)); got != "[true]" {
			t.Error(got)
		}
		return r.Exits
	}
	const times = 10000
	if few, many := do(100), do(times); many > few+times/10 {
		t.Errorf("%d reads took %d exits, 100 took %d", times, many, few)
	}
}
