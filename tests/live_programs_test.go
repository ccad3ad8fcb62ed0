package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/instances"
	livefiles "seuss/dispatcher/instances/archive"
	"seuss/lineage"
)

// addPrograms builds an image of programs of this host, with the libraries that they need;
// it returns those that there are.
func addPrograms(t *testing.T, dir, name string, programs ...string) map[string]bool {
	t.Helper()
	root, found := t.TempDir(), map[string]bool{}
	put := func(path string) {
		content, err := os.ReadFile(path)
		if err == nil {
			if err = os.MkdirAll(filepath.Dir(root+path), 0o755); err == nil {
				err = os.WriteFile(root+path, content, 0o755)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs {
		if _, err := os.Stat(p); err != nil {
			t.Logf("%s is not on this host", p)
			continue
		}
		found[p] = true
		put(p)
		out, err := exec.Command("ldd", p).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				put(word)
			}
		}
	}
	if err := os.MkdirAll(root+"/tmp", 0o777); err != nil {
		t.Fatal(err)
	}
	addRoot(t, dir, name, root)
	return found
}

// typed types to a program, and returns what it has printed.
func (l *lab) typed(i *instances.Instance, text string) string {
	l.Helper()
	printed := ""
	for _, line := range l.exec(i, text).Logs {
		printed += line.Text
	}
	return printed
}

func (l *lab) says(i *instances.Instance, text, want string) {
	l.Helper()
	if got := l.typed(i, text); got != want {
		l.Errorf("%s: %s: %q, want %q", i.Info().Name, text, got, want)
	}
}

func (l *lab) fork(i *instances.Instance, names ...string) []*instances.Instance {
	l.Helper()
	if _, err := i.Fork(l.ctx, len(names), names); err != nil {
		l.Fatal(describe(err))
	}
	var list []*instances.Instance
	for _, name := range names {
		list = append(list, l.get(name))
	}
	return list
}

// program is one on its standard input.
func program(command ...string) *functions.Program {
	return &functions.Program{Contract: "program", Command: command}
}

// TestLivePrograms: programs of Debian's, typed to while they live, each with what it was told,
// forked, checkpointed, rolled back, paused.
func TestLivePrograms(t *testing.T) {
	t.Parallel()
	dir := treeCopy(t)
	there := addPrograms(t, dir, "tools", "/usr/bin/bc", "/usr/bin/sqlite3", "/bin/cat", "/bin/false")
	d := openAt(t, dir, nil)
	l := newLab(t, d)
	cat := l.create(instances.Spec{Image: "tools", Program: program("/bin/cat"), Name: "cat"})
	large := strings.Repeat(strings.Repeat("0123456789abcde", 64)+"\n", 400) // more than a stream takes at a time
	for range 2 {
		if got := l.typed(cat, large); got != large {
			t.Errorf("%d bytes of %d come back", len(got), len(large))
		}
	}
	l.says(cat, "", "")
	l.says(cat, "a line", "a line\n")
	for what, err := range map[string]error{
		"an event":                    second(cat.Do(l.ctx, &instances.Call{Event: json.RawMessage(`{}`)})),
		"files":                       second(cat.Files(l.ctx, []livefiles.Step{{}})),
		"a command that there is not": second(l.d.Keeper.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: "tools", Program: program("/bin/nothing")})),
		"one that ends":               second(l.d.Keeper.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: "tools", Program: program("/bin/false")})),
		"the Runtime API":             second(l.d.Keeper.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: "tools", Program: &functions.Program{Contract: "runtimeapi", Command: []string{"/bin/cat"}}})),
		"one that is durable":         second(l.d.Keeper.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: "tools", Program: program("/bin/cat"), Durable: true})),
		"leave for an interpreter":    second(l.d.Keeper.Create(l.ctx, functions.DefaultOwner, instances.Spec{Image: dispatcher.DefaultImage(), SharedGenerators: true})),
	} {
		if !errors.Is(err, lineage.ErrInvalid) && !errors.Is(err, instances.ErrInvalid) {
			t.Errorf("%s: %v", what, describe(err))
		}
	}
	l.says(cat, "it lives", "it lives\n")
	if there["/usr/bin/bc"] {
		l.calculates()
	}
	if there["/usr/bin/sqlite3"] {
		base := l.create(instances.Spec{Image: "tools", Program: program("/usr/bin/sqlite3"), Name: "base", SharedGenerators: true})
		l.says(base, "create table t(n); insert into t values (20), (22); select sum(n) from t;", "42\n")
		for n, fork := range l.fork(base, "db1", "db2", "db3") {
			l.says(fork, fmt.Sprintf("insert into t values (%d); select sum(n) from t;", n), fmt.Sprintf("%d\n", 42+n))
		}
		l.says(base, "select count(*) from t;\nselect 'done';", "2\ndone\n")
		if got := l.typed(base, "no such thing;"); !strings.Contains(got, "syntax error") {
			t.Errorf("%q", got)
		}
	}
	if err := d.Close(); err != nil { // what has a name is kept
		t.Fatal(err)
	}
	l = newLab(t, openAt(t, dir, nil))
	l.says(l.get("cat"), "it is back", "it is back\n")
	if there["/usr/bin/bc"] {
		l.says(l.get("calc10"), "f(3)", "18\n")
		l.says(l.fork(l.get("calc"), "after")[0], "f(4)", "24\n")
	}
}

