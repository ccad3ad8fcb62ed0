package tests

import (
	"encoding/json"
	"flag"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"golang.org/x/sys/unix"
)

// setClock is for machines that are there for the tests alone (make test-nested).
var setClock = flag.Bool("set-clock", false, "let tests set this machine's clock")

// TestClockJumps: the wall clock of the host jumps under a daemon. What runs goes
// on, with its time limit; what starts then sees the new time; events are run.
func TestClockJumps(t *testing.T) {
	if !*setClock {
		t.Skip("skipped: it sets this machine's clock, which -set-clock allows")
	}
	d := startDaemon(t, "--machines", "2")
	d.create("clock", "import time\ndef handler(e, c):\n    time.sleep(e)\n    return [time.time(), c.get_remaining_time_in_millis()]\n", nil)
	d.wantNow("0")
	start, wall := time.Now(), time.Now().Round(0) // Round takes the monotonic clock off
	t.Cleanup(func() { jump(t, wall.Add(time.Since(start)).Sub(time.Now().Round(0))) })
	for _, by := range []time.Duration{24 * time.Hour, -72 * time.Hour, 48 * time.Hour} {
		done := make(chan *lambda.InvokeOutput)
		go func() {
			out, err := d.invoke(t.Context(), "clock", "2")
			if err != nil {
				t.Errorf("an invocation during the jump: %v", err)
			}
			done <- out
		}()
		d.wantMetric("seuss_running", "1")
		jump(t, by)
		if out := <-done; out != nil && out.FunctionError != nil {
			t.Errorf("an invocation during a jump by %v: %s %s", by, aws.ToString(out.FunctionError), out.Payload)
		}
		for range 5 {
			d.wantNow("0")
		}
		if _, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("clock"), InvocationType: types.InvocationTypeEvent, Payload: []byte("0")}); err != nil {
			t.Errorf("an event after a jump by %v: %v", by, err)
		}
		d.wantMetric("seuss_events", "0")
	}
}

// wantNow invokes the function clock, which must see the host's time and have most
// of its 20 s left.
func (d *daemon) wantNow(event string) {
	d.Helper()
	seconds := func() float64 { return float64(time.Now().UnixNano()) / 1e9 }
	before := seconds()
	out, err := d.invoke(d.Context(), "clock", event)
	if err != nil || out.FunctionError != nil {
		d.Errorf("clock: %v %+v", err, out)
		return
	}
	var got [2]float64
	if err := json.Unmarshal(out.Payload, &got); err != nil {
		d.Fatal(err)
	}
	if got[0] < before-0.005 || got[0] > seconds()+0.005 {
		d.Errorf("the function says it is %f, it ran between %f and %f", got[0], before, seconds())
	}
	if got[1] <= 0 || got[1] > 20_000 {
		d.Errorf("%v ms remain of 20 s", got[1])
	}
}

func jump(t *testing.T, by time.Duration) {
	t.Helper()
	now := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := unix.Settimeofday(&now); err != nil {
		t.Errorf("set the clock: %v", err)
	}
}
