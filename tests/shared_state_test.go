package tests

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/state"
)

// sharing is a function that does with its state what its event says.
const sharing = `
import seuss, time
from seuss import state

def handler(event, context):
    try:
        return {"ok": globals()[event["do"]](**event.get("with", {}))}
    except seuss.Error as e:
        return {"error": type(e).__name__, "message": str(e)}

def everything(key):
    first = state.set(key, "0123456789", version=0)
    second = state.append(key, b"ab")
    state.set_range(key, 70000, b"far")
    size, version = state.stat(key)
    value = state.get(key)
    tail = state.read_appended(key, 70000)
    state.set(key, "short", version=version)
    try:
        state.set(key, "lost", version=version)
        return "a write of an old version was done"
    except seuss.Changed:
        pass
    listed = list(state.list(key))
    state.delete(key)
    return [first < second < version, size, len(value), bytes(value[:12]).decode(), bytes(tail).decode(), [l[:2] for l in listed], state.get(key)]

def count(key, times):
    for _ in range(times):
        with state.lock(key, lease=60) as lock:
            n = int(state.get(key, b"0"))
            state.set(key, str(n + 1), fence=lock.token)
    return int(state.get(key))

def set(key, value):
    return state.set(key, value)

def get(key):
    value = state.get(key)
    return None if value is None else value.decode()

def large(key, size):
    state.set(key, bytes(size))
    return len(state.get(key))

def wait(key):
    version = state.watch(key)
    return state.get(key).decode()

def hold(key, other):
    state.lock(key, lease=300).acquire()
    if other:
        state.set(other, "held")
    time.sleep(0.002)
    return "gone with it"

def circle(first, second):
    with state.lock(first, lease=60):
        state.set(first, "held")
        if state.watch(second, wait=60):
            with state.lock(second, lease=60, wait=60):
                return "both"

def threads(key):
    from threading import Thread
    def work(n):
        with state.lock(key, lease=60):
            state.append(key, str(n))
    all = [Thread(target=work, args=(n,)) for n in range(3)]
    with state.lock(key, lease=60):
        for t in all:
            t.start()
        while_held = state.get(key)
        try:
            state.lock(key).acquire()
        except seuss.Deadlock:
            state.append(key, "own ")
    for t in all:
        t.join()
    return [while_held, len(state.get(key))]

def frames(key):
    from _seuss_host import ask  # to have its module
    import _seuss_host
    _seuss_host.ask = None  # there is no HTTP then
    try:
        first = state.set(key, "abc", version=0)
        with state.lock(key, lease=60) as lock:
            lock.renew(30)
            state.append(key, bytearray(b"de"), fence=lock.token)
        state.set_range(key, 1, memoryview(b"B"))
        told = [bytes(state.get(key)).decode(), bytes(state.get_range(key, 3, 9)).decode(), state.stat(key)[0], state.get(key + "none")]
        state.delete(key)
        return told + [state.get(key)]
    finally:
        _seuss_host.ask = ask

def pull(key):
    return state.pull(key)

def forget(key):
    state.forget(key)

def push(key, value):
    state.set(key, value)
    state.push(key)
    state.delete(key)
    state.pull(key)
    return state.get(key).decode()
`

func deploySharing(t *testing.T, d *dispatcher.Dispatcher, name, code string, shares ...string) {
	t.Helper()
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(code)}, Settings: functions.Settings{Shares: shares}}); err != nil {
		t.Fatal(describe(err))
	}
}

type stateAnswer struct {
	OK      any    `json:"ok"`
	Error   string `json:"error"`
	Message string `json:"message"`
}

