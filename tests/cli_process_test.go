package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/vmm/platform/process"
	"seuss/vmm/vmmtest"
)

// seussctl is the command, built once for the package's tests without cgo, so
// that it runs in an empty root directory too.
var seussctl struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// cli runs the command as a user does: one process a call.
type cli struct {
	*testing.T
	state    string
	attr     *syscall.SysProcAttr
	path     string // of the binary as the process sees it
	platform string // for SEUSS_PLATFORM
}

func newCLI(t *testing.T) *cli {
	t.Helper()
	sharedState(t)
	seussctl.once.Do(func() {
		// Apart from state directories, which others may not enter: some tests are others.
		if seussctl.dir, seussctl.err = os.MkdirTemp("", "seussctl-"); seussctl.err != nil {
			return
		}
		if seussctl.err = os.Chmod(seussctl.dir, 0o755); seussctl.err != nil {
			return
		}
		seussctl.path = filepath.Join(seussctl.dir, "seussctl")
		if *seussctlPath != "" {
			seussctl.err = copyProgram(*seussctlPath, seussctl.path)
			return
		}
		build := exec.Command("go", "build", "-o", seussctl.path, "seuss/tools/seussctl")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			seussctl.err = fmt.Errorf("build seussctl: %w\n%s", err, out)
		}
	})
	if seussctl.err != nil {
		t.Fatal(seussctl.err)
	}
	platform := "kvm"
	if vmmtest.Require(t).Name() == "process" {
		platform = "process"
	}
	return &cli{T: t, state: filepath.Join(t.TempDir(), "state"), path: seussctl.path, platform: platform}
}

