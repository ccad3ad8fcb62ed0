package attacks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
)

// Target is a daemon under attack, and what an attacker has at hand.
type Target struct {
	*testing.T
	URL   string
	Token string // "": the daemon wants none
	PID   int
	// Short asks for some cases of each kind, where an attack has many.
	Short bool
	// Gone, if not nil, ends requests when it ends.
	Gone context.Context
	// Patience is how long something may take on this machine.
	Patience func(time.Duration) time.Duration
}

// Answer is how the daemon answers an invocation.
type Answer struct {
	Status  int // of HTTP
	Output  string
	Type    string // of the function's error, "" if it has an output
	Message string // of the error, the function's or the daemon's
}

// Call sends a request of the native API and reads the answer whole.
func (t *Target) Call(method, path string, in any) (status int, body []byte, err error) {
	document, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	ctx := t.Gone
	if ctx == nil {
		ctx = t.Context()
	}
	r, err := http.NewRequestWithContext(ctx, method, t.URL+path, bytes.NewReader(document))
	if err != nil {
		return 0, nil, err
	}
	if t.Token != "" {
		r.Header.Set("Authorization", "Bearer "+t.Token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

// few is how many of an attack's rounds are run: all of them, or a part if few are
// enough.
func (t *Target) few(all, part int) int {
	if t.Short {
		return part
	}
	return all
}

// Settings bound an attacker's function.
func Settings(seconds, memoryMiB int) functions.Settings {
	return functions.Settings{TimeoutSec: seconds, MemoryMiB: memoryMiB}
}

// Try deploys a function and returns how that is answered.
func (t *Target) Try(spec dispatcher.FunctionSpec) (status int, body []byte) {
	t.Helper()
	spec.Handler = "main.handler"
	status, body, err := t.Call("PUT", "/v1/functions/"+spec.Name, spec)
	if err != nil {
		t.Fatalf("deploy %s: %v", spec.Name, err)
	}
	return status, body
}

// Deploy deploys source as a function that must be accepted.
func (t *Target) Deploy(name, source string, s functions.Settings) {
	t.Helper()
	status, body := t.Try(dispatcher.FunctionSpec{Name: name, Files: map[string][]byte{"main.py": []byte(source)}, Settings: s})
	if status >= 300 {
		t.Fatalf("deploy %s: %d %.500s", name, status, body)
	}
}

// Invoke runs a function; every ending but a broken connection is an answer.
func (t *Target) Invoke(name, event string, timeout time.Duration) (Answer, error) {
	status, body, err := t.Call("POST", "/v1/functions/"+name+"/invoke",
		map[string]any{"event": json.RawMessage(event), "timeout_ms": timeout.Milliseconds()})
	if err != nil {
		return Answer{}, fmt.Errorf("invoke %s: %w", name, err)
	}
	var doc struct {
		Output  json.RawMessage
		Message string
		Error   json.RawMessage
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return Answer{}, fmt.Errorf("invoke %s: %d %.300s: %w", name, status, body, err)
	}
	a := Answer{Status: status, Output: string(doc.Output), Message: doc.Message}
	var failed struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(doc.Error, &failed) == nil && failed.Type != "" {
		a.Type, a.Message = failed.Type, failed.Message
	}
	return a, nil
}

// Run invokes a function of the attacker's. Whatever it does, it is answered, and
// not as a failure of the daemon's.
func (t *Target) Run(name, event string, timeout time.Duration) Answer {
	t.Helper()
	a, err := t.Invoke(name, event, t.Patience(timeout))
	if err != nil {
		t.Fatal(err)
	}
	if a.Status >= 500 {
		t.Errorf("invoke %s with %.100s: %d %s", name, event, a.Status, a.Message)
	}
	return a
}

// Dial connects to the daemon. The connection is closed at the end of the test.
func (t *Target) Dial() *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(t.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// Head is the head of a request, with its token and the lines of more, and without
// the empty line at its end.
func (t *Target) Head(method, path string, more ...string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + strings.TrimPrefix(t.URL, "http://")}, more...)
	if t.Token != "" {
		lines = append(lines, "Authorization: Bearer "+t.Token)
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// Metric returns a sample of /metrics, -1 if it is not there.
func (t *Target) Metric(name string) float64 {
	t.Helper()
	_, body, err := t.Call("GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	return -1
}

// Resident is the daemon's anonymous memory in bytes.
func (t *Target) Resident() int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say how much memory the daemon has")
	return 0
}

// Until waits for a condition; what it waits for is in the failure.
func (t *Target) Until(what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(t.Patience(5 * time.Minute)); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in five minutes: " + what)
		}
	}
}