// TestState: functions share state by key, within what their deployments name, and what their
// instances hold goes with them.
func TestState(t *testing.T) {
	d := openOwn(t, nil)
	deploySharing(t, d, "one", sharing, "orders:rw", "models:r")
	deploySharing(t, d, "two", sharing, "orders:rw")
	deploySharing(t, d, "none", sharing)
	do := func(function, event string) stateAnswer {
		t.Helper()
		return output[stateAnswer](t, invoke(t, d, function, event))
	}
	if got := do("one", `{"do": "everything", "with": {"key": "orders/ä b"}}`); got.Error != "" || fmt.Sprint(got.OK) != "[true 70003 70003 0123456789ab far [[orders/ä b 5]] <nil>]" {
		t.Errorf("%+v", got)
	}
	if got := do("two", `{"do": "frames", "with": {"key": "orders/frames"}}`); got.Error != "" || fmt.Sprint(got.OK) != "[aBcde de 5 <nil> <nil>]" {
		t.Errorf("without HTTP: %+v", got)
	}
	if got := do("one", `{"do": "threads", "with": {"key": "orders/threads"}}`); got.Error != "" || fmt.Sprint(got.OK) != "[<nil> 7]" {
		t.Errorf("%+v", got)
	}
	for event, want := range map[string]string{
		`{"do": "set", "with": {"key": "models/a", "value": "x"}}`:      "Forbidden: state \"models/a\": function \"one\" may only read",
		`{"do": "get", "with": {"key": "secrets/a"}}`:                   "Forbidden: state \"secrets/a\": function \"one\" has the shares models, orders",
		`{"do": "get", "with": {"key": "nothing"}}`:                     "Invalid: state \"nothing\": \"nothing\": not a key",
		`{"do": "large", "with": {"key": "orders/l", "size": 9000000}}`: "TooLarge:",
		`{"do": "pull", "with": {"key": "orders/l"}}`:                   "NotFound: state \"orders/l\": nothing of it was pushed",
	} {
		if got := do("one", event); !strings.HasPrefix(got.Error+": "+got.Message, want) {
			t.Errorf("%s: %+v, want %s", event, got, want)
		}
	}
	if got := do("none", `{"do": "get", "with": {"key": "orders/a"}}`); got.Error != "Forbidden" || !strings.Contains(got.Message, "--share orders:r") {
		t.Errorf("%+v", got)
	}
	if got := do("one", `{"do": "large", "with": {"key": "orders/l", "size": 8000000}}`); got.OK != 8e6 {
		t.Errorf("%+v", got)
	}

	if got := do("one", `{"do": "push", "with": {"key": "orders/p", "value": "kept"}}`); got.OK != "kept" {
		t.Errorf("%+v", got)
	}

	var all sync.WaitGroup
	for _, function := range []string{"one", "two", "one", "two"} {
		all.Go(func() { do(function, `{"do": "count", "with": {"key": "orders/n", "times": 5}}`) })
	}
	all.Wait()
	if got := do("two", `{"do": "get", "with": {"key": "orders/n"}}`); got.OK != "20" {
		t.Errorf("four instances have counted 5 each: %+v", got)
	}

	// An instance that ends with a lock held gives it back.
	do("one", `{"do": "hold", "with": {"key": "orders/held", "other": null}}`)
	do("two", `{"do": "hold", "with": {"key": "orders/held", "other": null}}`)

	// Who waits for another one's write has it, and who would wait in a circle is told.
	all.Go(func() {
		if got := do("two", `{"do": "wait", "with": {"key": "orders/w"}}`); got.OK != "here" {
			t.Errorf("%+v", got)
		}
	})
	stateWaits(t, d, 1)
	do("one", `{"do": "set", "with": {"key": "orders/w", "value": "here"}}`)
	all.Wait()
	var got [2]stateAnswer
	all.Go(func() { got[0] = do("one", `{"do": "circle", "with": {"first": "orders/x", "second": "orders/y"}}`) })
	all.Go(func() { got[1] = do("two", `{"do": "circle", "with": {"first": "orders/y", "second": "orders/x"}}`) })
	all.Wait()
	if got[0].Error > got[1].Error {
		got[0], got[1] = got[1], got[0]
	}
	if got[0].OK != "both" || got[1].Error != "Deadlock" || !strings.Contains(got[1].Message, "waits for") {
		t.Errorf("%+v", got)
	}

	_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "early", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte("import seuss\nseuss.state.get('orders/n')\n" + sharing)}, Settings: functions.Settings{Shares: []string{"orders:r"}}})
	if err == nil || !strings.Contains(err.Error(), "a function is loaded without it") {
		t.Errorf("state while a function is loaded: %v", err)
	}
	if _, err = d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "odd", Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(sharing)}, Settings: functions.Settings{Shares: []string{"orders:w"}}}); err == nil || !strings.Contains(err.Error(), "NAME:rw") {
		t.Errorf("a right that there is not: %v", err)
	}
}

// waiting returns when so many wait for state.
func stateWaits(t *testing.T, d *dispatcher.Dispatcher, n int) {
	t.Helper()
	for end := time.Now().Add(patience(20 * time.Second)); d.Shared.Stats(functions.DefaultOwner).Waiting != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", d.Shared.Stats(functions.DefaultOwner))
		}
	}
}

