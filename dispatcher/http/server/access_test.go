package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"seuss/dispatcher"
	"seuss/dispatcher/bundle"
	_ "seuss/dispatcher/http/lambda"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/http/servertest"
)

// guarded starts a server as the daemon does.
func guarded(t *testing.T, f *servertest.Fake, token string) string {
	t.Helper()
	s, _ := f.Serve(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := server.NewHTTPServer(s.Access(token, false))
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	return l.Addr().String()
}

func TestTokens(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	address := guarded(t, f, "sesame")
	client := func(secret string) *lambda.Client {
		return lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + address), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("any", secret, "")})
	}
	for _, name := range []string{"echo", "echo:$LATEST", "arn:aws:lambda:us-east-1:000000000000:function:echo"} {
		if _, err := client("sesame").Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"a": "ü"}`)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client("sesame").ListFunctions(t.Context(), &lambda.ListFunctionsInput{MaxItems: aws.Int32(3), Marker: aws.String("0")}); err != nil {
		t.Error(err)
	}
	var code bytes.Buffer
	if err := bundle.WriteZip(&code, map[string][]byte{"main.py": []byte("def handler(event, context):\n    return event\n")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client("sesame").CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: aws.String("signed"), Handler: aws.String("main.handler"), Runtime: types.RuntimePython311, Role: aws.String("arn:aws:iam::000000000000:role/any"),
		Code: &types.FunctionCode{ZipFile: code.Bytes()},
	}); err != nil {
		t.Error(err)
	}
	_, err := client("open").Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
	if err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") || !strings.Contains(err.Error(), "secret access key") {
		t.Error(err)
	}
	for header, want := range map[string]int{"": 401, "Bearer sesame": 200, "bearer  sesame": 200, "Bearer sesam": 401, "Basic c2VzYW1l": 401, "AWS4-HMAC-SHA256 Credential=": 401} {
		r, err := http.NewRequest("GET", "http://"+address+"/v1/functions", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", header, resp.StatusCode, want)
		}
	}
}

func TestWithoutTokenOnlyLocal(t *testing.T) {
	f := servertest.New(t)
	address := guarded(t, f, "")
	_, port, _ := net.SplitHostPort(address)
	for _, c := range []struct {
		host, header, value string
		want                int
	}{
		{"127.0.0.1:" + port, "", "", 200},
		{"localhost:" + port, "", "", 200},
		{"[::1]:" + port, "", "", 200},
		{"evil.example:" + port, "", "", 403},
		{"127.0.0.1.evil.example", "", "", 403},
		{"127.0.0.1:" + port, "Origin", "http://evil.example", 403},
		{"127.0.0.1:" + port, "Sec-Fetch-Site", "cross-site", 403},
	} {
		r, err := http.NewRequest("GET", "http://"+address+"/v1/functions", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%+v: %d", c, resp.StatusCode)
		}
	}
}

// Headers and paths beyond the limits are refused, and the server lives on.
func TestHostileRequests(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	address := guarded(t, f, "")
	send := func(text string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		go io.WriteString(c, text) // the server may answer before it has read all
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	const head = "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	for text, want := range map[string]string{
		head + "X: " + strings.Repeat("a", 2*server.MaxHeaderBytes) + "\r\n\r\n": "431",
		head + "Content-Length: 99999999999\r\n\r\n":                             "413",
		head + "Content-Length: -1\r\n\r\n":                                      "400",
		head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}":                "400",
		"GARBAGE\r\n\r\n": "400",
		"POST /2015-03-31/functions/%00/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}":                                                               "400",
		"POST /2015-03-31/functions/..%2f..%2fetc%2fpasswd/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}":                                            "400",
		"GET /2015-03-31/functions/" + strings.Repeat("a", 5000) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n":                                                                     "400",
		head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", dispatcher.MaxEventBytes+10) + strings.Repeat("1", dispatcher.MaxEventBytes+10) + "\r\n0\r\n\r\n": "413",
		head + "Content-Length: 2\r\n\r\n{}": "200",
	} {
		if got := send(text); !strings.Contains(got, " "+want+" ") {
			t.Errorf("%.70q: %q, want %s", text, got, want)
		}
	}
}

// A client that has gone is noticed while the function runs.
func TestClientGoesAway(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	entered, ended := make(chan struct{}), make(chan error, 1)
	f.OnInvoke = func(ctx context.Context, _ dispatcher.Request) (*dispatcher.Result, error) {
		close(entered)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}
	address := guarded(t, f, "")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	<-entered
	c.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the invocation runs on")
	}
}

// What requests announce takes no memory, and what they send takes a bounded one
// over all of them: beyond that they are refused, and served again afterwards.
func TestBodiesShareABudget(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	const budget = 4 << 20
	s, _ := f.Serve(t, func(o *servertest.Options) { o.BodyBytes = budget })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := server.NewHTTPServer(s.Access("", false))
	go h.Serve(l)
	defer h.Close()
	const announce = 6_000_000
	open := func(body int) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", announce, strings.Repeat(" ", body))
		return c
	}
	status := func() int {
		answer, err := http.Post("http://"+l.Addr().String()+"/2015-03-31/functions/echo/invocations", "application/json", strings.NewReader(`{"a": "`+strings.Repeat("b", 10_000)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	// A hundred announcements of 6 MB are no reason to refuse anybody.
	for range 100 {
		open(0)
	}
	if got := status(); got != 200 {
		t.Errorf("status %d where only heads have come", got)
	}
	// Bodies that have come are.
	c := open(budget + 1)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(line, " 429 ") {
		t.Errorf("%q, %v for a body beyond the budget", line, err)
	}
	c.Close()
	for range 100 {
		if got := status(); got != 200 {
			t.Fatalf("status %d after the bodies have gone", got)
		}
	}
}
