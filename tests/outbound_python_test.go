package tests

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"seuss/dispatcher"
)

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
