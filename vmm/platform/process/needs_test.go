package process

import (
	"os"
	"strings"
	"testing"
)

// TestMachineNeeds: a machine takes no more of this process than the platform says, and all
// of it goes with it. No thread waits for its process to end.
func TestMachineNeeds(t *testing.T) {
	p := testPlatform(t)
	used := func() (mappings, descriptors, threads int) {
		t.Helper()
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(maps)) {
			if strings.Contains(line, "memfd:") { // the rest is Go's, and comes and goes
				mappings++
			}
		}
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return mappings, len(fds), len(tasks)
	}
	const machines = 24
	var close []func()
	mappings, descriptors, threads := used()
	for range machines {
		vm, err := p.NewVM()
		if err != nil {
			t.Fatal(err)
		}
		m, err := vm.NewMemory(16<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		tracker, err := m.Tracker()
		if err != nil {
			t.Fatal(err)
		}
		close = append(close, func() {
			if tracker.Close() != nil || vm.Close() != nil || m.Close() != nil {
				t.Error("a machine cannot be closed")
			}
		})
	}
	m, d, n := used()
	t.Logf("each: %.1f mappings, %.1f descriptors, %.1f threads", float64(m-mappings)/machines, float64(d-descriptors)/machines, float64(n-threads)/machines)
	if m-mappings > machines*machineNeeds.Mappings || d-descriptors > machines*machineNeeds.Descriptors {
		t.Errorf("%d mappings and %d descriptors for %d machines, each may have %+v", m-mappings, d-descriptors, machines, machineNeeds)
	}
	if n-threads > machines/2 {
		t.Errorf("%d threads for %d machines at rest", n-threads, machines)
	}
	for _, f := range close {
		f()
	}
	if m, d, _ := used(); m > mappings || d > descriptors+2 {
		t.Errorf("%d mappings and %d descriptors are left", m-mappings, d-descriptors)
	}
}
