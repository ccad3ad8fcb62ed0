package tests

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher/api"
)

// TestPs: an invocation that sleeps is listed, with what is known of it, and killed; its
// client is told so, the machine is back and the next invocation right. Who is another
// owner sees it not, and does not end it.
func TestPs(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1", "--max-wait", "10m")
	d.create("sleeper", "import time\nseen = []\ndef handler(e, c):\n    seen.append(1)\n    print('here')\n    end = time.monotonic() + e['s']\n    while time.monotonic() < end:\n        time.sleep(0.002) # too short to be parked\n    return len(seen)\n",
		func(in *lambda.CreateFunctionInput) { in.Timeout, in.MemorySize = aws.Int32(600), aws.Int32(128) })
	d.wantOutput("sleeper", `{"s": 0}`, "1")
	bob := strings.TrimSpace(d.want(0, "", "token", "create", "bob", "--owner", "bob").stdout)
	type answer struct {
		out *lambda.InvokeOutput
		err error
	}
	sleep := func() chan answer {
		got := make(chan answer, 1)
		go func() {
			out, err := d.invoke(t.Context(), "sleeper", `{"s": 500}`)
			got <- answer{out, err}
		}()
		return got
	}
	listed := func(n int, state string) api.UnderWay {
		t.Helper()
		var doc api.UnderWay
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			d.get("/v1/invocations", &doc)
			if len(doc.Invocations) == n && (n == 0 || doc.Invocations[n-1].State == state) {
				return doc
			}
			if time.Now().After(deadline) {
				t.Fatalf("want %d, the last %s: %+v", n, state, doc)
			}
		}
	}
	runs := sleep()
	first := listed(1, "running").Invocations[0]
	if first.Function != "sleeper" || first.Path != "function" || len(first.Node) < 12 || first.Machine == 0 || first.LeftMS == nil || *first.LeftMS > 600_000 {
		t.Errorf("%+v", first)
	}
	for deadline := time.Now().Add(time.Minute); first.ChangedBytes == nil || *first.ChangedBytes == 0; first = listed(1, "running").Invocations[0] {
		if time.Now().After(deadline) {
			t.Fatalf("memory that is looked at is not shown: %+v", first)
		}
	}
	waits := sleep()
	second := listed(2, "waiting").Invocations[1]
	for _, args := range [][]string{{"ps"}, {"ps", "--json"}, {"ps", "-q"}} {
		r := d.want(0, first.RequestID, args...)
		if !strings.Contains(r.stdout, second.RequestID) || (len(args) == 1) != strings.Contains(r.stdout, "LEFT") {
			t.Errorf("%v: %s", args, r.stdout)
		}
	}
	ask := func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := (&http.Client{Transport: bearer(bob)}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		var b strings.Builder
		if _, err := io.Copy(&b, a.Body); err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, b.String()
	}
	if status, body := ask("GET", "/v1/invocations"); status != http.StatusOK || strings.TrimSpace(body) != `{"invocations":[],"total":0}` {
		t.Errorf("bob is shown %d %s", status, body)
	}
	if status, body := ask("DELETE", "/v1/invocations/"+first.RequestID); status != http.StatusNotFound {
		t.Errorf("bob: %d %s", status, body)
	}
	listed(2, "waiting")
	d.want(0, second.RequestID, "kill", second.RequestID)
	if a := <-waits; a.err == nil || !strings.Contains(a.err.Error(), "InvocationKilled") {
		t.Errorf("one that waited: %+v, %v", a.out, a.err)
	}
	d.want(0, first.RequestID, "kill", first.RequestID)
	if a := <-runs; a.err != nil || aws.ToString(a.out.FunctionError) != "Unhandled" || !strings.Contains(string(a.out.Payload), "Sandbox.Killed") {
		t.Errorf("one that ran: %+v, %v", a.out, a.err)
	}
	d.wantOutput("sleeper", `{"s": 0}`, "1")
	listed(0, "")
	d.failure(1, "nothing of that request id", "kill", first.RequestID)
	if r := d.want(0, "", "ps", "-q"); r.stdout != "" {
		t.Errorf("%q", r.stdout)
	}
}
