package dispatcher

import (
	"errors"
	"strings"
	"testing"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/quota"
	"seuss/vmm/platform"
)

// noPlatform is never asked for a machine.
type noPlatform struct{ platform.Platform }

func (noPlatform) Name() string { return "none" }

func (noPlatform) Capabilities() platform.Capabilities { return platform.Capabilities{} }

// TestDeployQuota: what is beyond an owner's quota is refused before anything is made;
// others, and what takes the place of what there is, are not.
func TestDeployQuota(t *testing.T) {
	q := access.Quota{Functions: 2, CodeBytes: 10 << 10}
	d, err := Open(Options{StateDir: t.TempDir(), Platform: noPlatform{}, Quota: func(owner string) access.Quota {
		if owner == "alice" {
			return q
		}
		return access.Quota{}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, key := range []string{"alice/a", "alice/b", "alice/b:1", "bob/a", "bob/b", "bob/c"} {
		if _, err := d.FunctionStore().Put(functions.Function{Name: key, Handler: "main.handler"}, []byte(strings.Repeat(key, 100))); err != nil {
			t.Fatal(err)
		}
	}
	deploy := func(name string, bytes int) error {
		_, err := d.Deploy(t.Context(), FunctionSpec{Name: name, Handler: "main.handler", Files: map[string][]byte{"main.py": []byte(strings.Repeat("#", bytes))}})
		return err
	}
	for _, c := range []struct {
		name  string
		bytes int
		want  string // of the quota; "": it is not what refuses
	}{{"alice/c", 1, "functions"}, {"alice/a", 1, ""}, {"alice/a", 20 << 10, "bytes of code"}, {"bob/d", 20 << 10, ""}, {"e", 1, ""}} {
		err := deploy(c.name, c.bytes)
		if errors.Is(err, quota.ErrExceeded) != (c.want != "") || c.want != "" && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %d bytes: %v", c.name, c.bytes, err)
		}
		if err == nil {
			t.Errorf("%s was deployed without an image", c.name)
		}
	}
}
