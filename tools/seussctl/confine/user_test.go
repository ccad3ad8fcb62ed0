package confine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGiveTo: what root owns becomes the user's, links are no way out, and a third
// user's directory is not taken.
func TestGiveTo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root gives files away")
	}
	const user, third = 65534, 12
	dir, outside := filepath.Join(t.TempDir(), "state"), t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "nodes"), filepath.Join(outside, "sub")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(dir, "nodes", "a"), filepath.Join(dir, "other"), filepath.Join(outside, "sub", "secret")} {
		if err := os.WriteFile(f, nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"file": filepath.Join(outside, "sub", "secret"), "folder": filepath.Join(outside, "sub")} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "other"), third, third); err != nil {
		t.Fatal(err)
	}
	if err := GiveTo(dir, user, user); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{dir: user, dir + "/nodes": user, dir + "/nodes/a": user, dir + "/file": user, dir + "/other": third,
		outside: 0, outside + "/sub": 0, outside + "/sub/secret": 0} {
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil || st.Uid != want {
			t.Errorf("%s belongs to %d, want %d (%v)", path, st.Uid, want, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := GiveBack(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "new")); err != nil || info.Sys().(*syscall.Stat_t).Uid != user {
		t.Errorf("what root wrote later: %v, %v", info, err)
	}
	if err := GiveTo(dir, third, third); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("a third user's: %v", err)
	}
}
