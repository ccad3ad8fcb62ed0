package tests

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"seuss/vmm/vmmtest"
)

const echoHandler = `
import os
loaded = []
def handler(event, context):
    if "fail" in event:
        raise ValueError(event["fail"])
    print("version", context.function_version)
    loaded.append(1)
    return {"echo": event, "version": context.function_version, "arn": context.invoked_function_arn, "request_id": context.aws_request_id,
            "client": context.client_context, "mode": os.environ.get("MODE"), "memory": context.memory_limit_in_mb, "calls": len(loaded)}
`

// TestLambdaAPI goes through Lambda's API with AWS's client and real guests.
func TestLambdaAPI(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	c := d.aws
	ctx := t.Context()
	d.create("echo", echoHandler, func(in *lambda.CreateFunctionInput) {
		in.Environment = &types.Environment{Variables: map[string]string{"MODE": "one"}}
		in.MemorySize = aws.Int32(192)
	})
	type answer struct {
		Echo                       map[string]int
		Version, ARN, Mode, Memory string
		RequestID                  string `json:"request_id"`
		Client                     map[string]map[string]string
		Calls                      int
	}
	call := func(name, event string) (a answer) {
		t.Helper()
		out, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(event), ClientContext: aws.String(base64.StdEncoding.EncodeToString([]byte(`{"custom":{"k":"v"}}`)))})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Payload, &a); err != nil || out.FunctionError != nil {
			t.Fatalf("%s: %v", out.Payload, err)
		}
		return a
	}
	for range 3 {
		a := call("echo", `{"n": 7}`)
		if a.Echo["n"] != 7 || a.Version != "$LATEST" || a.ARN != "arn:aws:lambda:us-east-1:000000000000:function:echo" || a.Mode != "one" || a.Memory != "192" ||
			a.Client["custom"]["k"] != "v" || a.Calls != 1 || len(a.RequestID) != 36 {
			t.Errorf("%+v", a)
		}
	}
	out, err := d.invoke(ctx, "echo", `{"fail": "on purpose"}`)
	if err != nil {
		t.Fatal(err)
	}
	log, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), `"errorMessage":"on purpose","errorType":"ValueError"`) ||
		!strings.Contains(string(out.Payload), "main.py") || err != nil || !strings.Contains(string(log), "[ERROR] ValueError: on purpose") {
		t.Errorf("%s\n%s", out.Payload, log)
	}
	// A version keeps its code and environment; an alias moves.
	if _, err := c.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("echo")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("echo"),
		Environment: &types.Environment{Variables: map[string]string{"MODE": "two"}}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"echo": "two $LATEST", "echo:1": "one 1", "echo:live": "one 1", "arn:aws:lambda:us-east-1:000000000000:function:echo:live": "one 1"} {
		if a := call(name, `{}`); a.Mode+" "+a.Version != want {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if _, err := c.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("echo"), ZipFile: zipped(t, "def handler(e, c):\n    return 'new'\n"), Publish: true}); err != nil {
		t.Fatal(err)
	}
	d.wantOutput("echo", `{}`, `"new"`)
	d.wantOutput("echo:2", `{}`, `"new"`)
	if a := call("echo:live", `{}`); a.Mode != "one" {
		t.Errorf("the alias: %+v", a)
	}
	if _, err := c.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: aws.String("echo"), Name: aws.String("live"), FunctionVersion: aws.String("2")}); err != nil {
		t.Fatal(err)
	}
	d.wantOutput("echo:live", `{}`, `"new"`)

	_, err = c.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: aws.String("broken"), Handler: aws.String("main.handler"), Runtime: types.RuntimePython311, Role: aws.String("r"),
		Code: &types.FunctionCode{ZipFile: zipped(t, "def handler(")}})
	wantAPIError(t, err, "InvalidParameterValueException", "Syntax error in module 'main'")

	// All of it is there after a restart.
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.start()
	c = d.aws
	d.wantOutput("echo:live", `{}`, `"new"`)
	if a := call("echo:1", `{}`); a.Mode != "one" || a.Version != "1" {
		t.Errorf("after a restart: %+v", a)
	}
	if _, err := c.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("echo")}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"echo", "echo:1", "echo:live"} {
		_, err := d.invoke(ctx, name, `{}`)
		wantAPIError(t, err, "ResourceNotFoundException", name)
	}
	var nodes []item
	d.get("/v1/snapshots", &nodes)
	for _, n := range nodes {
		if n.Key.Function == "echo" {
			t.Errorf("node %s is left of a function that is gone", n.ID)
		}
	}
}

func wantAPIError(t *testing.T, err error, code, words string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), words) {
		t.Errorf("%v; want %s with %q", err, code, words)
	}
}

