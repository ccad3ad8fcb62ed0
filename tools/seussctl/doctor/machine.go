package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"seuss/dirtytrack"
)

const (
	// A dispatcher with a small pool of default guests fits into neededMemory;
	// wantedMemory leaves room for the snapshots' pages in the page cache.
	neededMemory = 512 << 20
	wantedMemory = 2 << 30
)

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

func (h *Host) memory() Check {
	c := Check{Name: "memory"}
	b, err := os.ReadFile(filepath.Join(h.Proc, "meminfo"))
	if err != nil {
		c.Status, c.Detail, c.Fix = Warning, err.Error(), "mount /proc"
		return c
	}
	total, available := meminfo(string(b), "MemTotal"), meminfo(string(b), "MemAvailable")
	of := ""
	if limit, at := h.limits().MemoryLimit(); limit > 0 && limit < total {
		total, available, of = limit, min(available, limit), " ("+at+")"
	}
	c.Status, c.Detail = OK, fmt.Sprintf("%s available of %s%s", humanize.IBytes(available), humanize.IBytes(total), of)
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
