package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/outbound"
)

// The tests' world outside: addresses that are nobody's (RFC 5737), on which
// connections end at servers of the test.
const (
	outsideAddr = "198.51.100.7"
	closedAddr  = "198.51.100.8"
	outsideName = "example.com" // that httptest's certificate is for
)

type fakeNames map[string][]netip.Addr

func (f fakeNames) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := f[host]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// outside makes a network that allows the entries. Ports of outsideAddr are those
// of this machine's loopback.
func outside(t *testing.T, entries ...string) *outbound.Network {
	t.Helper()
	p, err := outbound.Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	n := outbound.New(p)
	n.HasRoute = func(netip.Addr) bool { return true }
	n.Resolver = fakeNames{
		outsideName + ".":     {netip.MustParseAddr(outsideAddr)},
		"inside.example.org.": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("169.254.169.254")},
		"other.example.org.":  {netip.MustParseAddr("198.51.100.99"), netip.MustParseAddr("2001:db8::99")},
	}
	dial := n.Dial
	n.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.Addr() != netip.MustParseAddr(outsideAddr) {
			to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1) // nobody listens there
		}
		return dial(ctx, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port()))
	}
	return n
}

// echoServer gives back what it reads. A line "reset" makes it end the connection
// with a reset, "half" makes it answer only after the client's end.
func echoServer(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				first := make([]byte, 5)
				if _, err := io.ReadFull(c, first); err != nil {
					return
				}
				switch string(first) {
				case "reset":
					_ = c.(*net.TCPConn).SetLinger(0)
				case "half:":
					b, _ := io.ReadAll(c)
					fmt.Fprintf(c, "%d bytes", len(b))
				default:
					_, _ = c.Write(first)
					_, _ = io.Copy(c, c)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

func portOf(t *testing.T, url string) int {
	t.Helper()
	var port int
	if _, err := fmt.Sscanf(url[strings.LastIndexByte(url, ':'):], ":%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

const outboundNothing = `
import errno, socket
def handler(event, context):
    out = []
    for f in (lambda: socket.create_connection(("198.51.100.7", 80), timeout=10), lambda: socket.getaddrinfo("example.com", 80)):
        try:
            f()
            out.append("no error")
        except socket.gaierror as e:
            out.append("gaierror")
        except OSError as e:
            out.append(errno.errorcode[e.errno])
    return out
`

// TestOutboundDefault: without a list there is no network, which the result says.
func TestOutboundDefault(t *testing.T) {
	d := open(t, nil)
	deploy(t, d, "nothing", outboundNothing, nil)
	t.Cleanup(func() { d.RemoveFunction("nothing") })
	r := invoke(t, d, "nothing", "{}")
	if string(r.Output) != `["ENETUNREACH", "gaierror"]` || len(r.NetworkRefused) != 1 {
		t.Errorf("%s %v, refused %v", r.Output, r.Error, r.NetworkRefused)
	}
}

const outboundLazy = `
import errno, socket
def handler(event, context):
    s = socket.create_connection((event["addr"], event["echo"]), timeout=20)
    s.sendall(b"hello")
    out = [s.recv(5).decode()]
    query = event["query"]
    for f in (lambda: s.send(b"again"), lambda: s.recv(5)):
        try:
            f()
            out.append("no error")
        except OSError as e:
            out.append(errno.errorcode[e.errno])
    s.close()
    s = socket.create_connection((event["addr"], event["echo"]), timeout=20)
    s.sendall(b"fresh")
    return out + [s.recv(5).decode(), query]
`

// TestOutboundSnapshot: a connection that was open at a capture is reset after a
// restore, and new ones work. What used the network is not pure.
func TestOutboundSnapshot(t *testing.T) {
	echo := echoServer(t)
	d := open(t, func(o *dispatcher.Options) { o.Network = outside(t, outsideAddr+":*") })
	deploy(t, d, "outlazy", outboundLazy, lazy)
	t.Cleanup(func() { d.RemoveFunction("outlazy") })
	args := fmt.Sprintf(`{"addr": %q, "echo": %d`, outsideAddr, echo)
	node, err := d.CaptureArgument(t.Context(), "outlazy", dispatcher.Capture{Event: []byte(args + "}"), StopAt: "query", AllowImpure: true})
	if err != nil {
		t.Fatal(describe(err))
	}
	if p := node.Info.Purity; p.Pure() || p.Socket == 0 {
		t.Errorf("the certificate of a state that came from the network: %+v", p)
	}
	for range 2 {
		r := invoke(t, d, "outlazy", args+`, "query": 1}`)
		if r.Path != dispatcher.PathArgument {
			t.Errorf("path %s", r.Path)
		}
		if got := string(r.Output); got != `["hello", "ECONNRESET", "no error", "fresh", 1]` && got != `["hello", "no error", "ECONNRESET", "fresh", 1]` {
			t.Errorf("after restore: %s %v", got, r.Error)
		}
	}
}