func copyProgram(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// ran is what a process did.
type ran struct {
	code           int
	stdout, stderr string
}

func (c *cli) command(stdin string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	c.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, c.path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Env = []string{"SEUSS_STATE=" + c.state, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SEUSS_PLATFORM=" + c.platform}
	cmd.SysProcAttr = c.attr
	return cmd, &stdout, &stderr
}

func (c *cli) run(stdin string, args ...string) ran {
	c.Helper()
	cmd, stdout, stderr := c.command(stdin, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.Fatalf("%q: %v", args, err)
	}
	r := ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	for _, trace := range []string{"goroutine ", "panic:", "runtime error"} {
		if strings.Contains(r.stderr, trace) {
			c.Errorf("%q shows a stack trace:\n%s", args, r.stderr)
		}
	}
	return r
}

// want runs a command that must end with code, and whose output must hold words.
func (c *cli) want(code int, words string, args ...string) ran {
	c.Helper()
	r := c.run("", args...)
	if r.code != code || !strings.Contains(r.stdout+r.stderr, words) {
		c.Errorf("%q: exit code %d, want %d and %q\nstdout: %s\nstderr: %s", args, r.code, code, words, r.stdout, r.stderr)
	}
	return r
}

// failure is want for a command that must print exactly one line, on stderr.
func (c *cli) failure(code int, words string, args ...string) {
	c.Helper()
	r := c.want(code, words, args...)
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.stdout != "" || len(lines) > 1 && !(len(lines) == 2 && code == 2 && strings.HasPrefix(lines[1], "Run 'seussctl ")) {
		c.Errorf("%q: want one clear line\nstdout: %s\nstderr: %s", args, r.stdout, r.stderr)
	}
}

// document runs a command with --json and decodes the one document that it prints.
func document[T any](c *cli, args ...string) T {
	c.Helper()
	r := c.want(0, "", append([]string{"--json"}, args...)...)
	var v T
	dec := json.NewDecoder(strings.NewReader(r.stdout))
	if err := dec.Decode(&v); err != nil || dec.More() {
		c.Fatalf("%q: not one JSON document: %v\n%s", args, err, r.stdout)
	}
	return v
}

func (c *cli) file(name, content string) string {
	c.Helper()
	path := filepath.Join(c.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		c.Fatal(err)
	}
	return path
}

// item is what the tests need of a snapshot's or a function's JSON.
type item struct {
	ID, Kind, Name string
	Key            struct{ Function string }
	Children       []item
	Hits           uint64
}

func (c *cli) ids(kind string) (ids []string) {
	c.Helper()
	for _, n := range document[[]item](c, "snapshot", "ls", "--kind", kind) {
		ids = append(ids, n.ID)
	}
	return ids
}

// TestCommandsAsProcesses goes through a user's day, one process a command.
func TestCommandsAsProcesses(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	hello := c.file("hello.py", "import sys\ndef handler(event, context):\n    print('to the log', file=sys.stderr)\n    return {'hello': event['name']}\n")
	table := c.file("table.py", "def handler(event, context):\n    t = {n: n * event['factor'] for n in range(1000)}\n    return t[event['query']]\n")
	broken := c.file("broken.py", "def handler(event, context:\n")

	// Before anything is stored.
	if got := document[[]item](c, "function", "ls"); len(got) != 0 {
		t.Errorf("functions of a new state directory: %v", got)
	}
	c.failure(1, "hello", "invoke", "hello", "--event", "{}")

	built := document[struct{ Name, Digest string }](c, "image", "build", "--no-numpy")
	if built.Name != "python" || len(built.Digest) != 64 {
		t.Errorf("image build: %+v", built)
	}
	if got := document[[]struct{ Digest string }](c, "image", "ls"); len(got) != 1 || got[0].Digest != built.Digest {
		t.Errorf("image ls: %v", got)
	}
	c.want(0, "hello", "function", "deploy", "hello", hello)
	if got := document[item](c, "function", "deploy", "table", table, "--lazy-args"); got.Kind != "function" || got.Key.Function != "table" {
		t.Errorf("function deploy --json: %+v", got)
	}
	bases := c.ids("base")

	// A second process finds the tree and boots nothing.
	r := c.want(0, `{"hello": "Ada"}`, "invoke", "hello", "--event", `{"name": "Ada"}`)
	if strings.TrimSpace(r.stdout) != `{"hello": "Ada"}` || !strings.Contains(r.stderr, "to the log") {
		t.Errorf("the result belongs to stdout, the log to stderr: %+v", r)
	}
	type answer struct {
		Output     json.RawMessage
		Error      *struct{ ErrorType string }
		Path, Node string
		Candidates []struct {
			Node, Reason string
			Chosen       bool
		}
	}
	result := document[answer](c, "invoke", "hello", "--event", `{"name": "Bob"}`, "--explain")
	chosen := slices.IndexFunc(result.Candidates, func(x struct {
		Node, Reason string
		Chosen       bool
	}) bool {
		return x.Chosen
	})
	if result.Path != "function" || chosen < 0 || result.Candidates[chosen].Node != result.Node || !slices.Contains(c.ids("function"), result.Node) {
		t.Errorf("invoke --explain --json: %+v", result)
	}
	if now := c.ids("base"); len(bases) != 1 || !slices.Equal(now, bases) {
		t.Errorf("base snapshots %v, then %v: an invocation booted", bases, now)
	}
	c.want(0, "WHY", "invoke", "hello", "--event", `{"name": "x"}`, "--explain")
	c.want(0, "started from function", "invoke", "hello", "--event", `{"name": "x"}`, "--timings")
	for _, from := range []string{"base", "cold"} {
		if got := document[answer](c, "invoke", "hello", "--event", `{"name": "x"}`, "--from", from); got.Path != from {
			t.Errorf("--from %s started from %s", from, got.Path)
		}
	}
	if got := c.run(`{"name": "stdin"}`, "invoke", "hello", "--event", "-"); got.code != 0 || !strings.Contains(got.stdout, "stdin") {
		t.Errorf("an event from stdin: %+v", got)
	}
	c.want(0, `"file"`, "invoke", "hello", "--event", "@"+c.file("event.json", `{"name": "file"}`))
	c.want(0, `"once"`, "run", hello, "--event", `{"name": "once"}`)

	// Argument snapshots.
	argument := document[item](c, "snapshot", "create", "table", "--event", `{"factor": 3}`)
	if argument.Kind != "argument" {
		t.Errorf("snapshot create: %+v", argument)
	}
	if got := document[answer](c, "invoke", "table", "--event", `{"factor": 3, "query": 7}`); got.Path != "argument" || got.Node != argument.ID || string(got.Output) != "21" {
		t.Errorf("invoke from an argument snapshot: %+v", got)
	}
	if got := document[answer](c, "invoke", "table", "--event", `{"factor": 4, "query": 7}`); got.Path != "function" || string(got.Output) != "28" {
		t.Errorf("invoke with another argument: %+v", got)
	}
	trees := document[[]item](c, "snapshot", "tree")
	if len(trees) != 1 || trees[0].Kind != "image" || len(trees[0].Children) != 1 || len(trees[0].Children[0].Children) != 2 {
		t.Errorf("snapshot tree: %+v", trees)
	}
	c.want(0, "└─ ", "snapshot", "tree")
	c.want(0, "waits for", "snapshot", "show", argument.ID[:10])
	shown := document[struct {
		ID      string
		Lineage []string
		Hits    uint64
	}](c, "snapshot", "show", argument.ID[:10])
	if shown.ID != argument.ID || len(shown.Lineage) != 4 || shown.Hits != 1 {
		t.Errorf("snapshot show: %+v", shown)
	}

	// What the function does wrong: exit code 3 and Lambda's document.
	r = c.want(3, "", "invoke", "hello", "--event", "{}")
	var failed struct {
		ErrorType, ErrorMessage string
		StackTrace              []string
	}
	if err := json.Unmarshal([]byte(r.stdout), &failed); err != nil || failed.ErrorType != "KeyError" || failed.ErrorMessage != "'name'" || len(failed.StackTrace) == 0 {
		t.Errorf("a failing function: %v %+v\n%s", err, failed, r.stdout)
	}
	c.want(3, "Runtime.UserCodeSyntaxError", "function", "deploy", "broken", broken)
	spin := c.file("spin.py", "def handler(event, context):\n    while True: pass\n")
	c.want(3, "Sandbox.Timedout", "run", spin, "--event", "{}", "--timeout", "200ms")
	kill := c.file("kill.py", "import ctypes\ndef handler(event, context):\n    ctypes.string_at(0)\n")
	c.want(3, "SIGSEGV", "run", kill, "--event", "{}")

	// What the user does wrong.
	c.failure(2, "not JSON", "invoke", "hello", "--event", "{")
	c.failure(2, "", "invoke", "hello", "--event", "")
	c.failure(2, "--from", "invoke", "hello", "--event", "{}", "--from", "moon")
	c.failure(2, "nonsense", "nonsense")
	c.failure(2, "", "invoke")
	c.failure(2, "no good", "function", "deploy", "no good", hello)
	c.failure(1, "nobody", "invoke", "nobody", "--event", "{}")
	c.failure(1, "nobody", "function", "rm", "nobody")
	c.failure(1, "not found", "snapshot", "rm", "0123456789")
	c.failure(1, "missing.py", "function", "deploy", "missing", "/nonexistent/missing.py")
	c.failure(1, "dependents", "snapshot", "rm", bases[0][:12])

	// Removing.
	c.want(0, "", "snapshot", "rm", argument.ID[:12])
	if got := document[answer](c, "invoke", "table", "--event", `{"factor": 3, "query": 7}`); got.Path != "function" || string(got.Output) != "21" {
		t.Errorf("after its argument snapshot was removed: %+v", got)
	}
	c.want(0, "", "function", "rm", "table")
	c.failure(1, "table", "invoke", "table", "--event", "{}")
	c.want(0, "", "snapshot", "rm", bases[0][:12], "--cascade")
	if left := c.ids("function"); len(left) != 0 {
		t.Errorf("snapshots %v are left", left)
	}
	c.want(0, `{"hello": "again"}`, "invoke", "hello", "--event", `{"name": "again"}`) // taken again
	c.want(0, "", "function", "rm", "hello")
}

// TestLockedState: one process writes. Another one is told which, and can read.
func TestLockedState(t *testing.T) {
	dir := treeCopy(t)
	d := openAt(t, dir, nil)
	platform := vmmtest.Require(t)
	_, err := dispatcher.Open(dispatcher.Options{StateDir: dir, Platform: platform})
	if !errors.Is(err, lineage.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("error %v, want ErrLocked naming process %d", err, os.Getpid())
	}
	checkOneLine(t, fmt.Sprint(err))
	reader := openAt(t, dir, func(o *dispatcher.Options) { o.ReadOnly = true })
	wantSound(t, reader)
	wantSound(t, d)
	deploy(t, d, "victim", victimFunction+"\n# changed\n", nil) // its old node goes
	if err := tryVictim(t, reader); err != nil {
		t.Errorf("the reader: %v", err)
	}
	if err := tryVictim(t, d); err != nil {
		t.Error(err)
	}
	wantSound(t, reader)
}

// awaitLock waits until a process has the state directory.
func (c *cli) awaitLock(pid int, stderr fmt.Stringer) {
	c.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(c.state, "lock")); err == nil && strings.TrimSpace(string(b)) == fmt.Sprint(pid) {
			return
		}
		if time.Since(start) > time.Minute {
			c.Fatalf("process %d does not take the lock: %s", pid, stderr)
		}
	}
}

