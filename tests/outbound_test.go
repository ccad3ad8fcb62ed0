package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/outbound"
	"seuss/vmm/vmmtest"
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

const outboundPython = `
import asyncio, errno, http.client, select, socket, ssl, urllib.request

def error(f, *a):
    try:
        f(*a)
        return "no error"
    except socket.gaierror as e:
        return "gaierror"
    except OSError as e:
        return errno.errorcode.get(e.errno, repr(e))

def connect(address, family=socket.AF_INET):
    with socket.socket(family) as s:
        s.settimeout(20)
        s.connect(address)
        return s.getsockname(), s.getpeername()

def urllib_get(e):
    with urllib.request.urlopen(f"http://{e['name']}:{e['http']}/big", timeout=20) as r:
        return len(r.read())

def http_client(e):
    c = http.client.HTTPConnection(e["addr"], e["http"], timeout=20)
    out = []
    for _ in range(3):
        c.request("POST", "/length", body=b"x" * 300000)
        out.append(c.getresponse().read().decode())
    return out

def tls(e):
    context = ssl.create_default_context(cadata=e["ca"])
    with socket.create_connection((e["name"], e["https"]), timeout=20) as raw:
        with context.wrap_socket(raw, server_hostname=e["name"]) as s:
            s.sendall(f"GET /hello HTTP/1.0\r\nHost: {e['name']}\r\n\r\n".encode())
            data = b""
            while piece := s.recv(65536):
                data += piece
            return [s.version() is not None, data.split(b"\r\n\r\n")[1].decode()]

def streams(e):
    async def one(n):
        reader, writer = await asyncio.open_connection(e["name"], e["echo"])
        payload = bytes([n]) * (1 << 20)
        async def send():
            writer.write(payload)
            await writer.drain()
            writer.write_eof()
        task = asyncio.create_task(send())
        got = await reader.read(-1)
        await task
        writer.close()
        await writer.wait_closed()
        return got == payload
    async def main():
        return await asyncio.gather(*[one(n) for n in range(1, 5)])
    return asyncio.run(main())

def nonblocking(e):
    s = socket.socket()
    s.setblocking(False)
    first = s.connect_ex((e["addr"], e["echo"]))
    p = select.poll()
    p.register(s, select.POLLOUT)
    ready = p.poll(20000)
    out = [errno.errorcode[first], ready == [(s.fileno(), select.POLLOUT)], s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.connect_ex((e["addr"], e["echo"])) in (0, errno.EISCONN)]
    out.append(error(s.recv, 1))
    s.send(b"hello")
    select.select([s], [], [], 20)
    out.append(s.recv(100).decode())
    s.close()
    s = socket.socket()
    s.setblocking(False)
    out.append(errno.errorcode[s.connect_ex((e["closed"], 80))])
    p = select.poll()
    p.register(s, select.POLLOUT)
    (fd, mask), = p.poll(20000)
    out.append(mask & select.POLLERR != 0)
    out.append(errno.errorcode[s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
    return out

def half(e):
    s = socket.create_connection((e["addr"], e["echo"]), timeout=20)
    s.sendall(b"half:" + b"y" * 500000)
    s.shutdown(socket.SHUT_WR)
    out = [error(s.send, b"z"), s.recv(100, socket.MSG_WAITALL).decode(), s.recv(1).decode()]
    s.close()
    return out

def reset(e):
    s = socket.create_connection((e["addr"], e["echo"]), timeout=20)
    s.sendall(b"reset")
    out = [error(s.recv, 1), s.recv(1).decode(), error(s.send, b"x"), error(s.getpeername)]
    s.close()
    return out

def names(e):
    get = lambda name, family=0: sorted({a[4][0] for a in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)})
    s = connect((e["addr"], e["echo"]))
    return [get(e["name"]), socket.gethostbyname(e["name"]), get("other.example.org"),
        error(get, "denied.example.net"), error(get, "inside.example.org"), error(get, "nobody.example.org"),
        s[0][0], s[1] == (e["addr"], e["echo"])]

def denied(e):
    return {
        "port": error(connect, (e["addr"], 81)),
        "address": error(connect, ("203.0.113.1", 443)),
        "closed": error(connect, (e["closed"], 80)),
        "metadata": error(connect, ("169.254.169.254", 80)),
        "private": error(connect, ("10.1.2.3", 80)),
        "multicast": error(connect, ("224.0.0.1", 80)),
        "ipv6": error(connect, ("2001:db8::1", 443), socket.AF_INET6),
        "mapped": error(connect, ("::ffff:10.1.2.3", 80), socket.AF_INET6),
        "mapped allowed": error(connect, ("::ffff:" + e["addr"], e["echo"]), socket.AF_INET6),
        "loopback": error(connect, ("127.0.0.1", e["echo"])),
        "not asked for": error(connect, ("198.51.100.99", 80)),
    }

def handler(event, context):
    return {f.__name__: f(event) for f in (urllib_get, http_client, tls, streams, nonblocking, half, reset, denied, names)}
`