// TestJavaScriptSDK runs AWS SDK for JavaScript against the daemon; make sdk
// installs it.
func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("SEUSS_JS_SDK")
	if modules == "" {
		t.Skip("skipped: SEUSS_JS_SDK does not name a folder with @aws-sdk/client-lambda (make test-sdk)")
	}
	d := nodeDaemon(t, "streamer", streamer)
	script, err := os.ReadFile("sdk/lambda.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// Node looks for modules beside the script.
	path := filepath.Join(modules, "lambda.mjs")
	if err := os.WriteFile(path, script, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", path, d.url)
	cmd.Env = append(os.Environ(), "AWS_SECRET_ACCESS_KEY="+d.token)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKilledUnderLoad: kill -9 while clients invoke; after a restart everything
// that was deployed is there, and no client has got anything but an answer or a
// clean error.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--max-wait", "2m", "--target-wait", "2m")
	for n := range 3 {
		d.create(fmt.Sprintf("f%d", n), fmt.Sprintf("def handler(e, c):\n    return [%d, e]\n", n), nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var answers, failures atomic.Int64
	for worker := range 6 {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				name := fmt.Sprintf("f%d", worker%3)
				out, err := d.invoke(ctx, name, fmt.Sprintf(`{"k":%d}`, k))
				var api smithy.APIError
				switch {
				case err == nil:
					answers.Add(1)
					if want := fmt.Sprintf(`[%d, {"k": %d}]`, worker%3, k); string(out.Payload) != want {
						t.Errorf("%s, want %s", out.Payload, want)
					}
				case errors.As(err, &api):
					t.Errorf("the API answered %v", err)
				default: // the connection broke
					failures.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	d.until("a hundred answers", func() bool { return answers.Load() >= 100 || t.Failed() })
	d.kill()
	d.until("connections break", func() bool { return failures.Load() > 0 || t.Failed() })
	cancel()
	wg.Wait()
	before := 3
	d.start()
	var functions []item
	d.get("/v1/functions", &functions)
	count := 0
	for _, f := range functions {
		if len(f.Name) == 2 && f.Name[0] == 'f' {
			count++
		}
	}
	if count != before {
		t.Errorf("%d of %d functions are left", count, before)
	}
	captures := d.metric("seuss_captures_total")
	for n := range 3 {
		d.wantOutput(fmt.Sprintf("f%d", n), `{}`, fmt.Sprintf(`[%d, {}]`, n))
	}
	if now := d.metric("seuss_captures_total"); now != captures {
		t.Errorf("snapshots were taken again: %s captures, then %s", captures, now)
	}
}

// TestDrain: SIGTERM lets what runs finish, and ends with code 0.
func TestDrain(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	d.create("slow", "import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'done'\n", nil)
	d.ready("slow", "0.2", 3)
	type result struct {
		out *lambda.InvokeOutput
		err error
	}
	results := make(chan result, 3)
	for range 3 {
		go func() {
			out, err := d.invoke(context.Background(), "slow", `2`)
			results <- result{out, err}
		}()
	}
	d.wantMetric("seuss_running", "3")
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r := <-results; r.err != nil || string(r.out.Payload) != `"done"` {
			t.Errorf("%v %+v", r.err, r.out)
		}
	}
	<-d.exit
	d.exit <- nil
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
}

// TestServedFunctionsThatDoWrong: each ends by itself, and the next is right. Those
// that hold all machines for a second are no reason to refuse the others here.
func TestServedFunctionsThatDoWrong(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "3", "--target-wait", "2m", "--max-wait", "2m")
	d.create("good", "def handler(e, c):\n    return e\n", nil)
	for name, source := range map[string]string{
		"crash": "import ctypes\ndef handler(e, c):\n    ctypes.string_at(0)\n",
		"hang":  "def handler(e, c):\n    while True: pass\n",
		"eat":   "def handler(e, c):\n    x = []\n    while True: x.append(bytearray(1 << 20))\n",
		"limit": "def handler(e, c):\n    x = []\n    try:\n        while True: x.append(bytearray(b'x' * (1 << 20)))\n    except MemoryError:\n        pass\n    while True: pass\n",
		"flood": "def handler(e, c):\n    while True: print('x' * 1000)\n",
		"exit":  "import os\ndef handler(e, c):\n    os._exit(3)\n",
		"deep":  "def handler(e, c):\n    return handler(e, c)\n",
	} {
		d.create(name, source, func(in *lambda.CreateFunctionInput) {
			in.Timeout = aws.Int32(30)
			in.MemorySize = aws.Int32(256)
			if name == "limit" {
				in.MemorySize = aws.Int32(128)
			}
			if name == "hang" || name == "flood" {
				in.Timeout = aws.Int32(1)
			}
		})
	}
	for range 2 {
		var wg sync.WaitGroup
		for name, want := range map[string]string{"crash": "Runtime.ExitError", "hang": "Sandbox.Timedout", "eat": "MemoryError", "limit": "Runtime.OutOfMemory", "flood": "Sandbox.Timedout", "exit": "Runtime.ExitError", "deep": "RecursionError"} {
			wg.Go(func() {
				out, err := d.invoke(t.Context(), name, `{}`)
				if err != nil || aws.ToString(out.FunctionError) != "Unhandled" || !strings.Contains(string(out.Payload), `"errorType":"`+want+`"`) {
					t.Errorf("%s: %v %+v", name, err, out)
				}
			})
			wg.Go(func() { d.wantOutput("good", `{"a": 1}`, `{"a": 1}`) })
		}
		wg.Wait()
	}
	if got := d.metric(fmt.Sprintf(`seuss_platform_info{platform="%s"}`, vmmtest.Require(t).Name())); got != "1" {
		t.Errorf("the platform is not told: %q", got)
	}
	d.wantMetric(`seuss_invocations_total{outcome="crash"}`, "2")
	d.wantMetric("seuss_out_of_memory_total", "2")
	d.wantMetric(`seuss_invocations_total{outcome="timeout"}`, "4")
}

// TestOverload: what is too much is refused with 429 and a time to come again,
// and a function that floods does not starve another.
func TestOverload(t *testing.T) {
	d := startDaemon(t, "--machines", "2", "--function-queue", "5", "--queue", "20")
	d.create("flood", "import time\ndef handler(e, c):\n    time.sleep(0.05)\n    return 1\n", nil)
	d.create("calm", "def handler(e, c):\n    return 2\n", nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var served, refused atomic.Int64
	for range 30 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, err := d.invoke(ctx, "flood", `{}`)
				var throttled *types.TooManyRequestsException
				switch {
				case err == nil:
					served.Add(1)
				case errors.As(err, &throttled):
					refused.Add(1)
					if aws.ToString(throttled.RetryAfterSeconds) == "" {
						t.Error("no Retry-After")
					}
					time.Sleep(time.Millisecond)
				case ctx.Err() == nil:
					t.Error(err)
				}
			}
		})
	}
	d.until("something is refused", func() bool { return refused.Load() > 0 || t.Failed() })
	for range 20 {
		d.wantOutput("calm", `{}`, `2`)
	}
	cancel()
	wg.Wait()
	if served.Load() == 0 {
		t.Error("the flooding function got nothing at all")
	}
	t.Logf("flood: %d served, %d refused", served.Load(), refused.Load())
	d.wantMetric("seuss_queue_length", "0") // clients have just left
	d.wantOutput("flood", `{}`, `1`)
}

