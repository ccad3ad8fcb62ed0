package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

// callingNode is a function of Node.js that calls others, as its event says.
const callingNode = `
const seuss = require('seuss');
const { chainCall, awaitCall, awaitAny, awaitAll, cancel, CallError } = seuss;
const code = (p) => p.then(() => 'done', (e) => e.code);
const call = (name, event, how) => (how ? seuss.call(name, event, how) : seuss.call(name, event));
const echo = (value) => ({ do: 'echo', with: { value } });

const does = {
  call: ({ name, event }) => call(name, event),
  echo: ({ value }) => value,
  fail: () => { throw new RangeError('too far'); },
  hold: () => new Promise((resolve) => setTimeout(resolve, 300000)),
  async fan({ name, n }) {
    const calls = await Promise.all(Array.from({ length: n }, (_, i) => chainCall(name, echo(i))));
    const first = await awaitAny(calls);
    const one = (await awaitCall(first)).ok;
    const rest = await awaitAll(calls.filter((id) => id !== first));
    return [one, ...rest.map((r) => r.ok)].sort((a, b) => a - b);
  },
  // As many wait at a time as there are calls: more than connections.
  beside: async ({ name, n }) => (await Promise.all(Array.from({ length: n }, (_, i) => call(name, echo(i))))).map((r) => r.ok),
  async errors({ name, event, own }) {
    try {
      await call(name, event);
    } catch (e) {
      return [e instanceof CallError, e.constructor.name, e.code, e.type, e.message, e.trace.join().includes(own), e.stack.includes(own)];
    }
  },
  raises: ({ name }) => call(name, { do: 'fail' }),
  async once({ name }) {
    const calls = [await chainCall(name, echo(1), { key: 'k' }), await chainCall(name, echo(1), { key: 'k' })];
    return [calls[0] === calls[1], await code(chainCall(name, echo(2), { key: 'k' })), (await awaitCall(calls[0])).ok];
  },
  async refused({ name }) {
    const id = await chainCall(name, { do: 'hold' });
    const told = [await code(awaitCall(id, { wait: 0 })), await code(awaitAny([id], { wait: 0.0001 }))];
    await cancel(id);
    return [...told, await code(awaitCall(id)), await code(chainCall('other', 1)), await code(chainCall(name, 1, { timeout: 0 })), await code(call(name, { do: 'hold' }, { timeout: 0.0001 }))];
  },
};
exports.handler = async (event) => ({ ok: await does[event.do](event.with) });
`

// TestChainNode: functions of Node.js call each other, and those of Python, and are called by
// them; results, errors and refusals are what the module promises.
func TestChainNode(t *testing.T) {
	d := openNode(t)
	for _, name := range []string{"node-front", "node-back"} {
		_, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: name, Handler: "index.handler", Image: "node", Files: map[string][]byte{"index.js": []byte(callingNode)},
			Settings: functions.Settings{Calls: []string{"node-back", "python-back"}, TimeoutSec: 300}})
		if err != nil {
			t.Fatal(describe(err))
		}
	}
	deployCalling(t, d, "python-back", "node-back")
	throughAll := `{"do": "call", "with": {"name": "python-back", "event": {"do": "call", "with": {"function": "node-back", "event": {"do": "echo", "with": {"value": "ä"}}}}}}`
	for event, want := range map[string]string{
		throughAll: `{"ok":{"ok":"ä"}}`,
		`{"do": "fan", "with": {"name": "python-back", "n": 5}}`:                                                                       `[0,1,2,3,4]`,
		`{"do": "beside", "with": {"name": "node-back", "n": 20}}`:                                                                     `[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]`,
		`{"do": "errors", "with": {"name": "node-back", "event": {"do": "fail"}, "own": "index.js"}}`:                                  `[true,"RangeError","CallError","RangeError","too far",true,true]`,
		`{"do": "errors", "with": {"name": "python-back", "event": {"do": "fail", "with": {"kind": "ValueError"}}, "own": "in fail"}}`: `[true,"SeussError","CallError","ValueError","no such thing",true,true]`,
		`{"do": "once", "with": {"name": "node-back"}}`:                                                                                `[true,"Mismatch",1]`,
		`{"do": "refused", "with": {"name": "node-back"}}`:                                                                             `["Timeout","Timeout","NotFound","Forbidden","Invalid","Timeout"]`,
	} {
		got := output[struct{ OK json.RawMessage }](t, invoke(t, d, "node-front", event))
		if string(got.OK) != want {
			t.Errorf("%s: %s, want %s", event, got.OK, want)
		}
	}
	r := invoke(t, d, "node-front", `{"do": "raises", "with": {"name": "node-back"}}`)
	if r.Error == nil || r.Error.Type != "RangeError" || r.Error.Message != "too far" || !strings.Contains(fmt.Sprint(r.Error.Trace, r.Error.StackTrace), "index.js") {
		t.Errorf("an error that went through its caller: %+v", r.Error)
	}
}