func (l *lab) calculates() {
	l.Helper()
	calc := l.create(instances.Spec{Image: "tools", Program: program("/usr/bin/bc", "-q"), Name: "calc"})
	l.says(calc, "x = 6\ndefine f(n) {\nreturn n * x;\n}", "")
	l.says(calc, "f(7)", "42\n")
	node := l.checkpoint(calc)
	for n, fork := range l.fork(calc, "calc1", "calc2") { // it has drawn nothing
		l.says(fork, fmt.Sprintf("x += %d; f(1)", n), fmt.Sprintf("%d\n", 6+n))
		l.says(l.fork(fork, fmt.Sprint("calc1", n))[0], "f(2)", fmt.Sprintf("%d\n", 12+2*n))
	}
	if err := calc.Pause(l.ctx, true); err != nil {
		l.Fatal(err)
	}
	l.says(calc, "x = 100; f(1)", "100\n")
	if err := calc.Rollback(l.ctx, node); err != nil {
		l.Fatal(describe(err))
	}
	l.says(calc, "f(1)", "6\n")
	l.says(l.create(instances.Spec{Snapshot: node, Name: "again"}), "f(3)", "18\n")
	other := l.create(instances.Spec{Image: dispatcher.DefaultImage()})
	if err := other.Rollback(l.ctx, node); !errors.Is(err, lineage.ErrInvalid) {
		l.Errorf("an interpreter becomes a program: %v", err)
	}
	if _, err := l.d.Deploy(l.ctx, dispatcher.FunctionSpec{Name: "calc", Snapshot: node}); !errors.Is(err, lineage.ErrInvalid) {
		l.Errorf("a function of a program's checkpoint: %v", err)
	}
	quit := "quit"
	if _, err := calc.Do(l.ctx, &instances.Call{Code: &quit}); err == nil || !strings.Contains(err.Error(), "exit status 0") || calc.Info().State != instances.Failed {
		l.Errorf("%v, %+v", err, calc.Info())
	}
	if err := calc.Rollback(l.ctx, node); err != nil {
		l.Fatal(describe(err))
	}
	l.says(calc, "f(2)", "12\n")
}

