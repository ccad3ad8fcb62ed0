package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"seuss/dispatcher/instances"
)

// webSockets is a server of a live interpreter's: paths are counted, a body comes back in
// pieces as it is sent, and what a WebSocket is told it says again.
const webSockets = `
import base64, hashlib, http.server, struct, threading, time
seen = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def do_GET(self):
        if self.headers.get('Upgrade', '').lower() == 'websocket': return self.socket()
        seen.append(self.path)
        body = ('%d %s %s' % (len(seen), self.headers['Host'], self.headers.get('Authorization'))).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.send_response(200)
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        while True:
            n = int(self.rfile.readline(), 16)
            piece = self.rfile.read(n)
            self.rfile.readline()
            self.wfile.write(b'%x\r\n%s\r\n' % (n, piece))
            if n == 0: return
    def do_PUT(self):
        self.wfile.write(b'HTTP/1.1 103 Early Hints\r\nX-Amzn-Requestid: forged\r\n\r\nHTTP/1.1 200 OK\r\nX-Amzn-Requestid: forged\r\nContent-Length: 2\r\n\r\nok')
    def socket(self):
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8: return
            n = head[1] & 127
            if n == 126: n, = struct.unpack('>H', self.rfile.read(2))
            elif n == 127: n, = struct.unpack('>Q', self.rfile.read(8))
            mask, text = self.rfile.read(4), self.rfile.read(n)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(text))
            size = bytes([n]) if n < 126 else struct.pack('>BH', 126, n)
            self.wfile.write(bytes([head[0]]) + size + text)
threading.Thread(target=http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever, kwargs={'poll_interval': 3600}, daemon=True).start()
`

// TestLiveURL: an instance's ports have an address at the daemon, for who has a right to it:
// requests and WebSockets go through as they come, wake what is paused, and hold no machine.
func TestLiveURL(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "1")
	addr := strings.TrimPrefix(d.url, "http://")
	for _, name := range []string{"web", "open"} {
		args := []string{"instance", "create", "--image", "python", "--name", name}
		if name == "open" {
			args = append(args, "--public")
		}
		d.want(0, name, args...)
		if _, err := d.tell(name, webSockets); err != nil {
			t.Fatal(err)
		}
	}
	d.want(0, "served", "instance", "create", "--image", "python", "--http", "8080", "--name", "served", "--", "/usr/bin/python3", "-c", counting)
	ctx, cancel := context.WithTimeout(t.Context(), patience(2*time.Minute))
	defer cancel()
	ask := func(c *http.Client, method, host, path string, body io.Reader, header ...string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, method, d.url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		for n := 0; n < len(header); n += 2 {
			r.Header.Set(header[n], header[n+1])
		}
		return c.Do(r)
	}
	get := func(c *http.Client, host, path string, status int, want string) {
		t.Helper()
		resp, err := ask(c, "GET", host, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(b), want) {
			t.Errorf("%s%s: %s %.300q, %v; want %d %q", host, path, resp.Status, b, err, status, want)
		}
	}
	bare := &http.Client{}
	get(d.http, "8000.web.instance.localhost", "/a?b", 200, "1 8000.web.instance.localhost None")
	get(bare, "8000.web.instance.localhost", "/", 403, "token")
	get(bare, "8000.open.instance.localhost", "/", 200, "1 8000.open.instance.localhost None")
	// A token of the service's is not the instance's to see, what else is shown is.
	get(d.http, "8000.open.instance.localhost", "/", 200, "2 8000.open.instance.localhost None")
	if resp, err := ask(bare, "GET", "8000.open.instance.localhost", "/", nil, "Authorization", "Basic YTpi"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%+v, %v", resp, err)
	} else {
		b, err := io.ReadAll(resp.Body)
		if resp.Body.Close(); err != nil || !strings.HasSuffix(string(b), "Basic YTpi") {
			t.Errorf("%q, %v", b, err)
		}
	}
	get(d.http, "served.instance.localhost:80", "/", 200, "1")
	get(d.http, "served.instance.localhost:80", "/", 200, "2")
	get(d.http, "web.instance.localhost", "/", 400, "which port")
	get(d.http, "0.web.instance.localhost", "/", 400, "port 0")
	get(d.http, "81.web.instance.localhost", "/", 400, "nobody takes connections")
	get(d.http, "8000.nothing.instance.localhost", "/", 404, "unknown instance")
	get(bare, "8000.nothing.instance.localhost", "/", 403, "token")
	if resp, err := ask(d.http, "GET", "8000.web.instance.localhost", "/", nil, "Connection", "Upgrade", "Upgrade", "tcp"); err != nil || resp.StatusCode != 400 {
		t.Errorf("%+v, %v", resp, err)
	}
	// What goes before an answer takes nothing of the service's headers away, nor forges them.
	if resp, err := ask(d.http, "PUT", "8000.web.instance.localhost", "/", nil); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
		if id := resp.Header.Get("X-Amzn-Requestid"); resp.StatusCode != 200 || id == "" || id == "forged" || resp.Header["Content-Type"] != nil {
			t.Errorf("%+v", resp)
		}
	}
	d.want(0, "", "instance", "pause", "web")
	get(d.http, "8000.web.instance.localhost", "/", 200, "2 ")
	// Both ways at once, as it comes.
	from, to := io.Pipe()
	resp, err := ask(d.http, "POST", "8000.web.instance.localhost", "/", from)
	if err == nil {
		for n := range 5 {
			piece := strings.Repeat(fmt.Sprint(n), 1000)
			io.WriteString(to, piece)
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
				t.Fatalf("piece %d: %.20q, %v", n, got, err)
			}
		}
		to.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		resp.Body.Close()
	} else {
		t.Error(err)
	}
	// A client that others wrote.
	dial := func(host, token string) (*websocket.Conn, error) {
		config, err := websocket.NewConfig("ws://"+host+"/chat", "http://"+host)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			config.Header.Set("Authorization", "Bearer "+token)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience(time.Minute)))
		return websocket.NewClient(config, c)
	}
	if _, err := dial("8000.web.instance.localhost", ""); err == nil {
		t.Error("a WebSocket without a token")
	}
	var wg sync.WaitGroup
	for n := range 10 {
		host, token := "8000.web.instance.localhost", d.token
		if n%2 == 0 {
			host, token = "8000.open.instance.localhost", ""
		}
		wg.Go(func() {
			ws, err := dial(host, token)
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.Close()
			for size := 1; size < 60_000; size *= 7 {
				said, heard := strings.Repeat(fmt.Sprint(n), size), ""
				if err := websocket.Message.Send(ws, said); err != nil {
					t.Error(err)
				}
				if err := websocket.Message.Receive(ws, &heard); err != nil || heard != said {
					t.Errorf("%d bytes of %d come back: %v", len(heard), size, err)
					return
				}
			}
		})
	}
	wg.Wait()
	// One that says nothing holds no machine, and ends with its instance.
	ws, err := dial("8000.web.instance.localhost", d.token)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if value, err := d.tell("open", "len(seen)"); err != nil || value != "3" {
		t.Errorf("%s, %v", value, err)
	}
	var info instances.Info
	if d.get("/v1/instances/web", &info); info.State != instances.Parked {
		t.Errorf("%+v", info)
	}
	d.want(0, "", "instance", "rm", "web")
	if _, err := bufio.NewReader(ws).ReadByte(); err == nil {
		t.Error("the WebSocket outlives its instance")
	}
}
