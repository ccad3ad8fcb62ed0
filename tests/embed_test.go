package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seuss/vmm/vmmtest"
)

// TestEmbed: the example of package embedded is, as it stands, a program of another module
// that has nothing of seuss but the library: 30 lines.
func TestEmbed(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	example, err := os.ReadFile("../dispatcher/embedded/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(example, []byte("\n")); n > 30 {
		t.Errorf("it is promised in 30 lines and has %d", n)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	program := example
	for _, change := range [][2]string{{"package embedded_test\n", "package main\n"}, {"\nfunc Example() {\n", "\nfunc main() {\n"}} {
		if bytes.Count(program, []byte(change[0])) != 1 {
			t.Fatalf("there is not one %q", change[0])
		}
		program = bytes.Replace(program, []byte(change[0]), []byte(change[1]), 1)
	}
	module, err := os.ReadFile("../go.mod") // its versions, so that nothing is looked up
	if err != nil {
		t.Fatal(err)
	}
	module = bytes.Replace(module, []byte("module seuss\n"), []byte("module example.com/embed\n\nrequire seuss v0.0.0\n\nreplace seuss => "+root+"\n"), 1)
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"main.go": program, "go.sum": sums, "go.mod": module} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), `"Hello, Ada!", from function`) {
		t.Errorf("it printed %q", out)
	}
}
