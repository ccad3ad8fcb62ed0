package tests

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// varying is what may differ between two runs of a command: times, sizes of
// nodes (their content is compressed), and what depends on whether a machine was pooled.
var varying = regexp.MustCompile(`[0-9.]+ (ns|µs|ms|s)\b|[0-9-]{10} [0-9:]{8}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9.,]+ (B|KiB|MiB)\b|"[a-z_]+_ns": ?[0-9]+|"[a-z_]*(hits|stored_bytes|delta_bytes|file_bytes|pages_[a-z_]+|faults|private_bytes|shared_bytes|machines_ready|created|deployed|revision|pooled|measured)": ?("[^"]*"|[0-9]+|true|false)|[0-9]+\.[0-9]+| +`)

// machinesReady is the column of invoke --explain that says so, between others.
var machinesReady = regexp.MustCompile(`~\d+~~~~~`)

// wholeRatio is a ratio that happens to be a whole number: a column by itself.
var wholeRatio = regexp.MustCompile(`(?m) [0-9]+( |$)`)

// TestSameOutput runs the same commands with and without a daemon.
func TestSameOutput(t *testing.T) {
	t.Parallel()
	with := startDaemon(t)
	without := newCLI(t)
	without.state = treeCopy(t)
	hello := with.file("hello.py", "def handler(event, context):\n    print('log')\n    return {'hello': event['name'],   'x': [1,2]}\n")
	lazy := with.file("lazy.py", "def handler(event, context):\n    t = list(range(event['n']))\n    return t[event['q']]\n")
	carried, layout := "oci-archive:STATE/carried.tar", "oci:STATE/layout" // each has its own
	damaged := "oci-archive:" + with.file("damaged.tar", "no archive")
	broken := with.file("broken.py", "def handler(event, context:\n")
	node := regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{12})\b`)
	clean := func(s string) string {
		s = strings.ReplaceAll(s, with.state, "STATE")
		s = strings.ReplaceAll(s, without.state, "STATE")
		s = varying.ReplaceAllString(s, "~")
		s = machinesReady.ReplaceAllString(s, "~#~~~~~")
		return node.ReplaceAllString(s, "ID") // machine states differ, and so ids
	}
	for _, args := range [][]string{
		{"function", "ls"}, {"snapshot", "tree"}, {"image", "ls"},
		{"function", "deploy", "hello", hello}, {"function", "deploy", "broken", broken}, {"--json", "function", "deploy", "hello", hello},
		{"invoke", "hello", "--event", `{"name": "Ada"}`}, {"--json", "invoke", "hello", "--event", `{"name": "Ada"}`}, {"invoke", "hello", "--event", `{}`},
		{"invoke", "hello", "--event", `[`}, {"invoke", "nobody"}, {"invoke", "hello:7"}, {"invoke", "hello:live"},
		{"function", "deploy", "lazy", lazy, "--lazy-args"}, {"invoke", "lazy", "--event", "[1]"},
		{"snapshot", "create", "lazy", "--event", `{"n": 3}`}, {"snapshot", "create", "hello", "--event", `{}`}, {"snapshot", "create", "--import", "json"},
		{"invoke", "lazy", "--event", `{"n": 3, "q": 1}`, "--explain"}, {"run", hello, "--event", `{"name": "Bob"}`}, {"run", broken},
		{"snapshot", "tag", "HELLO", "json-fn@v1"}, {"snapshot", "tag"}, {"snapshot", "tag", "ffff", "x"}, {"snapshot", "rm", "json-fn@v1"},
		{"snapshot", "pin", "json-fn@v1", "--for", "1h"}, {"snapshot", "unpin", "json-fn@v1"}, {"snapshot", "unpin", "json-fn@v1"},
		{"snapshot", "expire", "json-fn@v1", "36h"}, {"snapshot", "expire", "json-fn@v1", "never"},
		{"snapshot", "compact", "--pages", "json-fn@v1"}, {"snapshot", "compact", "json-fn@v1"}, {"snapshot", "flatten", "json-fn@v1"},
		{"snapshot", "export", "json-fn@v1", carried}, {"snapshot", "export", "json-fn@v1", layout}, {"snapshot", "import", carried},
		{"snapshot", "tag", "--remove", "json-fn@v1"}, {"function", "rm", "hello"}, {"snapshot", "import", carried, "--tag", "json-fn@v1"},
		{"--json", "snapshot", "import", layout, "--tag", "json-fn@v1"}, {"snapshot", "import", carried, "--tag", "0"}, {"snapshot", "import", damaged},
		{"snapshot", "import", layout + "@nothing"}, {"snapshot", "import", "oci:/nowhere"}, {"function", "deploy", "hello", hello},
		{"snapshot", "verify"}, {"snapshot", "stats"}, {"snapshot", "diff", "ffff"}, {"snapshot", "rebase-check", "HELLO", "HELLO"}, {"snapshot", "history", "hello"},
		{"snapshot", "tag", "--remove", "json-fn@v1"}, {"snapshot", "tag", "--remove", "json-fn@v1"}, {"snapshot", "gc", "--unused", "-1h"},
		{"snapshot", "ls"}, {"snapshot", "tree"}, {"--json", "function", "ls"}, {"snapshot", "rm", "ffff"}, {"snapshot", "show", "ffff"},
		{"function", "rm", "lazy"}, {"function", "rm", "lazy"}, {"function", "ls"}, {"image", "rm", "python"}, {"image", "rm", "nothing"},
		{"image", "build", "--name", "small", "--no-numpy"}, {"image", "ls"},
		{"image", "tag", "small", "other"}, {"--json", "image", "rm", "other"}, {"image", "tag", "small", "other"}, {"image", "rm", "other"}, {"image", "rm", "small"},
	} {
		var a, b ran
		var wg sync.WaitGroup
		wg.Go(func() { a = without.run("", withNode(without, "hello", args)...) })
		wg.Go(func() { b = with.run("", withNode(with.cli, "hello", args)...) })
		wg.Wait()
		a.stderr = strings.Join(notNotes(a.stderr), "\n") // what the process without a daemon says of its platform
		b.stderr = strings.Join(notNotes(b.stderr), "\n")
		if slices.Contains(args, "compact") || slices.Contains(args, "stats") {
			a.stdout, b.stdout = wholeRatio.ReplaceAllString(a.stdout, " 0.5$1"), wholeRatio.ReplaceAllString(b.stdout, " 0.5$1")
		}
		if a.code != b.code || clean(a.stdout) != clean(b.stdout) || clean(a.stderr) != clean(b.stderr) {
			t.Errorf("%q\nwithout a daemon: %d\n%s\n%s\nwith one: %d\n%s\n%s", args, a.code, clean(a.stdout), clean(a.stderr), b.code, clean(b.stdout), clean(b.stderr))
		}
	}
	for _, c := range []*cli{without, with.cli} { // bytes of it are random
		c.want(0, "kernel library", withNode(c, "hello", []string{"snapshot", "diff", "HELLO"})...)
	}
	// What machines stand at is kept, and functions stay deployed whatever goes.
	with.want(0, "running", "snapshot", "gc", "--unused", "1ns", "--dry-run")
	with.want(0, "freed", "snapshot", "gc", "--unused", "1ns")
	with.want(0, "Ada", "invoke", "hello", "--event", `{"name": "Ada"}`)
	if code := with.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// Without the daemon the same directory works on.
	with.want(0, "Ada", "invoke", "hello", "--event", `{"name": "Ada"}`)
}

// withNode puts the id of a function's newest node in the place of its name in
// capitals, and the state directory in that of STATE.
func withNode(c *cli, function string, args []string) []string {
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "STATE", c.state)
	}
	if at := slices.Index(args, strings.ToUpper(function)); at >= 0 {
		var nodes []struct{ ID string }
		if err := json.Unmarshal([]byte(c.run("", "--json", "snapshot", "history", function).stdout), &nodes); err == nil && len(nodes) > 0 {
			args[at] = nodes[0].ID
		}
	}
	return args
}

func notNotes(text string) (lines []string) {
	for line := range strings.SplitSeq(text, "\n") {
		// The daemon has said so in its log.
		if !strings.HasPrefix(line, "seussctl: note: no KVM") && !strings.HasPrefix(line, "seussctl: note: other users could use ") {
			lines = append(lines, line)
		}
	}
	return lines
}