// TestStateIsImpure: no argument snapshot is taken by itself behind a read of state, which
// another invocation would find otherwise.
func TestStateIsImpure(t *testing.T) {
	d := openOwn(t, nil)
	code := "from seuss import state\ndef handler(event, context):\n    event['a']\n    n = state.get('a/n', b'0')\n    event['b']\n    return n.decode()\n"
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "lazy", Handler: "main.handler", Lazy: true, Files: map[string][]byte{"main.py": []byte(code)}, Settings: functions.Settings{Shares: []string{"a:r"}}}); err != nil {
		t.Fatal(describe(err))
	}
	if _, err := d.CaptureArgument(t.Context(), "lazy", dispatcher.Capture{Event: []byte(`{"a": 1, "b": 2}`), StopAt: "b"}); err == nil || !strings.Contains(err.Error(), "receives from a socket") {
		t.Errorf("captured behind a read of state: %v", err)
	}
	s, err := d.Shared.Open(state.Who{Owner: functions.DefaultOwner, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, n := range []string{"1", "2"} {
		if _, err := s.Set("a/n", []byte(n), state.If{}); err != nil {
			t.Fatal(err)
		}
		if got := output[string](t, invoke(t, d, "lazy", `{"a": 1, "b": 2}`)); got != n {
			t.Errorf("%q, want %q", got, n)
		}
	}
}

// TestStateOfNode: the module for Node.js.
func TestStateOfNode(t *testing.T) {
	d := openNode(t)
	source := `
const seuss = require('seuss');
const { state } = seuss;
const http = require('http');
exports.handler = async (event) => {
  const told = [];
  const refused = async (f) => { try { await f(); return 'done'; } catch (error) { return error instanceof Error ? error.code : 'odd'; } };
  const first = await state.set('orders/a', '0123456789', { version: 0 });
  const second = await state.append('orders/a', Buffer.from('ab'));
  await state.setRange('orders/a', 12, new Uint8Array([99, 100]));
  const value = await state.get('orders/a');
  told.push(first < second && second < value.version, String(value), value.size);
  told.push(String(await state.getRange('orders/a', 10, 2)), String(await state.readAppended('orders/a', 12)));
  told.push(await refused(() => state.set('orders/a', 'lost', { version: first })));
  told.push(await refused(() => state.set('models/a', 'x')), await refused(() => state.get('secrets/a')));
  const n = await state.lock('orders/n', { lease: 10 }, async (lock) => {
    const n = Number(await state.get('orders/n') ?? 0) + 1;
    await state.set('orders/n', String(n), { fence: lock.token });
    return n;
  });
  told.push(n, await refused(() => state.set('orders/n', '0', { fence: 1e9 })));
  told.push((await Promise.all([1, 2, 3].map((n) => state.lock('orders/n', async () => n)))).join(''));
  told.push(await refused(() => state.lock('orders/n', () => state.lock('orders/n', async () => 0))));
  await state.push('orders/a');
  await state.delete('orders/a');
  told.push(await state.get('orders/a'));
  await state.pull('orders/a');
  const { request } = http;
  http.request = () => { throw new Error('by HTTP'); };
  await state.set('orders/f', 'abc');
  await state.lock('orders/f', { lease: 60 }, async (lock) => {
    await lock.renew();
    await state.append('orders/f', 'd', { fence: lock.token });
  });
  told.push(String(await state.get('orders/f')), String(await state.getRange('orders/f', 2, 9)), (await state.stat('orders/f')).size);
  await state.delete('orders/f');
  told.push(await state.get('orders/f'));
  http.request = request;
  const keys = [];
  for await (const item of state.list('orders/')) keys.push(item.key);
  told.push(String(await state.get('orders/a')), keys);
  await state.delete('orders/a');
  return told;
};
`
	for n := range 2 {
		name := fmt.Sprintf("node%d", n)
		if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: "index.handler", Image: "node", Files: map[string][]byte{"index.js": []byte(source)}, Settings: functions.Settings{Shares: []string{"orders:rw", "models:r"}}}); err != nil {
			t.Fatal(describe(err))
		}
		want := fmt.Sprintf("[true 0123456789abcd 14 ab cd Changed Forbidden Forbidden %d Fenced 123 Deadlock <nil> abcd cd 4 <nil> 0123456789abcd [orders/a orders/n]]", n+1)
		if got := fmt.Sprint(output[[]any](t, invoke(t, d, name, "{}"))); got != want {
			t.Errorf("invocation %d: %s, want %s", n, got, want)
		}
	}
}

// TestConnectionOfAnother: an instance that begins behind a request of another one asks on a
// connection of its own, once.
func TestConnectionOfAnother(t *testing.T) {
	python := "from seuss import state\ndef handler(event, context):\n    event['a']\n    state.append('orders/KEY', 'x')\n    event['b']\n    state.append('orders/KEY', 'y')\n    return state.get('orders/KEY').decode()\n"
	node := "const { state } = require('seuss');\nexports.handler = async (event) => {\n  event.a;\n  await state.append('orders/KEY', 'x');\n  event.b;\n  await state.append('orders/KEY', 'y');\n  return String(await state.get('orders/KEY'));\n};\n"
	for _, c := range []struct {
		d                                *dispatcher.Dispatcher
		name, handler, image, file, code string
	}{
		{openOwn(t, nil), "kept", "main.handler", "", "main.py", python},
		{openNode(t), "keptnode", "index.handler", "node", "index.js", node},
	} {
		code := strings.ReplaceAll(c.code, "KEY", c.name)
		if _, err := c.d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: c.name, Handler: c.handler, Image: c.image, Lazy: true, Files: map[string][]byte{c.file: []byte(code)}, Settings: functions.Settings{Shares: []string{"orders:rw"}}}); err != nil {
			t.Fatal(describe(err))
		}
		if _, err := c.d.CaptureArgument(t.Context(), c.name, dispatcher.Capture{Event: []byte(`{"a": 1, "b": 2}`), StopAt: "b", AllowImpure: true}); err != nil {
			t.Fatal(describe(err))
		}
		for _, want := range []string{"xy", "xyy"} {
			if got := output[string](t, invoke(t, c.d, c.name, `{"a": 1, "b": 2}`)); got != want {
				t.Errorf("%s: %q, want %q", c.name, got, want)
			}
		}
	}
}
