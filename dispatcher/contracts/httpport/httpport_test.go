package httpport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	_ "seuss/dispatcher/contracts/all"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/listener"
	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

func TestMain(m *testing.M) { instancetest.Main(m) }

// counting is a server as Python brings it: it answers with how many requests it has had.
const counting = `import http.server, os, time
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global count
        count += 1
        if self.path == "/ready":
            self.send_response(503 if count < 3 else 204); self.end_headers(); return
        if self.path == "/slow": time.sleep(1000)
        if self.path == "/echo":
            self.send_response(200); self.send_header("Content-Length", self.headers["Content-Length"]); self.end_headers(); self.wfile.flush()
            left = int(self.headers["Content-Length"])
            while left: part = self.rfile.read1(left); left -= len(part); self.wfile.write(part); self.wfile.flush()
            return
        if self.path == "/flood":
            self.send_response(200); self.end_headers()
            while True: self.wfile.write(b"x" * 65536)
        if self.path == "/chunks":
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            for n in range(5):
                self.wfile.write(b"5\r\npart%d\r\n" % n); self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n"); return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        text = "%d %s %s %d %s %s" % (count, self.command, self.path, len(body), self.headers.get("Host"), self.headers.get("Authorization"))
        self.send_response(201 if self.headers.get("Seuss-Request-Id") and int(self.headers.get("Seuss-Deadline-Ms")) else 500)
        self.send_header("X-Test", "yes"); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    do_POST = do_PUT = do_GET
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`

// raw answers each connection with bytes, after it has read a request's header.
const raw = `import os, socket, sys, time
l = socket.socket(); l.bind(("", int(os.environ["PORT"]))); l.listen(5)
c, _ = l.accept()
while b"\r\n\r\n" not in c.recv(65536, socket.MSG_PEEK): pass
c.recv(65536)
%s
time.sleep(3600)
`

type bench struct {
	*testing.T
	d    *dispatcher.Dispatcher
	url  string
	last struct {
		sync.Mutex
		err error
	}
	flooded chan error // what became of a request for /flood
}