// TestClientsThatLeave: their machines come back. The naps are too short for the function to
// be parked: it holds its machine.
func TestClientsThatLeave(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2")
	d.create("hang", "import time\ndef handler(e, c):\n    while True:\n        time.sleep(0.002)\n", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(900) })
	d.create("good", "def handler(e, c):\n    return 1\n", nil)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 { // two run, two wait
			wg.Go(func() { d.invoke(ctx, "hang", `{}`) })
		}
		d.wantMetric("seuss_queue_length", "2")
		d.wantMetric("seuss_running", "2")
		cancel()
		wg.Wait()
		d.wantOutput("good", `{}`, `1`)
	}
}

// TestWatch: a watcher hears of snapshots as they come and go.
func TestWatch(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	request, err := http.NewRequestWithContext(t.Context(), "GET", d.url+"/v1/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	next := func() (event string, n item) {
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &n); err != nil {
					t.Fatal(err)
				}
			} else if lines.Text() == "" && event != "" {
				return event, n
			}
		}
		t.Fatal("the stream ended:", lines.Err())
		return
	}
	kinds := map[string]int{}
	for event, n := next(); event != "ready"; event, n = next() {
		kinds[n.Kind]++
	}
	if kinds["image"] != 1 || kinds["base"] != 1 {
		t.Errorf("at the beginning: %v", kinds)
	}
	d.create("seen", "def handler(e, c):\n    return 1\n", nil)
	event, n := next()
	if event != "added" || n.Key.Function != "seen" {
		t.Errorf("%s %+v", event, n)
	}
	d.want(0, "removed", "function", "rm", "seen")
	if event, gone := next(); event != "removed" || gone.ID != n.ID {
		t.Errorf("%s %+v", event, gone)
	}
	// An open watch does not hold up the end.
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestServeRefusesToBeOpen: beyond loopback only with a token.
func TestServeRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.failure(2, "a token is required", "serve", "--listen", "0.0.0.0:0")
	c.failure(2, "a token is required", "serve", "--listen", ":0")
	c.failure(1, "at least 16", "serve", "--listen", "0.0.0.0:0", "--token-file", c.file("token", "short"))
	c.failure(2, "--memory", "serve", "--memory", "much")
}