// TestOutbound: Python's clients reach what is allowed, and nothing else.
func TestOutbound(t *testing.T) {
	echo := echoServer(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/big", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("b"), 3<<20)) })
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello over TLS") })
	mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	defer plain.Close()
	defer secure.Close()
	var logged logged
	n := outside(t, outsideName+":*", fmt.Sprintf("%s:%d", outsideAddr, echo), fmt.Sprintf("%s/32:%d", outsideAddr, portOf(t, plain.URL)), closedAddr+":80", "*.example.org:443")
	d := open(t, func(o *dispatcher.Options) { o.Network, o.Log = n, slog.New(slog.NewTextHandler(&logged, nil)) })
	deploy(t, d, "outbound", outboundPython, nil)
	t.Cleanup(func() { d.RemoveFunction("outbound") })
	event, err := json.Marshal(map[string]any{
		"name": outsideName, "addr": outsideAddr, "closed": closedAddr, "echo": echo, "http": portOf(t, plain.URL), "https": portOf(t, secure.URL),
		"ca": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"urllib_get":  `3145728`,
		"http_client": `["300000","300000","300000"]`,
		"tls":         `[true,"hello over TLS"]`,
		"streams":     `[true,true,true,true]`,
		"nonblocking": `["EINPROGRESS",true,0,true,"EAGAIN","hello","EINPROGRESS",true,"ECONNREFUSED"]`,
		"half":        `["EPIPE","500000 bytes",""]`,
		"reset":       `["ECONNRESET","","EPIPE","ENOTCONN"]`,
		"denied":      `{"port":"no error","address":"EACCES","closed":"ECONNREFUSED","metadata":"EACCES","private":"EACCES","multicast":"EACCES","ipv6":"EACCES","mapped":"EACCES","mapped allowed":"no error","loopback":"ECONNREFUSED","not asked for":"EACCES"}`,
		"names":       `[["198.51.100.7"],"198.51.100.7",["198.51.100.99","2001:db8::99"],"gaierror","gaierror","gaierror","192.0.0.2",true]`,
	}
	// The name makes the address's other ports reachable; nobody listens on 81.
	want["denied"] = strings.Replace(want["denied"], `"port":"no error"`, `"port":"ECONNREFUSED"`, 1)
	for range 2 { // in a machine that was recycled as well
		r := invoke(t, d, "outbound", string(event))
		got := output[map[string]json.RawMessage](t, r)
		for name, w := range want {
			var compact bytes.Buffer
			if err := json.Compact(&compact, got[name]); err != nil {
				t.Fatal(err)
			}
			if compact.String() != w {
				t.Errorf("%s:\n%s, want\n%s", name, compact.String(), w)
			}
		}
		for _, refused := range []string{"169.254.169.254:80", "10.1.2.3:80", "[2001:db8::1]:443", "name denied.example.net", "inside.example.org is 127.0.0.1, which no entry names"} {
			if r.NetworkRefused[refused] == 0 {
				t.Errorf("%s is not in the report: %v", refused, r.NetworkRefused)
			}
		}
	}
	if st := d.Stats().Network; st.Connections == 0 || st.Refused == 0 || st.Questions == 0 {
		t.Errorf("counted: %+v", st)
	}
	if !strings.Contains(logged.String(), "169.254.169.254:80") {
		t.Error("the log does not name what was refused:", logged.String())
	}
}

// logged keeps a log.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
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
	node, err := d.CaptureArgument(t.Context(), "outlazy", []byte(args+"}"), "query")
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

const outboundNode = `
const http = require('http'), net = require('net'), dns = require('dns').promises;
const attempt = async (f) => { try { return await f(); } catch (e) { return e.cause?.code ?? e.code ?? String(e); } };
const connect = (port, host) => new Promise((resolve, reject) => {
  const s = net.connect(port, host, () => { s.end('hello'); });
  let data = '';
  s.on('data', (d) => { data += d; }).on('end', () => resolve(data)).on('error', reject);
});
exports.handler = async (e) => ({
  fetch: await attempt(async () => (await (await fetch('http://' + e.name + ':' + e.http + '/big')).arrayBuffer()).byteLength),
  get: await attempt(() => new Promise((resolve, reject) => http.get({host: e.name, port: e.http, path: '/hello'}, (r) => {
    let body = '';
    r.on('data', (d) => { body += d; }).on('end', () => resolve(body));
  }).on('error', reject))),
  echo: await attempt(() => connect(e.echo, e.addr)),
  lookup: await attempt(async () => (await dns.lookup(e.name)).address),
  resolve: await attempt(() => dns.resolve4(e.name)),
  denied: await attempt(() => connect(443, '203.0.113.1')),
  closed: await attempt(() => connect(80, e.closed)),
  deniedName: await attempt(() => dns.resolve4('denied.example.net')),
});
`

// TestOutboundNode: Node.js's fetch, http, net and both its resolvers.
func TestOutboundNode(t *testing.T) {
	echo := echoServer(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("n"), map[string]int{"/big": 1 << 20, "/hello": 2}[r.URL.Path]))
	}))
	defer server.Close()
	d := openNode(t, func(o *dispatcher.Options) {
		o.Network = outside(t, outsideName+":*", outsideAddr+":*", closedAddr+":80")
	})
	deployNode(t, d, "outnode", "index.js", outboundNode, false)
	t.Cleanup(func() { d.RemoveFunction("outnode") })
	r := invoke(t, d, "outnode", fmt.Sprintf(`{"name": %q, "addr": %q, "closed": %q, "http": %d, "echo": %d}`, outsideName, outsideAddr, closedAddr, portOf(t, server.URL), echo))
	const want = `{"fetch":1048576,"get":"nn","echo":"hello","lookup":"198.51.100.7","resolve":["198.51.100.7"],"denied":"EACCES","closed":"ECONNREFUSED","deniedName":"EREFUSED"}`
	if string(r.Output) != want {
		t.Errorf("%s %v, want\n%s", r.Output, r.Error, want)
	}
}

