package app

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/server"
	"seuss/tools/seussctl/cmdline"
)

// TestOwnerSetSaysWhat: what is empty lifts no quota, and who says nothing is told.
func TestOwnerSetSaysWhat(t *testing.T) {
	dir := t.TempDir()
	want(t, dir, []string{"owner", "set", "alice", "--functions", "3", "--code", "1MiB", "--snapshots", "2MiB", "--instances", "4", "--machines", "2.5"})
	whole := access.Quota{Functions: 3, CodeBytes: 1 << 20, NodeBytes: 2 << 20, Instances: 4, MachinePct: 250}
	stands := func(q access.Quota) {
		t.Helper()
		f, err := access.ReadFile(dir)
		if err != nil || len(f.Owners) != 1 || f.Owners[0].Quota != q {
			t.Errorf("%+v, %v; want %+v", f, err, q)
		}
	}
	refused(t, dir, api.ExitUsage, []string{"owner", "set", "alice"}, "say what")
	for _, name := range []string{"functions", "code", "snapshots", "instances", "machines"} {
		refused(t, dir, api.ExitUsage, []string{"owner", "set", "alice", "--" + name, ""}, "empty")
		refused(t, dir, api.ExitUsage, []string{"owner", "set", "alice", "--" + name, "0"}, "want")
	}
	stands(whole)
	want(t, dir, []string{"owner", "set", "alice", "--instances", "any"})
	whole.Instances = 0
	stands(whole)
}

// brokenWriter takes nothing.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

// TestTokenCreateKeepsNoLostSecret: a secret is printed although the daemon fails; one that
// cannot be printed is of no token.
func TestTokenCreateKeepsNoLostSecret(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, cmdline.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	daemon := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server.WriteJSON(w, http.StatusInternalServerError, api.Error{Code: "failed", Message: "the daemon is ill"})
	})}
	go daemon.Serve(l)
	t.Cleanup(func() { daemon.Close() })
	for _, flag := range []string{"--sign", "--json"} {
		name := flag[2:]
		out := command(t, dir, "", nil, "token", "create", name, flag)
		secret := strings.TrimSpace(out.stdout)
		if flag == "--json" {
			secret = decode[struct{ Secret string }](t, out.stdout).Secret
		}
		f, err := access.ReadFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		table, err := f.Table()
		if err != nil {
			t.Fatal(err)
		}
		if p := table.Bearer(secret); p == nil || p.Name != name || out.code != api.ExitFailure || !strings.Contains(out.stderr, "is ill") {
			t.Errorf("%+v", out)
		}
	}
	for _, flag := range []string{"--sign", "--json"} {
		var stderr bytes.Buffer
		e := cmdline.NewEnv(strings.NewReader(""), brokenWriter{}, &stderr)
		e.Getenv = func(name string) string { return map[string]string{cmdline.StateVariable: dir}[name] }
		if code := run(t.Context(), e, []string{"seussctl", "token", "create", "lost", flag}); code != api.ExitFailure || !strings.Contains(stderr.String(), "taken back") {
			t.Errorf("exit %d, %s", code, &stderr)
		}
		f, err := access.ReadFile(dir)
		if err != nil || len(f.Tokens) != 2 {
			t.Errorf("%+v, %v", f, err)
		}
	}
}
