package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher/api"
)

// measures are what confines a daemon, by name.
func (d *daemon) measures() map[string]api.Measure {
	d.Helper()
	var list []api.Measure
	d.get("/v1/sandbox", &list)
	byName := map[string]api.Measure{}
	for _, m := range list {
		byName[m.Name] = m
		if (m.Fix == "") != m.InForce {
			d.Errorf("%+v", m)
		}
	}
	return byName
}

// TestDaemonIsConfined: a daemon is confined unless it is told otherwise, it says how far, so
// does doctor, and what the kernel shows of its threads agrees.
func TestDaemonIsConfined(t *testing.T) {
	d := startDaemon(t)
	d.create("plain", "def handler(e, c):\n    return 1\n", nil)
	d.wantOutput("plain", `{}`, "1")
	m := d.measures()
	for _, name := range []string{"no new privileges", "system call filter"} {
		if !m[name].InForce {
			t.Errorf("%s: %+v", name, m[name])
		}
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.cmd.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%v, %v", tasks, err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended
		}
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s lacks %q", task, want)
			}
		}
	}
	doc := document[struct {
		Checks []struct{ Name, Status, Detail string }
	}](d.cli, "doctor")
	said := map[string]string{}
	for _, c := range doc.Checks {
		said[c.Name] = c.Detail
	}
	for name, measure := range m {
		if got := said["daemon's sandbox: "+name]; got != measure.Detail {
			t.Errorf("doctor on %s: %q, the daemon %q", name, got, measure.Detail)
		}
	}
	d.stop()

	d.args = append(d.args, "--sandbox=off")
	d.start()
	if m := d.measures(); len(m) != 1 || !strings.Contains(m["sandbox"].Detail, "--sandbox=off") {
		t.Errorf("switched off: %+v", m)
	}
}
