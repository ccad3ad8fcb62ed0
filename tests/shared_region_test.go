package tests

import (
	"fmt"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/state/region"
)

// Functions that do with a region what their events say, alike in both languages.
const pythonRegion = `
import seuss
from seuss import region, state

def words(key, *args, **kw):
    return memoryview(region(key, *args, **kw)).cast("Q")

def handler(event, context):
    try:
        return {"ok": globals()[event["do"]](event)}
    except seuss.Error as e:
        return {"error": type(e).__name__, "message": str(e)}

def add(event):
    w = words("orders/a%b/x", 1 << 17)
    w[0] += 1
    w[16383] = w[0]
    return w[0]

def read(event):
    r = region("orders/a%b/x", read_only=True)
    w = memoryview(r).cast("Q")
    try:
        w[0] = 1
    except TypeError:
        return [len(r), w[0], w[16383], r.key, r.read_only]

def push(event):
    with region("orders/a%b/x", 1 << 17) as r:
        r.push()
        r[0] = 77
    return r.closed

def pull(event):
    r = region("orders/a%b/x")
    r.pull()
    return memoryview(r).cast("Q")[0]

def value(event):
    state.pull("orders/a%b/x")
    return [len(state.get("orders/a%b/x")), state.get_range("orders/a%b/x", 0, 1)[0]]

def flush(event):
    region("models/m", read_only=True).flush()

def make(event):
    return len(region(event["key"], event.get("size")))
`

const nodeRegion = `
const { region, state, Region, SeussError } = require('seuss');
const words = (r) => new BigUint64Array(r.buffer);
const X = 'orders/a%b/x';
const does = {
  add() {
    const w = words(region(X, 1 << 17));
    w[0] += 1n;
    w[16383] = w[0];
    return Number(w[0]);
  },
  read() {
    const r = region(X, undefined, { readOnly: true });
    const w = words(r);
    return [r.buffer.byteLength, Number(w[0]), Number(w[16383]), r.key, r.readOnly];
  },
  async push() {
    const r = region(X, 1 << 17);
    await r.push();
    const bytes = Buffer.from(r.buffer);
    bytes[0] = 77;
    r.close();
    r.close();
    return r.buffer.byteLength === 0 && bytes.length === 0;
  },
  async pull() {
    const r = region(X);
    await r.pull();
    return Number(words(r)[0]);
  },
  async value() {
    await state.pull(X);
    return [(await state.get(X)).length, (await state.getRange(X, 0, 1))[0]];
  },
  async flush() { await region('models/m', undefined, { readOnly: true }).push(); },
  make(event) { return region(event.key, event.size).buffer.byteLength; },
};
exports.handler = async (event) => {
  try {
    return { ok: await does[event.do](event) };
  } catch (error) {
    if (!(error instanceof SeussError)) throw error;
    return { error: error.code, message: error.message };
  }
};
`

