package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/images/runtimes/lua"
	"seuss/images/source"
	_ "seuss/images/source/all"
	"seuss/vmm/vmmtest"
)

// programImage builds an image of a directory, as seussctl run does.
func programImage(t *testing.T, dir string) *images.Image {
	t.Helper()
	tree, _ := openSource(t, "dir:"+dir)
	return builtImage(t, images.Spec{Name: "program", Kernel: guest.Kernel(), MemoryBytes: 1 << 30, Files: images.WithMountPoints(tree.Files)})
}

func openSource(t *testing.T, ref string) (*source.Tree, source.Config) {
	t.Helper()
	found, err := source.Find(t.Context(), ref, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tree, config, err := found.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tree, config
}

func builtImage(t *testing.T, spec images.Spec) *images.Image {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "program.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := images.Build(t.Context(), f, spec, nil); err != nil {
		t.Fatal(err)
	}
	im, err := images.Open(f.Name(), images.SkipDigest())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	return im
}

// programRun is what a program did in a guest.
type programRun struct {
	*instance.ProgramResult
	stdout, stderr string
}

func runProgram(t *testing.T, im *images.Image, args ...string) programRun {
	t.Helper()
	var r programRun
	var err error
	r.ProgramResult, err = instance.RunProgram(t.Context(), vmmtest.Require(t), instance.Program{
		Image: im, Args: args, Env: []string{"PATH=/bin", "HOME=/root", "SEUSS_TEST=yes"}, Timeout: 2 * time.Minute,
		Output: func(fd uint16, p []byte) {
			if fd == 1 {
				r.stdout += string(p)
			} else {
				r.stderr += string(p)
			}
		},
	})
	if err != nil {
		t.Fatalf("%q: %s\n%s%s", args, describe(err), r.stdout, r.stderr)
	}
	return r
}

// natively runs a program on this machine and returns what it printed.
func natively(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "SEUSS_TEST=yes")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	return string(out)
}

// TestGoProgram: a static Go program does in a guest what it does natively:
// goroutines, garbage collection that has to preempt, net/http, TLS, files,
// signals. It also shows what becomes of exit codes and signals.
func TestGoProgram(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	root := t.TempDir()
	program := filepath.Join(root, "bin", "goprogram")
	build := exec.Command("go", "build", "-o", program, "./testdata/goprogram")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	im := programImage(t, root)
	for _, feature := range strings.Fields(natively(t, program, "list")) {
		t.Run(feature, func(t *testing.T) {
			r := runProgram(t, im, "/bin/goprogram", feature)
			if r.Status != 0 || r.Signal != 0 || r.Report != "" {
				t.Fatalf("exit status %d, signal %d\n%s%s", r.Status, r.Signal, r.stderr, r.Report)
			}
			if want := natively(t, program, feature); r.stdout != want {
				t.Errorf("in the guest: %s\nnatively: %s", r.stdout, want)
			}
		})
	}
	for _, code := range []int{0, 3, 255} {
		if r := runProgram(t, im, "/bin/goprogram", "exit", fmt.Sprint(code)); r.Status != code || r.Signal != 0 || r.stderr != "leaving\n" {
			t.Errorf("exit(%d): status %d, signal %d, stderr %q", code, r.Status, r.Signal, r.stderr)
		}
	}
	var missing *dispatcher.CrashError
	_, err := instance.RunProgram(t.Context(), vmmtest.Require(t), instance.Program{Image: im, Args: []string{"/bin/none"}})
	if !errors.As(err, &missing) || !strings.Contains(missing.Summary, "cannot open /bin/none") {
		t.Errorf("a program that is not there: %v", err)
	}
	_, err = instance.RunProgram(t.Context(), vmmtest.Require(t), instance.Program{Image: im, Args: []string{"/bin/goprogram", "preempt", "deadline"}, Timeout: time.Millisecond})
	if !errors.Is(err, dispatcher.ErrTimeout) {
		t.Errorf("a program that is out of time: %v", err)
	}
}

