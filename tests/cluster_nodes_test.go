package tests

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/cluster"
)

// slowSource takes long to load, and remembers which load it was.
const slowSource = `import os, time
end = time.process_time() + 2
while time.process_time() < end:
    pass
loaded = os.urandom(8).hex()
def handler(event, context):
    return loaded + " " + os.urandom(8).hex()
`

// TestClusterNodes: a function whose code takes long to load is loaded on one member; the others
// start it from that one's snapshot, and clones share no randomness. A member that has not its image
// gets that too; one that is alone makes its own.
func TestClusterNodes(t *testing.T) {
	t.Parallel()
	secret := secretFile(t)
	addresses := [2]string{freeAddress(t), freeAddress(t)}
	a := member(t, "a", secret, addresses[0], "")
	b := member(t, "b", secret, addresses[1], addresses[0])
	together(a, b)
	view := func(d *daemon) cluster.View { return document[cluster.View](d.cli, "cluster", "ls") }
	held := func(d *daemon, by string) int { return d.members()[by].Held.Functions }
	until := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(patience(time.Minute)); !f(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	until("b hears what a holds", func() bool { return held(b, "a") > 0 && held(b, "a") == held(a, "a") })
	before := held(b, "a")
	a.want(0, "slow", "function", "deploy", "slow", a.file("slow.py", slowSource))
	until("b hears that a holds it", func() bool { return held(b, "a") > before })
	answer := func(d *daemon) (loaded, random string) {
		t.Helper()
		loaded, random, _ = strings.Cut(strings.Trim(d.want(0, "", "invoke", "slow").stdout, "\"\n"), " ")
		return loaded, random
	}
	loaded, random := answer(a)
	there, randomThere := answer(b)
	if there != loaded || randomThere == random {
		t.Errorf("a has load %s, b %s; random %s and %s", loaded, there, random, randomThere)
	}
	if again, _ := answer(b); again != loaded {
		t.Errorf("then b has load %s", again)
	}
	if n := view(b).Nodes; n.Fetched == 0 || n.FetchedBytes == 0 || n.Failed != 0 {
		t.Errorf("b: %+v", n)
	}
	until("a has counted it", func() bool { n := view(a).Nodes; return n.Given > 0 && n.GivenBytes > 0 })
	b.want(0, "", "snapshot", "verify")
	spooled, err := filepath.Glob(filepath.Join(b.state, "spool", "fetch-*"))
	if err != nil || len(spooled) != 0 {
		t.Errorf("left in the spool: %v, %v", spooled, err)
	}
	// In an image that only a has.
	a.want(0, "", "image", "build", "mine", "--package", "base-files")
	before = held(b, "a")
	a.want(0, "", "function", "deploy", "mine", a.file("mine.py", slowSource), "--image", "mine")
	until("b hears that a holds that too", func() bool { return held(b, "a") > before })
	of := func(d *daemon) string {
		t.Helper()
		loaded, _, _ := strings.Cut(strings.Trim(d.want(0, "", "invoke", "mine").stdout, "\"\n"), " ")
		return loaded
	}
	if there, loaded := of(b), of(a); there != loaded || len(there) != 16 {
		t.Errorf("b has load %q in a's image, a %q", there, loaded)
	}
	b.want(0, "mine", "image", "ls")
	b.want(0, "", "snapshot", "verify")
	// Nobody else is there.
	a.kill()
	b.want(0, "", "snapshot", "rm", "--cascade", nodeOf(t, b, "slow"))
	if own, _ := answer(b); own == loaded || len(own) != 16 {
		t.Errorf("b makes load %q itself", own)
	}
}

// nodeOf is the id of a function's node.
func nodeOf(t *testing.T, d *daemon, function string) string {
	t.Helper()
	for _, n := range document[[]struct {
		ID, Kind string
		Key      struct{ Function string }
	}](d.cli, "snapshot", "ls") {
		if n.Kind == "function" && n.Key.Function == function {
			return n.ID
		}
	}
	t.Fatalf("%s has no node", function)
	return ""
}
