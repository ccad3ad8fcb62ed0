package tests

import (
	"os/exec"
	"testing"
)

// TestWarmUp: what warm-up invocations leave in memory is in the snapshot, and
// an event that the function fails on leaves the deployment as it was.
func TestWarmUp(t *testing.T) {
	t.Parallel()
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

// TestBaseWarmUp: what the function that an image was built with imports is in
// the base of that image, for every function; the function itself is not. One
// that fails is named when the image boots.
func TestBaseWarmUp(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = t.TempDir()
	warm := c.file("warm.py", `
import colorsys
def handler(event, context):
    if "fail" in event:
        raise ValueError(event["fail"])
    print(colorsys.rgb_to_hsv(1, 0, 0))
`)
	left := c.file("left.py", `
import gc, os, sys
def handler(event, context):
    strays = [o for o in gc.get_objects() if getattr(o, "__file__", None) == "/var/task/warm.py"]
    return ["colorsys" in sys.modules, "warm" in sys.modules or len(strays) > 0, os.listdir("/var/task")]
`)
	c.want(0, "python", "image", "build", "--no-numpy", "--warm-up-code", warm, "--warm-up", `{}`, "--warm-up-runs", "3")
	c.want(0, `[true, false, ["left.py"]]`, "run", left, "--event", "{}")
	c.want(0, "python", "image", "build", "--no-numpy", "--warm-up-code", warm, "--warm-up", `{"fail": "on purpose"}`)
	c.want(1, `warm-up event 1 of the image failed: {"errorType": "ValueError", "errorMessage": "on purpose"`, "run", left, "--event", "{}")
	c.failure(2, "--warm-up-code", "image", "build", "--warm-up", "{}")
	c.failure(2, "it is for Node.js", "image", "build", "--warm-up-code", c.file("warm.js", "exports.handler = () => 1;"))
	c.failure(1, "no such file", "image", "build", "--warm-up-code", "nothing.py")
	if _, err := exec.LookPath("node"); err != nil {
		return
	}
	c.failure(2, "more than one", "image", "build", "--runtime", "node", "--warm-up-code", "testdata/warmup", "--warm-up", "{}")
	c.want(0, "node", "image", "build", "--runtime", "node", "--warm-up-code", "testdata/warmup", "--warm-up-handler", "warm.handler")
	c.want(0, `[true,["left.js"]]`, "run", c.file("left.js", `
exports.handler = async () => [process.moduleLoadList.includes('NativeModule querystring'), require('fs').readdirSync('/var/task')];
`), "--event", "{}")
	c.want(0, "node", "image", "build", "--runtime", "node", "--warm-up-code", "testdata/warmup", "--warm-up-handler", "warm.handler", "--warm-up", `{"fail": "on purpose"}`)
	c.want(1, "on purpose", "run", c.file("left.js", "exports.handler = () => 1;"), "--event", "{}")
}
