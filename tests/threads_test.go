package tests

import (
	"testing"
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
