package tests

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/cluster"
	"seuss/dispatcher/cluster/members"
)

// freeAddress is one on loopback that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// member starts a daemon that is one.
func member(t *testing.T, name, secret, listen, join string) *daemon {
	t.Helper()
	args := []string{"--machines", "1", "--cluster", "test", "--member", name, "--cluster-secret", secret, "--cluster-listen", listen, "--peer-listen", "127.0.0.1:0"}
	if join != "" {
		args = append(args, "--join", join)
	}
	return startDaemon(t, args...)
}

// members is what 'cluster ls' says, by name.
func (d *daemon) members() map[string]members.Member {
	d.Helper()
	list := map[string]members.Member{}
	for _, m := range document[cluster.View](d.cli, "cluster", "ls").Members {
		list[m.Member] = m
	}
	return list
}

// TestCluster: three daemons find each other, one is cordoned through another, one is drained,
// one is killed and the others see it gone, and comes back.
func TestCluster(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.Chmod(filepath.Dir(secret), 0o755); err != nil {
		t.Fatal(err)
	}
	if made := document[map[string]string](newCLI(t), "cluster", "secret", secret); made["file"] != secret {
		t.Errorf("%v", made)
	}
	addresses := [3]string{freeAddress(t), freeAddress(t), freeAddress(t)}
	a := member(t, "a", secret, addresses[0], "")
	b := member(t, "b", secret, addresses[1], addresses[0])
	c := member(t, "c", secret, addresses[2], addresses[1])
	until := func(d *daemon, what string, f func(map[string]members.Member) bool) {
		t.Helper()
		for end := time.Now().Add(patience(time.Minute)); !f(d.members()); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s: %+v", what, d.members())
			}
		}
	}
	for _, d := range []*daemon{a, b, c} {
		until(d, "three are here", func(m map[string]members.Member) bool {
			return len(m) == 3 && m["a"].State == members.Here && m["b"].State == members.Here && m["c"].State == members.Here && m["c"].CPU == m["a"].CPU && m["c"].Load.Slots == 1
		})
	}
	// does has a command done by a member that may be slow to answer another.
	does := func(d *daemon, args ...string) {
		t.Helper()
		until(d, strings.Join(args, " "), func(map[string]members.Member) bool {
			r := d.run("", append([]string{"--json", "cluster"}, args...)...)
			return r.code == 0 && strings.Contains(r.stdout, `"cordoned": `+strconv.FormatBool(args[0] != "uncordon"))
		})
	}
	told := func(words string) {
		t.Helper()
		until(a, words, func(map[string]members.Member) bool { return strings.Contains(a.run("", "doctor").stdout, words) })
	}
	told("one of 3 members that are here")
	a.want(0, "127.0.0.1:", "cluster", "show", "c")
	a.failure(1, "unknown member", "cluster", "show", "d")
	does(a, "cordon", "b")
	ready := func(d *daemon) int {
		answer, err := http.Get(d.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if got := ready(b); got != 503 {
		t.Errorf("b is cordoned: ready %d", got)
	}
	until(a, "a is ready", func(map[string]members.Member) bool { return ready(a) == 200 })
	does(c, "uncordon", "b")
	until(b, "b is ready", func(map[string]members.Member) bool { return ready(b) == 200 })
	does(c, "drain", "b")
	until(a, "b is cordoned", func(m map[string]members.Member) bool { return m["b"].Cordoned })
	c.kill()
	until(a, "c is gone", func(m map[string]members.Member) bool { return m["c"].State == members.Gone })
	told("gone: c")
	c.start()
	until(b, "c is back", func(m map[string]members.Member) bool { return m["c"].State == members.Here })
	if code := b.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	until(a, "b has left", func(m map[string]members.Member) bool { return m["b"].State != members.Here })
}

// TestClusterFlags: what is no member is refused by name, before anything starts.
func TestClusterFlags(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = t.TempDir()
	open, short := c.file("open", fmt.Sprintf("%064d\n", 1)), c.file("short", "short\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(short, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"see --cluster":               {"--join", "127.0.0.1:6222"},
		"--cluster-secret: is needed": {"--cluster", "c", "--cluster-listen", "127.0.0.1:6222"},
		"chmod 600":                   {"--cluster", "c", "--cluster-listen", "127.0.0.1:6222", "--cluster-secret", open},
		"at least 32":                 {"--cluster", "c", "--cluster-listen", "127.0.0.1:6222", "--cluster-secret", short},
		"want HOST:PORT":              {"--cluster", "c", "--cluster-secret", short},
		"others cannot reach":         {"--cluster", "c", "--cluster-listen", "0.0.0.0:6222"},
		"not a name":                  {"--cluster", "a.b", "--cluster-listen", "127.0.0.1:6222"},
		"--join":                      {"--cluster", "c", "--cluster-listen", "127.0.0.1:6222", "--join", "here"},
	} {
		r := c.run("", append([]string{"serve"}, args...)...)
		if r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, want %q: %s", args, r.code, want, r.stderr)
		}
	}
}
