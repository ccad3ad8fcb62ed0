package confine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seuss/dispatcher/capacity"
	"seuss/vmm/platform"
)

func TestHierarchies(t *testing.T) {
	const (
		v1 = "25 24 0:22 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n" +
			"26 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:6 - cgroup cgroup rw,memory\n" +
			"27 24 0:24 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
		v2 = "30 24 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
		// A container that sees its own part alone.
		part = "31 24 0:26 /docker/4711 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	)
	one := func(c, mount, path string) hierarchy {
		return hierarchy{Mount: mount, Path: path, Controllers: []string{c}}
	}
	for _, c := range []struct {
		name, cgroup, mounts string
		want                 []hierarchy
	}{
		{"version 1", "9:freezer:/x\n8:memory:/a/b\n2:cpu,cpuacct:/\n", v1,
			[]hierarchy{one("memory", "/sys/fs/cgroup/memory", "/a/b"), one("cpu", "/sys/fs/cgroup/cpu", "/")}},
		{"version 2", "0::/system.slice/seuss.service\n", v2,
			[]hierarchy{{Mount: "/sys/fs/cgroup", Path: "/system.slice/seuss.service", V2: true, Controllers: []string{""}}}},
		{"container", "8:memory:/docker/4711\n", part, []hierarchy{one("memory", "/sys/fs/cgroup/memory", "/")}},
		{"a name with colons", "0::/a:b\n", v2, []hierarchy{{Mount: "/sys/fs/cgroup", Path: "/a:b", V2: true, Controllers: []string{""}}}},
		{"not mounted", "8:memory:/\n0::/\n", "", nil},
		{"nonsense", "x\n\n::\n", "x\n - \n" + v1, nil},
	} {
		if got := hierarchies(c.cgroup, c.mounts); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestVersion2 makes groups in a hierarchy of version 2, from its root, as root does,
// and from a group that this process has for itself, as a service does.
func TestVersion2(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
		t.Skipf("skipped: no control groups of version 2 can be mounted: %v", err)
	}
	defer unix.Unmount(mount, unix.MNT_DETACH)
	b, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	offered := slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return !slices.Contains(strings.Fields(string(b)), c) })
	if err != nil || len(offered) == 0 {
		t.Skipf("skipped: version 2 has none of the controllers here: %q, %v", b, err)
	}
	self := strconv.Itoa(os.Getpid())
	service := filepath.Join(mount, "seuss.service")
	if err := os.Mkdir(service, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(service)
	defer put(mount, "cgroup.procs", self)
	for _, path := range []string{"/", "/seuss.service"} {
		if err := put(filepath.Join(mount, path), "cgroup.procs", self); err != nil {
			t.Fatal(err)
		}
		if path != "/" { // whoever gives a group away enables the controllers in it
			if err := put(mount, "cgroup.subtree_control", "+"+strings.Join(offered, " +")); err != nil {
				t.Fatal(err)
			}
		}
		h := hierarchy{Mount: mount, Path: path, V2: true, Controllers: offered}
		if err := h.make(baseTasks); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if where, err := inGroups([]hierarchy{h}); err != nil {
			t.Errorf("%s: %v, %v", path, where, err)
		}
		child, end := waiting(t)
		leave, err := (&Groups{[]hierarchy{h}}).Guest(child, 64<<20)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		dir := filepath.Join(h.Base, guestsGroup, strconv.Itoa(child))
		for name, want := range map[string]string{"cgroup.procs": strconv.Itoa(child), "pids.max": "1", "cpu.weight": "100", "memory.max": strconv.Itoa(64<<20 + guestSlack)} {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if c, _, _ := strings.Cut(name, "."); c != "cgroup" && !slices.Contains(offered, c) {
				continue
			}
			if err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("%s: %s is %q, want %q (%v)", path, name, got, want, err)
			}
		}
		end()
		leave()
		h.remove()
		if left, err := filepath.Glob(filepath.Join(mount, path, "*", "cgroup.procs")); err != nil || path != "/" && len(left) > 0 {
			t.Errorf("%s: left %v, %v", path, left, err)
		}
		if _, err := os.Stat(filepath.Join(h.Base, guestsGroup)); err == nil {
			t.Errorf("%s: left %s", path, h.Base)
		}
	}
}

// TestManyMachines: the daemon's own bound has room for the machines that it is told to
// have.
func TestManyMachines(t *testing.T) {
	for _, n := range []int{0, 1, 100, 10_000, 1_000_000} {
		limits := capacity.Limits{Tasks: capacity.What{Name: "pids.max", Limit: int(daemonTasks(n))}}
		if fits := capacity.New(limits, platform.Needs{Tasks: eachTasks}).Fits(); fits < max(n, 1000) {
			t.Errorf("%d of %d machines fit into %d tasks", fits, n, daemonTasks(n))
		}
	}
}

// TestStaleGuestGroup: a group that an earlier process of the same number has left is no
// obstacle, but for one that has a process.
func TestStaleGuestGroup(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
		t.Skipf("skipped: no control groups of version 2 can be mounted: %v", err)
	}
	defer unix.Unmount(mount, unix.MNT_DETACH)
	base := filepath.Join(mount, groupPrefix+"test-"+strconv.Itoa(os.Getpid()))
	defer removeTree(base)
	child, end := waiting(t)
	other, endOther := waiting(t)
	stale := filepath.Join(base, guestsGroup, strconv.Itoa(child))
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	g := &Groups{[]hierarchy{{Mount: mount, Path: "/", V2: true, Base: base}}}
	if err := put(stale, "cgroup.procs", strconv.Itoa(other)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Guest(child, 0); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a group with another process: %v", err)
	}
	endOther()
	// The kernel says that a group is empty some time after its process is gone.
	var leave func()
	err := errors.New("not tried")
	for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		leave, err = g.Guest(child, 0)
	}
	if err != nil {
		t.Fatalf("an empty group: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(stale, "cgroup.procs")); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(child) {
		t.Errorf("in the group is %q, %v", b, err)
	}
	end()
	leave()
}

// waiting starts a process that does nothing until it is ended.
func waiting(t *testing.T) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), tryVariable+"="+justWait)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, func() {
		in.Close()
		_ = cmd.Wait() // of Go, it has threads: in a group of one task it may fail
	}
}

// TestSweep: what a daemon has left that is gone is removed, and nothing of one that
// lives, here or in another PID namespace.
func TestSweep(t *testing.T) {
	child, end := waiting(t)
	end()
	gone := strconv.Itoa(child)
	for name, stays := range map[string]bool{strconv.Itoa(os.Getpid()): true, gone: false, "unit": true} {
		parent := t.TempDir()
		guests := filepath.Join(parent, groupPrefix+name, guestsGroup)
		if err := os.MkdirAll(guests, 0o755); err != nil {
			t.Fatal(err)
		}
		sweep(parent)
		if _, err := os.Stat(guests); (err == nil) != stays {
			t.Errorf("of %s: %v", name, err)
		}
	}
	parent := t.TempDir()
	daemon, guests := filepath.Join(parent, groupPrefix+gone, daemonGroup), filepath.Join(parent, groupPrefix+gone, guestsGroup)
	for _, dir := range []string{daemon, guests} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(daemon, "cgroup.procs"), []byte("0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sweep(parent)
	if _, err := os.Stat(guests); err != nil {
		t.Errorf("of a daemon in another namespace: %v", err)
	}
}
