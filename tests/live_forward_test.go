package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/instances"
)

// TestLiveForward: a local port leads to one of a live instance's, which holds no machine between
// two requests, goes on by itself when it is paused, and keeps what requests leave.
func TestLiveForward(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	d.want(0, "web", "instance", "create", "--image", "python", "--name", "web")
	d.want(0, "other", "instance", "create", "--image", "python", "--name", "other")
	if _, err := d.tell("web", `
import http.server, threading
seen = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        seen.append(self.path)
        body = self.rfile.read(int(self.headers['Content-Length'])) * 2 + str(len(seen)).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler)
threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 3600}, daemon=True).start()
`); err != nil {
		t.Fatal(err)
	}
	cmd, _, stderr := d.command("", "--json", "instance", "forward", "web", "0:8000")
	out, err := func() (io.ReadCloser, error) { cmd.Stdout = nil; return cmd.StdoutPipe() }()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var at struct{ Listening string }
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&at); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience(2*time.Minute))
	defer cancel()
	post := func(body string) string {
		t.Helper()
		r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+at.Listening+"/x", strings.NewReader(body))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%v: %s\n%s", err, stderr, d.log)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := post("a"); got != "aa1" {
		t.Errorf("%q", got)
	}
	large := strings.Repeat("0123456789abcdef", 64<<10) // more than a stream takes at a time
	if got := post(large); got != large+large+"2" {
		t.Errorf("%d bytes of %d come back", len(got), 2*len(large)+1)
	}
	if value, err := d.tell("other", "1 + 1"); err != nil || value != "2" { // the machine is free
		t.Errorf("%s, %v", value, err)
	}
	d.want(0, "", "instance", "pause", "web")
	if got := post("b"); got != "bb3" { // on the connection that is open
		t.Errorf("%q", got)
	}
	var info instances.Info
	if d.get("/v1/instances/web", &info); info.State == instances.Paused {
		t.Errorf("%+v", info)
	}
	if value, err := d.tell("web", "len(seen)"); err != nil || value != "3" {
		t.Errorf("%s, %v", value, err)
	}
	// A port on which nobody listens is said to be one, and the instance lives.
	r, _ := http.NewRequestWithContext(ctx, "POST", d.url+"/v1/instances/web/forward?port=81", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "tcp")
	if resp, err := d.http.Do(r); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%+v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if got := post("c"); got != "cc4" {
		t.Errorf("%q", got)
	}
	http.DefaultClient.CloseIdleConnections()
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
}
