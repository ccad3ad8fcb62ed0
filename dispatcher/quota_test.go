package dispatcher

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/quota"
	"seuss/lineage"
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

// TestVersionsAreBounded: one more than may be is refused, until one is removed.
func TestVersionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Options{StateDir: dir, Platform: noPlatform{}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.FunctionStore().Put(functions.Function{Name: "f", Handler: "main.handler"}, []byte("code")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Publish("f", "", "", nil); err != nil {
		t.Fatal(err)
	}
	record := func(name string) string { return filepath.Join(dir, "functions", name+".json") }
	first, err := os.ReadFile(record("f:1"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= functions.MaxVersions; i++ { // as so many publications would, but for the disk's time
		name := fmt.Sprint("f:", i)
		if err := os.WriteFile(record(name), bytes.ReplaceAll(first, []byte(`"f:1"`), []byte(strconv.Quote(name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change := func(to string) {
		t.Helper()
		if _, err := d.Configure("f", "", func(s *functions.Settings) { s.Tags = map[string]string{"is": to} }); err != nil {
			t.Fatal(err)
		}
	}
	change("another")
	if f, err := d.Publish("f", "", "", nil); !errors.Is(err, lineage.ErrInvalid) || !strings.Contains(err.Error(), "remove some") {
		t.Fatalf("%+v, %v", f.Name, err)
	}
	if err := d.RemoveFunction("f:7"); err != nil {
		t.Fatal(err)
	}
	if f, err := d.Publish("f", "", "", nil); err != nil || f.Name != fmt.Sprint("f:", functions.MaxVersions+1) {
		t.Errorf("%+v, %v", f.Name, err)
	}
}