func newBench(t *testing.T) *bench {
	t.Helper()
	d, err := dispatcher.Open(dispatcher.Options{StateDir: instancetest.StateDir(t), Platform: vmmtest.Require(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{T: t, d: d, flooded: make(chan error, 1)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		function, path, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
		p := httpport.Proxy{W: w, R: r, Path: "/" + path, Hide: []string{"Authorization"}}
		timeout := time.Minute
		switch path {
		case "slow":
			timeout = 3 * time.Second
		case "flood":
			timeout = time.Hour
		}
		result, err := b.d.Invoke(r.Context(), dispatcher.Request{Function: function, Event: []byte("null"), Exchange: p.Exchange, Timeout: timeout * time.Duration(*instancetest.Slow)})
		if err == nil && result.Error != nil {
			err = result.Error
		}
		b.last.Lock()
		b.last.err = err
		b.last.Unlock()
		if path == "flood" {
			b.flooded <- err
		}
		if err != nil && p.Begun() {
			panic(http.ErrAbortHandler)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}))
	group := listener.NewGroup(listener.Options{Stall: time.Second})
	s.Listener = group.Listen(s.Listener, 100)
	s.Start()
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

func (b *bench) deploy(name, source string, change func(*functions.Program)) error {
	b.Helper()
	return b.deployWithin(time.Hour, name, source, change)
}

func (b *bench) deployWithin(limit time.Duration, name, source string, change func(*functions.Program)) error {
	b.Helper()
	p := &functions.Program{Contract: httpport.Name, Command: []string{"/usr/bin/python3", "server.py"}, Port: 8080, SharedGenerators: true}
	if change != nil {
		change(p)
	}
	ctx, cancel := context.WithTimeout(b.Context(), limit*time.Duration(*instancetest.Slow))
	defer cancel()
	_, err := b.d.Deploy(ctx, dispatcher.FunctionSpec{Name: name, Image: "python",
		Files: map[string][]byte{"server.py": []byte(source)}, Settings: functions.Settings{Program: p, TimeoutSec: 120}})
	return err
}

func (b *bench) ask(method, path, body string) (status int, answer string) {
	b.Helper()
	r, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Host = "web.example"
	r.Header.Set("Authorization", "Bearer secret")
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		return a.StatusCode, err.Error()
	}
	return a.StatusCode, string(content)
}

// TestServer: requests of every kind reach fresh instances of a server as it was when it
// was ready, and answers come as they are made.
func TestServer(t *testing.T) {
	b := newBench(t)
	if err := b.deploy("web", counting, func(p *functions.Program) { p.ReadyPath = "/ready" }); err != nil {
		t.Fatal(err)
	}
	// Three requests were before it was ready.
	for _, test := range []struct{ method, path, body, want string }{
		{"GET", "/web/", "", "4 GET / 0 web.example None"},
		{"GET", "/web/a%2Fb?c=d&e", "", "4 GET /a%2Fb?c=d&e 0 web.example None"},
		{"GET", "/web/?a;b&c=%zz", "", "4 GET /?a;b&c=%zz 0 web.example None"},
		{"POST", "/web/up", strings.Repeat("x", 1<<20), "4 POST /up 1048576 web.example None"},
		{"PUT", "/web/", "y", "4 PUT / 1 web.example None"},
	} {
		if status, got := b.ask(test.method, test.path, test.body); status != 201 || got != test.want {
			t.Errorf("%s %s: %d %q, want %q", test.method, test.path, status, got, test.want)
		}
	}
	if status, got := b.ask("GET", "/web/chunks", ""); status != 200 || got != "part0part1part2part3part4" {
		t.Errorf("chunks: %d %q", status, got)
	}
	event := `{"version":"2.0","rawPath":"/x","rawQueryString":"q=1","headers":{"host":"h"},"requestContext":{"http":{"method":"POST"}},"body":"aGk=","isBase64Encoded":true}`
	r, err := b.d.Invoke(t.Context(), dispatcher.Request{Function: "web", Event: []byte(event)})
	if err != nil || r.Error != nil {
		t.Fatal(err, r)
	}
	var answer struct {
		StatusCode int
		Headers    map[string]string
		Body       string
	}
	if err := json.Unmarshal(r.Output, &answer); err != nil || answer.StatusCode != 201 || answer.Headers["x-test"] != "yes" || answer.Body != "4 POST /x?q=1 2 h None" {
		t.Errorf("event: %s, %v", r.Output, err)
	}
	if _, err := b.d.Invoke(t.Context(), dispatcher.Request{Function: "web", Event: []byte(`{"a":1}`)}); !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "payload format 2.0") {
		t.Errorf("another event: %v", err)
	}
	upgrade, err := http.NewRequest("GET", b.url+"/web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	upgrade.Header.Set("Connection", "Upgrade")
	upgrade.Header.Set("Upgrade", "websocket")
	if a, err := http.DefaultClient.Do(upgrade); err != nil || a.StatusCode != 502 {
		t.Errorf("a WebSocket: %v, %v", a, err)
	}
	b.smuggled()
	b.gone()
	b.both()
	b.unread()
	if status, got := b.ask("GET", "/web/slow", ""); status != 502 || !strings.Contains(got, "timed out") {
		t.Errorf("never answered: %d %q", status, got)
	}
	// Many at once, each alone with its instance.
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if status, got := b.ask("GET", "/web/", ""); status != 201 || !strings.HasPrefix(got, "4 GET") {
				t.Errorf("at once: %d %q", status, got)
			}
		})
	}
	wg.Wait()
}

// gone is a client that leaves in the middle of its upload; the next request is right.
func (b *bench) gone() {
	b.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(c, "POST /web/up HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
	time.Sleep(100 * time.Millisecond)
	c.Close()
	if status, got := b.ask("GET", "/web/", ""); status != 201 {
		b.Errorf("after a client that left: %d %q", status, got)
	}
}

// both is a server that answers while it is asked: nothing of the body is anybody else's.
func (b *bench) both() {
	b.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute * time.Duration(*instancetest.Slow)))
	fmt.Fprintf(c, "POST /web/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	for _, part := range []string{"abc", "def"} {
		got := make([]byte, len(part))
		fmt.Fprint(c, part)
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != part {
			b.Errorf("an echo of %q: %q, %v", part, got, err)
		}
	}
}

// unread is a client that does not read its answer: it is reset, and holds its machine no
// longer, though the function may take an hour.
func (b *bench) unread() {
	b.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /web/flood HTTP/1.1\r\nHost: h\r\n\r\n")
	select {
	case err := <-b.flooded:
		if err == nil {
			b.Error("an answer without end has ended well")
		}
	case <-time.After(2 * time.Minute * time.Duration(*instancetest.Slow)):
		b.Fatal("who does not read holds the machine")
	}
	if status, got := b.ask("GET", "/web/", ""); status != 201 {
		b.Errorf("after a client that did not read: %d %q", status, got)
	}
}

