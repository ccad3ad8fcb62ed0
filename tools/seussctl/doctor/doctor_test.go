package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/lineage"
	"seuss/vmm/platform"
)

func find(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %+v", name, checks)
	return Check{}
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

// A host that has nothing gets a way to mend for each thing, and no panic.
func TestBareHost(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	write(t, filepath.Join(dir, "file"), "")
	checks := Run(t.Context(), Host{StateDir: filepath.Join(dir, "file", "state"), Dev: none, Root: none, Proc: none, Sys: none})
	if Healthy(checks) {
		t.Error("healthy")
	}
	for _, c := range checks {
		if (c.Status == OK) != (c.Fix == "") || c.Detail == "" || strings.Contains(c.Detail+c.Fix, "\n") {
			t.Errorf("%+v", c)
		}
	}
	for _, k := range platform.Kinds() {
		c := find(t, checks, k.Title)
		if c.Status != Failed || !strings.Contains(c.Detail, none) || c.Fix == "" {
			t.Errorf("%+v", c)
		}
	}
	for name, want := range map[string]string{"python3": "missing", "state directory": "cannot be written"} {
		if c := find(t, checks, name); c.Status != Failed || !strings.Contains(c.Detail, want) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestPlatforms: the first that can be used is the one; of those before it the doctor says what is worse without them.
func TestPlatforms(t *testing.T) {
	h := Host{Dev: t.TempDir()}
	h.defaults()
	checks := h.platforms()
	first := find(t, checks, platform.Kinds()[0].Title)
	second := find(t, checks, platform.Kinds()[1].Title)
	if second.Status != OK {
		t.Skip("skipped where no platform can be used:", second.Detail)
	}
	if first.Status != Warning || !strings.Contains(first.Fix, "isolation is weaker; to get it: ") || !strings.Contains(first.Detail, h.Dev) {
		t.Errorf("%+v", first)
	}
	if !strings.Contains(second.Detail, "used here, since there is no "+platform.Kinds()[0].Title) {
		t.Errorf("%+v", second)
	}
	if !Healthy(checks) {
		t.Errorf("a host with a platform is not healthy: %+v", checks)
	}
}

func TestMemory(t *testing.T) {
	for available, want := range map[string]Status{"100000": Failed, "1000000": Warning, "8000000": OK} {
		h := Host{Proc: t.TempDir(), Sys: t.TempDir()}
		write(t, filepath.Join(h.Proc, "meminfo"), "MemTotal:       16000000 kB\nMemAvailable:  "+available+" kB\nHugePages_Total:       5\n")
		if c := h.memory(); c.Status != want || !strings.Contains(c.Detail, "15 GiB") {
			t.Errorf("%s: %+v", available, c)
		}
		if c := h.hugePages(); c.Detail != "the kernel has no transparent ones; 5 reserved ones are not used" {
			t.Errorf("%+v", c)
		}
	}
}

func TestHugePages(t *testing.T) {
	h := Host{Proc: t.TempDir(), Sys: t.TempDir()}
	at := filepath.Join(h.Sys, "kernel/mm/transparent_hugepage")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at, "enabled"), "always [madvise] never\n")
	for setting, want := range map[string]string{
		"always within_size advise [never] deny force": "images of a daemon: no (never; to have some: echo advise > " + at + "/shmem_enabled)",
		"always within_size [advise] never deny force": "images of a daemon: yes (shmem_enabled = advise)",
	} {
		write(t, filepath.Join(at, "shmem_enabled"), setting+"\n")
		if c := h.hugePages(); c.Detail != "memory of cold boots: yes (enabled = madvise); "+want {
			t.Errorf("%s: %+v", setting, c)
		}
	}
}

// What cannot be paged in, and what that means, is said.
func TestPaging(t *testing.T) {
	k := *platform.Find("process")
	k.Requirements = append([]platform.Requirement(nil), k.Requirements...)
	for i := range k.Requirements {
		if k.Requirements[i].Without != "" {
			k.Requirements[i].Check = func(platform.Host) error { return errors.Join(errors.New("not"), errors.New("permitted")) }
		}
	}
	h := Host{}
	h.defaults()
	checks, ok := h.platform(&k)
	if !ok {
		t.Skip("skipped where guests cannot run as processes")
	}
	c := find(t, checks, "process platform: paging on demand")
	if c.Status != Warning || !strings.Contains(c.Detail, "(not; permitted), so snapshots are read before") || c.Fix == "" {
		t.Errorf("%+v", c)
	}
}

func TestKernel(t *testing.T) {
	for release, want := range map[string]Status{"6.1.0-18-amd64": Warning, "6.13.0": OK, "7.0": OK, "weird": OK} {
		h := Host{Proc: t.TempDir(), Sys: t.TempDir()}
		write(t, filepath.Join(h.Proc, "sys/kernel/osrelease"), release+"\n")
		if c := h.kernel(); c.Status != want || !strings.Contains(c.Detail, release) {
			t.Errorf("%s: %+v", release, c)
		}
	}
}

func TestMeminfoTolerates(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "X": 0, "X:": 0, "X: many kB": 0, "X: 3": 3, "Y: 1\nX: 2 kB": 2048} {
		if got := meminfo(text, "X"); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestLockHolder(t *testing.T) {
	const text = "1: POSIX  ADVISORY  WRITE 11 fe:01:500 0 EOF\n2: FLOCK  ADVISORY  READ 12 fe:01:500 0 EOF\n" +
		"2: -> FLOCK  ADVISORY  WRITE 14 fe:01:500 0 EOF\n3: FLOCK  ADVISORY  WRITE 13 fe:01:500 0 EOF\n\ngarbage\n"
	if pid, held := lockHolder(text, 500); pid != 13 || !held {
		t.Errorf("%d %v", pid, held)
	}
	if _, held := lockHolder(text, 50); held {
		t.Error("another inode's lock")
	}
}

// A real lock is seen, and looking does not take it.
func TestLockIsSeen(t *testing.T) {
	dir := t.TempDir()
	h := Host{StateDir: dir}
	h.defaults()
	if c := h.lock(); c.Status != OK {
		t.Errorf("before: %+v", c)
	}
	s, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c := h.lock(); c.Status != Warning || !strings.Contains(c.Detail, "held by process") {
		t.Errorf("held: %+v", c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c := h.lock(); c.Status != OK {
		t.Errorf("after: %+v", c)
	}
}

func TestDamageIsReported(t *testing.T) {
	dir := t.TempDir()
	id := strings.Repeat("ab", 32)
	write(t, filepath.Join(dir, "nodes", id+".node"), "rubbish")
	write(t, filepath.Join(dir, "images", id+".img"), "rubbish")
	h := Host{StateDir: dir}
	h.defaults()
	checks := h.state(t.Context())
	for _, name := range []string{"images", "snapshots"} {
		if c := find(t, checks, name); c.Status != Warning || c.Fix == "" || !strings.Contains(c.Detail, id) {
			t.Errorf("%+v", c)
		}
	}
	if c := find(t, checks, "state directory"); c.Status == Failed {
		t.Errorf("%+v", c)
	}
}

func TestNothingIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	h := Host{StateDir: dir}
	h.defaults()
	if c := h.writable(); c.Status != OK || !strings.Contains(c.Detail, "can be made") {
		t.Errorf("%+v", c)
	}
	if exists(filepath.Dir(dir)) {
		t.Error("a directory was made")
	}
}

// TestWantedPlatform: a host without the platform that is asked for is not healthy, whatever
// else it has; what is not asked for need not be there.
func TestWantedPlatform(t *testing.T) {
	h := Host{Dev: t.TempDir(), Platform: "kvm"}
	h.defaults()
	if checks := h.platforms(); Healthy(checks) || h.machine != nil {
		t.Errorf("healthy without KVM: %+v", checks)
	}
	h.Platform = "process"
	checks := h.platforms()
	if checks[0].Name != platform.Find("process").Title {
		t.Errorf("%+v is the first", checks[0])
	}
	if checks[0].Status != OK {
		t.Skip("skipped where guests cannot run as processes:", checks[0].Detail)
	}
	if !Healthy(checks) || h.machine == nil {
		t.Errorf("%+v", checks)
	}
}
