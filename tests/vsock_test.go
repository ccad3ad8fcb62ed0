package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
)

// Listens in the guest, tells the host through the allowed port that it does,
// and serves one line to whoever connects.
const vsockServer = `
import socket
def handler(event, context):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.bind((socket.VMADDR_CID_ANY, 5000))
    s.listen()
    if event.get("tell"):
        t = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        t.connect((2, 7000))
        t.sendall(context.aws_request_id.encode() + b"\n")
        t.close()
    c, _ = s.accept()
    line = c.makefile("r").readline()
    c.sendall(("guest says " + line).encode())
    c.close()
    return line
`

// Tries every port that it is given and says what came of it.
const vsockProber = `
import socket
def handler(event, context):
    out = {}
    for cid in event["cids"]:
        for port in event["ports"]:
            s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            s.settimeout(5)
            try:
                s.connect((cid, port))
                s.sendall(b"hello from the guest\n")
                out[f"{cid}:{port}"] = "open"
            except OSError as e:
                out[f"{cid}:{port}"] = e.__class__.__name__
            s.close()
    return out
`

// listenHost serves a host port's socket.
func listenHost(t *testing.T, dir string, port int) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, fmt.Sprintf("host_%d", port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// shortDir is a temporary directory whose name leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestHostProgramsReachGuests: CONNECT on the instance's own socket, which goes
// with the instance.
func TestHostProgramsReachGuests(t *testing.T) {
	dir := shortDir(t)
	d := open(t, func(o *dispatcher.Options) { o.VsockDir, o.HostPorts = dir, []uint32{7000} })
	deploy(t, d, "vs-server", vsockServer, nil)
	told := listenHost(t, dir, 7000)
	for round := range 3 {
		result := make(chan *dispatcher.Result, 1)
		go func() {
			r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "vs-server", Event: []byte(`{"tell": true}`), Timeout: 20 * time.Second})
			if err != nil {
				t.Error(err)
			}
			result <- r
		}()
		c, err := told.Accept()
		if err != nil {
			t.Fatal(err)
		}
		id, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		id = strings.TrimSpace(id)
		running := d.Instances()
		if len(running) != 1 || running[0].RequestID != id || running[0].Function != "vs-server" {
			t.Fatalf("instances %+v, request %s", running, id)
		}
		u, err := net.Dial("unix", running[0].Socket)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(u, "CONNECT 5000\nround %d\n", round)
		answer, err := io.ReadAll(u)
		u.Close()
		if err != nil || !strings.HasPrefix(string(answer), "OK ") || !strings.HasSuffix(string(answer), fmt.Sprintf("\nguest says round %d\n", round)) {
			t.Errorf("%q %v", answer, err)
		}
		if r := <-result; r == nil || r.Error != nil || string(r.Output) != fmt.Sprintf(`"round %d\n"`, round) {
			t.Errorf("%+v", r)
		}
		if _, err := os.Stat(running[0].Socket); !os.IsNotExist(err) || len(d.Instances()) != 0 {
			t.Errorf("the socket outlives its instance: %v", err)
		}
	}
}

// TestGuestsReachAllowedPortsOnly: neither another host port, nor another
// guest's ports, nor a socket of the host's.
func TestGuestsReachAllowedPortsOnly(t *testing.T) {
	dir := shortDir(t)
	d := open(t, func(o *dispatcher.Options) { o.VsockDir, o.HostPorts = dir, []uint32{7000, 7002} })
	deploy(t, d, "vs-prober", vsockProber, nil)
	deploy(t, d, "vs-waits", vsockServer, nil)
	for _, port := range []int{7000, 7001} { // of 7001 there is a socket, but guests may not
		l := listenHost(t, dir, port)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if line, _ := bufio.NewReader(c).ReadString('\n'); port == 7001 {
					t.Errorf("a guest reached port %d: %q", port, line)
				}
				c.Close()
			}
		}()
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{})
	go func() { // another guest, which listens on 5000
		defer close(waits)
		d.Invoke(ctx, dispatcher.Request{Function: "vs-waits", Event: []byte(`{}`), Timeout: time.Minute})
	}()
	for end := time.Now().Add(patience(time.Minute)); len(d.Instances()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the other guest does not run")
		}
	}
	got := output[map[string]string](t, invoke(t, d, "vs-prober", `{"cids": [2], "ports": [7000, 7001, 7002, 22, 1024, 5000]}`))
	for at, outcome := range got {
		if (outcome == "open") != (at == "2:7000" || at == "2:7002") { // behind 7002 nobody listens: it is reset after it opened
			t.Errorf("%s: %s", at, outcome)
		}
	}
	// Other machines' context ids lead nowhere, whatever they are.
	got = output[map[string]string](t, invoke(t, d, "vs-prober", `{"cids": [3, 4, 5, 6, 100], "ports": [5000, 7000]}`))
	for at, outcome := range got {
		if outcome == "open" {
			t.Errorf("%s: %s", at, outcome)
		}
	}
	cancel()
	<-waits
}

// TestServeVsock: the daemon's flags, and the API that lists instances.
func TestServeVsock(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	d := startDaemon(t, "--vsock-dir", dir, "--host-ports", "7000")
	d.create("vs", vsockServer, nil)
	told := listenHost(t, dir, 7000)
	done := make(chan string, 1)
	go func() {
		out, err := d.invoke(context.Background(), "vs", `{"tell": true}`)
		if err != nil {
			t.Error(err)
			done <- ""
			return
		}
		done <- string(out.Payload)
	}()
	c, err := told.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var running []dispatcher.Instance
	d.get("/v1/sockets", &running)
	if len(running) != 1 {
		t.Fatalf("%+v", running)
	}
	u, err := net.Dial("unix", running[0].Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	fmt.Fprint(u, "CONNECT 5000\nhi\n")
	if got := <-done; got != `"hi\n"` {
		t.Errorf("%s", got)
	}
	var health struct{ Status string }
	d.get("/v1/health", &health)
	if b, err := json.Marshal(health); err != nil || health.Status != "ok" {
		t.Errorf("%s %v", b, err)
	}
}
