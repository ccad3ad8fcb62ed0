package tests

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
)

// hostile are functions that do wrong, each with what the caller must get. After
// each of them the dispatcher must serve the next invocation rightly.
var hostile = []struct {
	name, source, event string
	timeout             time.Duration
	check               func(t *testing.T, r *dispatcher.Result, err error)
}{
	{"exception", "def handler(e, c):\n    raise ValueError('no ' + e['x'])\n", `{"x": "luck"}`, 0, wantError("ValueError", "no luck")},
	{"missing-key", "def handler(e, c):\n    return e['y']\n", `{}`, 0, wantError("KeyError", "y")},
	{"unserialisable", "def handler(e, c):\n    return {1, 2}\n", `{}`, 0, wantError("Runtime.MarshalError", "Unable to marshal response")},
	{"sys-exit", "import sys\ndef handler(e, c):\n    sys.exit(3)\n", `{}`, 0, wantError("Runtime.ExitError", "3")},
	{"endless-loop", "def handler(e, c):\n    while True: pass\n", `{}`, 300 * time.Millisecond, wantTimeout},
	{"sleep-for-ever", "import time\ndef handler(e, c):\n    time.sleep(1000)\n", `{}`, 300 * time.Millisecond, wantTimeout},
	{"deadlock", "import threading\ndef handler(e, c):\n    threading.Lock().acquire() and threading.Event().wait()\n", `{}`, 300 * time.Millisecond, wantTimeout},
	{"deep-recursion", "def f(n):\n    return f(n + 1)\ndef handler(e, c):\n    return f(0)\n", `{}`, 0, wantError("RecursionError", "maximum recursion depth")},
	{"stack-overflow", "import sys\nclass A:\n    def __repr__(self): return repr(self)\ndef handler(e, c):\n    sys.setrecursionlimit(10**9)\n    f = lambda n: f(n+1)\n    return repr(A())\n", `{}`, 10 * time.Second, wantCrash("SIGSEGV", "")},
	{"memory", "def handler(e, c):\n    x = []\n    while True: x.append(bytearray(1 << 20))\n", `{}`, 0, wantError("MemoryError", "")},
	{"null-pointer", "import ctypes\ndef handler(e, c):\n    return ctypes.string_at(0)\n", `{}`, 0, wantCrash("SIGSEGV", "string_at")},
	{"illegal-instruction", "import ctypes, mmap\ndef handler(e, c):\n    m = mmap.mmap(-1, 4096, prot=7)\n    m.write(b'\\x0f\\x0b')\n    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\n", `{}`, 0, wantCrash("SIGILL", "ud2")},
	{"os-exit", "import os\ndef handler(e, c):\n    os._exit(7)\n", `{}`, 0, wantExit},
	{"abort", "import os\ndef handler(e, c):\n    os.abort()\n", `{}`, 0, wantCrash("SIGABRT", "handler")},
	{"fork", "import os\ndef handler(e, c):\n    os.fork()\n", `{}`, 0, wantError("OSError", "Function not implemented")},
	{"subprocess", "import subprocess\ndef handler(e, c):\n    subprocess.run(['/bin/true'])\n", `{}`, 0, wantError("OSError", "Function not implemented")},
	{"console-flood", "def handler(e, c):\n    for i in range(200000): print('x' * 100)\n    return 'done'\n", `{}`, 0, func(t *testing.T, r *dispatcher.Result, err error) {
		if err != nil || r.Error != nil || string(r.Output) != `"done"` {
			t.Fatalf("result %+v, error %v", r, err)
		}
		n := 0
		for _, l := range r.Logs {
			n += len(l.Text)
		}
		if !r.LogsCut || n == 0 || n > 2<<20 {
			t.Errorf("%d bytes of logs, cut %v: want a bounded part and the note that it was cut", n, r.LogsCut)
		}
	}},
	{"streams-in-turns", "import os\ndef handler(e, c):\n    for i in range(100000): os.write(1 + i % 2, b'x')\n    return 'done'\n", `{}`, 0, func(t *testing.T, r *dispatcher.Result, err error) {
		if err != nil || r.Error != nil {
			t.Fatalf("result %+v, error %v", r, err)
		}
		n := 0
		for _, l := range r.Logs {
			n += len(l.Text)
		}
		if len(r.Logs) > 5000 || n != 100000 || r.LogsCut {
			t.Errorf("%d bytes in %d records", n, len(r.Logs))
		}
	}},
	{"huge-result", "def handler(e, c):\n    return 'x' * (7 << 20)\n", `{}`, 0, wantError("Function.ResponseSizeTooLarge", "exceeded")},
}

func wantError(kind, message string) func(*testing.T, *dispatcher.Result, error) {
	return func(t *testing.T, r *dispatcher.Result, err error) {
		if err != nil {
			t.Fatal(describe(err))
		}
		if r.Error == nil {
			t.Fatalf("result %s, want error %s", r.Output, kind)
		}
		if r.Error.Type != kind || !strings.Contains(r.Error.Message, message) {
			t.Errorf("error %s: %s; want %s: …%s…", r.Error.Type, r.Error.Message, kind, message)
		}
	}
}

func wantTimeout(t *testing.T, r *dispatcher.Result, err error) {
	if err != nil || !errors.Is(r.Error, dispatcher.ErrTimeout) || r.Error.Type != "Sandbox.Timedout" {
		t.Fatalf("result %+v, error %v; want a timeout", r, err)
	}
}

