package cmdline

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"seuss/lineage/sealed/sealedtest"
)

// TestDaemonOfAnother: a socket that another user serves is no daemon to a user's
// commands, whatever its permissions; one of root's is, and root takes any.
func TestDaemonOfAnother(t *testing.T) {
	const user = 12345
	e := &Env{StateDir: t.TempDir()}
	path := filepath.Join(e.StateDir, SocketName)
	for dir := e.StateDir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	listen := func() (l net.Listener) {
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var l net.Listener
	found := func() (ok bool) {
		if d := e.Daemon(); d != nil {
			d.Close()
			ok = true
		}
		return ok
	}
	sealedtest.AsNobody(t, func() { l = listen() })
	sealedtest.AsUser(t, user, func() {
		if found() {
			t.Error("a command would give its code to another user")
		}
	})
	sealedtest.AsNobody(t, func() {
		if !found() {
			t.Error("a user's own daemon is none")
		}
	})
	if !found() {
		t.Error("root's commands find no daemon of a user's")
	}
	l.Close()
	l = listen()
	defer l.Close()
	sealedtest.AsUser(t, user, func() {
		if !found() {
			t.Error("root's daemon is none")
		}
	})
}
