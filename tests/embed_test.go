package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"seuss/vmm/vmmtest"
)

// TestEmbed: another module deploys and invokes with seuss as a library
// (tests/embed). Its go.mod need not follow every change of ours: what it lacks is
// added to a copy.
func TestEmbed(t *testing.T) {
	t.Parallel()
	vmmtest.Require(t)
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join("embed", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(state, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "-mod=mod", "-modfile="+filepath.Join(dir, "go.mod"), ".", state)
	cmd.Dir = "embed"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), `"Hello, Ada!", from function`) {
		t.Errorf("it printed %q", out)
	}
}
