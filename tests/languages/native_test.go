package languages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startTimeout is how long a program of this machine may take until it is ready.
const startTimeout = time.Minute

// start starts a program that ends with what the caller defers.
func start(t *testing.T, c *exec.Cmd) (end func()) {
	t.Helper()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		c.Process.Kill()
		c.Wait() // it was killed
		if t.Failed() {
			t.Logf("natively it has said: %s", out.String())
		}
	}
}

// reply is what of an answer has to be the same.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) String() string {
	body := r.Body
	if len(body) > 200 {
		body = fmt.Sprintf("%.40q and so on, %d bytes", body, len(r.Body))
	}
	return fmt.Sprintf("%d %v %s", r.Status, r.Header, body)
}

// ask sends a request. Left out of the reply are headers of the connection, and the time.
func ask(base string, q request) (reply, error) {
	r, err := http.NewRequest(q.Method, base+q.Path, strings.NewReader(q.Body))
	if err != nil {
		return reply{}, err
	}
	r.Host = "program.example" // some write it into their answer
	client := http.Client{Timeout: startTimeout, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	a, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	for _, name := range []string{"Date", "Connection", "Keep-Alive", "Content-Length"} {
		a.Header.Del(name)
	}
	return reply{a.StatusCode, a.Header, string(b)}, err
}

// nativeReply is the answer of the server that was started for this request alone.
func (p *program) nativeReply(t *testing.T, files map[string][]byte, q request) reply {
	t.Helper()
	port := freePort(t)
	defer start(t, p.native(t, files, port, fmt.Sprintf("PORT=%d", port)))()
	for until := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", local(port))
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(until) {
			t.Fatal("natively it does not listen: ", err)
		}
	}
	got, err := ask("http://"+local(port), q)
	if err != nil {
		t.Fatal("natively: ", err)
	}
	return got
}

// result is what a function makes of an event.
type result struct {
	Output any
	Type   string // of its error
	Error  string
}

func decode(text []byte) (v any) {
	if json.Unmarshal(text, &v) != nil {
		return string(text)
	}
	return v
}

// nativeOutput is what the plain program makes of an event.
func (p *program) nativeOutput(t *testing.T, files map[string][]byte, event string) result {
	t.Helper()
	c := p.native(t, files, 0)
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(event), &out, &said
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		message := strings.TrimSpace(said.String())
		if message == "" {
			message = exit.String()
		}
		return result{Type: fmt.Sprintf("Program.ExitStatus%d", exit.ExitCode()), Error: message}
	case err != nil:
		t.Fatal("natively: ", err)
	}
	return result{Output: decode(out.Bytes())}
}

// nativeEvent is what the bootstrap answers that was started for this event alone, to a
// Runtime API of this test's.
func (p *program) nativeEvent(t *testing.T, files map[string][]byte, event string) result {
	t.Helper()
	const at = "/2018-06-01/runtime/invocation/"
	const id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
	answered := make(chan result, 2)
	given := make(chan struct{}, 1)
	given <- struct{}{}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch what := strings.TrimPrefix(r.URL.Path, at); what {
		case "next":
			select {
			case <-given:
			case <-r.Context().Done():
				return
			}
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(startTimeout).UnixMilli()))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:local:000000000000:function:"+p.Name)
			io.WriteString(w, event)
		case id + "/response", id + "/error":
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusAccepted)
			if strings.HasSuffix(what, "/response") {
				answered <- result{Output: decode(b)}
				return
			}
			var e struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal(b, &e); err != nil {
				t.Error(err)
			}
			answered <- result{Type: e.ErrorType, Error: e.ErrorMessage}
		default:
			t.Errorf("natively: %s %s", r.Method, r.URL)
		}
	}))
	defer api.Close()
	defer api.CloseClientConnections()
	defer start(t, p.native(t, files, 0, "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(api.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME="+p.Name))()
	select {
	case r := <-answered:
		return r
	case <-time.After(startTimeout):
		t.Fatal("natively it has not answered")
	}
	return result{}
}
