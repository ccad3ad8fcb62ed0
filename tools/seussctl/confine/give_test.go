package confine

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	if err := GiveBack(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "new")); err != nil || info.Sys().(*syscall.Stat_t).Uid != user {
		t.Errorf("what root wrote later: %v, %v", info, err)
	}
	if err := GiveTo(dir, third, third); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
		t.Errorf("a third user's: %v", err)
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// TestGiveBackLooksAtWhatChanged: of a folder in which nothing has a new name since then
// no file is looked at, and all are where the clock is no help.
func TestGiveBackLooksAtWhatChanged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root gives files away")
	}
	const user = 65534
	dir := t.TempDir()
	file := filepath.Join(dir, "nodes", "a")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := GiveBack(dir, time.Now().Add(time.Hour)); err != nil || ownerOf(t, file) != 0 {
		t.Errorf("a file of an unchanged folder was looked at (%v)", err)
	}
	if err := GiveBack(dir, time.Now()); err != nil || ownerOf(t, file) != user {
		t.Errorf("a new file stays root's (%v)", err)
	}
	now := time.Now()
	for _, c := range []struct {
		clock time.Duration
		want  time.Time
	}{{10 * time.Second, now.Add(-clockSlack)}, {-time.Hour, time.Time{}}, {time.Hour, time.Time{}}} {
		if got := changedSince(now, 10*time.Second, c.clock); !got.Equal(c.want) {
			t.Errorf("clock went on by %v in 10 s: %v, want %v", c.clock, got, c.want)
		}
	}
}

// TestGiveLinks: a file of several names is given if all are in the directory, as those of
// donors are. One of root's elsewhere that has got a name there stays root's.
func TestGiveLinks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root gives files away")
	}
	const user = 65534
	top := t.TempDir()
	dir, outside := filepath.Join(top, "state"), filepath.Join(top, "shadow")
	if err := os.MkdirAll(filepath.Join(dir, "nodes"), 0o700); err != nil {
		t.Fatal(err)
	}
	donor, taken := filepath.Join(dir, "nodes", "donor"), filepath.Join(dir, "nodes", "taken")
	for _, path := range []string{outside, donor} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string][]string{donor: {donor + ".from-0", filepath.Join(dir, "other")}, outside: {taken, taken + "2"}} {
		for _, name := range to {
			if err := os.Link(from, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := GiveTo(dir, user, user)
	if err == nil || !strings.Contains(err.Error(), "nodes/taken") || strings.Contains(err.Error(), "donor") {
		t.Errorf("a link to a file outside: %v", err)
	}
	if got := ownerOf(t, outside); got != 0 {
		t.Errorf("the file outside belongs to %d", got)
	}
	if got := ownerOf(t, donor); got != user {
		t.Errorf("the donor belongs to %d", got)
	}
	for _, name := range []string{taken, taken + "2"} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := GiveBack(dir, time.Now()); err != nil {
		t.Error(err)
	}
}
