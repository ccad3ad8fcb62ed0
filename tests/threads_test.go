package tests

import (
	"fmt"
	"testing"
	"time"

	"seuss/dispatcher"
)

// threadsFunction runs so many threads at a time, each of which goes deep on its stack.
const threadsFunction = `
import threading
def deep(n):
    return 1 + max(map(deep, [n - 1])) if n else 0
def handler(event, context):
    gate, done = threading.Barrier(event["threads"] + 1), []
    def work(n):
        gate.wait()
        done.append(deep(event["deep"]) + n)
        gate.wait()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(event["threads"])]
    for t in threads:
        t.start()
    gate.wait()
    gate.wait()
    for t in threads:
        t.join()
    return sum(done)
`

// TestManyThreads: stacks that threads set aside take memory where they are touched, so 200
// threads run in a guest of 72 MiB, each time it is restored, and after one another.
func TestManyThreads(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "threads", threadsFunction, nil)
	for range 2 {
		if got := output[int](t, invoke(t, d, "threads", `{"threads": 200, "deep": 20}`)); got != 200*20+199*200/2 {
			t.Errorf("the threads answer %d", got)
		}
	}
	if got := output[int](t, invoke(t, d, "threads", `{"threads": 3, "deep": 300}`)); got != 3*300+3 {
		t.Errorf("deep threads answer %d", got)
	}
	result := invoke(t, d, "threads", `{"threads": 5000, "deep": 1}`)
	if result.Error == nil || result.Error.Message != "can't start new thread" {
		t.Errorf("5000 threads: %+v", result)
	}
}

// workersFunction starts so many worker threads at a time, each with a heap of its own, and
// has each compute while all are there.
const workersFunction = `
const { Worker } = require('worker_threads');
const body = 'const { parentPort, workerData } = require("worker_threads"); parentPort.once("message", () => parentPort.postMessage(Array.from({ length: 5000 }, (_, i) => i * workerData).reduce((a, b) => a + b)));  parentPort.postMessage("here")';
exports.handler = async (event) => {
  const next = (w) => new Promise((resolve, reject) => w.once('message', resolve).once('error', reject));
  const workers = Array.from({ length: event.workers }, (_, n) => new Worker(body, { eval: true, workerData: n }));
  const here = await Promise.all(workers.map(next));
  const sums = workers.map(next);
  workers.forEach((w) => w.postMessage('go'));
  const sum = (await Promise.all(sums)).reduce((a, b) => a + b, 0);
  await Promise.all(workers.map((w) => w.terminate()));
  return [here.length, sum];
};
`

// TestManyWorkers: 60 worker threads of Node.js, each time it is restored, and after one
// another.
func TestManyWorkers(t *testing.T) {
	d := openNode(t)
	deployNode(t, d, "workers", "index.js", workersFunction, false)
	const each = 5000 * 4999 / 2
	for _, n := range []int{60, 3} {
		want := [2]int{n, each * (n * (n - 1) / 2)}
		r, err := d.Invoke(t.Context(), dispatcher.Request{Function: "workers", Event: fmt.Appendf(nil, `{"workers": %d}`, n), Timeout: patience(2 * time.Minute)})
		if err != nil {
			t.Fatal(describe(err))
		}
		if got := output[[2]int](t, r); got != want {
			t.Errorf("%d workers answer %v, want %v", n, got, want)
		}
	}
}
