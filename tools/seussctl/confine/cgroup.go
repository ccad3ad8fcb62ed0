package confine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// controllers are those of which a daemon's groups make use.
var controllers = []string{"cpu", "memory", "pids"}

// Names of a daemon's groups. Below groupPrefix and the daemon's process id, or,
// where the daemon has been given a group for itself, right in that, are one for the
// daemon and one with a group for each guest's process.
const (
	groupPrefix = "seuss-"
	daemonGroup = "daemon"
	guestsGroup = "guests"
)

// hierarchy is a tree of control groups that this process is somewhere in: the
// one of version 2, or a controller's of version 1.
type hierarchy struct {
	Mount       string   `json:"mount"`
	Path        string   `json:"path"` // of this process when it started
	V2          bool     `json:"v2"`
	Controllers []string `json:"controllers"` // of those above
	Base        string   `json:"base"`        // directory of the daemon's groups
	Made        bool     `json:"made"`        // and made by it
}

func (h hierarchy) own() string { return filepath.Join(h.Mount, h.Path) }

// hierarchies reads where this process is. Files are /proc/self/cgroup and
// /proc/self/mountinfo (cgroups(7), proc(5)).
func hierarchies(cgroup, mountinfo string) (list []hierarchy) {
	type mount struct{ point, root string }
	mounts := map[string]mount{} // by controller, "" for version 2
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		switch g[0] {
		case "cgroup2":
			mounts[""] = mount{f[4], f[3]}
		case "cgroup":
			for option := range strings.SplitSeq(g[2], ",") {
				if slices.Contains(controllers, option) {
					mounts[option] = mount{f[4], f[3]}
				}
			}
		}
	}
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		add := func(names string) {
			m, ok := mounts[names]
			path := f[2]
			if ok && m.root != "/" { // a container's view of its own part
				path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, m.root), "/")
			}
			if ok {
				list = append(list, hierarchy{Mount: m.point, Path: path, V2: names == "", Controllers: []string{names}})
			}
		}
		if f[1] == "" {
			add("")
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			if slices.Contains(controllers, c) {
				add(c)
			}
		}
	}
	return list
}

// ownHierarchies are this process's, with the controllers that version 2 offers it.
func ownHierarchies() (list []hierarchy) {
	cgroup, err1 := os.ReadFile("/proc/self/cgroup")
	mountinfo, err2 := os.ReadFile("/proc/self/mountinfo")
	if err1 != nil || err2 != nil {
		return nil
	}
	for _, h := range hierarchies(string(cgroup), string(mountinfo)) {
		if h.V2 {
			b, err := os.ReadFile(filepath.Join(h.own(), "cgroup.controllers"))
			if err != nil {
				continue
			}
			offered := strings.Fields(string(b))
			h.Controllers = slices.DeleteFunc(slices.Clone(controllers), func(c string) bool { return !slices.Contains(offered, c) })
			if len(h.Controllers) == 0 {
				continue // those of version 1 have them
			}
		}
		list = append(list, h)
	}
	return list
}

// makeGroups puts this process, and so many tasks of it, into groups of its own, as far as
// it may, and says why not where it may not.
func makeGroups(tasks uint64) (made []hierarchy, why string) {
	list := ownHierarchies()
	if len(list) == 0 {
		return nil, noControllers
	}
	var reasons []string
	for _, h := range list {
		if err := h.make(tasks); err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", strings.Join(h.Controllers, ", "), err))
			continue
		}
		made = append(made, h)
	}
	return made, strings.Join(reasons, "; ")
}

// errShared: version 2 has processes in leaves only, and others are in this one.
var errShared = errors.New("other processes are in the group that it was started in")

