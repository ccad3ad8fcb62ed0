package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"seuss/dispatcher"
)

// TestUserOfAFunction: what becomes another user in a guest may do there what he may do on
// Linux, and no more, in all of its threads.
func TestUserOfAFunction(t *testing.T) {
	code, err := os.ReadFile(filepath.Join("testdata", "user.py"))
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, nil)
	deploy(t, d, "user", string(code), func(*dispatcher.FunctionSpec) {})
	got := output[[][]any](t, invoke(t, d, "user", `{"base": "/tmp/base"}`))
	if os.Geteuid() != 0 {
		t.Skip("skipped the comparison: only root becomes another user")
	}
	dir, err := os.MkdirTemp("", "user") // t.TempDir's parents may not be for all
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), "/usr/bin/python3", filepath.Join("testdata", "user.py"), dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [][]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(want) < 100 {
		t.Fatalf("%d answers, natively %d", len(got), len(want))
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%v, natively %v", got[i], want[i])
		}
	}
}
