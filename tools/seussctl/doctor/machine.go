package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
	"seuss/vmm"
	"seuss/vmm/platform/kvm"
	"seuss/vmm/platform/process"
)

const (
	// A dispatcher with a small pool of default guests fits into neededMemory;
	// wantedMemory leaves room for the snapshots' pages in the page cache.
	neededMemory = 512 << 20
	wantedMemory = 2 << 30
)

// kvm opens the device as the monitor would, which also checks what it offers.
func (h *Host) kvm() []Check {
	c := Check{Name: "KVM"}
	p, err := kvm.New(kvm.Options{Device: h.KVM})
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, err.Error(), kvmFix(h.KVM, err)
		return []Check{c}
	}
	info, cpu := p.Info(), p.CPU()
	c.Status, c.Detail = OK, fmt.Sprintf("%s can be opened, flavour %s", info.Device, info.Platform)
	level := Check{Name: "privilege level", Status: OK, Detail: fmt.Sprintf("guests run at CPL %d", cpu.CPL)}
	processor := Check{Name: "processor", Status: OK, Detail: processorName(cpu.Features)}
	if err := p.Close(); err != nil {
		c.Status, c.Fix = Warning, err.Error()
	}
	return []Check{c, level, processor}
}

// platforms looks at what can run guests: KVM, and processes where there is
// none. One of the two is needed.
func (h *Host) platforms() []Check {
	checks, own := h.kvm(), processCheck()
	if checks[0].Status == Failed && own.Status == OK {
		checks[0].Status = Warning
		checks[0].Fix = "without it guests run as processes, whose isolation is weaker; to get it: " + checks[0].Fix
		own.Detail += "; used here, since there is no KVM"
	}
	return append(checks, own)
}

// processName is the check of the platform that KVM makes unnecessary.
const processName = "process platform"

// processCheck opens the process platform, which starts a process for a moment.
func processCheck() Check {
	c := Check{Name: processName}
	p, err := process.New(process.Options{})
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, err.Error(), "needed only where there is no KVM: use Linux 5.11 or newer"
		return c
	}
	c.Status, c.Detail = OK, "guests can run as processes, with weaker isolation"
	for _, fact := range p.Info().Facts {
		if strings.HasPrefix(fact, "namespaces: ") {
			c.Detail += ", " + fact
		}
	}
	if err := p.Close(); err != nil {
		c.Status, c.Fix = Warning, err.Error()
	}
	return c
}

// processorName is the recorded description without its list of features.
func processorName(f vmm.CPUFeatures) string {
	words := strings.Fields(f.String())
	return fmt.Sprintf("%s, %d features recorded", strings.Join(words[:min(len(words), 2)], " "), len(f.Names))
}

// kvmFix says in one sentence how to get KVM.
func kvmFix(device string, err error) string {
	switch _, statErr := os.Stat(device); {
	case errors.Is(statErr, fs.ErrNotExist):
		return fmt.Sprintf("switch virtualisation on in the firmware (or nested virtualisation in the cloud) and load it with: modprobe kvm_intel, or kvm_amd; in a container pass --device %s", device)
	case errors.Is(err, fs.ErrPermission), os.Geteuid() != 0:
		return "join the group that owns the device and log in again: sudo usermod -aG kvm $USER"
	case errors.Is(err, vmm.ErrNoKVM):
		return "load the driver: modprobe kvm_intel, or kvm_amd"
	}
	return "use a Linux kernel whose KVM offers this"
}

func (h *Host) kernel() Check {
	c := Check{Name: "kernel"}
	b, err := os.ReadFile(filepath.Join(h.Proc, "sys/kernel/osrelease"))
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "mount /proc"
		return c
	}
	release := strings.TrimSpace(string(b))
	c.Status, c.Detail = OK, "Linux "+release
	if major, minor, ok := parseRelease(release); ok && (major < 6 || major == 6 && minor < 13) {
		// kvm_vcpu_ioctl updates the vCPU's pid under RCU before Linux 6.13.
		c.Status, c.Fix = Warning, "Linux 6.13 or newer moves a vCPU between threads faster"
	}
	return c
}

func parseRelease(release string) (major, minor int, ok bool) {
	n, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2
}