// smuggled are requests whose end two readers may find in two places: each is refused, or is
// one for both.
func (b *bench) smuggled() {
	b.Helper()
	for _, test := range []struct{ head, want string }{
		{"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "400"},
		{"Content-Length : 5\r\n\r\nhello", "400"},
		{"Transfer-Encoding: xchunked\r\n\r\nhello", "501"},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "501"},
		{"X: a\rContent-Length: 5\r\n\r\nhello", "400"},
		{"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "201 4 POST /seen 0 h None"},
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute * time.Duration(*instancetest.Slow)))
		fmt.Fprint(c, "POST /web/seen HTTP/1.1\r\nHost: h\r\n"+test.head)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			b.Errorf("%q: %v", test.head, err)
			c.Close()
			continue
		}
		body, err := io.ReadAll(answer.Body)
		got := fmt.Sprintf("%d %s", answer.StatusCode, body)
		if err != nil || !strings.HasPrefix(got, test.want) {
			b.Errorf("%q: %q, %v, want %q", test.head, got, err, test.want)
		}
		c.Close()
	}
}

// closing is a server that gives up its listener as soon as it has waited for connections.
func (b *bench) closing() {
	b.Helper()
	const source = `import os, select, socket, time
l = socket.socket(); l.bind(("", int(os.environ["PORT"]))); l.listen(5)
select.select([l], [], [], 2)
l.close()
time.sleep(3600)
`
	if err := b.deploy("closing", source, nil); err != nil {
		b.Error(err)
		return
	}
	time.Sleep(100 * time.Millisecond)
	status, got := b.ask("GET", "/closing/", "")
	if status != 502 {
		b.Errorf("a listener that is closed before the connection is accepted: %d %q", status, got)
	}
}

// TestBadServers: what is wrong with a server is said, for its deployment or that request.
func TestBadServers(t *testing.T) {
	b := newBench(t)
	if err := b.deploy("ends", "import sys; sys.exit(3)", nil); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that ends: %v", err)
	}
	for _, test := range []struct{ name, answer, want string }{
		{"half", `c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"); c.close()`, "EOF"},
		{"silent", `c.close()`, "EOF"},
		{"noise", `c.sendall(b"hello\r\n\r\n")`, "malformed HTTP"},
		{"header", `c.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000000 + b"\r\n\r\n")`, "exceeded"},
		{"dies", `sys.exit(4)`, "status 4"},
		{"long", `c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more")`, "four"},
		{"status", `c.sendall(b"HTTP/1.1 007 Fine\r\n\r\n")`, "status 007"},
		{"switch", `c.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"); time.sleep(9)`, ""},
	} {
		if err := b.deploy(test.name, fmt.Sprintf(raw, test.answer), nil); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		status, got := b.ask("GET", "/"+test.name+"/", "")
		switch {
		case test.name == "long" && status == 200 && got == test.want: // and nobody else gets more
		case status != 502 && test.name != "half" || !strings.Contains(got, test.want):
			t.Errorf("%s: %d %q, want %q", test.name, status, got, test.want)
		}
	}
	var all sync.WaitGroup
	for _, test := range []struct{ name, source, want string }{
		{"port", `import socket, time; l = socket.socket(); l.bind(("", 4711)); l.listen(5); l.accept()`, "does not listen on port 8080 (PORT in its environment), but on 4711"},
		{"nobody", `import time; time.sleep(3600)`, "does not listen on port 8080"},
	} {
		all.Go(func() {
			if err := b.deployWithin(10*time.Second, test.name, test.source, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", test.name, err, test.want)
			}
		})
	}
	all.Go(func() { // each time on a connection of its own
		late := strings.Replace(counting, "count < 3", "count < 70", 1)
		if err := b.deploy("late", late, func(p *functions.Program) { p.ReadyPath = "/ready" }); err != nil {
			t.Errorf("ready when it is asked for the 70th time: %v", err)
		}
	})
	all.Wait()
	b.closing()
	six := strings.ReplaceAll(fmt.Sprintf(raw, `c.sendall(b"HTTP/1.1 200 OK\r\n\r\nsix"); c.close()`), `socket.socket(); l.bind((""`, `socket.socket(socket.AF_INET6); l.bind(("::1"`)
	if err := b.deploy("six", six, nil); err != nil {
		t.Fatal(err)
	}
	if status, got := b.ask("GET", "/six/", ""); status != 200 || got != "six" {
		t.Errorf("only on ::1: %d %q", status, got)
	}
}
