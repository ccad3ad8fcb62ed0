package capacity

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"seuss/vmm/platform"
)

// here is what a machine of a platform takes whose memory is this process's.
var here = platform.Needs{Mappings: 3, Descriptors: 8, Tasks: 2, MemoryHere: true}

// plainHost is a host with the kernel's defaults.
func plainHost() Limits {
	l := Host{}.Limits()
	l.Mappings.Limit, l.Descriptors.Limit, l.Tasks.Limit = 65530, 1<<20, 1<<16
	return l
}

// TestThousandFit: under the kernel's defaults a thousand machines fit, whose memory is all
// in one process.
func TestThousandFit(t *testing.T) {
	b := New(plainHost(), here)
	if err := b.Check(1000); err != nil {
		t.Errorf("%d fit, %v", b.fits, err)
	}
	// What is left is as much as the rest may take.
	if rest := 65530 - b.fits*b.things[0].each; rest < reserveMappings {
		t.Errorf("%d mappings are left, %d are reserved", rest, reserveMappings)
	}
}

// TestRefusalSaysWhy: what does not fit is refused with the number, the limit and the way
// to a higher one, with which it fits.
func TestRefusalSaysWhy(t *testing.T) {
	l := plainHost()
	b := New(l, here)
	err := b.Check(5000)
	if err == nil {
		t.Fatal("5,000 fit")
	}
	for _, want := range []string{"5000 machines", "vm.max_map_count allows 65530", "sysctl -w vm.max_map_count="} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "open files") {
		t.Errorf("%v: there are enough of those", err)
	}
	l.Mappings.Limit = b.things[0].needed(5004)
	if err := New(l, here).Check(5000); err != nil {
		t.Errorf("with what the remedy says: %v", err)
	}
	l.Descriptors.Limit = 1024
	if err := New(l, here).Check(100); err == nil || !strings.Contains(err.Error(), "LimitNOFILE=") {
		t.Errorf("%v", err)
	}
	if err := New(Limits{}, here).Check(1 << 30); err != nil {
		t.Errorf("nothing is known: %v", err)
	}
}

// TestBudgetHolds: whoever takes and gives at the same time, there are never more machines
// than fit, and none is lost.
func TestBudgetHolds(t *testing.T) {
	l := plainHost()
	l.Mappings.Limit = 880 // 440 for machines of 44
	b := New(l, here)
	if b.fits != 10 || b.Fits() != 9 {
		t.Fatalf("%d fit, %d for requests", b.fits, b.Fits())
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				if err := b.Take(); err == nil {
					if n := b.Machines(); n > b.fits+50 { // some are about to be refused
						t.Errorf("%d machines", n)
					}
					b.Give()
				} else if !errors.Is(err, ErrFull) {
					t.Error(err)
				}
				if b.TakeMappings(40) {
					b.GiveMappings(40)
				}
			}
		})
	}
	wg.Wait()
	for range 10 {
		if err := b.Take(); err != nil {
			t.Fatal(err)
		}
	}
	if b.Room() || b.Take() == nil || b.Machines() != 10 {
		t.Error("an eleventh machine has room")
	}
	b.Give()
	if b.Room() {
		t.Error("the last one is for who makes snapshots")
	}
	if b.TakeMappings(880/8 + 1) {
		t.Error("more is spared than there is")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestControlGroups: the lowest limit on the way up counts, in either version; "max" is
// none.
func TestControlGroups(t *testing.T) {
	h := Host{Proc: t.TempDir(), Sys: t.TempDir()}
	write(t, filepath.Join(h.Proc, "sys/vm/max_map_count"), "1000\n")
	write(t, filepath.Join(h.Proc, "sys/kernel/threads-max"), "9000\n")
	if l := h.Limits(); l.Mappings.Limit != 1000 || l.Tasks.Limit != 9000 || l.Descriptors.Limit == 0 {
		t.Errorf("%+v", l)
	}
	group := filepath.Join(h.Sys, "fs/cgroup")
	write(t, filepath.Join(h.Proc, "self/cgroup"), "0::/a.slice/b.service\n")
	write(t, filepath.Join(group, "a.slice/b.service/pids.max"), "max\n")
	write(t, filepath.Join(group, "a.slice/pids.max"), "700\n")
	write(t, filepath.Join(group, "a.slice/b.service/memory.max"), "1073741824\n")
	if l := h.Limits(); l.Tasks.Limit != 700 || !strings.Contains(l.Tasks.Remedy(800), "TasksMax=800") {
		t.Errorf("%+v", l.Tasks)
	}
	if n, at := h.MemoryLimit(); n != 1<<30 || !strings.HasSuffix(at, "b.service/memory.max") {
		t.Errorf("%d, %s", n, at)
	}
	write(t, filepath.Join(h.Proc, "self/cgroup"), "7:cpu,pids:/c\n4:memory:/c\n1:name=systemd:/c\n")
	write(t, filepath.Join(group, "pids/c/pids.max"), "300\n")
	write(t, filepath.Join(group, "memory/c/memory.limit_in_bytes"), "9223372036854771712\n")
	if l := h.Limits(); l.Tasks.Limit != 300 {
		t.Errorf("%+v", l.Tasks)
	}
	if n, _ := h.MemoryLimit(); n != 0 {
		t.Errorf("%d", n)
	}
}
