package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/tools/seussctl/cmdline"
	"seuss/vmm/platform"
)

func TestUsageErrors(t *testing.T) {
	for _, args := range []string{
		"frobnicate", "snapshot", "snapshot frob", "image frob", "--frob", "invoke", "invoke a b", "invoke a --frob",
		"invoke a --event", "invoke a --event {", "invoke a --event=", "invoke a --timeout soon", "invoke a --timeout 0s",
		"invoke a --from nowhere", "--huge-pages often image ls", "image build --program /usr/bin/python3", "image build --runtime node --program node", "--huge-pages never bench huge", "invoke a --allow-net example.com", "snapshot create a --allow-net example.com", "snapshot create --base --allow-net example.com:1", "run a.py --allow-net 10.0.0.1/8:1", "run --image dir:. --allow-net :1 -- /x", "serve --allow-net x:0", "run", "run a.py b.py", "run --timings", "function deploy a", "function deploy", "function deploy a/b/c x.py",
		"function deploy a x.py --import ,", "snapshot show", "snapshot show a b", "snapshot rm", "snapshot ls --kind twig",
		"image build a b", "image build a --name b", "image build a/b", "image build --from dir:. --runtime node", "image build --from dir:. --package x", "image build a --from dir:. --max-size much", "image build --memory much", "image build --memory 5", "image build --env X", "image rm",
		"doctor now", "serve --machines 0", "serve --listen 0.0.0.0:1", "serve --listen :1", "serve --memory 1", "serve --spare -1", "serve --trace somewhere", "serve --log-format xml", "serve --log-level loud", "serve --host-ports 1", "serve --max-wait 0s", "bench", "bench guest --rounds 0", "bench start --rounds 0", "bench start --depths 0", "bench start --depths 1,,2", "completion", "completion tcsh", "demo x",
	} {
		words := strings.Fields(args)
		out := command(t, t.TempDir(), "", nil, words...)
		if out.code != api.ExitUsage {
			t.Errorf("%s: exit %d, want %d; %q", args, out.code, api.ExitUsage, out.stderr)
		}
		if out.stdout != "" || !strings.HasPrefix(out.stderr, "seussctl: ") || !strings.Contains(out.stderr, "--help") || strings.Count(out.stderr, "\n") != 2 {
			t.Errorf("%s: stdout %q, stderr %q", args, out.stdout, out.stderr)
		}
		said := strings.TrimPrefix(strings.SplitN(out.stderr, "\n", 2)[0], "seussctl: ")
		if f := failed(t, command(t, t.TempDir(), "", nil, append([]string{"--json"}, words...)...)); f.Code != "usage" || f.Exit != api.ExitUsage || f.Message != said || !strings.HasSuffix(f.Help, " --help") {
			t.Errorf("--json %s: %+v, want %q", args, f, said)
		}
	}
}

// failure is how a command with --json fails.
type failure struct {
	Code, Message, Help string
	Exit                int
}

// failed reads the one line of JSON on a command's stderr.
func failed(t *testing.T, out outcome) (f failure) {
	t.Helper()
	if err := json.Unmarshal([]byte(out.stderr), &f); err != nil || out.stdout != "" || strings.Count(out.stderr, "\n") != 1 || f.Exit != out.code || f.Message == "" {
		t.Errorf("stdout %q, stderr %q, exit %d: %v", out.stdout, out.stderr, out.code, err)
	}
	return f
}

// TestJSONErrors: with --json every command that fails says so in one line of JSON.
func TestJSONErrors(t *testing.T) {
	dir := t.TempDir()
	testTree(t, dir)
	for args, code := range map[string]api.Code{
		"--json function deploy x nothere.py": api.Failed, "function show nothere --json": api.UnknownFunction, "image rm --json=true nothere": api.NotFound, "-json snapshot show 000000": api.NotFound,
		"--json function rm nothere": api.UnknownFunction, "--json function init a --dir /proc/self": api.Failed, "--json plan show nothere.json": api.Failed, "env --json": api.Failed,
	} {
		if f := failed(t, command(t, dir, "", nil, strings.Fields(args)...)); f.Code != string(code) || f.Help != "" {
			t.Errorf("%s: %+v, want %s", args, f, code)
		}
	}
	// A function's error is on stdout, as Lambda has it.
	if out := command(t, dir, "", with(&fakeEngine{err: &dispatcher.FunctionError{Type: "E", Message: "m"}}), "--json", "invoke", "hello"); out.code != api.ExitFunction || !json.Valid([]byte(out.stdout)) || out.stderr != "" {
		t.Errorf("a function's error: %+v", out)
	}
	crash := &dispatcher.CrashError{Summary: "SIGSEGV", Report: "rip 0x1"}
	out := command(t, dir, "", with(&fakeEngine{err: crash}), "--json", "invoke", "hello")
	if f := failed(t, out); f.Code != string(api.Crashed) || !strings.Contains(out.stderr, `"report":"rip 0x1"`) {
		t.Errorf("a crash: %+v", out)
	}
	for words, want := range map[string]bool{"--json x": true, "-json x": true, "--json=false x": false, "--json --json=false x": false, "--state json image ls": false, "run x -- --json": false} {
		if _, got := arrange(testRoot(), append([]string{"p"}, strings.Fields(words)...)); got != want {
			t.Errorf("%s: JSON %v", words, got)
		}
	}
}