func wantExit(t *testing.T, r *dispatcher.Result, err error) {
	if err != nil || !errors.Is(r.Error, dispatcher.ErrGuestExit) || !strings.Contains(r.Error.Message, "exit status 7") {
		t.Fatalf("result %+v, error %v; want the exit status", r, err)
	}
}

// wantCrash wants a crash report that names the signal; python is what the
// Python traceback that faulthandler printed, or the code, must name.
func wantCrash(signal, python string) func(*testing.T, *dispatcher.Result, error) {
	return func(t *testing.T, r *dispatcher.Result, err error) {
		var crash *dispatcher.CrashError
		if err != nil || !errors.As(r.Error, &crash) {
			t.Fatalf("result %+v, error %v; want a crash", r, err)
		}
		for _, want := range []string{signal, "rip", "rsp"} {
			if !strings.Contains(strings.ToLower(crash.Report), strings.ToLower(want)) {
				t.Errorf("the report does not name %q:\n%s", want, crash.Report)
			}
		}
		all := crash.Report
		for _, l := range r.Logs {
			all += l.Text
		}
		if !strings.Contains(all, python) {
			t.Errorf("neither report nor output name %q:\n%s", python, all)
		}
	}
}

func TestHostileFunctions(t *testing.T) {
	t.Parallel()
	d := openOwn(t, func(o *dispatcher.Options) { o.PoolSize = 2 })
	deploy(t, d, "good", jsonFunction, nil)
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			deploy(t, d, h.name, h.source, nil)
			start, limit := time.Now(), patience(h.timeout)
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: h.name, Event: []byte(h.event), Timeout: limit})
			if h.timeout != 0 && err == nil && errors.Is(r.Error, dispatcher.ErrTimeout) {
				if late := time.Since(start) - limit; late > 100*time.Millisecond {
					t.Logf("the timeout came %v late", late)
				}
			}
			h.check(t, r, err)
			if good := invoke(t, d, "good", `{"k": 1}`); good.Error != nil {
				t.Errorf("the next invocation failed: %v", good.Error)
			}
		})
	}
}

func TestDeployRefusesBrokenCode(t *testing.T) {
	d := open(t, nil)
	for _, c := range []struct{ source, handler, kind string }{
		{"def handler(e, c)\n    return 1\n", "main.handler", "Runtime.UserCodeSyntaxError"},
		{"import nosuchmodule\n", "main.handler", "Runtime.ImportModuleError"},
		{"x = 1\n", "main.handler", "Runtime.HandlerNotFound"},
		{"1/0\n", "main.handler", "ZeroDivisionError"},
	} {
		_, err := d.Deploy(context.Background(), dispatcher.FunctionSpec{Name: "broken", Handler: c.handler, Files: map[string][]byte{"main.py": []byte(c.source)}})
		var failed *dispatcher.FunctionError
		if !errors.As(err, &failed) || failed.Type != c.kind {
			t.Errorf("%q: error %v, want %s", c.source, err, c.kind)
		}
		if _, err := d.Invoke(context.Background(), dispatcher.Request{Function: "broken", Event: []byte("{}")}); !errors.Is(err, dispatcher.ErrUnknownFunction) {
			t.Errorf("%q: the broken function is deployed: %v", c.source, err)
		}
	}
}

func TestEvents(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "echo", "def handler(e, c):\n    return e\n", nil)
	deploy(t, d, "size", "def handler(e, c):\n    return len(e)\n", nil)
	for _, bad := range []string{"", "  ", "{", "nonsense", `{"a":}`, "\x00"} {
		if _, err := d.Invoke(context.Background(), dispatcher.Request{Function: "echo", Event: []byte(bad)}); !errors.Is(err, dispatcher.ErrBadEvent) {
			t.Errorf("event %q: error %v, want ErrBadEvent", bad, err)
		}
	}
	for _, good := range []string{`{}`, `null`, `[1, 2.5, "x"]`, `"ünïcödé 🐍"`, `-0.5e-3`, `{"a": {"b": [true, false, null]}}`} {
		r := invoke(t, d, "echo", good)
		if r.Error != nil {
			t.Errorf("event %s: %v", good, r.Error)
		}
	}
	big := `"` + strings.Repeat("x", dispatcher.MaxEventBytes-2) + `"`
	if n := output[int](t, invoke(t, d, "size", big)); n != dispatcher.MaxEventBytes-2 {
		t.Errorf("an event of 6 MiB arrived as %d characters", n)
	}
	if got := output[string](t, invoke(t, d, "echo", big[:5<<20]+`"`)); len(got) != 5<<20-1 {
		t.Errorf("5 MiB came back as %d characters", len(got))
	}
	if _, err := d.Invoke(context.Background(), dispatcher.Request{Function: "size", Event: []byte(big[:len(big)-1] + `x"`)}); !errors.Is(err, dispatcher.ErrBadEvent) {
		t.Errorf("an event above 6 MiB: error %v", err)
	}
	if _, err := d.Invoke(context.Background(), dispatcher.Request{Function: "nobody", Event: []byte("{}")}); !errors.Is(err, dispatcher.ErrUnknownFunction) {
		t.Errorf("unknown function: error %v", err)
	}
}
