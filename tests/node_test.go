package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/nodejs"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

var nodeImage struct {
	once sync.Once
	err  error
}

// openNode opens a dispatcher on the shared state with a Node.js image in it.
// requireNode skips a test where there is no Node.js.
func requireNode(t *testing.T) {
	t.Helper()
	vmmtest.Require(t)
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("skipped without Node.js: apt-get install nodejs")
	}
}

func openNode(t *testing.T, change ...func(*dispatcher.Options)) *dispatcher.Dispatcher {
	t.Helper()
	requireNode(t)
	dir := sharedState(t)
	nodeImage.once.Do(func() {
		_, nodeImage.err = nodejs.Runtime.Build(context.Background(), images.Store{Dir: filepath.Join(dir, "images")}, runtimes.Options{}, images.AddOptions{})
	})
	if nodeImage.err != nil {
		t.Fatal(nodeImage.err)
	}
	return openAt(t, dir, func(o *dispatcher.Options) {
		o.PoolSize = 1
		for _, f := range change {
			f(o)
		}
	})
}

func deployNode(t *testing.T, d *dispatcher.Dispatcher, name, file, source string, lazy bool) {
	t.Helper()
	_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{
		Name: name, Handler: "index.handler", Image: "node", Lazy: lazy, Files: map[string][]byte{file: []byte(source)},
	})
	if err != nil {
		t.Fatalf("deploy %s: %s", name, describe(err))
	}
}

// nodeRunner evaluates every feature, or those of the event.
const nodeRunner = `
const features = require('./features.js');
exports.names = Object.keys(features);
exports.handler = async (event) => {
  const out = {};
  for (const name of event.names ?? exports.names) {
    try { out[name] = await features[name](); } catch (e) { out[name] = 'threw ' + e.stack; }
  }
  return out;
};
`

// TestNodeFeatures: what Node.js brings answers as natively.
func TestNodeFeatures(t *testing.T) {
	d := openNode(t)
	features, err := os.ReadFile("../images/runtimes/nodejs/features.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"features.js": string(features), "index.js": nodeRunner} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	native := map[string]json.RawMessage{}
	text := natively(t, "node", "-e", `const r = require(process.argv[1]); r.handler({}).then((o) => console.log(JSON.stringify(o)))`, filepath.Join(dir, "index.js"))
	if err := json.Unmarshal([]byte(text), &native); err != nil {
		t.Fatal(err)
	}
	if len(native) < 60 {
		t.Errorf("%d features, want 60 or more", len(native))
	}
	if _, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{
		Name: "features", Handler: "index.handler", Image: "node",
		Files: map[string][]byte{"index.js": []byte(nodeRunner), "features.js": features},
	}); err != nil {
		t.Fatal(describe(err))
	}
	for name, want := range native {
		t.Run(name, func(t *testing.T) {
			event, err := json.Marshal(map[string][]string{"names": {name}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "features", Event: event, Timeout: 90 * time.Second})
			if err != nil {
				t.Fatal(describe(err))
			}
			got := output[map[string]json.RawMessage](t, r)[name]
			if !bytes.Equal(got, want) {
				t.Errorf("in the guest: %s\nnatively: %s\nlogs %v", got, want, r.Logs)
			}
			if len(r.Unsupported) > 0 {
				t.Logf("unsupported calls: %v", r.Unsupported)
			}
		})
	}
}