// TestOutboundGo: a static Go program's resolver and HTTP client.
func TestOutboundGo(t *testing.T) {
	vmmtest.Require(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }))
	defer server.Close()
	root := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(root, "bin", "outbound"), "./testdata/outbound")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	port := portOf(t, server.URL)
	args := []string{"/bin/outbound"}
	for range 20 {
		args = append(args, fmt.Sprintf("http://%s:%d/", outsideName, port))
	}
	args = append(args, fmt.Sprintf("http://%s:%d/", outsideAddr, port), "http://203.0.113.1/", "http://"+closedAddr+"/", "http://denied.example.net/")
	var stdout, stderr strings.Builder
	r, err := dispatcher.RunProgram(t.Context(), vmmtest.Require(t), dispatcher.Program{
		Image: programImage(t, root), Args: args, Timeout: 2 * time.Minute, Network: outside(t, outsideName+":*", outsideAddr+":*", closedAddr+":80"),
		Output: func(fd uint16, p []byte) {
			if fd == 1 {
				stdout.Write(p)
			} else {
				stderr.Write(p)
			}
		},
	})
	if err != nil {
		t.Fatal(describe(err))
	}
	lines := strings.Split(stdout.String(), "\n")
	for i, l := range lines {
		want := "200 1048576 bytes"
		switch i {
		case 21:
			want = "permission denied"
		case 22:
			want = "connection refused"
		case 23:
			want = "denied.example.net" // "server misbehaving"
		case 24:
			want = ""
		}
		if !strings.Contains(l, want) {
			t.Errorf("line %d: %q, want %q", i, l, want)
		}
	}
	if len(lines) != 25 || r.Status != 0 || r.NetworkRefused["203.0.113.1:80"] == 0 {
		t.Errorf("%d lines, status %d, refused %v\n%s", len(lines), r.Status, r.NetworkRefused, stderr.String())
	}
}

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
