package tests

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// waiting sleeps and says by how much too early it came back, if it did, and whether it is
// what it was before: its state, its files and its clock.
const waiting = `
import os, random, time
def clocks(): # by how much the wall clock is ahead, at most and at least, and the other
    a, wall, b = time.monotonic(), time.time(), time.monotonic()
    return wall - a, wall - b, b
def handler(event, context):
    kept = [random.random() for _ in range(50)]
    own = os.urandom(8).hex()
    open("/tmp/own", "w").write(own)
    left, (most, least, began) = context.get_remaining_time_in_millis(), clocks()
    time.sleep(event["seconds"])
    most2, least2, ended = clocks()
    slept = ended - began
    same = open("/tmp/own").read() == own and len(set(kept)) == 50
    return {"id": event["id"], "own": own, "early": slept < event["seconds"], "same": same,
            "clocks": least2 < most + 0.1 and least < most2 + 0.1, "left": left - context.get_remaining_time_in_millis()}
`

// slept is what it says.
type slept struct {
	ID     int
	Own    string
	Early  bool
	Same   bool
	Clocks bool
	Left   float64
}

// sleepAll has n invocations sleep at once, and returns how long all of them took. None may
// be refused, and none be another's.
func (d *daemon) sleepAll(n int, seconds float64) time.Duration {
	d.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	own := map[string]bool{}
	began := time.Now()
	for id := range n {
		wg.Go(func() {
			out, err := d.invoke(d.Context(), "waiting", fmt.Sprintf(`{"id": %d, "seconds": %g}`, id, seconds))
			if err != nil || out.FunctionError != nil {
				d.Errorf("%d: %v, %+v", id, err, out)
				return
			}
			var s slept
			if err := json.Unmarshal(out.Payload, &s); err != nil {
				d.Errorf("%d: %s: %v", id, out.Payload, err)
				return
			}
			if s.ID != id || s.Early || !s.Same || !s.Clocks || math.Abs(s.Left-1000*seconds) > 60_000 {
				d.Errorf("%d: %+v", id, s)
			}
			mu.Lock()
			defer mu.Unlock()
			if own[s.Own] {
				d.Errorf("%d: its randomness is another's", id)
			}
			own[s.Own] = true
		})
	}
	wg.Wait()
	return time.Since(began)
}

// TestSleepersLeaveMachines: many more invocations than machines sleep at a time; none is
// refused, each goes on as what it was, and meanwhile others are served.
func TestSleepersLeaveMachines(t *testing.T) {
	d := startDaemon(t, "--machines", "8", "--function-queue", "1000", "--target-wait", "1m", "--max-wait", "1m")
	d.create("waiting", waiting, nil)
	d.create("quick", "def handler(e, c): return e\n", nil)
	done := make(chan time.Duration)
	go func() { done <- d.sleepAll(200, 3) }()
	d.until("most are parked", func() bool { return d.number("seuss_parked_instances") > 150 })
	for range 5 {
		if out, err := d.invoke(t.Context(), "quick", "7"); err != nil || string(out.Payload) != "7" {
			t.Errorf("what does not wait is not served: %v, %+v", err, out)
		}
	}
	t.Logf("200 that sleep for 3 s are answered after %v on 8 machines; %.0f parks, %.1f ms each, %.1f ms each way back, %.0f late", <-done, d.number("seuss_parks_total"),
		1000*d.number(`seuss_parks_seconds_total{way="out"}`)/d.number("seuss_parks_total"), 1000*d.number(`seuss_parks_seconds_total{way="back"}`)/d.number("seuss_parks_total"),
		d.number("seuss_parked_late_total"))
	d.wantMetric("seuss_parked_instances", "0")
	d.wantMetric("seuss_parked_bytes", "0")
	d.wantMetric("seuss_resting_instances", "0")
	// Events wait likewise, and hold nobody up, other events neither.
	for range 40 {
		if _, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("waiting"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"id": 0, "seconds": 15}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := d.invoke(t.Context(), "quick", "8"); err != nil || string(out.Payload) != "8" {
		t.Errorf("behind events that wait: %v, %+v", err, out)
	}
	d.sleepAll(20, 0.2)
}

// number is a metric's.
func (d *daemon) number(name string) float64 {
	d.Helper()
	n, err := strconv.ParseFloat(d.metric(name), 64)
	if err != nil {
		d.Errorf("%s: %v", name, err)
	}
	return n
}