// pagemap asks the tracker itself which mechanism it would use.
func pagemap() Check {
	c := Check{Name: "PAGEMAP_SCAN"}
	mem, err := unix.Mmap(-1, 0, dirtytrack.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, fmt.Sprintf("map a page: %v", err), "free some memory"
		return c
	}
	defer func() { _ = unix.Munmap(mem) }() // the mapping is ours and whole
	t, err := dirtytrack.NewPagemap(mem)
	if err != nil {
		c.Status, c.Detail, c.Fix = Failed, err.Error(), "mount /proc so that this process can read its own pagemap"
		return c
	}
	defer t.Close()
	if c.Status, c.Detail = OK, "dirty pages are found by "+t.Name(); t.Name() != "pagemap-scan" {
		c.Status, c.Fix = Warning, "Linux 6.7 or newer finds dirty pages faster"
	}
	return c
}

// paging asks whether snapshots can be paged in while a guest runs.
func paging(canPage func() (own, child error)) Check {
	c := Check{Name: "userfaultfd"}
	const without = "snapshots are read before a guest runs: a cold start reads all of them"
	own, child := canPage()
	switch {
	case own == nil && child == nil:
		c.Status, c.Detail = OK, "snapshots are paged in while their guests run"
	case own == nil:
		c.Status, c.Detail = Warning, fmt.Sprintf("under KVM snapshots are paged in while their guests run; with guests as processes (%v) %s", child, without)
		c.Fix = "allow the system call userfaultfd in this container's seccomp profile"
	case child == nil:
		c.Status, c.Detail = Warning, fmt.Sprintf("with guests as processes snapshots are paged in while they run; under KVM (%v) %s", own, without)
		c.Fix = "let this user open /dev/userfaultfd, run with CAP_SYS_PTRACE, or: sysctl vm.unprivileged_userfaultfd=1"
	default:
		c.Status, c.Detail = Warning, fmt.Sprintf("it cannot be used (%v), so %s", child, without)
		c.Fix = "allow the system call userfaultfd: in a container by its seccomp profile, else by a kernel with CONFIG_USERFAULTFD (Linux 5.11)"
	}
	c.Detail = strings.ReplaceAll(c.Detail, "\n", "; ")
	return c
}

func (h *Host) memory() Check {
	c := Check{Name: "memory"}
	b, err := os.ReadFile(filepath.Join(h.Proc, "meminfo"))
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "mount /proc"
		return c
	}
	total, available := meminfo(string(b), "MemTotal"), meminfo(string(b), "MemAvailable")
	c.Status, c.Detail = OK, fmt.Sprintf("%s available of %s", humanize.IBytes(available), humanize.IBytes(total))
	switch {
	case available < neededMemory:
		c.Status, c.Fix = Failed, "free memory: "+humanize.IBytes(neededMemory)+" are needed"
	case available < wantedMemory:
		c.Status, c.Fix = Warning, humanize.IBytes(wantedMemory)+" keep all snapshots in the page cache"
	}
	return c
}

// meminfo returns a field of /proc/meminfo in bytes, 0 if it is missing.
func meminfo(text, field string) uint64 {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name != field {
			continue
		}
		words := strings.Fields(value)
		if len(words) == 0 {
			return 0
		}
		n, err := strconv.ParseUint(words[0], 10, 64)
		if err != nil {
			return 0
		}
		if len(words) == 2 && words[1] == "kB" {
			n *= 1024
		}
		return n
	}
	return 0
}

// hugePages says which huge pages the host gives, and to what: cold boots take those of
// anonymous memory, images those of files in memory.
func (h *Host) hugePages() Check {
	c := Check{Name: "huge pages", Status: OK}
	var facts []string
	for _, use := range []struct{ setting, memory, hint string }{
		{"enabled", "memory of cold boots", "madvise"},
		{"shmem_enabled", "images of a daemon", "advise"},
	} {
		path := filepath.Join(h.Sys, "kernel/mm/transparent_hugepage", use.setting)
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), "[")
		switch value, _, _ := strings.Cut(rest, "]"); value {
		case "never", "deny":
			facts = append(facts, fmt.Sprintf("%s: no (%s; to have some: echo %s > %s)", use.memory, value, use.hint, path))
		default:
			facts = append(facts, fmt.Sprintf("%s: yes (%s = %s)", use.memory, use.setting, value))
		}
	}
	if len(facts) == 0 {
		facts = append(facts, "the kernel has no transparent ones")
	}
	if b, err := os.ReadFile(filepath.Join(h.Proc, "meminfo")); err == nil {
		if n := meminfo(string(b), "HugePages_Total"); n > 0 {
			facts = append(facts, fmt.Sprintf("%d reserved ones are not used", n))
		}
	}
	c.Detail = strings.Join(facts, "; ")
	return c
}
