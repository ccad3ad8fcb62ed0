package vmm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"seuss/dirtytrack"
)

// Resident is what a guest's memory takes of the host's, in bytes, as the kernel
// counts it.
type Resident struct {
	Private uint64 // the guest's own pages
	Shared  uint64 // pages of snapshots and images that it has mapped; other guests may have them too
}

// Resident asks the kernel, which looks at each page of the guest's: that takes a
// millisecond or more.
func (m *Memory) Resident() (Resident, error) {
	r, err := m.backing.Resident()
	if err != nil {
		return r, fmt.Errorf("resident guest memory: %w", err)
	}
	return r, nil
}

// Resident implements Backing: copies of file pages, and pages of no file, are the
// guest's own.
func (b *PrivateBacking) Resident() (Resident, error) {
	p, err := dirtytrack.NewPagemap(b.mem)
	if err != nil {
		return Resident{}, err
	}
	private, shared, err := p.Resident()
	return Resident{Private: private * pageSize, Shared: shared * pageSize}, errors.Join(err, p.Close())
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
