package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tourStep is a command of README.md's tour and what is printed below it.
type tourStep struct{ command, output string }

func readmeTour(t *testing.T) (files map[string]string, steps []tourStep) {
	t.Helper()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```python\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		files[m[1]] = m[2]
	}
	_, block, _ := strings.Cut(string(page), "```console\n")
	block, _, _ = strings.Cut(block, "```")
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			steps = append(steps, tourStep{command: command})
		} else if len(steps) > 0 {
			steps[len(steps)-1].output += line
		}
	}
	return files, steps
}

var (
	anyID     = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
	anySize   = regexp.MustCompile(`\b[0-9.]+ [KMG]?i?B\b`)
	anyNumber = regexp.MustCompile(`\b[0-9][0-9,]*\b`)
	anySpace  = regexp.MustCompile(` +`)
)

// shape is a text without what differs from run to run and from machine to machine.
func shape(text string) string {
	for _, r := range []struct {
		re *regexp.Regexp
		by string
	}{{anyID, "ID"}, {anySize, "SIZE"}, {anyNumber, "N"}, {anySpace, " "}} {
		text = r.re.ReplaceAllString(text, r.by)
	}
	return text
}

// TestReadmeTour: the commands of README.md's tour work, and print what it shows, but
// for ids, sizes and numbers.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = copyState(t)
	files, steps := readmeTour(t)
	dir := t.TempDir()
	table, err := os.ReadFile("../images/runtimes/python/samples/table.py")
	if err != nil {
		t.Fatal(err)
	}
	files["table.py"] = string(table)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	for _, step := range steps {
		if regexp.MustCompile(`^seussctl (doctor|serve|bench)`).MatchString(step.command) {
			continue // about this machine, or without an end
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", step.command)
		cmd.Dir = dir
		cmd.Env = []string{"SEUSS_STATE=" + c.state, "PATH=" + filepath.Dir(c.path) + ":" + os.Getenv("PATH"), "HOME=" + dir, "SEUSS_PLATFORM=" + c.platform}
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", step.command, err, stderr.String())
		}
		ran++
		for line := range strings.Lines(step.output) {
			if !strings.Contains(shape(stdout.String()+stderr.String()), shape(line)) {
				t.Errorf("%sprints\n%swhich has no line of the shape of README.md's\n%s", step.command, stdout.String()+stderr.String(), line)
			}
		}
		t.Logf("%s%s", step.command, stdout.String())
	}
	if ran < 6 {
		t.Errorf("only %d commands of the tour were run", ran)
	}
}
