package tests

import (
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDrainHolds: whatever is under way, the daemon ends within its drain: clients that
// send nothing or read nothing, guests that never idle, events that wait, an import, and
// all of them at once. What had a right to an answer has one.
func TestDrainHolds(t *testing.T) {
	t.Parallel()
	const drain = 5 * time.Second
	d := startDaemon(t, "--drain", drain.String(), "--machines", "2", "--concurrency", "2")
	d.create("busy", "def handler(e, c):\n    while True: pass\n", nil)
	d.create("large", "def handler(e, c):\n    return 'a' * 5900000\n", nil)
	// send leaves a connection with a request, or a part of one, on it.
	send := func(t *testing.T, method, path, body string, length int) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4096)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Amz-Invocation-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			method, path, d.token, map[bool]string{true: "Event", false: "RequestResponse"}[strings.Contains(body, "later")], length, body)
		return c
	}
	const lambda = "/2015-03-31/functions/"
	cases := map[string]func(t *testing.T){
		"idle":             func(*testing.T) {},
		"a stalled upload": func(t *testing.T) { send(t, "POST", lambda+"large/invocations", "{", 1000) },
		"a deployment that stalls": func(t *testing.T) {
			send(t, "PUT", "/v1/functions/new", `{"handler":`, 1_000_000)
		},
		"an import that stalls": func(t *testing.T) { send(t, "POST", "/v1/import", strings.Repeat("a", 100), 1_000_000) },
		"a reader that stalls": func(t *testing.T) {
			before := d.metric(`seuss_invocations_total{outcome="ok"}`)
			send(t, "POST", lambda+"large/invocations", "{}", 2)
			d.until("it runs", func() bool { return d.metric(`seuss_invocations_total{outcome="ok"}`) != before })
		},
		"a guest that never idles": func(t *testing.T) {
			send(t, "POST", lambda+"busy/invocations", "{}", 2)
			d.until("it runs", func() bool { return d.metric("seuss_running") != "0" })
		},
		"events that wait": func(t *testing.T) {
			for range 5 {
				c := send(t, "POST", lambda+"busy/invocations", `{"later":1}`, 11)
				if b, err := io.ReadAll(io.LimitReader(c, 12)); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 202") {
					t.Fatalf("%q %v", b, err)
				}
			}
		},
		"a watcher": func(t *testing.T) {
			c := send(t, "GET", "/v1/watch", "", 0)
			if b, err := io.ReadAll(io.LimitReader(c, 12)); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
				t.Fatalf("%q %v", b, err)
			}
		},
	}
	// Events come last: the next daemon runs them again.
	names := []string{"idle", "a stalled upload", "a deployment that stalls", "an import that stalls", "a watcher", "a reader that stalls", "a guest that never idles", "all", "events that wait"}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if cases[name] != nil {
				cases[name](t)
			} else {
				for _, other := range names[1 : len(names)-2] {
					cases[other](t)
				}
			}
			if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.exit:
				d.exit <- nil
			case <-time.After(patience(6 * drain)): // far less than any case takes without its end
				t.Errorf("it does not end:\n%s", d.log)
				d.kill()
			}
			if took := d.log.String(); strings.Contains(took, "panic") {
				t.Error(took)
			}
			d.start()
		})
	}
}
