package confine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestGroupOfRoot: the service user has not the group of root, neither as an account nor
// because a device is shared with it.
func TestGroupOfRoot(t *testing.T) {
	for _, c := range []struct {
		a  account
		ok bool
	}{{account{5, 5, []int{5, 6}}, true}, {account{5, 0, nil}, false}, {account{5, 5, []int{6, 0}}, false}} {
		if err := c.a.check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.a, err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("skipped: only root gives files away")
	}
	device := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		gid  int
		mode os.FileMode
		want []int
	}{{12, 0o660, []int{12}}, {12, 0o640, nil}, {0, 0o660, nil}} {
		if err := os.Chown(device, 0, c.gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(device, c.mode); err != nil {
			t.Fatal(err)
		}
		if got := deviceGroups(device); !slices.Equal(got, c.want) {
			t.Errorf("%v of group %d: %v, want %v", c.mode, c.gid, got, c.want)
		}
	}
}
