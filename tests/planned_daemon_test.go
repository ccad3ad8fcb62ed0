package tests

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/planner"
)

// TestPlanBesideADaemon: a daemon makes a plan's nodes beside the requests, goes on after
// kill -9 where it was, names what it leaves out, and shows which snapshots are planned.
func TestPlanBesideADaemon(t *testing.T) {
	t.Parallel()
	packages := map[string]string{"quits": sitePackages["quits"]}
	var nodes []string
	for n := range 4 {
		name := fmt.Sprintf("p%d", n)
		packages[name] = "import time\ntime.sleep(0.01)\n"
		nodes = append(nodes, name, "p0 / "+name)
	}
	c := newCLI(t)
	c.state = withPackages(t, "python", packages)
	d := &daemon{cli: c}
	d.start()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", d.log)
		}
	})
	encoded, err := json.Marshal(planOf(append(nodes[:1:1], append(nodes[2:], "quits")...)...))
	if err != nil {
		t.Fatal(err)
	}
	file := d.file("plan.json", string(encoded))
	counted := func(list []planner.Status) (st planner.Status, made int) {
		d.Helper()
		if len(list) != 1 {
			d.Fatalf("%+v", list)
		}
		for _, n := range list[0].Nodes {
			if n.State == planner.Made {
				made++
			}
		}
		return list[0], made
	}
	status := func() (planner.Status, int) {
		d.Helper()
		var list []planner.Status
		if err := json.Unmarshal([]byte(d.want(0, "", "plan", "status", "--json").stdout), &list); err != nil {
			d.Fatal(err)
		}
		return counted(list)
	}
	d.want(0, "image python, for everybody's functions", "plan", "apply", file)
	hurry, _, _ := d.command("", "plan", "apply", file, "--now")
	if err := hurry.Start(); err != nil {
		t.Fatal(err)
	}
	// Nothing waits for all that: what a function needs is made for it.
	d.want(0, "last", "function", "deploy", "last", d.file("last.py", "import p0, p3\ndef handler(event, context):\n    return 1\n"))
	d.want(0, "", "invoke", "last", "--event", "{}")
	for end := time.Now().Add(patience(2 * time.Minute)); ; time.Sleep(10 * time.Millisecond) {
		var list []planner.Status
		d.get("/v1/plans", &list) // a command's start would take more than all else
		if _, made := counted(list); made >= 3 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d nodes are made", made)
		}
	}
	d.kill()
	hurry.Wait()          // it is told that its daemon has gone
	_, before := status() // of the state directory
	d.start()
	if st, made := status(); made < before || st.Digest == "" {
		t.Errorf("%d nodes before kill -9, %d after", before, made)
	}
	d.want(0, "", "plan", "apply", file, "--now")
	st, made := status()
	if made != 7 || st.Left != 0 || len(st.Skipped) != 1 || st.Skipped[0].Package != "quits==1.0" {
		t.Errorf("%d nodes are made: %+v", made, st)
	}
	if tree := d.want(0, "", "snapshot", "tree").stdout; strings.Count(tree, "(planned)") != 7 {
		t.Errorf("the tree:\n%s", tree)
	}
	if out := d.want(0, "", "plan", "diff", file, "--json").stdout; !strings.Contains(out, `"kept": 8`) {
		t.Errorf("diff: %s", out)
	}
	d.want(0, "", "plan", "drop")
	d.want(1, "", "plan", "drop")
	if tree := d.want(0, "", "snapshot", "tree").stdout; strings.Contains(tree, "(planned)") {
		t.Errorf("the tree:\n%s", tree)
	}
	d.want(1, "", "plan", "apply", d.file("bad.json", `{"packages": ["a==1"]}`))
	d.kill()
	// Without a daemon the command does it all.
	d.want(0, "made", "plan", "apply", file)
	d.want(0, "made", "plan", "status")
}