// TestNodeClonesAreDistinct: two clones of one snapshot never draw the same, be it
// from OpenSSL, from what crypto keeps of its bytes, or from Math.random; and
// what a module draws as it loads is not that of another function.
func TestNodeClonesAreDistinct(t *testing.T) {
	d := openNode(t)
	source := `
const crypto = require('crypto');
const vm = require('vm');
const { randomUUID } = crypto;
const draw = () => ({
  randomBytes: crypto.randomBytes(16).toString('hex'),
  randomUUID: crypto.randomUUID(), taken: randomUUID(), web: (globalThis.crypto ?? crypto.webcrypto).randomUUID(),
  randomInt: crypto.randomInt(2 ** 47), random: Math.random(), getRandomValues: crypto.getRandomValues(new Uint32Array(4)).join(),
  key: crypto.generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x,
  context: vm.runInNewContext('Math.random()'),
});
const atLoad = draw();
exports.handler = async () => ({
  ...draw(),
  async: (await require('util').promisify(crypto.randomBytes)(16)).toString('hex'),
  atLoad: JSON.stringify(atLoad),
});
`
	seen := map[string]string{}
	for _, name := range []string{"draw-1", "draw-2"} {
		deployNode(t, d, name, "index.js", source, false)
		var loaded string
		for n := range 4 {
			r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: []byte(`{}`), Timeout: 90 * time.Second})
			if err != nil {
				t.Fatal(describe(err))
			}
			for what, v := range output[map[string]any](t, r) {
				text, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				if what == "atLoad" {
					if n > 0 && string(text) != loaded {
						t.Errorf("%s: what its module drew changes", name)
					}
					loaded = string(text)
					continue
				}
				if before, ok := seen[string(text)]; ok {
					t.Errorf("%s, clone %d: %s is %s, as %s was", name, n, what, text, before)
				}
				seen[string(text)] = what
			}
		}
		var values map[string]any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(strings.Trim(loaded, `"`), `\"`, `"`)), &values); err != nil {
			t.Fatal(err)
		}
		for what, v := range values {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := seen[string(text)]; ok {
				t.Errorf("%s at load: %s is %s, as %s was", name, what, text, before)
			}
			seen[string(text)] = what + " at load of " + name
		}
	}
}

// TestNodeHandlers: the forms of handlers and errors of Lambda's Node.js model.
func TestNodeHandlers(t *testing.T) {
	d := openNode(t)
	checkStarter(t, d, "node")
	for _, x := range []struct{ name, file, source, event, want string }{
		{"async", "index.js", `exports.handler = async (e) => ({ n: e.n + 1 });`, `{"n": 1}`, `{"n":2}`},
		{"callback", "index.js", `exports.handler = (e, c, cb) => setTimeout(() => cb(null, e.n * 2), 5);`, `{"n": 4}`, `8`},
		{"callback-waits", "index.js", `exports.handler = (e, c, cb) => { const out = []; cb(null, out); setTimeout(() => out.push('ran'), 5); };`, `{}`, `["ran"]`},
		{"callback-does-not-wait", "index.js", `exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; const out = []; cb(null, out); setTimeout(() => out.push('ran'), 500); };`, `{}`, `[]`},
		{"module", "index.mjs", `import { basename } from 'path'; const late = await Promise.resolve(5); export const handler = async () => [late, basename(import.meta.url)];`, `{}`, `[5,"index.mjs"]`},
		{"common", "index.cjs", `exports.handler = async function () { return typeof require; };`, `{}`, `"function"`},
		{"nothing", "index.js", `exports.handler = async () => {};`, `{}`, `null`},
		{"surroundings", "index.js", `const e = process.env; exports.handler = async () => [e.AWS_LAMBDA_FUNCTION_NAME, e.AWS_EXECUTION_ENV.replace(/[0-9]+/, 'N'), e._HANDLER, e.TZ, process.cwd(), e.NODE_PATH.replace(/[0-9]+/, 'N'), new Date(0).getTimezoneOffset()];`, `{}`,
			`["surroundings","AWS_Lambda_nodejsN.x","index.handler",":UTC","/var/task","/opt/nodejs/nodeN/node_modules:/opt/nodejs/node_modules",0]`},
		{"never", "index.js", `exports.handler = () => new Promise(() => {});`, `{}`, `null`},
		{"context", "index.js", `exports.handler = async (e, c) => [c.functionName, c.awsRequestId.length, c.getRemainingTimeInMillis() > 0];`, `{}`, `["context",36,true]`},
		{"throws", "index.js", `exports.handler = async () => { throw new TypeError('no luck'); };`, `{}`, `{"errorType":"TypeError","errorMessage":"no luck","trace":["TypeError: no luck",`},
		{"callback-error", "index.js", `exports.handler = (e, c, cb) => cb(new RangeError('far'));`, `{}`, `{"errorType":"RangeError","errorMessage":"far","trace":[`},
		{"throws-text", "index.js", `exports.handler = async () => { throw 'text'; };`, `{}`, `{"errorType":"string","errorMessage":"text","trace":[]}`},
		{"rejection", "index.js", `exports.handler = async () => { Promise.reject(new Error('nobody')); await new Promise((r) => setTimeout(r, 100)); };`, `{}`, `{"errorType":"Runtime.UnhandledPromiseRejection","errorMessage":"Error: nobody","trace":[`},
		{"uncaught", "index.js", `exports.handler = async () => { setTimeout(() => { throw new Error('later'); }, 1); await new Promise((r) => setTimeout(r, 1000)); };`, `{}`, `{"errorType":"Error","errorMessage":"later","trace":[`},
		{"exits", "index.js", `exports.handler = async () => process.exit(3);`, `{}`, `{"errorType":"Runtime.ExitError"`},
		{"marshal", "index.js", `exports.handler = async () => 1n;`, `{}`, `{"errorType":"Runtime.MarshalError"`},
		{"large", "index.js", `exports.handler = async () => 'x'.repeat(7 << 20);`, `{}`, `{"errorType":"Function.ResponseSizeTooLarge"`},
		{"large-event", "index.js", `exports.handler = async (e) => e.text.length;`, `{"text":"` + strings.Repeat("x", 300_000) + `"}`, `300000`},
	} {
		t.Run(x.name, func(t *testing.T) {
			deployNode(t, d, x.name, x.file, x.source, false)
			for range 2 {
				r, err := d.Invoke(t.Context(), dispatcher.Request{Function: x.name, Event: []byte(x.event), Timeout: 60 * time.Second})
				if err != nil {
					t.Fatal(describe(err))
				}
				got := string(r.Output)
				if r.Error != nil {
					text, err := json.Marshal(r.Error)
					if err != nil {
						t.Fatal(err)
					}
					got = string(text)
				}
				if !strings.HasPrefix(got, x.want) || x.want[0] != '{' && got != x.want {
					t.Errorf("%s, want %s; logs %v", got, x.want, r.Logs)
				}
			}
		})
	}
	for _, x := range []struct{ kind, handler, source string }{
		{"Runtime.UserCodeSyntaxError", "index.handler", `exports.handler = async ( => 1;`},
		{"Runtime.ImportModuleError", "index.handler", `require('nowhere');`},
		{"Runtime.ImportModuleError", "other.handler", `exports.handler = 1;`},
		{"Runtime.HandlerNotFound", "index.other", `exports.handler = async () => 1;`},
		{"ReferenceError", "index.handler", `undefinedThing();`},
	} {
		_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "bad", Handler: x.handler, Image: "node", Files: map[string][]byte{"index.js": []byte(x.source)}})
		var failed *dispatcher.FunctionError
		if !as(err, &failed) || failed.Type != x.kind {
			t.Errorf("%s: %v, want %s", x.source, err, x.kind)
		}
	}
}

