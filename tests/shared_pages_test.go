package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// libraryFunction loads 10 MiB by itself: its snapshot is stored as pages.
const libraryFunction = `
import random
library = [random.Random(n).randbytes(1 << 20) for n in range(10)]
def handler(event, context):
    return [sum(library[event["n"]][:1000]), "version %d"]
`

// Two functions that load the same library each by itself have its pages on the disk
// once, whichever of them stays, and run as before.
func TestSiblingsShareALibrary(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = treeCopy(t)
	answer := map[int]string{}
	type snapshot struct {
		ID         string
		Key        struct{ Function string }
		FileBytes  uint64 `json:"file_bytes"`
		FreedBytes uint64 `json:"freed_bytes"`
	}
	nodes := map[string]snapshot{}
	for i := range 3 {
		name := fmt.Sprintf("library%d", i)
		c.want(0, name, "function", "deploy", name, c.file("main.py", fmt.Sprintf(libraryFunction, i)))
		answer[i] = strings.TrimSpace(c.want(0, fmt.Sprintf("version %d", i), "invoke", name, "--event", `{"n": 7}`).stdout)
	}
	read := func() {
		for _, n := range document[[]item](c, "snapshot", "ls", "--kind", "function") {
			for _, s := range document[[]snapshot](c, "snapshot", "stats") {
				if s.ID == n.ID {
					nodes[n.Key.Function] = s
				}
			}
		}
	}
	read()
	first, second := nodes["library0"], nodes["library1"]
	if first.FileBytes < 10<<20 || second.FileBytes > first.FileBytes/4 || first.FreedBytes != 0 || second.FreedBytes != second.FileBytes {
		t.Fatalf("%+v, %+v", first, second)
	}
	shown := document[struct {
		Donors []struct {
			ID    string
			Pages uint64
		}
	}](c, "snapshot", "show", second.ID).Donors
	if len(shown) != 1 || shown[0].ID != first.ID || shown[0].Pages < 2500 {
		t.Errorf("donors %+v", shown)
	}
	c.want(0, "lie in the file of "+first.ID[:12], "snapshot", "show", second.ID)
	// The file outlives its snapshot.
	c.want(0, "removed", "snapshot", "rm", first.ID)
	if _, err := os.Stat(filepath.Join(c.state, "nodes", first.ID+".node")); !os.IsNotExist(err) {
		t.Errorf("the removed snapshot's file: %v", err)
	}
	for _, when := range []string{"eager", "lazy", "demand"} {
		for i := 1; i < 3; i++ {
			if got := strings.TrimSpace(c.want(0, "", "invoke", fmt.Sprintf("library%d", i), "--event", `{"n": 7}`, "--verify", when).stdout); got != answer[i] {
				t.Errorf("%s: function %d answers %s, before it was %s", when, i, got, answer[i])
			}
		}
	}
	c.want(0, "as they were captured", "snapshot", "verify")
	c.want(0, "removed", "snapshot", "rm", second.ID)
	read()
	if last := nodes["library2"]; last.FreedBytes < 10<<20 {
		t.Errorf("removing the last of them would free %d bytes", last.FreedBytes)
	}
	c.want(0, "removed", "function", "rm", "library2")
	links, err := filepath.Glob(filepath.Join(c.state, "nodes", "*.from-*"))
	if err != nil || len(links) != 0 {
		t.Errorf("left: %v, %v", links, err)
	}
}
