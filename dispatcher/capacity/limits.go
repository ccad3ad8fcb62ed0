package capacity

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What is a limit of the host's: its name, the number, 0 where there is none or it is not
// known, and how to get a higher one.
type What struct {
	Name   string
	Limit  int
	Remedy func(need int) string
}

// Limits are those of a process that machines run into.
type Limits struct{ Mappings, Descriptors, Tasks What }

// Host is where limits are looked for. The zero value of a field means the real place.
type Host struct {
	Proc string // "/proc"
	Sys  string // "/sys"
}

func (h Host) proc(name string) string { return filepath.Join(cmp.Or(h.Proc, "/proc"), name) }

// Limits reads them. The limit of descriptors is the soft one, which Go's package os has
// raised to the hard one.
func (h Host) Limits() Limits {
	l := Limits{
		Mappings: What{"vm.max_map_count", readNumber(h.proc("sys/vm/max_map_count")), func(need int) string {
			return fmt.Sprintf("sysctl -w vm.max_map_count=%d", need)
		}},
		Descriptors: What{"the limit of open files", 0, func(need int) string {
			return fmt.Sprintf("ulimit -Hn %d before the daemon is started, or LimitNOFILE=%d in its unit", need, need)
		}},
		Tasks: What{"kernel.threads-max", readNumber(h.proc("sys/kernel/threads-max")), func(need int) string {
			return fmt.Sprintf("sysctl -w kernel.threads-max=%d", need)
		}},
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < math.MaxInt32 {
		l.Descriptors.Limit = int(r.Cur)
	}
	lower := func(n int, name string, remedy func(need int) string) {
		if n > 0 && (l.Tasks.Limit == 0 || n < l.Tasks.Limit) {
			l.Tasks = What{name, n, remedy}
		}
	}
	if os.Geteuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &r) == nil && r.Cur < math.MaxInt32 {
		lower(int(r.Cur), "the limit of the user's processes", func(need int) string {
			return fmt.Sprintf("ulimit -Hu %d before the daemon is started, or LimitNPROC=%d in its unit", need, need)
		})
	}
	n, at := h.cgroup("pids", "pids.max", "pids.max")
	lower(int(min(n, math.MaxInt32)), at, func(need int) string {
		return fmt.Sprintf("echo %d > %s, or TasksMax=%d in the unit", need, at, need)
	})
	return l
}

// MemoryLimit is the memory that the process's control group may take, in bytes, and the
// file that says so; 0: there is no limit.
func (h Host) MemoryLimit() (bytes uint64, file string) {
	n, at := h.cgroup("memory", "memory.max", "memory.limit_in_bytes")
	if n >= 1<<60 { // how version 1 says that there is none
		return 0, ""
	}
	return uint64(n), at
}

// cgroup finds the least value of a file in the process's control group and those above
// it; 0: there is none.
func (h Host) cgroup(controller, v2, v1 string) (least int64, at string) {
	b, err := os.ReadFile(h.proc("self/cgroup"))
	if err != nil {
		return 0, ""
	}
	root := filepath.Join(cmp.Or(h.Sys, "/sys"), "fs/cgroup")
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		parts := strings.SplitN(lines.Text(), ":", 3) // number, controllers, path
		if len(parts) != 3 {
			continue
		}
		base, file := root, v2
		if parts[1] != "" {
			if !strings.Contains(","+parts[1]+",", ","+controller+",") {
				continue
			}
			base, file = filepath.Join(root, controller), v1
		}
		for path := filepath.Clean("/" + parts[2]); ; path = filepath.Dir(path) {
			name := filepath.Join(base, path, file)
			if n := int64(readNumber(name)); n > 0 && (least == 0 || n < least) {
				least, at = n, name
			}
			if path == "/" {
				break
			}
		}
	}
	return least, at
}

// readNumber reads a file with a number; 0: there is none in it, such as "max".
func readNumber(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}
