package doctor

import (
	"path/filepath"
	"strings"
	"testing"

	"seuss/vmm/platform"
)

// TestMachines: how many machines fit is said, by which limit, and what a lower one than
// the daemon wants asks for.
func TestMachines(t *testing.T) {
	h := Host{Proc: t.TempDir(), Sys: t.TempDir(), machine: &platform.Needs{Mappings: 3, Tasks: 2, MemoryHere: true}}
	maps := filepath.Join(h.Proc, "sys/vm/max_map_count")
	write(t, maps, "65530\n")
	if c := h.machines(); c.Status != OK || !strings.Contains(c.Detail, "1019 fit into a daemon: vm.max_map_count (65530) for 1023") {
		t.Errorf("%+v", c)
	}
	write(t, maps, "200\n")
	if c := h.machines(); c.Status != Warning || !strings.Contains(c.Fix, "sysctl -w vm.max_map_count=") || strings.Contains(c.Fix, "\n") {
		t.Errorf("%+v", c)
	}
	write(t, filepath.Join(h.Proc, "self/cgroup"), "0::/x\n")
	write(t, filepath.Join(h.Sys, "fs/cgroup/x/memory.max"), "1073741824\n")
	write(t, filepath.Join(h.Proc, "meminfo"), "MemTotal:       16000000 kB\nMemAvailable:  9000000 kB\n")
	if c := h.memory(); c.Status != Warning || !strings.Contains(c.Detail, "1.0 GiB") || !strings.Contains(c.Detail, "x/memory.max") {
		t.Errorf("%+v", c)
	}
}
