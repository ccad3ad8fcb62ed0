package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/lineage"
	"seuss/tools/seussctl/version"
)

// releaseBefore makes a state directory as the release before 0.9.0 left it when it was
// killed: functions with versions, an alias and lazy arguments, their code, and four
// events that had been accepted (testdata/release-before); snapshots in every version of
// the node file; and the modes that all of it had. The image is today's: theirs are made
// from the host.
func releaseBefore(t *testing.T) (state string, nodes []string) {
	t.Helper()
	state = filepath.Join(t.TempDir(), "state")
	linkTree(t, filepath.Join(sharedState(t), "images"), filepath.Join(state, "images"))
	if out, err := exec.Command("tar", "-C", state, "-xzf", "testdata/release-before/state.tar.gz").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, v := range append([]int{1}, lineage.NodeVersions()...) {
		golden := fmt.Sprintf("../lineage/testdata/format-%d", v)
		if err := os.CopyFS(filepath.Join(state, fmt.Sprint("of-", v)), os.DirFS(golden)); err != nil {
			t.Fatal(err)
		}
		for _, sub := range []string{"nodes", "images"} {
			files, err := filepath.Glob(filepath.Join(state, fmt.Sprint("of-", v), sub, "*"))
			if err == nil {
				err = os.MkdirAll(filepath.Join(state, sub), 0o755)
			}
			for _, from := range files {
				if err == nil {
					err = os.Rename(from, filepath.Join(state, sub, filepath.Base(from)))
				}
				if id, ok := strings.CutSuffix(filepath.Base(from), ".node"); ok && v > 1 {
					nodes = append(nodes, id)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(filepath.Join(state, fmt.Sprint("of-", v))); err != nil {
			t.Fatal(err)
		}
	}
	return state, nodes
}

// TestStateOfTheReleaseBefore: a state directory of the release before opens. Its
// functions answer, the events that it had accepted are run, snapshots of all versions
// that are read are there and whole, those of version 1 are refused by name with what to
// do, and doctor says what is read.
func TestStateOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	var nodes []string
	c.state, nodes = releaseBefore(t)
	var health struct {
		Checks []struct{ Name, Status, Detail, Fix string }
	}
	if err := json.Unmarshal([]byte(c.run("", "--json", "doctor").stdout), &health); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, check := range health.Checks {
		said[check.Name] = check.Detail + " " + check.Fix
	}
	for check, words := range map[string]string{"seussctl": version.Number, "snapshots": "version is 1, this program reads 2 to 4"} {
		if !strings.Contains(said[check], words) {
			t.Errorf("doctor says of %s %q, want %q", check, said[check], words)
		}
	}
	if !strings.Contains(said["seussctl"], "node file 2 3 4") || !strings.Contains(said["snapshots"], "gc --damaged") {
		t.Errorf("doctor: %q", said)
	}
	d := &daemon{cli: c, args: []string{"--max-wait", "2m", "--target-wait", "2m"}}
	d.start()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", d.log)
		}
	})
	for range 2 {
		d.wantOutput("greet", `{"n": 1}`, `["one", 2, {"n": 1}]`)
		d.wantOutput("greet:live", `{"n": 1}`, `["one", 1, {"n": 1}]`)
		d.wantOutput("greet:1", `{}`, `["one", 1, {}]`)
		d.wantOutput("lazy", `{"n": 5}`, `10`)
	}
	for end := time.Now().Add(patience(5 * time.Minute)); d.metric("seuss_events") != "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s events of the release before are left", d.metric("seuss_events"))
		}
	}
	ran := 0
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "msg=invocation") && strings.Contains(line, "function=slow") && strings.Contains(line, "failed=false") {
			ran++
		}
	}
	if ran != 4 {
		t.Errorf("%d of 4 events were run", ran)
	}
	there := map[string]bool{}
	for _, n := range document[[]item](c, "snapshot", "ls") {
		there[n.ID] = true
	}
	for _, id := range nodes {
		if !there[id] {
			t.Errorf("snapshot %s is not there", id)
		}
	}
	c.want(1, "version is 1, this program reads 2 to 4", "snapshot", "verify")
	c.want(0, "", "snapshot", "gc", "--damaged")
	c.want(0, "as they were captured", "snapshot", "verify")
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// A second start finds what the first made of it.
	d.start()
	d.wantOutput("greet:live", `{}`, `["one", 1, {}]`)
}