// TestRegionModules: the modules for Python and Node.js open the same regions, of a key's name
// and by its share, keep and bring back what is in them, and refuse by name.
func TestRegionModules(t *testing.T) {
	regions := region.New(region.Options{Function: region.Limit{Bytes: 1 << 20, Regions: 10}})
	t.Cleanup(regions.Close)
	d := openNode(t, func(o *dispatcher.Options) { o.Regions = regions })
	put := func(name, image, code string, shares ...string) {
		t.Helper()
		s := dispatcher.FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(code)}, Settings: functions.Settings{Shares: shares}}
		if image != "" {
			s.Image, s.Handler, s.Files = image, "index.handler", map[string][]byte{"index.js": []byte(code)}
		}
		if _, err := d.Deploy(t.Context(), s); err != nil {
			t.Fatal(describe(err))
		}
	}
	do := func(function, event string) stateAnswer {
		t.Helper()
		return output[stateAnswer](t, invoke(t, d, function, event))
	}
	both := []string{"regionpython", "regionnode"}
	put(both[0], "", pythonRegion, "orders:rw", "models:r")
	put(both[1], "node", nodeRegion, "orders:rw", "models:r")
	put("noregions", "", pythonRegion)
	if _, err := regions.Get(t.Context(), functions.DefaultOwner, region.NameOf("models/m"), 4096); err != nil {
		t.Fatal(err)
	}

	for n := range 6 {
		if got := do(both[n%2], `{"do": "add"}`); got.OK != float64(n+1) {
			t.Errorf("%s adds one: %+v, want %d", both[n%2], got, n+1)
		}
	}
	for n, function := range both {
		other := both[1-n]
		if got := do(function, `{"do": "read"}`); fmt.Sprint(got.OK) != "[131072 6 6 orders/a%b/x true]" {
			t.Errorf("%s reads: %+v", function, got)
		}
		if got := do(function, `{"do": "push"}`); got.OK != true {
			t.Errorf("%s pushes: %+v", function, got)
		}
		if got := do(other, `{"do": "read"}`); fmt.Sprint(got.OK) != "[131072 77 6 orders/a%b/x true]" {
			t.Errorf("%s reads: %+v", other, got)
		}
		if got := do(other, `{"do": "value"}`); fmt.Sprint(got.OK) != "[131072 6]" {
			t.Errorf("%s gets what was pushed: %+v", other, got)
		}
		if got := do(other, `{"do": "pull"}`); got.OK != 6.0 {
			t.Errorf("%s pulls: %+v", other, got)
		}
		for event, want := range map[string]string{
			`{"do": "make", "key": "models/x", "size": 4096}`:     `Forbidden: region "models/x": the function's deployment does not name the share`,
			`{"do": "make", "key": "secrets/x", "size": 4096}`:    "--share secrets:rw",
			`{"do": "make", "key": "orders/vast", "size": 2e6}`:   "Full: ",
			`{"do": "make", "key": "orders/none"}`:                "NotFound: ",
			`{"do": "make", "key": "orders", "size": 1}`:          "Invalid: ",
			`{"do": "make", "key": "orders/a%b/x", "size": 4096}`: "Invalid: ",
			`{"do": "flush"}`: `Forbidden: region "models/m"`,
		} {
			event = strings.Replace(event, "2e6", "2000000", 1)
			if got := do(function, event); !strings.Contains(strings.ReplaceAll(got.Error+": "+got.Message, "'", `"`), strings.ReplaceAll(want, "'", `"`)) {
				t.Errorf("%s, %s: %+v, want %s", function, event, got, want)
			}
		}
	}
	if got := do("noregions", `{"do": "add"}`); got.Error != "Forbidden" || !strings.Contains(got.Message, "--share orders:rw") {
		t.Errorf("a function without shares: %+v", got)
	}
}

// TestRegionModulesInSnapshots: an instance that begins behind the opening of a region has it
// open, at the same object, with the content of now.
func TestRegionModulesInSnapshots(t *testing.T) {
	d := openNode(t)
	python := "import seuss\ndef handler(event, context):\n    event['a']\n    w = memoryview(seuss.region('orders/KEY', 4096)).cast('Q')\n    event['b']\n    w[0] += 1\n    return w[0]\n"
	node := "const seuss = require('seuss');\nexports.handler = async (event) => {\n  event.a;\n  const w = new BigUint64Array(seuss.region('orders/KEY', 4096).buffer);\n  event.b;\n  w[0] += 1n;\n  return Number(w[0]);\n};\n"
	for _, c := range []struct{ name, handler, image, file, code string }{
		{"openpython", "main.handler", "", "main.py", python}, {"opennode", "index.handler", "node", "index.js", node},
	} {
		code := strings.ReplaceAll(c.code, "KEY", c.name)
		if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: c.name, Handler: c.handler, Image: c.image, Lazy: true, Files: map[string][]byte{c.file: []byte(code)}, Settings: functions.Settings{Shares: []string{"orders:rw"}}}); err != nil {
			t.Fatal(describe(err))
		}
		if _, err := d.CaptureArgument(t.Context(), c.name, dispatcher.Capture{Event: []byte(`{"a": 1, "b": 2}`), StopAt: "b", AllowImpure: true}); err != nil {
			t.Fatal(describe(err))
		}
		for want := 1; want <= 3; want++ {
			if got := output[int](t, invoke(t, d, c.name, `{"a": 1, "b": 2}`)); got != want {
				t.Errorf("%s: %d, want %d", c.name, got, want)
			}
		}
	}
}