// TestTwoProcesses: while one process has the state directory, others may read
// and invoke; who would write is told which process it is.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = treeCopy(t)
	slow := c.file("slow.py", "import time\ndef handler(event, context):\n    time.sleep(600)\n")
	holder, _, stderr := c.command("", "--verbose", "run", slow, "--event", "{}", "--timeout", "10m")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		holder.Process.Kill()
		holder.Wait()
	}()
	pid := fmt.Sprint(holder.Process.Pid)
	c.awaitLock(holder.Process.Pid, stderr)
	c.failure(1, "process "+pid+" holds", "function", "deploy", "late", slow)
	c.failure(1, "process "+pid+" holds", "function", "rm", "victim")
	c.failure(1, "process "+pid+" holds", "snapshot", "rm", tree.victim[:12])
	c.failure(1, "process "+pid+" holds", "snapshot", "create", "--import", "json")
	for range 2 {
		r := c.want(0, "read-only", "invoke", "victim", "--event", `{"n": 12}`)
		if strings.TrimSpace(r.stdout) != `"12"` || !strings.Contains(r.stderr, pid) {
			t.Errorf("invoke beside process %s: %+v", pid, r)
		}
	}
	if got := document[[]item](c, "function", "ls"); len(got) != 2 {
		t.Errorf("function ls: %v", got)
	}
	// A process that is killed leaves nothing locked.
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	c.want(0, "late", "function", "deploy", "late", slow)
	c.want(0, `"13"`, "invoke", "victim", "--event", `{"n": 13}`)
}