// TestLivePrompt: an interpreter at its prompt is a program like others, whose generators
// nobody seeds anew: it is copied with leave only. What it does by itself it does.
func TestLivePrompt(t *testing.T) {
	t.Parallel()
	l := newLab(t, openAt(t, treeCopy(t), nil))
	prompt := func(name string, leave bool) *instances.Instance {
		return l.create(instances.Spec{Image: dispatcher.DefaultImage(), Program: program("/usr/bin/python3", "-iq", "-c", "print('begun', flush=True)"), SharedGenerators: leave, Name: name})
	}
	i := prompt("strict", false)
	if lines, _, _ := i.Logs(0); len(lines) == 0 || lines[0].Text != "begun\n" {
		t.Errorf("what it has printed at its start: %+v", lines)
	}
	out := func(i *instances.Instance, text string) string {
		return strings.TrimSpace(strings.ReplaceAll(l.typed(i, text), ">>> ", ""))
	}
	if got := out(i, "x = 41; import time; time.sleep(0.2); print(x + 1)"); got != "42" {
		t.Errorf("%q", got)
	}
	for what, err := range map[string]error{"fork": second(i.Fork(l.ctx, 1, nil)), "checkpoint": second(i.Checkpoint(l.ctx))} {
		if !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "allow-shared-generators") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := out(i, "x"); got != "41" {
		t.Errorf("%q", got)
	}
	i = prompt("shared", true)
	out(i, "x = 1")
	for n, fork := range l.fork(i, "left", "right") {
		if got := out(fork, fmt.Sprintf("x += %d; x", n)); got != fmt.Sprint(1+n) {
			t.Errorf("%q", got)
		}
	}
	if err := i.Rollback(l.ctx, l.checkpoint(i)); err != nil {
		t.Fatal(describe(err))
	}
	if got := out(i, "x"); got != "1" {
		t.Errorf("%q", got)
	}
}

// get asks a live server.
func (l *lab) port(i *instances.Instance, port uint16, path string) string {
	l.Helper()
	c, err := i.Dial(l.ctx, port)
	if err != nil {
		l.Fatal(describe(err))
	}
	defer c.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
	resp, err := client.Get("http://x" + path)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Fatal(err)
	}
	return string(b)
}

// counting is a server that counts its requests.
const counting = `
import http.server, os
seen = 0
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global seen
        seen += 1
        body = str(seen).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
http.server.HTTPServer(('', int(os.environ['PORT'])), H).serve_forever(poll_interval=3600)
`