// TestRunCommand: seussctl run passes on output and exit code of any ELF program,
// dynamic ones too.
func TestRunCommand(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	root := t.TempDir()
	source := filepath.Join(t.TempDir(), "p.c")
	text := `#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	char exe[100] = {0};
	if (argv[1][0] == 'e')
		return readlink("/proc/self/exe", exe, 99) > 0 && puts(exe) < 0;
	printf("to stdout: %d %s\n", argc, argv[1]);
	fflush(stdout);
	fprintf(stderr, "to stderr\n");
	switch (argv[1][0]) {
	case 's': *(volatile int *)0 = 1;
	case 'a': abort();
	case 'f': return 100 / (argc - 2);
	case 'k': raise(SIGKILL);
	case 'l': for (;;) ;
	}
	return atoi(argv[1]);
}
`
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, flags := range map[string][]string{"static": {"-static"}, "pie": {"-static-pie"}, "dynamic": nil} {
		out, err := exec.Command("gcc", append(flags, "-O0", "-w", "-o", filepath.Join(root, "bin", name), source)...).CombinedOutput()
		if err != nil {
			t.Fatalf("compile: %v\n%s", err, out)
		}
	}
	for _, lib := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"} {
		data, err := os.ReadFile(lib)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(lib)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, lib), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("static", filepath.Join(root, "bin", "link")); err != nil {
		t.Fatal(err)
	}
	image := "dir:" + root
	for _, x := range []struct {
		arg    string
		code   int
		stderr string
	}{
		{"0", 0, ""}, {"7", 7, ""}, {"200", 200, ""},
		{"segv", 128 + 11, "page fault"}, {"abort", 128 + 6, "SIGABRT"}, {"fpe", 128 + 8, "divide error"}, {"kill", 128 + 9, "SIGKILL"},
	} {
		for _, program := range []string{"static", "pie", "dynamic"} {
			r := c.run("", "run", "--image", image, "--", "/bin/"+program, x.arg)
			if r.code != x.code || r.stdout != fmt.Sprintf("to stdout: 2 %s\n", x.arg) || !strings.Contains(r.stderr, "to stderr\n") || !strings.Contains(r.stderr, x.stderr) {
				t.Errorf("%s %s: exit code %d, want %d\nstdout: %s\nstderr: %s", program, x.arg, r.code, x.code, r.stdout, r.stderr)
			}
			if x.stderr == "" && r.stderr != "to stderr\n" {
				t.Errorf("%s %s: stderr is not the program's own: %q", program, x.arg, r.stderr)
			}
		}
	}
	// A loader looks beside what a link leads to ($ORIGIN), as the java that Debian links to needs.
	c.want(0, "/bin/static", "run", "--image", image, "--", "/bin/link", "exe")
	c.want(127, "no program", "run", "--image", image, "--", "/bin/none")
	c.want(124, "timed out", "run", "--image", image, "--timeout", "300ms", "--", "static", "loop")
	c.want(125, "no such file", "run", "--image", "dir:/nowhere", "--", "/bin/x")
	c.want(2, "KEY=VALUE", "run", "--image", image, "--env", "novalue", "--", "/bin/static", "0")
	c.want(2, "for functions", "run", "--image", image, "--event", "{}", "--", "/bin/static", "0")
	r := c.run("", "run", "--json", "--image", image, "--", "/bin/dynamic", "9")
	var doc struct {
		Code   int    `json:"exit_code"`
		Stdout string `json:"stdout"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil || r.code != 9 || doc.Code != 9 || doc.Stdout != "to stdout: 2 9\n" {
		t.Errorf("--json: exit code %d, %s", r.code, r.stdout)
	}
	entries, err := os.ReadDir(c.state)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".run-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

const luaProgram = `
local function gen(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
local sum = 0
for i in gen(1000) do sum = sum + i end
local words = {}
for w in ("the quick brown fox"):gmatch("%a+") do words[#words + 1] = w:upper() end
table.sort(words)
local f = assert(io.open("/tmp/lua", "w")); f:write("line\n", 42, "\n"); f:close()
local lines = {}
for l in io.lines("/tmp/lua") do lines[#lines + 1] = l end
os.remove("/tmp/lua")
local ok, err = pcall(function() error({code = 7}) end)
local t = setmetatable({}, {__index = function(_, k) return k .. "!" end})
for i = 1, 200 do local garbage = {}; for j = 1, 500 do garbage[j] = {j} end end
collectgarbage()
print(_VERSION, sum, table.concat(words, ","), lines[2] + 0, err.code, t.x, string.format("%5.2f|%q", math.pi, "a\n"), 7 // 2, 1 << 40,
  utf8.len("äöü"), string.pack(">I4", 258):byte(3, 4), os.getenv("SEUSS_TEST"), io.open("/nowhere") == nil, #arg)
os.exit(5)
`

// TestLua: Debian's Lua runs as natively.
func TestLua(t *testing.T) {
	vmmtest.Require(t)
	native, err := exec.LookPath("lua5.4")
	if err != nil {
		t.Skip("skipped without Lua: apt-get install lua5.4")
	}
	spec, err := lua.Runtime.Spec(t.Context(), runtimes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	im := builtImage(t, spec)
	r := runProgram(t, im, spec.Program, "-e", luaProgram)
	cmd := exec.CommandContext(context.Background(), native, "-e", luaProgram)
	cmd.Env = append(os.Environ(), "SEUSS_TEST=yes")
	want, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("natively: %v", err)
	}
	if r.stdout != string(want) || r.Status != 5 || exit.ExitCode() != 5 {
		t.Errorf("in the guest: status %d, %q\nnatively: status %d, %q\n%s%s", r.Status, r.stdout, exit.ExitCode(), want, r.stderr, r.Report)
	}
	if !slices.ContainsFunc(im.Config().Packages, func(p string) bool { return strings.HasPrefix(p, "lua5.4=") }) {
		t.Errorf("packages %v do not name lua5.4", im.Config().Packages)
	}
}

// TestDebianSource: a program of a Debian package runs from the package's files and
// those of what it depends on.
func TestDebianSource(t *testing.T) {
	vmmtest.Require(t)
	if _, err := exec.LookPath("lua5.4"); err != nil {
		t.Skip("skipped without Lua: apt-get install lua5.4")
	}
	tree, config := openSource(t, "debian:lua5.4")
	defer tree.Close()
	if !slices.ContainsFunc(tree.Packages, func(p string) bool { return strings.HasPrefix(p, "lua5.4=") }) || len(config.Env) == 0 {
		t.Errorf("packages %v, environment %v", tree.Packages, config.Env)
	}
	im := builtImage(t, images.Spec{Name: "packages", Kernel: guest.Kernel(), MemoryBytes: 1 << 30, Files: images.WithMountPoints(tree.Files)})
	if r := runProgram(t, im, "/usr/bin/lua5.4", "-e", "print(6 * 7)"); r.Status != 0 || r.stdout != "42\n" {
		t.Errorf("status %d, %q, %s%s", r.Status, r.stdout, r.stderr, r.Report)
	}
}
