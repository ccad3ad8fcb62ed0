package tests

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Programs that sleep for as long as their request says, and answer with that and how many
// requests they have had, one for each contract.
const (
	sleepingServer = `
import http.server, os, time
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global count
        count += 1
        seconds = self.rfile.read(int(self.headers["Content-Length"])).decode()
        time.sleep(float(seconds))
        self.send_response(200); self.end_headers()
        self.wfile.write(f"{seconds} {count}".encode())
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`
	sleepingProgram = `
import sys, time
seconds = sys.stdin.read()
time.sleep(float(seconds))
print(f"{seconds} 1", end="")
`
	sleepingBootstrap = `#!/usr/bin/python3
import http.client, os, time
def call(method, path, body=None):
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    c.request(method, "/2018-06-01/runtime/invocation/" + path, body)
    r = c.getresponse()
    return r.getheader("Lambda-Runtime-Aws-Request-Id"), r.read().decode()
count = 0
while True:
    id, seconds = call("GET", "next")
    count += 1
    time.sleep(float(seconds))
    call("POST", id + "/response", f"{seconds} {count}")
`
)

// TestContractsLeaveMachines: programs of every contract that wait in a request hold no
// machine: more of them than there are machines wait at a time, none is refused, each gets
// its own answer, and others are served. Who gives up leaves nothing.
func TestContractsLeaveMachines(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, "--machines", "8", "--function-queue", "1000", "--target-wait", "10m", "--max-wait", "10m")
	dir := t.TempDir()
	for name, content := range map[string]string{"app.py": sleepingServer, "main.py": sleepingProgram, "bootstrap": sleepingBootstrap} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	common := []string{"--timeout", "15m", "--allow-shared-generators"}
	deploy := func(args ...string) { d.want(0, "", append([]string{"function", "deploy"}, args...)...) }
	deploy(append(append([]string{"web", "--http", "8080", "--code", filepath.Join(dir, "app.py")}, common...), "--", "/usr/bin/python3", "app.py")...)
	deploy(append(append([]string{"prog", "--program", "--code", filepath.Join(dir, "main.py")}, common...), "--", "/usr/bin/python3", "main.py")...)
	deploy(append([]string{"api", filepath.Join(dir, "bootstrap"), "--runtime", "provided.al2023"}, common...)...)
	ask := func(ctx context.Context, name, seconds string) (int, string, error) {
		path, body := "/v1/functions/"+name+"/invoke", `{"event":`+seconds+`}`
		if name == "web" {
			path, body = "/v1/functions/web/http/", seconds
		}
		r, err := http.NewRequestWithContext(ctx, "POST", d.url+path, strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Authorization", "Bearer "+d.token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(b), err
	}
	for _, x := range []struct {
		name string
		n    int
	}{{"web", 200}, {"prog", 20}, {"api", 20}} {
		before := d.number("seuss_parks_total")
		var all sync.WaitGroup
		began := time.Now()
		for k := range x.n {
			all.Go(func() {
				seconds := fmt.Sprintf("1.%03d", k)
				status, body, err := ask(d.Context(), x.name, seconds)
				if err != nil || status != 200 || !strings.Contains(body, seconds+" 1") {
					t.Errorf("%s: %d %s %v", x.name, status, body, err)
				}
			})
		}
		all.Wait()
		parks := d.number("seuss_parks_total") - before
		t.Logf("%s: %d that sleep for a second are answered after %v on 8 machines; %.0f parks", x.name, x.n, time.Since(began), parks)
		if parks < 10 {
			t.Errorf("%s: %.0f parks", x.name, parks)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	var held sync.WaitGroup
	for k := range 24 {
		held.Go(func() {
			if status, body, err := ask(ctx, []string{"web", "prog", "api"}[k%3], "800"); err == nil {
				t.Errorf("%d: %d %s", k, status, body)
			}
		})
	}
	d.until("more wait than there are machines", func() bool { return d.number("seuss_parked_instances") > 8 })
	for _, name := range []string{"web", "prog", "api"} {
		if status, body, err := ask(d.Context(), name, "0.25"); err != nil || status != 200 || !strings.Contains(body, "0.25"+" 1") {
			t.Errorf("%s beside those that wait: %d %s %v", name, status, body, err)
		}
	}
	leave()
	held.Wait()
	d.wantMetric("seuss_parked_instances", "0")
	d.wantMetric("seuss_parked_bytes", "0")
}
