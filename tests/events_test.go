package tests

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// TestEventsSurviveKill: kill -9 with events that wait and run; each that was
// accepted is run by this daemon or the next.
func TestEventsSurviveKill(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2")
	d.create("slow", "import time\ndef handler(e, c):\n    time.sleep(0.05)\n    return e\n", nil)
	const events = 60
	ids := make([]string, events)
	var wg sync.WaitGroup
	for n := range events {
		wg.Go(func() {
			out, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("slow"), InvocationType: types.InvocationTypeEvent, Payload: fmt.Appendf(nil, `{"n":%d}`, n)})
			if err != nil || out.StatusCode != 202 {
				t.Errorf("event %d: %v", n, err)
				return
			}
			ids[n], _ = middleware.GetRequestIDMetadata(out.ResultMetadata)
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	ran := func(log string, id string) bool {
		for line := range strings.SplitSeq(log, "\n") {
			if strings.Contains(line, "msg=invocation") && strings.Contains(line, id) {
				return true
			}
		}
		return false
	}
	d.until("some are done, some run, most wait", func() bool { return strings.Contains(d.log.String(), "msg=invocation") })
	d.kill()
	before := d.log.String()
	d.start()
	d.wantMetric("seuss_events", "0")
	after := d.log.String()
	again := 0
	for n, id := range ids {
		if len(id) != 36 || !ran(before, id) && !ran(after, id) {
			t.Errorf("event %d, %q, never ran", n, id)
		} else if ran(after, id) {
			again++
		}
	}
	if again == 0 {
		t.Error("the second daemon ran nothing: nothing was left to survive")
	}
	t.Logf("%d of %d events ran after the restart", again, events)
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