// TestNodeArguments: a lazy function is captured half way, and goes on from there
// with another query.
func TestNodeArguments(t *testing.T) {
	d := openNode(t)
	deployNode(t, d, "lazy", "index.js", `
exports.handler = async (event) => {
  const table = Array.from({ length: event.rows }, (_, n) => n * n);
  let slow = 1; // worth a snapshot
  for (let n = 0; n < 1e8; n++) slow = (slow * 31 + n) % 65521;
  table.push(slow);
  const known = 'query' in event;
  return { known, answer: table[event.query], keys: Object.keys(event).sort(), missing: event.missing };
};`, true)
	n, err := d.CaptureArgument(t.Context(), "lazy", dispatcher.Capture{Event: []byte(`{"rows": 1000, "query": 5}`), StopAt: "query", AllowImpure: true})
	if err != nil {
		t.Fatal(describe(err))
	}
	if n.Info.Kind != lineage.KindArgument || n.Info.Key.NextKey != "query" {
		t.Errorf("captured %s at %q", n.Info.Kind, n.Info.Key.NextKey)
	}
	for n, x := range []struct{ query, want string }{
		{`{"rows": 1000, "query": 30}`, `{"known":true,"answer":900,"keys":["query","rows"]}`},
		{`{"rows": 1000}`, `{"known":false,"keys":["rows"]}`},
		{`{"rows": 7, "query": 6}`, `{"known":true,"answer":36,"keys":["query","rows"]}`},
	} {
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "lazy", Event: []byte(x.query), Timeout: 60 * time.Second, Explain: true})
		if err != nil {
			t.Fatal(describe(err))
		}
		if string(r.Output) != x.want {
			t.Errorf("%s: %s %v, want %s", x.query, r.Output, r.Error, x.want)
		}
		if n == 0 && r.Path != dispatcher.PathArgument { // later ones go by what starts have cost
			t.Errorf("%s started from %s: %+v", x.query, r.Path, r.Candidates)
		}
	}
}