func (h *hierarchy) make(tasks uint64) (err error) {
	h.Base, h.Made = filepath.Join(h.own(), groupPrefix+strconv.Itoa(os.Getpid())), true
	if h.V2 && h.Path != "/" {
		procs, err := os.ReadFile(filepath.Join(h.own(), "cgroup.procs"))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(procs)) != strconv.Itoa(os.Getpid()) {
			return errShared
		}
		h.Base, h.Made = h.own(), false
	}
	sweep(h.own())
	defer func() {
		if err != nil {
			h.remove()
		}
	}()
	for _, dir := range []string{filepath.Join(h.Base, daemonGroup), filepath.Join(h.Base, guestsGroup)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	daemon := filepath.Join(h.Base, daemonGroup)
	if err := put(daemon, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	if h.V2 {
		enable := "+" + strings.Join(h.Controllers, " +")
		above := []string{h.Base, filepath.Join(h.Base, guestsGroup)}
		if h.Made {
			above = append([]string{h.own()}, above...)
		}
		for _, dir := range above {
			if err := put(dir, "cgroup.subtree_control", enable); err != nil {
				return err
			}
		}
	}
	return h.limit(daemon, daemonShare, tasks, 0)
}

// Bounds of groups. The daemon has the processors before its guests do when there
// is not enough for both: it ends what goes on for too long.
const (
	daemonShare = 4         // times the weight of a guest
	baseTasks   = 16 << 10  // threads of Go's, for thousands of clients, and of some machines
	eachTasks   = 2         // of a machine: platform.Needs.Tasks of KVM and of processes
	guestTasks  = 1         // a guest's process makes no other
	guestSlack  = 128 << 20 // bytes beyond a guest's memory: page tables, and what the stub takes
)

// daemonTasks are those of a daemon that may have so many machines of an image.
func daemonTasks(machines int) uint64 { return baseTasks + eachTasks*uint64(max(machines, 0)) }

// limit writes a group's bounds: its share of the processors relative to others',
// its tasks, its memory in bytes if that is not 0.
func (h *hierarchy) limit(dir string, share, tasks, memory uint64) error {
	// Files and defaults are those of Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
	type file struct{ name, value string }
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	files := map[string]file{"cpu": {"cpu.weight", number(100 * share)}, "pids": {"pids.max", number(tasks)}, "memory": {"memory.max", number(memory)}}
	if !h.V2 {
		files["cpu"], files["memory"] = file{"cpu.shares", number(1024 * share)}, file{"memory.limit_in_bytes", number(memory)}
	}
	for _, c := range h.Controllers {
		if c == "memory" && memory == 0 {
			continue
		}
		if err := put(dir, files[c].name, files[c].value); err != nil {
			return err
		}
	}
	return nil
}

func put(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// sweep removes groups that daemons have left which could not, because they were
// killed or were no longer root. Groups of one that lives are not touched: that of
// guests may be empty, and is needed.
func sweep(parent string) {
	left, err := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
	if err != nil {
		return
	}
	for _, base := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(base), groupPrefix))
		if err != nil || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		// In another PID namespace it has another number.
		if procs, err := os.ReadFile(filepath.Join(base, daemonGroup, "cgroup.procs")); err == nil && len(procs) > 0 {
			continue
		}
		removeTree(base)
	}
}

// removeTree removes a group and those below it that have no process.
func removeTree(base string) {
	var dirs []string
	_ = filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // what cannot be looked at stays
	})
	for _, dir := range slices.Backward(dirs) {
		_ = os.Remove(dir) // one with processes is somebody's
	}
}

// remove leaves the groups and removes them, as far as this process still may.
func (h *hierarchy) remove() {
	removeTree(filepath.Join(h.Base, guestsGroup))
	if h.V2 && !h.Made { // a group that has controllers for others takes no process
		_ = put(h.Base, "cgroup.subtree_control", "-"+strings.Join(h.Controllers, " -"))
	}
	_ = put(h.own(), "cgroup.procs", strconv.Itoa(os.Getpid()))
	removeTree(filepath.Join(h.Base, daemonGroup))
	if h.Made {
		_ = os.Remove(h.Base)
	}
}

// Groups are the control groups of a daemon: of itself, and of guests' processes.
type Groups struct{ list []hierarchy }

// Guest puts a guest's process, which has bytes of memory, into a group of its own.
// leave removes the group when the process is gone.
func (g *Groups) Guest(pid int, bytes uint64) (leave func(), err error) {
	var made []string
	leave = func() {
		for _, dir := range made {
			_ = os.Remove(dir) // sweep comes again
		}
	}
	for _, h := range g.list {
		dir := filepath.Join(h.Base, guestsGroup, strconv.Itoa(pid))
		err = os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) { // of an earlier process of this number, whose leave came too early
			if err = os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = os.Mkdir(dir, 0o755)
			}
		}
		if err != nil {
			break
		}
		made = append(made, dir)
		if err = h.limit(dir, 1, guestTasks, bytes+guestSlack); err != nil {
			break
		}
		if err = put(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			break
		}
	}
	if err != nil {
		leave()
		return nil, fmt.Errorf("control group of a guest's process: %w", err)
	}
	return leave, nil
}

// giveGroups lets a user put guests' processes into groups, and no more.
func giveGroups(made []hierarchy, uid, gid int) error {
	for _, h := range made {
		guests := filepath.Join(h.Base, guestsGroup)
		for _, path := range []string{filepath.Join(h.Base, "cgroup.procs"), guests, filepath.Join(guests, "cgroup.procs")} {
			if err := os.Chown(path, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}

// inGroups looks whether this process is where it has been put.
func inGroups(made []hierarchy) (paths []string, err error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var now []string
	for s := bufio.NewScanner(f); s.Scan(); {
		now = append(now, s.Text())
	}
	for _, h := range made {
		rel, err := filepath.Rel(h.Mount, h.Base)
		if err != nil {
			return nil, err
		}
		want := "/" + filepath.Join(rel, daemonGroup)
		if !slices.ContainsFunc(now, func(line string) bool { return strings.HasSuffix(line, want) }) {
			return nil, fmt.Errorf("not in %s", want)
		}
		paths = append(paths, strings.Join(h.Controllers, ", ")+": "+"/"+rel)
	}
	return paths, nil
}
