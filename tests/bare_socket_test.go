package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TestCommandsReadNoFilesOfTheDaemon: beside a daemon the commands need its socket and
// nothing else of the state directory. In a directory that has only that they say what
// they do in the state directory, and what they say there without a daemon.
func TestCommandsReadNoFilesOfTheDaemon(t *testing.T) {
	t.Parallel()
	bare := filepath.Join(t.TempDir(), "bare")
	if err := os.Mkdir(bare, 0o700); err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, "--socket", filepath.Join(bare, "seuss.sock"))
	d.create("shown", "import json\ndef handler(e, c):\n    return json.dumps(e)\n", func(in *lambda.CreateFunctionInput) {})
	ids := d.ids("function")
	node := ids[len(ids)-1]
	d.want(0, "", "snapshot", "tag", node, "shown@v1")
	base := d.ids("base")[0]
	var commands [][]string
	for _, line := range []string{
		"function ls --json", "image ls", "snapshot ls --json", "snapshot tree", "snapshot tag", "snapshot tag --json",
		"snapshot stats", "snapshot stats --json", "snapshot stats --duplicates --json",
		"snapshot show shown@v1", "snapshot show --json " + node, "snapshot diff " + node, "snapshot diff --json --symbols 3 " + base + " " + node,
		"snapshot verify", "snapshot verify --json " + node, "snapshot history shown", "snapshot rebase-check " + node + " " + base,
		"__complete snapshot show ", "__complete invoke ", "__complete image rm ",
		// What is refused is refused with the same words.
		"snapshot show ffffffff", "snapshot diff " + d.ids("image")[0], "snapshot history nobody", "snapshot verify ffffffff", "snapshot export ffffffff oci:none",
	} {
		commands = append(commands, strings.Split(line, " "))
	}
	run := func(state string) (out []ran) {
		c := *d.cli
		c.state = state
		for _, args := range commands {
			out = append(out, c.run("", args...))
		}
		export := filepath.Join(t.TempDir(), "export")
		out = append(out, c.run("", "snapshot", "export", node, "oci-archive:"+export))
		if n, err := os.Stat(export); err != nil || n.Size() < 1<<20 {
			t.Errorf("nothing was exported: %v", err)
		}
		return out
	}
	besides, through := run(d.state), run(bare)
	left, err := os.ReadDir(bare)
	if err != nil || len(left) != 1 {
		t.Errorf("the commands left %v there, %v", left, err)
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
	without := run(d.state)
	commands = append(commands, []string{"export"})
	// When it was used and what is written by the way at the end are other at each run.
	uses := regexp.MustCompile(`"(hits|file_bytes)": ?[0-9]+`)
	for i := range besides {
		for other, r := range map[string]ran{"through the socket": through[i], "without a daemon": without[i]} {
			want, got := besides[i], r
			if got.code != want.code || uses.ReplaceAllString(got.stdout, "") != uses.ReplaceAllString(want.stdout, "") || lastLine(got.stderr) != lastLine(want.stderr) {
				t.Errorf("%q %s: %d\n%.2000s%.300s\nwant %d\n%.2000s%.300s", commands[i], other, got.code, got.stdout, got.stderr, want.code, want.stdout, want.stderr)
			}
		}
	}
	if !slices.ContainsFunc(besides, func(r ran) bool { return r.code == 0 && strings.Contains(r.stdout, "shown@v1") }) {
		t.Error("no command has shown the tag")
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