// TestNodeWebAssemblyMemory: a memory of a module's is in the function's snapshot; each
// invocation changes its own, lets it grow, and has what lies behind its end trapped.
// With the trap handler, which older Node.js have no choice about, that end is the
// processor's to find.
func TestNodeWebAssemblyMemory(t *testing.T) {
	d := openNode(t)
	// (module (memory (export "m") 3 200) (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store)
	//   (func (export "load") (param i32) (result i32) local.get 0 i32.load))
	source := `
const build = () => {
  const u = (n) => { const out = []; do { out.push(n & 127 | (n > 127 ? 128 : 0)); n >>= 7; } while (n); return out; };
  const section = (id, ...bytes) => [id, ...u(bytes.length), ...bytes];
  const name = (s) => [s.length, ...Buffer.from(s)];
  const body = (...b) => [b.length + 1, 0, ...b];
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, 2, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 1, 0x7f, 1, 0x7f), ...section(3, 2, 0, 1), ...section(5, 1, 1, 3, ...u(200)),
    ...section(7, 3, ...name('m'), 2, 0, ...name('store'), 0, 0, ...name('load'), 0, 1),
    ...section(10, 2, ...body(0x20, 0, 0x20, 1, 0x36, 2, 0, 0x0b), ...body(0x20, 0, 0x28, 2, 0, 0x0b))]);
};
const module_ = new WebAssembly.Module(build());
const kept = new WebAssembly.Instance(module_).exports;
for (let n = 0; n < 3 << 14; n++) kept.store(4 * n, n * NUMBER);
const trap = (f) => { try { f(); return 'passes'; } catch (e) { return e instanceof WebAssembly.RuntimeError ? 'trap' : String(e); } };
exports.handler = async (event) => {
  let wrong = 0;
  for (let n = 0; n < 3 << 14; n++) wrong += kept.load(4 * n) !== (n * NUMBER | 0);
  const size = kept.m.buffer.byteLength >> 16;
  const beyond = [size << 16, (size + event.grow << 16) - 4, 190 << 16, -4].map((at) => trap(() => kept.store(at, 1)));
  kept.m.grow(event.grow);
  const fresh = new Uint32Array(kept.m.buffer, size << 16).every((x) => x === 0);
  for (let n = 0; n < kept.m.buffer.byteLength; n += 4096) kept.store(n, event.grow);
  const own = [1, 2, 3].map(() => new WebAssembly.Instance(module_).exports);
  own.forEach((x, n) => { x.m.grow(event.grow * n); x.store((2 + event.grow * n) << 16, n + 1); });
  return { wrong, size, beyond, fresh, grown: kept.m.buffer.byteLength >> 16, last: kept.load(kept.m.buffer.byteLength - 4096),
    own: own.map((x, n) => [x.load((2 + event.grow * n) << 16), x.load(0), trap(() => x.load((3 + event.grow * n) << 16))].join()) };
};
`
	for n, name := range []string{"wasm-1", "wasm-2"} {
		deployNode(t, d, name, "index.js", strings.ReplaceAll(source, "NUMBER", strconv.Itoa(7*n+3)), false)
	}
	for round := range 12 {
		name, grow := []string{"wasm-1", "wasm-2"}[round/2%2], []int{1, 40, 7, 90}[round%4]
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: name, Event: fmt.Appendf(nil, `{"grow": %d}`, grow), Timeout: 60 * time.Second})
		if err != nil {
			t.Fatal(describe(err))
		}
		want := fmt.Sprintf(`{"wrong":0,"size":3,"beyond":["trap","trap","trap","trap"],"fresh":true,"grown":%d,"last":%d,"own":["1,0,trap","2,0,trap","3,0,trap"]}`, 3+grow, grow)
		if got := string(r.Output); got != want {
			t.Errorf("round %d: %s grows by %d: %s %v, want %s; logs %v", round, name, grow, got, r.Error, want, r.Logs)
		}
	}
}