func TestSuggestions(t *testing.T) {
	for args, want := range map[string]string{
		"snapshot tre":          "tree",
		"invok":                 "invoke",
		"invoke x --timming":    "timings",
		"function deploy --laz": "--lazy-args",
	} {
		out := command(t, t.TempDir(), "", nil, strings.Fields(args)...)
		if out.code != api.ExitUsage || !strings.Contains(out.stderr, want) {
			t.Errorf("%s: exit %d, %q names no %s", args, out.code, out.stderr, want)
		}
	}
}

// Every command has a help text with an example, in every position in which
// people ask for it.
func TestHelp(t *testing.T) {
	root := testRoot()
	var walk func(path []string, commands []*cli.Command)
	walk = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			p := append(slices.Clone(path), c.Name)
			full := "seussctl " + strings.Join(p, " ")
			for _, args := range [][]string{append(p, "--help"), append(slices.Clone(p), "-h"), append([]string{"help"}, p...), append([]string{"--json"}, append(p, "--help")...)} {
				out := command(t, t.TempDir(), "", nil, args...)
				if out.code != api.ExitOK || out.stderr != "" || !strings.HasPrefix(out.stdout, full+" - ") {
					t.Errorf("%q: exit %d, %q %q", args, out.code, out.stdout, out.stderr)
				}
				if len(c.Subcommands) == 0 && !strings.Contains(out.stdout, "EXAMPLES\n") {
					t.Errorf("%q shows no example:\n%s", args, out.stdout)
				}
			}
			walk(p, c.Subcommands)
		}
	}
	walk(nil, root.Commands)
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"-h"}} {
		if out := command(t, t.TempDir(), "", nil, args...); out.code != api.ExitOK || !strings.Contains(out.stdout, "EXIT CODES") {
			t.Errorf("%q: exit %d, %q", args, out.code, out.stderr)
		}
	}
}

func TestArrange(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"invoke hello --event {} --json", "--json invoke --event {} -- hello"},
		{"invoke hello -e - --timings", "invoke -e - --timings -- hello"},
		{"snapshot --state dir tree", "--state dir snapshot tree"},
		{"snapshot rm --cascade=true id", "snapshot rm --cascade=true -- id"},
		{"invoke --event=@f -- --odd", "invoke --event=@f -- --odd"},
		{"invoke invoke", "invoke -- invoke"},
		{"function deploy doctor x.py", "function deploy -- doctor x.py"},
		{"invoke h --event", "invoke --event -- h"},
		{"invoke h --unknown x", "invoke --unknown -- h x"},
		{"help snapshot tree", "snapshot tree --help"},
	} {
		in := append([]string{"p"}, strings.Fields(c.in)...)
		got, _ := arrange(testRoot(), in)
		if want := append([]string{"p"}, strings.Fields(c.want)...); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", c.in, got, want)
		}
	}
}

// Arranging moves words, but loses and invents none.
func FuzzArrange(f *testing.F) {
	f.Add("invoke a --event {} --json --state x")
	f.Add("-- --json - -e")
	f.Add("snapshot -- rm --cascade --cascade=0 x")
	root := testRoot()
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Fields(line)
		if len(words) > 0 && words[0] == helpWord {
			return
		}
		drop := func(s []string) []string {
			s = slices.DeleteFunc(slices.Clone(s), func(w string) bool { return w == "--" })
			slices.Sort(s)
			return s
		}
		got, _ := arrange(root, append([]string{"p"}, words...))
		if !slices.Equal(drop(got[1:]), drop(words)) {
			t.Errorf("%q became %q", words, got)
		}
	})
}