// TestLiveServers: a server that lives on keeps what requests leave, of an image and of a
// function, over connections and as events.
func TestLiveServers(t *testing.T) {
	b := newContractBench(t)
	l := newLab(t, b.Dispatcher)
	if err := b.deploy("web", "http", func(s *dispatcher.FunctionSpec) { s.Settings.Program.Port = 8080 }, nil, "/usr/bin/python3", "-c", counting); err != nil {
		t.Fatal(describe(err))
	}
	own := program("/usr/bin/python3", "-c", "print('begun', flush=True)\n"+counting)
	own.Contract, own.Port, own.ReadyPath = "http", 8081, "/"
	event := json.RawMessage(`{"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"GET"}}}`)
	for _, c := range []struct {
		spec  instances.Spec
		port  uint16
		seen  int
		first string
	}{
		{instances.Spec{Function: "web", Name: "of-function"}, 8080, 0, ""},
		{instances.Spec{Image: dispatcher.DefaultImage(), Program: own, SharedGenerators: true, Name: "of-image"}, 8081, 1, ""},
	} {
		i := l.create(c.spec)
		if lines, _, _ := i.Logs(0); c.spec.Image != "" && (len(lines) == 0 || lines[0].Text != "begun\n") {
			t.Errorf("what it has printed at its start: %+v", lines)
		}
		count := func(i *instances.Instance, want int) {
			t.Helper()
			if got := l.port(i, c.port, "/"); got != fmt.Sprint(want) {
				t.Errorf("%s: %s, want %d", i.Info().Name, got, want)
			}
		}
		count(i, c.seen+1)
		a, err := i.Do(l.ctx, &instances.Call{Event: event})
		if err != nil || !strings.Contains(string(a.Value), fmt.Sprintf(`"body":"%d"`, c.seen+2)) {
			t.Fatalf("%+v, %v", a, describe(err))
		}
		for _, fork := range l.fork(i, c.spec.Name+"1", c.spec.Name+"2") {
			count(fork, c.seen+3)
		}
		node := l.checkpoint(i)
		count(i, c.seen+3)
		if err := i.Rollback(l.ctx, node); err != nil {
			t.Fatal(describe(err))
		}
		count(i, c.seen+3)
		count(l.create(instances.Spec{Snapshot: node}), c.seen+3)
		code := "1"
		for what, err := range map[string]error{"code": second(i.Do(l.ctx, &instances.Call{Code: &code})), "an event that is no request": second(i.Do(l.ctx, &instances.Call{Event: json.RawMessage(`{}`)}))} {
			if !errors.Is(err, lineage.ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		count(i, c.seen+4)
	}
}

// TestServersLeave: a server that somebody else takes the machine of, as its answer is read, lives
// on.
func TestServersLeave(t *testing.T) {
	t.Parallel()
	l := newLab(t, openAt(t, treeCopy(t), func(o *dispatcher.Options) { o.PoolSize = 1 }))
	server := program("/usr/bin/python3", "-c", counting)
	server.Contract, server.Port = "http", 8080
	i := l.create(instances.Spec{Image: dispatcher.DefaultImage(), Program: server})
	other := l.create(instances.Spec{Image: dispatcher.DefaultImage()})
	const patient = instances.Millis(60e9)
	over := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		code := "1"
		for {
			select {
			case <-over:
				done <- nil
				return
			default:
			}
			if _, err := other.Do(l.ctx, &instances.Call{Code: &code, Timeout: patient}); err != nil {
				done <- err
				return
			}
		}
	}()
	for n := range 30 {
		a, err := i.Do(l.ctx, &instances.Call{Event: json.RawMessage(`{"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"GET"}}}`), Timeout: patient})
		if err != nil || !strings.Contains(string(a.Value), fmt.Sprintf(`"body":"%d"`, n+1)) {
			t.Errorf("%d: %+v, %v", n, a, err)
			break
		}
	}
	close(over)
	if err := <-done; err != nil {
		t.Error(describe(err))
	}
}

// TestLiveBootstrap: a program of Lambda's Runtime API handles event after event.
func TestLiveBootstrap(t *testing.T) {
	b := newContractBench(t)
	l := newLab(t, b.Dispatcher)
	if err := b.deploy("boot", "runtimeapi", nil, map[string][]byte{"bootstrap": []byte(liveBootstrap)}, "bootstrap"); err != nil {
		t.Fatal(describe(err))
	}
	i := l.create(instances.Spec{Function: "boot", Name: "boot"})
	want := func(i *instances.Instance, event, value, failure string) {
		t.Helper()
		a, err := i.Do(l.ctx, &instances.Call{Event: json.RawMessage(event)})
		if err != nil {
			t.Fatal(describe(err))
		}
		if failed := a.Error != nil && a.Error.Type == failure; string(a.Value) != value || failed != (failure != "") {
			t.Errorf("%s: %s, %v", event, a.Value, a.Error)
		}
	}
	want(i, `1`, `[1,1]`, "")
	want(i, `"fail"`, ``, "Own")
	want(i, `3`, `[3,3]`, "")
	for _, fork := range l.fork(i, "boot1", "boot2") {
		want(fork, `4`, `[4,4]`, "")
	}
	node := l.checkpoint(i)
	want(i, `4`, `[4,4]`, "")
	if err := i.Rollback(l.ctx, node); err != nil {
		t.Fatal(describe(err))
	}
	want(i, `4`, `[4,4]`, "")
	if _, err := i.Do(l.ctx, &instances.Call{Event: json.RawMessage(`"exit"`)}); err == nil || i.Info().State != instances.Failed {
		t.Errorf("%v, %+v", err, i.Info())
	}
}

const liveBootstrap = `#!/usr/bin/python3
import http.client, json, os
seen = 0
def ask(method, path, body=None):
    c = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    c.request(method, "/2018-06-01/runtime/" + path, body)
    r = c.getresponse()
    return r.headers, r.read()
while True:
    headers, event = ask("GET", "invocation/next")
    id, event, seen = headers["Lambda-Runtime-Aws-Request-Id"], json.loads(event), seen + 1
    if event == "exit": os._exit(3)
    if event == "fail": ask("POST", "invocation/%s/error" % id, json.dumps({"errorType": "Own", "errorMessage": "told to"}))
    else: ask("POST", "invocation/%s/response" % id, "[%d,%s]" % (seen, json.dumps(event)))
`
