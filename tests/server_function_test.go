package tests

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server as a user would write it, with a counter that a fresh instance has at 1, a stream
// in both directions, and a path that never answers.
const serverFunction = `
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

count = 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        global count
        count += 1
        if self.path == "/stuck":
            time.sleep(3600)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = f"{self.command} {self.path} {self.headers.get('Authorization')} {len(body)} {count}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Access-Control-Allow-Origin", "https://nowhere.example")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler)
server.serve_forever()
`

// TestServerFunction: a server is deployed with one command, captured when it waits for
// connections, and answers at its URL and at the API, each request in a fresh instance.
func TestServerFunction(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "2")
	code := filepath.Join(t.TempDir(), "app.py")
	if err := os.WriteFile(code, []byte(serverFunction), 0o600); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[string]string{
		"--http 0":              "a TCP port is 1 to 65535",
		"--http 8080 --program": "a function is one of them",
		"--http 8080 --watch":   "--watch looks at PATH",
		"--program --ready /":   "--ready is for servers",
		"--http 8080 --lazy-args --allow-shared-generators": "argument",
	} {
		args := append([]string{"function", "deploy", "web"}, strings.Fields(flags)...)
		if out := d.run("", append(args, "--code", code, "--", "/usr/bin/python3", "app.py")...); out.code == 0 || !strings.Contains(out.stderr, want) {
			t.Errorf("%s: %d %s, want %q", flags, out.code, out.stderr, want)
		}
	}
	d.want(0, "", "function", "deploy", "web", "--http", "8080", "--ready", "/", "--timeout", "20s", "--allow-shared-generators",
		"--code", code, "--", "/usr/bin/python3", "app.py")
	if shown := d.want(0, "", "function", "show", "web").stdout; !strings.Contains(shown, "http") || !strings.Contains(shown, "app.py") {
		t.Error(shown)
	}
	address := strings.TrimSpace(d.want(0, "", "function", "url", "web", "--auth", "none").stdout)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(d.url, "http://"))
	}}}
	ask := func(method, path, body string) (int, string) {
		r, err := http.NewRequest(method, strings.TrimSuffix(address, "/")+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		r.Header.Set("Authorization", "the program's")
		answer, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(b)
	}
	// GET --ready was answered before the capture: the counter stood at 1.
	if status, body := ask("GET", "/a%20b?c=d", ""); status != 200 || body != "GET /a%20b?c=d the program's 0 2" {
		t.Error(status, body)
	}
	large := strings.Repeat("x", 8<<20) // more than an event may have
	if status, body := ask("POST", "/", large); status != 200 || body != "POST / the program's 8388608 2" {
		t.Error(status, body)
	}
	if status, _ := ask("HEAD", "/", ""); status != 200 {
		t.Error(status)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			status, body := ask("GET", "/", "")
			for status == http.StatusTooManyRequests { // a slow machine
				time.Sleep(100 * time.Millisecond)
				status, body = ask("GET", "/", "")
			}
			if status != 200 || body != "GET / the program's 0 2" {
				t.Error(status, body)
			}
		})
	}
	all.Wait()
	r, err := http.NewRequest("GET", d.url+"/v1/functions/web/http/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if b, err := io.ReadAll(answer.Body); err != nil || string(b) != "GET /x None 0 2" {
		t.Errorf("over the API: %s %s %v", answer.Status, b, err)
	}
	event := `{"version": "2.0", "rawPath": "/e", "requestContext": {"http": {"method": "GET"}}}`
	if out := d.want(0, "", "invoke", "web", "--event", event).stdout; !strings.Contains(out, "GET /e None 0 2") {
		t.Error(out)
	}
	d.want(0, "", "function", "deploy", "web", "--http", "8080", "--timeout", "1s", "--allow-shared-generators", "--code", code, "--", "/usr/bin/python3", "app.py")
	if status, body := ask("GET", "/stuck", ""); status != 502 {
		t.Error(status, body)
	}
	if status, body := ask("GET", "/", ""); status != 200 || body != "GET / the program's 0 1" {
		t.Error("after it: ", status, body)
	}
}
