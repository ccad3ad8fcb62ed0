package tests

import (
	"testing"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/tools/seussctl/samples"
)

// TestFunctionNodeSize: the snapshot of the benchmark's function has few pages, which each
// start copies, because what its load touches lies together (holes.py of Python's driver).
// The number is the benchmark's bar; a line of the driver can cost ten pages.
func TestFunctionNodeSize(t *testing.T) {
	const bar = (600 << 10) / lineage.PageSize
	d := open(t, nil)
	node, err := d.Deploy(t.Context(), dispatcher.FunctionSpec{Name: "size", Handler: "main.handler", Files: map[string][]byte{"main.py": samples.Greet}})
	if err != nil {
		t.Fatal(describe(err))
	}
	if node.DeltaPages > bar {
		t.Errorf("the function's node has %d pages, at most %d are wanted: see what 'seussctl snapshot diff' says of it", node.DeltaPages, bar)
	} else {
		t.Logf("%d pages", node.DeltaPages)
	}
}
