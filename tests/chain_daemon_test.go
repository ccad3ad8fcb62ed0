package tests

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"seuss/dispatcher/api"
)

// TestChainedDaemon: functions of a real daemon call each other: what is deployed from the
// command line and invoked by clients of both APIs, at once; what is refused is refused by name;
// ps says who has called whom; and what was let in before SIGTERM makes its calls still.
func TestChainedDaemon(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2", "--drain", "60s")
	code := d.file("main.py", calling+`
def twice(context, function, seconds):
    return [call(context, function, {"do": "nap", "with": {"seconds": seconds}})["ok"], call(context, function, {"do": "echo", "with": {"value": 2}})["ok"]]
`)
	d.want(0, "", "function", "deploy", "front", code, "--timeout", "60s", "--call", "back,front")
	d.want(0, "", "function", "deploy", "back", code, "--timeout", "60s")
	echo := func(value string) string {
		return fmt.Sprintf(`{"do": "call", "with": {"function": "back", "event": {"do": "echo", "with": {"value": %s}}}}`, value)
	}
	d.wantOutput("front", echo(`"ä"`), `{"ok": {"ok": "\u00e4"}}`)
	d.want(0, `{"ok": {"ok": 1}}`, "invoke", "front", "--event", echo("1"))
	native := func(event string) (int, string) {
		t.Helper()
		resp, err := d.http.Post(d.url+"/v1/functions/front/invoke", "application/json", strings.NewReader(`{"event": `+event+`}`))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, string(b)
	}
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			if status, body := native(echo(fmt.Sprint(n))); status != http.StatusOK || !strings.Contains(body, fmt.Sprintf(`{"ok": %d}`, n)) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	clients.Wait()
	for event, want := range map[string]string{
		`{"do": "call", "with": {"function": "other", "event": 1}}`:                                                       `"error": "Forbidden"`,
		`{"do": "call", "with": {"function": "back:live", "event": 1}}`:                                                   `"error": "NotFound"`,
		`{"do": "call", "with": {"function": "back", "event": {"do": "call", "with": {"function": "back", "event": 1}}}}`: `"error": "Forbidden"`,
		`{"do": "call", "with": {"function": "back", "event": 1, "timeout": 0}}`:                                          `"error": "Invalid"`,
		`{"do": "deep", "with": {"function": "front", "n": 80}}`:                                                          `"error": "TooDeep"`,
	} {
		out, err := d.invoke(t.Context(), "front", event)
		if err != nil || !strings.Contains(string(out.Payload), want) {
			t.Errorf("%s: %+v, %v, want %s", event, out, err, want)
		}
	}
	if out, err := d.invoke(t.Context(), "front", `{"do": "raises", "with": {"function": "back"}}`); err != nil || out.FunctionError == nil || !strings.Contains(string(out.Payload), `"errorType":"ValueError"`) {
		t.Errorf("%+v, %v", out, err)
	}

	answer := make(chan string, 1)
	go func() {
		out, err := d.invoke(t.Context(), "front", `{"do": "twice", "with": {"function": "back", "seconds": 1.5}}`)
		if err != nil {
			answer <- err.Error()
			return
		}
		answer <- string(out.Payload)
	}()
	var page api.UnderWay
	d.until("the callee runs", func() bool {
		page = api.UnderWay{}
		d.get("/v1/invocations", &page)
		return len(page.Invocations) == 2 && page.Invocations[1].State == "running"
	})
	top, below := page.Invocations[0], page.Invocations[1]
	if top.Parent != "" || below.Parent != top.RequestID || below.Root != top.RequestID || below.Function != "back" {
		t.Errorf("%+v, below it %+v", top, below)
	}
	if r := d.want(0, "PARENT", "ps", "--wide"); strings.Count(r.stdout, top.RequestID) != 3 { // those of what it has called are two
		t.Errorf("%s", r.stdout)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answer:
		if got != `{"ok": [1.5, 2]}` {
			t.Errorf("while the daemon drains: %s", got)
		}
	case <-time.After(patience(time.Minute)):
		t.Errorf("no answer:\n%s", d.log)
	}
	select {
	case <-d.exit:
		d.exit <- nil
	case <-time.After(patience(time.Minute)):
		t.Fatalf("the daemon does not end:\n%s", d.log)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
