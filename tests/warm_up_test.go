package tests

import "testing"

// TestWarmUp: what warm-up invocations leave in memory is in the snapshot, and
// an event that the function fails on leaves the deployment as it was.
func TestWarmUp(t *testing.T) {
	c := newCLI(t)
	c.state = treeCopy(t)
	code := c.file("counts.py", "calls = []\ndef handler(event, context):\n    calls.append(event['n'])\n    return calls\n")
	c.want(0, "counts", "function", "deploy", "counts", code, "--warm-up", `{"n": 1, "m": 0}`, "--warm-up", "@"+c.file("e.json", `{"n": 2}`), "--warm-up-runs", "2")
	for range 2 {
		c.want(0, "[1, 2, 1, 2, 3]", "invoke", "counts", "--event", `{"n": 3}`)
	}
	c.want(3, "KeyError", "function", "deploy", "counts", code, "--warm-up", `{}`)
	c.want(0, "[1, 2, 1, 2, 3]", "invoke", "counts", "--event", `{"n": 3}`)
	c.failure(2, "not JSON", "function", "deploy", "counts", code, "--warm-up", `{`)
	c.failure(2, "--warm-up-runs", "function", "deploy", "counts", code, "--warm-up-runs", "2")
	c.failure(2, "at most", "function", "deploy", "counts", code, "--warm-up", "1", "--warm-up-runs", "5000")
	c.failure(1, "no such file", "function", "deploy", "counts", code, "--warm-up", "@nothing")
	// Another code with the same events is warmed up too; without them it is not.
	c.want(0, "counts", "function", "deploy", "counts", code)
	c.want(0, "[3]", "invoke", "counts", "--event", `{"n": 3}`)
}
