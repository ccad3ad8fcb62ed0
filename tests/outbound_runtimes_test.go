package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
	"seuss/vmm/vmmtest"
)

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
	r, err := instance.RunProgram(t.Context(), vmmtest.Require(t), instance.Program{
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
