package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

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
	// A daemon that cannot serve leaves them alone, and waits for none.
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	const left = "asynchronous events of an earlier run are run"
	if log, code := d.fails(os.DevNull, "--listen", busy.Addr().String()); code == 0 || !strings.Contains(log, "address already in use") || strings.Contains(log, left) {
		t.Errorf("exit code %d with a port that is taken: %s", code, log)
	}
	d.start()
	d.wantMetric("seuss_events", "0")
	after := d.log.String()
	if sealed, begun := strings.LastIndex(after, "msg=sandbox"), strings.Index(after, left); sealed < 0 || begun < sealed {
		t.Errorf("events began before the daemon was confined: %s", after)
	}
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
	// Nobody can be told where it serves.
	if log, code := d.fails("/dev/full"); code == 0 || !strings.Contains(log, "msg=draining") || !strings.Contains(log, "no space left on device") {
		t.Errorf("exit code %d with a full stdout: %s", code, log)
	}
}

// fails starts a daemon that does not get as far as serving, and returns its log.
func (d *daemon) fails(stdout string, args ...string) (log string, code int) {
	d.Helper()
	out, err := os.OpenFile(stdout, os.O_WRONLY, 0)
	if err != nil {
		d.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(d.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.path, append([]string{"serve", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	var text bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = d.cmd.Env, out, &text
	err = cmd.Run()
	if ctx.Err() != nil {
		d.Fatalf("the daemon does not end:\n%s", text.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.Fatal(err)
	}
	return text.String(), cmd.ProcessState.ExitCode()
}