// TestInterrupted: SIGINT ends a running invocation at once with exit code 1.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = treeCopy(t)
	slow := c.file("slow.py", "print('started', flush=True)\ndef handler(event, context):\n    while True: pass\n")
	cmd, _, stderr := c.command("", "run", slow, "--event", "{}", "--timeout", "4m")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.awaitLock(cmd.Process.Pid, stderr)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || strings.Count(stderr.String(), "\n") != 1 || !strings.Contains(stderr.String(), "cancelled") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	c.want(0, `"14"`, "invoke", "victim", "--event", `{"n": 14}`)
}

// TestWithoutKVM: a machine without /dev/kvm, or where it may not be opened,
// gets one sentence that says what to do; what needs no machine still works.
func TestWithoutKVM(t *testing.T) {
	vmmtest.Require(t)
	if os.Geteuid() != 0 {
		t.Skip("skipped, only root can hide /dev/kvm from a process")
	}
	c := newCLI(t)
	c.state = treeCopy(t)
	root := filepath.Dir(c.state)
	if err := os.Link(seussctl.path, filepath.Join(root, "seussctl")); err != nil {
		t.Fatal(err)
	}
	c.path, c.attr, c.platform = "/seussctl", &syscall.SysProcAttr{Chroot: root}, "kvm"
	c.state = "/state"
	if _, err := os.Stat(c.path); err == nil {
		t.Skip("skipped,", c.path, "exists")
	}
	c.failure(1, "/dev/kvm does not exist", "invoke", "victim", "--event", `{"n": 1}`)
	c.want(0, "victim", "function", "ls")

	c = asNobody(t)
	if info, err := os.Stat("/dev/kvm"); err != nil || info.Mode().Perm()&0o006 != 0 {
		t.Skip("skipped, everybody may open /dev/kvm here:", err)
	}
	c.platform = "kvm"
	c.failure(1, "no permission to open /dev/kvm", "invoke", "victim", "--event", `{"n": 1}`)
}

// asNobody returns a CLI that runs as a user without privileges, whose own is a
// state directory with functions in it.
func asNobody(t *testing.T) *cli {
	t.Helper()
	c := newCLI(t)
	c.state = treeCopy(t)
	openParents(t, c.state)
	c.path = filepath.Join(filepath.Dir(c.state), "seussctl")  // where everybody may pass
	if err := copyProgram(seussctl.path, c.path); err != nil { // the shared one is root's alone
		t.Fatal(err)
	}
	if err := filepath.WalkDir(c.state, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 65534, 65534))
	}); err != nil {
		t.Fatal(err)
	}
	c.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return c
}

// openParents lets every user pass to a path.
func openParents(t *testing.T, path string) {
	t.Helper()
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProcessPlatformUnprivileged: where there is no KVM that may be used, any
// user can run guests as processes, and is told that they are that.
func TestProcessPlatformUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped, only root can become another user")
	}
	if p, err := process.New(process.Options{}); err != nil {
		t.Skip("skipped,", err)
	} else if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c := asNobody(t)
	if vmmtest.Require(t).Name() == "process" { // the nodes were taken on it
		c.platform = "process"
		c.want(0, `"14"`, "invoke", "victim", "--event", `{"n": 14}`)
	}
	if _, err := os.Stat("/dev/kvm"); err == nil {
		return // what auto chooses here is KVM's business
	}
	c.platform = "auto"
	got := c.want(0, `"14"`, "invoke", "victim", "--event", `{"n": 14}`)
	if strings.Count(got.stderr, "isolation is weaker") != 1 || !strings.Contains(got.stderr, "/dev/kvm") {
		t.Errorf("stderr %q", got.stderr)
	}
}
