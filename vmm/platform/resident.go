package platform

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Resident is what a guest's memory takes of the host's, in bytes, as the kernel
// counts it.
type Resident struct {
	Private uint64 // the guest's own pages
	Shared  uint64 // pages of snapshots and images that it has mapped; other guests may have them too
}

// ResidentOf adds up /proc/PID/smaps of another process for the mappings that lie in [start, end), but
// those of a file with this name, if it is not empty: what is resident, and how much
// of it is of no file any more.
func ResidentOf(pid, not string, start, end uint64) (rss, anonymous uint64, err error) {
	f, err := os.Open("/proc/" + pid + "/smaps")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	inside := false
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			return rss, anonymous, lines.Err()
		}
		name, rest, _ := strings.Cut(lines.Text(), " ")
		if from, to, ok := strings.Cut(name, "-"); ok && !strings.HasSuffix(name, ":") {
			lo, err1 := strconv.ParseUint(from, 16, 64)
			hi, err2 := strconv.ParseUint(to, 16, 64)
			inside = err1 == nil && err2 == nil && lo >= start && hi <= end && (not == "" || !strings.Contains(rest, not))
			continue
		}
		if !inside || name != "Rss:" && name != "Anonymous:" {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%s/smaps: %q: %w", pid, lines.Text(), err)
		}
		if name == "Rss:" {
			rss += kib << 10
		} else {
			anonymous += kib << 10
		}
	}
}
