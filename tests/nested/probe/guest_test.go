//go:build linux && amd64

package probe

import (
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

var (
	fate     = flag.String("fate", "pass", "what TestFate does: pass, fail, panic, exit or hang")
	wantFile = flag.String("want-file", "", "file that -want-text must be the content of")
	wantText = flag.String("want-text", "", "content of -want-file, exactly")
	wantDir  = flag.String("want-dir", "", "working folder; also asks for what run.sh promises of the guest")
)

// TestFate goes wrong on request, for selftest.sh to see that the run fails.
func TestFate(t *testing.T) {
	switch *fate {
	case "pass":
	case "fail":
		t.Fatal("failing on request")
	case "panic":
		panic("panicking on request")
	case "exit":
		os.Exit(33) // the code of QEMU that means success must mean nothing inside
	case "hang":
		<-make(chan int)
	default:
		t.Fatalf("-fate is %q, want pass, fail, panic, exit or hang", *fate)
	}
}

// TestGuest checks, in the guest, the environment that run.sh promises.
func TestGuest(t *testing.T) {
	if *wantFile != "" {
		text, err := os.ReadFile(*wantFile)
		if err != nil {
			t.Fatalf("file that run.sh was to pack: %v", err)
		}
		if string(text) != *wantText {
			t.Errorf("%s holds %q, want %q", *wantFile, text, *wantText)
		}
	}
	if *wantDir == "" {
		t.Skip("not asked to check the guest: no -want-dir")
	}
	if dir, err := os.Getwd(); err != nil || dir != *wantDir {
		t.Errorf("working folder is %q (%v), want %q", dir, err, *wantDir)
	}
	if v := os.Getenv("CI_KVM"); v != "1" {
		t.Errorf("CI_KVM is %q, want 1", v)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) != 0 {
		t.Errorf("temporary folder of an earlier test: %q (%v), want none", left, err)
	}
	if err := os.WriteFile(filepath.Join(os.TempDir(), "left-behind"), nil, 0o600); err != nil {
		t.Error(err)
	}
	const tmpfsMagic = 0x01021994 // linux/magic.h
	var st syscall.Statfs_t
	if err := syscall.Statfs(os.TempDir(), &st); err != nil || st.Type != tmpfsMagic {
		t.Errorf("%s has file system type %#x (%v), want tmpfs %#x", os.TempDir(), st.Type, err, tmpfsMagic)
	}
}
