package tests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/outbound"
)

const outboundHostile = `
import errno, os, socket, struct, time
def ask(kind, reserved, port, addr, more=b""):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(10)
    try:
        s.connect((2, 2))
        s.sendall(struct.pack("<BBH", kind, reserved, port) + addr + more)
        s.shutdown(socket.SHUT_WR)
        data = b""
        while piece := s.recv(65536):
            data += piece
        return data.hex()
    except OSError as e:
        return e.__class__.__name__
    finally:
        s.close()
v4 = lambda *b: bytes(10) + b"\xff\xff" + bytes(b)
def handler(event, context):
    out = {
        "kind": ask(9, 0, 80, bytes(16)),
        "reserved": ask(1, 1, 80, bytes(16)),
        "short": ask(1, 0, 80, b"x"),
        "loopback": ask(1, 0, event["port"], v4(127, 0, 0, 1)),
        "loopback6": ask(1, 0, event["port"], bytes(15) + b"\x01"),
        "any": ask(1, 0, event["port"], v4(0, 0, 0, 0)),
        "any6": ask(1, 0, event["port"], bytes(16)),
        "compatible": ask(1, 0, event["port"], bytes(12) + bytes([127, 0, 0, 1])),
        "nat64": ask(1, 0, event["port"], bytes.fromhex("0064ff9b0000000000000000") + bytes([127, 0, 0, 1])),
        "port 0": ask(1, 0, 0, v4(198, 51, 100, 7)),
        "garbage question": ask(2, 0, 0, bytes(16), v4(1, 1, 1, 1) + struct.pack("<HH", 53, 100) + os.urandom(100)),
        "long question": ask(2, 0, 0, bytes(16), v4(1, 1, 1, 1) + struct.pack("<HH", 53, 60000)),
        "half question": ask(2, 0, 0, bytes(16), v4(1, 1, 1, 1)[:7]),
    }
    # As many connections as there may be, and more.
    held, errors = [], {}
    for _ in range(300):
        s = socket.socket()
        s.settimeout(10)
        try:
            s.connect(("198.51.100.7", event["port"]))
            held.append(s)
        except OSError as e:
            errors[e.errno] = errors.get(e.errno, 0) + 1
            s.close()
    out["held"] = len(held)
    out["errors"] = errors
    for s in held:
        s.close()
    for attempt in range(100):  # the monitor's side ends a little later
        try:
            s = socket.create_connection(("198.51.100.7", event["port"]), timeout=10)
            break
        except OSError as e:
            if e.errno != errno.ENOBUFS or attempt == 99:
                raise
            time.sleep(0.05)
    s.sendall(b"after")
    out["after"] = s.recv(5).decode()
    return out
`

// TestOutboundHostile: a guest that speaks to the monitor's port itself gets no
// further, and no more than its share.
func TestOutboundHostile(t *testing.T) {
	echo := echoServer(t)
	d := open(t, func(o *dispatcher.Options) { o.Network = outside(t, outsideAddr+":*", "0.0.0.0/0:*", "[::/0]:*") })
	deploy(t, d, "hostile-out", outboundHostile, nil)
	t.Cleanup(func() { d.RemoveFunction("hostile-out") })
	r := invoke(t, d, "hostile-out", fmt.Sprintf(`{"port": %d}`, echo))
	got := output[map[string]any](t, r)
	const refused = "0d000000" // EACCES
	for name, want := range map[string]string{
		"kind": "ConnectionResetError", "reserved": "ConnectionResetError", "short": "ConnectionResetError",
		"loopback": refused, "loopback6": refused, "any": refused, "any6": refused, "compatible": refused, "nat64": refused, "port 0": refused,
		"long question": "", "half question": "", "after": "after", "held": "256", "errors": "map[105:44]",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s: %v, want %q", name, got[name], want)
		}
	}
}

// TestOutboundRealAddress: over the host's own network, without stand-ins: an
// address of this machine, which only an entry of its own allows.
func TestOutboundRealAddress(t *testing.T) {
	own := ownAddress(t)
	l, err := net.Listen("tcp", net.JoinHostPort(own.String(), "0"))
	if err != nil {
		t.Skipf("skipped: nothing can listen on %s: %v", own, err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "real") }))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	wide := netip.PrefixFrom(own, 8).Masked()
	for _, c := range []struct{ entry, want string }{
		{net.JoinHostPort(own.String(), fmt.Sprint(portOf(t, server.URL))), "real"},
		{net.JoinHostPort(wide.String(), "*"), "PermissionError"},
	} {
		t.Run(c.entry, func(t *testing.T) {
			p, err := outbound.Parse([]string{c.entry})
			if err != nil {
				t.Fatal(err)
			}
			d := open(t, func(o *dispatcher.Options) { o.Network = outbound.New(p) })
			deploy(t, d, "real", `
import http.client
def handler(event, context):
    try:
        c = http.client.HTTPConnection(event["host"], event["port"], timeout=10)
        c.request("GET", "/")
        return c.getresponse().read().decode()
    except OSError as e:
        return e.__class__.__name__
`, nil)
			t.Cleanup(func() { d.RemoveFunction("real") })
			r := invoke(t, d, "real", fmt.Sprintf(`{"host": %q, "port": %d}`, own, portOf(t, server.URL)))
			if got := output[string](t, r); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// ownAddress is an address of this machine that is not its loopback.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	t.Skip("skipped: this machine has no address but its loopback")
	return netip.Addr{}
}