func TestStateDirectory(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		root bool
		flag string
		want string
	}{
		{map[string]string{"HOME": "/home/a"}, false, "", "/home/a/.local/state/seuss"},
		{map[string]string{"HOME": "/root"}, true, "", "/var/lib/seuss"},
		{map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/x"}, false, "", "/x/seuss"},
		{map[string]string{"HOME": "/h", "XDG_STATE_HOME": "relative"}, false, "", "/h/.local/state/seuss"},
		{map[string]string{"HOME": "/h", cmdline.StateVariable: "/s"}, true, "", "/s"},
		{map[string]string{"HOME": "/h", cmdline.StateVariable: "/s"}, true, "/f", "/f"},
	} {
		e := cmdline.NewEnv(nil, nil, nil)
		e.Getenv = func(n string) string { return c.vars[n] }
		e.IsRoot = c.root
		if err := e.SetState(c.flag); err != nil || e.StateDir != c.want {
			t.Errorf("%+v: %q, %v", c, e.StateDir, err)
		}
		own := e.StateDir
		if e.OwnState("demo"); (e.StateDir == own) != e.StateGiven {
			t.Errorf("%+v: own directory %s", c, e.StateDir)
		}
	}
	e := cmdline.NewEnv(nil, nil, nil)
	e.Getenv, e.IsRoot = func(string) string { return "" }, false
	if err := e.SetState(""); err == nil {
		t.Error("no home, no error")
	}
}

func TestReport(t *testing.T) {
	crash := &dispatcher.CrashError{Summary: "SIGSEGV", Report: "rip 0x1\nrax 0x2\n"}
	for _, c := range []struct {
		err            error
		code           int
		stdout, stderr string
	}{
		{nil, api.ExitOK, "", ""},
		{errors.New("disk full"), api.ExitFailure, "", "seussctl: disk full\n"},
		{fmt.Errorf("open: %w", &platform.Unmet{Title: "KVM", Err: errors.New("/dev/kvm")}), api.ExitFailure, "", "seussctl: open: KVM is not available: /dev/kvm\n"},
		{fmt.Errorf("x: %w", &cmdline.UsageError{Command: "seussctl run", Err: errors.New("bad")}), api.ExitUsage, "", "seussctl: x: bad\nRun 'seussctl run --help' for help.\n"},
		{fmt.Errorf("deploy: %w", &dispatcher.FunctionError{Type: "E", Message: "m<"}), api.ExitFunction, `{"errorType":"E","errorMessage":"m\u003c","stackTrace":[]}` + "\n", ""},
		{fmt.Errorf("invoke: %w", crash), api.ExitFailure, "", "seussctl: invoke: the guest crashed: SIGSEGV\nrip 0x1\nrax 0x2\n"},
		{cmdline.ErrReported, api.ExitFailure, "", ""},
		{cmdline.ErrFunctionReported, api.ExitFunction, "", ""},
	} {
		var stdout, stderr strings.Builder
		if code := cmdline.Report(&stdout, &stderr, c.err); code != c.code || stdout.String() != c.stdout || stderr.String() != c.stderr {
			t.Errorf("%v: exit %d, %q, %q", c.err, code, stdout.String(), stderr.String())
		}
	}
}

func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	nodes := testTree(t, dir)
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	deployed, err := cmdline.Deployments(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deployed.Put(functions.Function{Name: "hello", Handler: "a.b", Image: cmdline.DefaultImage}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words []string
		want  []string
	}{
		{[]string{"sn"}, []string{"snapshot"}},
		{[]string{"snapshot", "t"}, []string{"tree", "tag"}},
		{[]string{"snapshot", "rm", cmdline.Short(nodes["base"].ID)[:7]}, []string{cmdline.Short(nodes["base"].ID)}},
		{[]string{"invoke", ""}, []string{"hello"}},
		{[]string{"invoke", "hello", ""}, nil},
		{[]string{"invoke", "hello", "--ev"}, []string{"--event"}},
		{[]string{"invoke", "hello", "--event", ""}, nil},
		{[]string{"snapshot", "rm", "--ca"}, []string{"--cascade"}},
		{[]string{"--state", "/nowhere", "invoke", ""}, nil},
		{[]string{"completion", "z"}, []string{"zsh"}},
		{[]string{"image", "rm", ""}, []string{"python"}},
	} {
		out := command(t, dir, "", nil, append([]string{completeWord}, c.words...)...)
		if got := strings.Fields(out.stdout); out.code != api.ExitOK || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.words, got, c.want)
		}
	}
	for shell := range completionScripts {
		if out := command(t, dir, "", nil, "completion", shell); out.code != api.ExitOK || !strings.Contains(out.stdout, completeWord) {
			t.Errorf("%s: exit %d, %q", shell, out.code, out.stdout)
		}
	}
}
