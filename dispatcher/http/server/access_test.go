package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher"
)

// guarded starts a server as the daemon does.
func guarded(t *testing.T, f *fakeBackend, token string) string {
	t.Helper()
	s, _ := serve(t, f, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHTTPServer(s.Access(token, false))
	go h.Serve(l)
	t.Cleanup(func() { h.Close() })
	return l.Addr().String()
}

func TestTokens(t *testing.T) {
	f := newFake(t)
	f.put(t, "echo")
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
	create(t, client("sesame"), "signed", nil)
	_, err := client("open").Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
	wantCode(t, err, "InvalidSignatureException", "secret access key")
	for header, want := range map[string]int{"": 403, "Bearer sesame": 200, "bearer  sesame": 200, "Bearer sesam": 403, "Basic c2VzYW1l": 403, "AWS4-HMAC-SHA256 Credential=": 403} {
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

// An old signature is no use to whoever has recorded it.
func TestSignatureExpires(t *testing.T) {
	r := httptest.NewRequest("GET", "/v1/functions", nil)
	r.Header.Set("X-Amz-Date", "20200101T000000Z")
	err := checkSignature(r, "Credential=a/20200101/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "s", time.Now())
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func TestWithoutTokenOnlyLocal(t *testing.T) {
	f := newFake(t)
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
	f := newFake(t)
	f.put(t, "echo")
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
		head + "X: " + strings.Repeat("a", 2*MaxHeaderBytes) + "\r\n\r\n": "431",
		head + "Content-Length: 99999999999\r\n\r\n":                      "413",
		head + "Content-Length: -1\r\n\r\n":                               "400",
		head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}":         "400",
		"GARBAGE\r\n\r\n": "400",
		"POST /2015-03-31/functions/%00/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}":                                       "400",
		"POST /2015-03-31/functions/..%2f..%2fetc%2fpasswd/invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}":                    "400",
		"GET /2015-03-31/functions/" + strings.Repeat("a", 5000) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n":                                             "400",
		head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", maxEventSync+10) + strings.Repeat("1", maxEventSync+10) + "\r\n0\r\n\r\n": "413",
		head + "Content-Length: 2\r\n\r\n{}": "200",
	} {
		if got := send(text); !strings.Contains(got, " "+want+" ") {
			t.Errorf("%.70q: %q, want %s", text, got, want)
		}
	}
}

// A client that has gone is noticed while the function runs.
func TestClientGoesAway(t *testing.T) {
	f := newFake(t)
	f.put(t, "echo")
	entered, ended := make(chan struct{}), make(chan error, 1)
	f.invoke = func(ctx context.Context, _ dispatcher.Request) (*dispatcher.Result, error) {
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

// timedBody takes its deadline back when the body is whole.
func TestBodyDeadline(t *testing.T) {
	w := &deadlines{}
	b := &timedBody{ReadCloser: io.NopCloser(strings.NewReader("body")), control: http.NewResponseController(w), end: time.Now().Add(bodyTimeout)}
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	if len(w.set) < 2 || w.set[0].IsZero() || !w.set[len(w.set)-1].IsZero() {
		t.Errorf("deadlines %v", w.set)
	}
	b.end = time.Now().Add(time.Second)
	w.set = nil
	b.Read(make([]byte, 1))
	if len(w.set) == 0 || w.set[0].After(b.end) {
		t.Errorf("a dripping body goes on for ever: %v", w.set)
	}
}

type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}
