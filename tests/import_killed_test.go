package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledInImport: what an import has on disk when the daemon is killed is gone when
// the next one has started, and that imports.
func TestKilledInImport(t *testing.T) {
	t.Parallel()
	d := startDaemon(t)
	archive := filepath.Join(t.TempDir(), "a.tar")
	d.want(0, "", "snapshot", "export", d.ids("base")[0], "oci-archive:"+archive)
	b, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", d.token, len(b), b[:len(b)/2])
	spool := filepath.Join(d.state, "spool")
	for end := time.Now().Add(patience(time.Minute)); ; time.Sleep(time.Millisecond) {
		if list, err := os.ReadDir(spool); err == nil && len(list) == 1 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("nothing is unpacked in %s: %v %v", spool, list, err)
		}
	}
	d.kill()
	d.start()
	if list, err := os.ReadDir(spool); !os.IsNotExist(err) {
		t.Errorf("left: %v %v", list, err)
	}
	d.want(0, "were here already", "snapshot", "import", "oci-archive:"+archive)
	if list, err := os.ReadDir(spool); err != nil || len(list) != 0 {
		t.Errorf("left: %v %v", list, err)
	}
}
