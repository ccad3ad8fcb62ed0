package tests

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher"
	"seuss/images/runtimes"
)

// greeted is what a new function answers to its event.
const greeted = `{"text":"Grüezi, Ada!"}`

// TestFunctionInit: the commands that function init prints work as they are printed, all
// but the one that goes on for ever.
func TestFunctionInit(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = copyState(t)
	dir := filepath.Join(t.TempDir(), "a dir")
	made := document[struct{ Files, Next []string }](c, "function", "init", "hello", "--dir", dir)
	if len(made.Files) != 2 || len(made.Next) != 4 || !strings.HasSuffix(made.Next[3], " --watch") {
		t.Fatalf("function init: %+v", made)
	}
	for n, line := range made.Next[:3] {
		rest, ok := strings.CutPrefix(line, "seussctl ")
		if !ok {
			t.Fatalf("line %q", line)
		}
		cmd, stdout, stderr := c.command("")
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `"$0" ` + rest, c.path}
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, stderr)
		}
		if n != 1 && compact(t, stdout.Bytes()) != greeted {
			t.Errorf("%s: %s", line, stdout)
		}
	}
	watchFunction(c, made.Next[3], filepath.Join(dir, "main.py"))
	c.failure(1, "holds event.json already", "function", "init", "hello", "--dir", dir)
	c.failure(2, "function name", "function", "init", "a/b")
	c.failure(2, "python, ", "function", "init", "x", "--runtime", "cobol")
	c.failure(2, "cannot be written in Lua", "function", "init", "x", "--runtime", "lua")
}

// watchFunction changes a function's file while a command line of --watch runs.
func watchFunction(c *cli, line, file string) {
	c.Helper()
	cmd, _, _ := c.command("")
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `exec "$0" ` + strings.TrimPrefix(line, "seussctl "), c.path}
	cmd.Stdout, cmd.Stderr = nil, nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		c.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			c.Errorf("a line %q, want %q; %v", lines.Text(), want, lines.Err())
		}
	}
	answer := func(want string) {
		c.Helper()
		if r := c.want(0, "", "invoke", "hello", "--event", `{"name": "Ada"}`); strings.TrimSpace(r.stdout) != want {
			c.Errorf("hello answers %s, want %s", r.stdout, want)
		}
	}
	change := func(text string) {
		c.Helper()
		if err := errors.Join(os.WriteFile(file+"~", []byte(text), 0o644), os.Rename(file+"~", file)); err != nil {
			c.Fatal(err)
		}
	}
	next(" pages, ")
	change("def handler(event, context):\n    return 1\n")
	next(" pages, ")
	answer("1")
	change("import json\ndef handler(event, context)\n    return 2\n")
	next("hello is not deployed, what was before stays: deploy function \"hello\": Runtime.UserCodeSyntaxError")
	answer("1")
	change("undefined\ndef handler(event, context):\n    return 3\n")
	next(`line 1, in <module>`)
	answer("1")
	if err := os.Remove(file); err != nil {
		c.Fatal(err)
	}
	next("say which with --handler")
	change("def handler(event, context):\n    return 4\n")
	next(" pages, ")
	answer("4")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		c.Fatal(err)
	}
	if lines.Scan() {
		c.Errorf("a line more: %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		c.Errorf("interrupted: %v", err)
	}
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// checkStarter deploys what a new function of a runtime begins as, and invokes it.
func checkStarter(t *testing.T, d *dispatcher.Dispatcher, runtime string) {
	t.Helper()
	r, err := runtimes.ByName(runtime)
	if err != nil {
		t.Fatal(err)
	}
	spec := dispatcher.FunctionSpec{
		Name: "starter", Image: runtime, Handler: r.Starter.Name + "." + r.Handler,
		Files: map[string][]byte{r.Module(r.Starter.Name): r.Starter.Code},
	}
	if _, err := d.Deploy(t.Context(), spec); err != nil {
		t.Fatalf("%s", describe(err))
	}
	if got := compact(t, invoke(t, d, "starter", r.Starter.Event).Output); got != greeted {
		t.Errorf("a new function of %s answers %s", runtime, got)
	}
}
