package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"seuss/dispatcher/api"
	"seuss/vmm/vmmtest"
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
	t.Parallel()
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

// ownersIn counts the files of a directory by their owner.
func ownersIn(t *testing.T, dir string) map[uint32]int {
	t.Helper()
	owners := map[uint32]int{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Lstat(path, &st)
		}
		owners[st.Uid]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return owners
}

// unlinkTree puts copies in the place of linkTree's links.
func unlinkTree(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"images/*.img", "nodes/*.node"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			damage(t, path, func(b []byte) []byte { return b })
		}
	}
}

// TestDaemonBecomesUser: root's daemon becomes a user who can reach nothing but the state directory,
// and root's commands leave nothing in it that this user cannot use.
func TestDaemonBecomesUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("skipped: only root becomes another user")
	}
	if vmmtest.Require(t).Name() != "process" {
		t.Skip("skipped: this host's /dev/kvm may be root's alone")
	}
	const name, uid = "nobody", 65534
	d := startDaemon(t)
	d.stop()
	unlinkTree(t, d.state) // a link to another test's file is given to nobody
	// t.TempDir is for its maker only.
	if err := os.Chmod(filepath.Dir(filepath.Dir(d.state)), 0o711); err != nil {
		t.Fatal(err)
	}
	d.args = []string{"--user", name}
	d.start()
	d.create("plain", "def handler(e, c):\n    return 1\n", nil)
	d.wantOutput("plain", `{}`, "1")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "CapEff:\t0000000000000000\n"} {
		if err != nil || !strings.Contains(string(status), want) {
			t.Errorf("%v, %q is not in\n%s", err, want, status)
		}
	}
	if m := d.measures()["user"]; !m.InForce || !strings.HasPrefix(m.Detail, name) {
		t.Errorf("%+v", m)
	}
	owners := ownersIn(t, d.state)
	if len(owners) != 1 || owners[uid] == 0 {
		t.Errorf("files by owner: %v", owners)
	}
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.log)
	}
	// Root's commands, without a daemon.
	d.want(0, "", "function", "deploy", "more", d.file("main.py", "def handler(e, c):\n    return 2\n"))
	if owners := ownersIn(t, d.state); len(owners) != 1 || owners[uid] == 0 {
		t.Errorf("after root's command, files by owner: %v", owners)
	}
	d.start()
	d.wantOutput("more", `{}`, "2")
	d.stop()
	d.want(1, "belongs to user 65534: serve it as that user (--user nobody)", "serve", "--listen", "127.0.0.1:0", "--user", "daemon")
}

// TestControlGroups: where a daemon may make control groups it has one for itself and one for each
// guest's process, and removes them.
func TestControlGroups(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	d.create("plain", "def handler(e, c):\n    return 1\n", nil)
	d.wantOutput("plain", `{}`, "1")
	m := d.measures()["control groups"]
	if !m.InForce {
		t.Skipf("skipped: %s", m.Detail)
	}
	mine := fmt.Sprintf("/seuss-%d/", d.cmd.Process.Pid)
	if vmmtest.Require(t).Name() == "process" {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.cmd.Process.Pid))
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.cmd.Process.Pid))
		for _, task := range tasks {
			b, _ := os.ReadFile(task)
			children = append(children, b...)
		}
		if len(children) == 0 {
			t.Fatalf("no guest's process: %v", err)
		}
		for child := range strings.FieldsSeq(string(children)) {
			b, err := os.ReadFile("/proc/" + child + "/cgroup")
			if err == nil && !strings.Contains(string(b), mine+"guests/"+child) {
				t.Errorf("process %s is in\n%s", child, b)
			}
		}
	}
	d.stop()
	left, err := filepath.Glob("/sys/fs/cgroup/*" + strings.TrimSuffix(mine, "/"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
