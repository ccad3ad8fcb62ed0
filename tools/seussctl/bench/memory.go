package bench

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// HostMemory is what this process and its children take of their host, in
// bytes, by the kernel's own figures. What lies in the page cache of files on
// disk, such as image and snapshots, is shared by all machines and not in it.
type HostMemory struct {
	Anonymous   uint64 `json:"anonymous_bytes"`    // Anonymous of smaps_rollup
	MemoryFiles uint64 `json:"memory_files_bytes"` // blocks of memfd files
	PageTables  uint64 `json:"page_tables_bytes"`  // VmPTE
	// Available is MemAvailable of the whole host: it also tells of what KVM
	// and the kernel keep, and of whatever else goes on.
	Available uint64 `json:"available_bytes"`
	Processes int    `json:"processes"`
	Files     int    `json:"files"` // descriptors of this process
}

// Total is what can be attributed.
func (m HostMemory) Total() uint64 { return m.Anonymous + m.MemoryFiles + m.PageTables }

// ReadHostMemory collects the figures, after the garbage of the Go heap is gone.
func ReadHostMemory() (m HostMemory, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return m, fmt.Errorf("read process figures: %w", err)
	}
	processes, err := fs.AllProcs()
	if err != nil {
		return m, fmt.Errorf("list processes: %w", err)
	}
	self := os.Getpid()
	for _, p := range processes {
		stat, err := p.Stat()
		if err != nil || p.PID != self && stat.PPID != self {
			continue // others, or gone meanwhile
		}
		maps, err := p.ProcSMapsRollup()
		if err != nil {
			return m, fmt.Errorf("memory of process %d: %w", p.PID, err)
		}
		status, err := p.NewStatus()
		if err != nil {
			return m, fmt.Errorf("status of process %d: %w", p.PID, err)
		}
		m.Processes++
		m.Anonymous += maps.Anonymous
		m.PageTables += status.VmPTE
	}
	if err := m.addFiles(); err != nil {
		return m, err
	}
	info, err := fs.Meminfo()
	if err != nil {
		return m, fmt.Errorf("memory of the host: %w", err)
	}
	if info.MemAvailableBytes != nil {
		m.Available = *info.MemAvailableBytes
	}
	return m, nil
}

// addFiles adds this process's descriptors, and the memory files among them.
func (m *HostMemory) addFiles() error {
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	seen := map[uint64]bool{}
	for _, e := range entries {
		m.Files++
		var st unix.Stat_t
		name, err := os.Readlink(dir + e.Name())
		if err != nil || !strings.HasPrefix(name, "/memfd:") || unix.Stat(dir+e.Name(), &st) != nil || seen[st.Ino] {
			continue
		}
		seen[st.Ino] = true
		m.MemoryFiles += uint64(st.Blocks) * 512
	}
	return nil
}

// MachineMemory is what one machine more takes: the mean of the figures of
// HostMemory over some machines.
type MachineMemory struct {
	Function    string  `json:"function"`
	Machines    int     `json:"machines"`
	Anonymous   float64 `json:"anonymous_bytes"`
	MemoryFiles float64 `json:"memory_files_bytes"`
	PageTables  float64 `json:"page_tables_bytes"`
	Total       float64 `json:"total_bytes"`
	Host        float64 `json:"host_bytes"` // by which MemAvailable fell
	Processes   float64 `json:"processes"`
	Files       float64 `json:"files"`
}

// PerMachine is the mean for each of n machines that were made in between.
func PerMachine(function string, before, after HostMemory, n int) MachineMemory {
	mean := func(a, b uint64) float64 { return (float64(b) - float64(a)) / float64(n) }
	return MachineMemory{
		Function: function, Machines: n,
		Anonymous:   mean(before.Anonymous, after.Anonymous),
		MemoryFiles: mean(before.MemoryFiles, after.MemoryFiles),
		PageTables:  mean(before.PageTables, after.PageTables),
		Total:       mean(before.Total(), after.Total()),
		Host:        mean(after.Available, before.Available),
		Processes:   float64(after.Processes-before.Processes) / float64(n),
		Files:       float64(after.Files-before.Files) / float64(n),
	}
}
