package tests

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/http/servertest"
)

// daemon is a seussctl serve in a process of its own, on a state directory that
// has the image and its base snapshot.
type daemon struct {
	*cli
	args []string
	cmd  *exec.Cmd
	url  string
	http *http.Client   // of url: it has the token
	aws  *lambda.Client // likewise; each client keeps connections of its own
	log  *lockedBuffer
	exit chan error

	token string // of url
}

// bearer is a token that requests carry.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// lockedBuffer is written by a process while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	return startDaemonWith(t, func(*cli) {}, args...)
}

// startDaemonWith starts one on a state that is prepared before.
func startDaemonWith(t *testing.T, prepare func(*cli), args ...string) *daemon {
	t.Helper()
	c := newCLI(t)
	c.state = treeCopy(t)
	prepare(c)
	d := &daemon{cli: c, args: args}
	d.start()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", d.log)
		}
	})
	return d
}

func (d *daemon) start() {
	d.Helper()
	d.cmd = exec.Command(d.path, append([]string{"serve", "--json", "--listen", "127.0.0.1:0"}, d.args...)...)
	d.cmd.Env = []string{"SEUSS_STATE=" + d.state, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SEUSS_PLATFORM=" + os.Getenv("SEUSS_TEST_PLATFORM")}
	d.log = &lockedBuffer{}
	d.cmd.Stderr = d.log
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		d.Fatal(err)
	}
	exit := make(chan error, 1)
	d.exit = exit
	var doc struct {
		Listening []string
		TokenFile string `json:"token_file"`
	}
	dec := json.NewDecoder(out)
	if err := dec.Decode(&doc); err != nil || len(doc.Listening) < 2 {
		d.cmd.Process.Kill()
		exit <- d.cmd.Wait() // for kill
		d.Fatalf("the daemon did not start: %v\n%s", err, d.log)
	}
	d.url = doc.Listening[0]
	d.token = ""
	if doc.TokenFile != "" {
		b, err := os.ReadFile(doc.TokenFile)
		if err != nil {
			d.Fatal(err)
		}
		d.token = strings.TrimSpace(string(b))
	}
	d.http = &http.Client{Transport: bearer(d.token)}
	d.aws = newLambda(d.url, d.token)
	go func() {
		io.Copy(io.Discard, io.MultiReader(dec.Buffered(), out))
		exit <- d.cmd.Wait()
	}()
}

// kill ends the daemon at once and waits for it.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	<-d.exit
	d.exit <- nil // whoever asks again
}

// stop ends the daemon as an operator does, and returns its exit code.
func (d *daemon) stop() int {
	d.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.Fatal(err)
	}
	select {
	case <-d.exit:
		d.exit <- nil
	case <-time.After(patience(2 * time.Minute)):
		d.Fatalf("the daemon does not end:\n%s", d.log)
	}
	return d.cmd.ProcessState.ExitCode()
}

// newLambda is AWS's own client, pointed at a daemon. It does not retry.
func newLambda(url, token string) *lambda.Client {
	return lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(url), RetryMaxAttempts: 1,
		HTTPClient:  servertest.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("any", cmp.Or(token, "any"), "")})
}

// create deploys source as main.py through Lambda's API.
func (d *daemon) create(name, source string, change func(*lambda.CreateFunctionInput)) {
	d.Helper()
	in := &lambda.CreateFunctionInput{FunctionName: &name, Handler: aws.String("main.handler"), Runtime: types.RuntimePython311,
		Role: aws.String("arn:aws:iam::000000000000:role/any"), Code: &types.FunctionCode{ZipFile: zipped(d.T, source)}, Timeout: aws.Int32(20)}
	if change != nil {
		change(in)
	}
	if _, err := d.aws.CreateFunction(d.Context(), in); err != nil {
		d.Fatalf("create %s: %v", name, err)
	}
}

func zipped(t testing.TB, source string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("main.py")
	if err == nil {
		_, err = io.WriteString(f, source)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// invoke calls a function through Lambda's API; its error is a part of the result.
func (d *daemon) invoke(ctx context.Context, name, event string) (*lambda.InvokeOutput, error) {
	return d.aws.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(event), LogType: types.LogTypeTail})
}

func (d *daemon) wantOutput(name, event, want string) {
	d.Helper()
	out, err := d.invoke(d.Context(), name, event)
	if err != nil {
		d.Errorf("%s: %v", name, err)
	} else if out.FunctionError != nil || string(out.Payload) != want {
		d.Errorf("%s: %s %s, want %s", name, aws.ToString(out.FunctionError), out.Payload, want)
	}
}

// get reads a document of the native API.
func (d *daemon) get(path string, v any) {
	d.Helper()
	resp, err := d.http.Get(d.url + path)
	if err != nil {
		d.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", resp.Status, b)
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		d.Fatalf("GET %s: %v", path, err)
	}
}

// wantMetric waits until a metric has a value: an answer leaves before its invocation is counted.
func (d *daemon) wantMetric(name, want string) {
	d.Helper()
	d.until(name+" is "+want, func() bool { return d.metric(name) == want })
}

// until waits for what comes by itself; what is in the failure.
func (d *daemon) until(what string, is func() bool) {
	d.Helper()
	for end := time.Now().Add(patience(2 * time.Minute)); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			d.Fatalf("not in two minutes: %s\n%s", what, d.log)
		}
	}
}

// ready waits until as many machines stand ready for a function as are busy with it at a
// time: from then on so many invocations begin at once, on however busy a host. event must
// take a while.
func (d *daemon) ready(function, event string, machines int) {
	d.Helper()
	most := 0
	for end := time.Now().Add(patience(2 * time.Minute)); most < machines; {
		if time.Now().After(end) {
			d.Fatalf("%d of %d machines at a time, not in two minutes\n%s", most, machines, d.log)
		}
		var wg sync.WaitGroup
		for range machines {
			wg.Go(func() {
				if _, err := d.invoke(d.Context(), function, event); err != nil {
					d.Errorf("%s: %v", function, err)
				}
			})
		}
		wg.Wait()
		if d.Failed() {
			return
		}
		waitForResets(d)
		var pools []dispatcher.PoolStats
		d.get("/v1/pools", &pools)
		for _, p := range pools {
			most = max(most, p.Ready)
		}
	}
}

// metric returns a sample of /metrics, "" if it is not there.
func (d *daemon) metric(name string) string {
	d.Helper()
	resp, err := d.http.Get(d.url + "/metrics")
	if err != nil {
		d.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.Fatal(err)
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}
