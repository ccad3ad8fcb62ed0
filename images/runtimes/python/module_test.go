package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestModuleMessages: what the module seuss says of a refused region is what the host has said,
// whatever characters are in it, and a time of less than a millisecond is not none.
func TestModuleMessages(t *testing.T) {
	const check = `
import errno, seuss

def said(error, size):
    try:
        seuss._refuse(error, "orders/{x}", size, False)
    except seuss.Error as e:
        return f"{type(e).__name__}: {e}"

assert said(OSError(errno.EIO, "odd {thing} {0}"), None) == "Error: region 'orders/{x}': [Errno 5] odd {thing} {0}", said(OSError(errno.EIO, "odd {thing} {0}"), None)
assert said(OSError(errno.EINVAL, "size"), 4096).endswith("it has another size than 4096 bytes")
assert said(OSError(errno.EINVAL, "size"), None).endswith("it has another size than it had")
assert "--share orders:rw," in said(OSError(errno.EACCES, ""), 1)
assert [seuss._ms(t) for t in (None, 0, -1, 0.0001, 0.001, 0.0011, 2)] == [None, 0, 0, 1, 1, 2, 2000]
`
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("skipped without /usr/bin/python3")
	}
	dir := t.TempDir() // as they are in images, with what is generated
	for name, content := range driver() {
		if name, ok := strings.CutPrefix(name, "modules/"); ok {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(python, "-c", check)
	cmd.Env = []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
