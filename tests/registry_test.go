package tests

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A snapshot goes from one state directory through a registry and a running daemon to
// another one, and functions run from it there.
func TestImportFromRegistryThroughDaemon(t *testing.T) {
	t.Parallel()
	var fetched atomic.Int64
	var spoil atomic.Bool
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			fetched.Add(1)
			if spoil.Load() {
				w = &spoiler{w, 0}
			}
		}
		store.ServeHTTP(w, r)
	}))
	defer server.Close()
	place := "docker://" + strings.TrimPrefix(server.URL, "http://") + "/seuss/"

	from := newCLI(t)
	from.state = treeCopy(t)
	counter, other := from.file("main.py", counterFunction), from.file("main.py", strings.ReplaceAll(counterFunction, "2000", "3000"))
	from.want(0, "counter", "function", "deploy", "counter", counter)
	from.want(0, "other", "function", "deploy", "other", other)
	ids := map[string]string{}
	for _, n := range document[[]item](from, "snapshot", "ls", "--kind", "function") {
		ids[n.Key.Function] = n.ID
	}
	for _, name := range []string{"counter", "other"} {
		from.want(0, ids[name][:12], "snapshot", "export", ids[name], place+name+":v1")
	}

	to := &daemon{cli: newCLI(t)}
	to.state = copyState(t)
	to.start()
	t.Cleanup(func() {
		to.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", to.log)
		}
	})
	type imported struct {
		ID      string
		Added   []item
		Skipped int `json:"layers_skipped"`
	}
	got := document[imported](to.cli, "snapshot", "import", place+"counter:v1", "--tag", "counter@v1")
	if got.ID != ids["counter"] || len(got.Added) != 2 || got.Skipped != 2 { // the image, and its node, are there
		t.Fatalf("%+v, want node %s", got, ids["counter"])
	}
	to.want(0, "counter", "function", "deploy", "counter", counter)
	for range 2 {
		to.want(0, "[3996001, 2000]", "invoke", "counter", "--event", `{"n": "1999"}`)
	}
	// A node is deployed as what came, not captured anew.
	for _, n := range document[[]item](to.cli, "snapshot", "ls", "--kind", "function") {
		if n.ID != ids["counter"] || n.Hits < 2 {
			t.Errorf("%+v", n)
		}
	}
	// What the state directory has is not fetched again: the config, to look at and to
	// send, and one layer.
	fetched.Store(0)
	if got = document[imported](to.cli, "snapshot", "import", place+"other:v1"); got.ID != ids["other"] || len(got.Added) != 1 || got.Skipped != 3 {
		t.Errorf("%+v", got)
	}
	if n := fetched.Load(); n != 3 {
		t.Errorf("%d blobs were fetched, want 3", n)
	}
	to.want(0, "other", "function", "deploy", "other", other)
	to.want(0, "[3996001, 3000]", "invoke", "other", "--event", `{"n": "1999"}`)

	// What is not there, and what is not what it should be, is refused in one line, and
	// leaves nothing behind.
	to.failure(1, "nothing:v1", "snapshot", "import", place+"nothing:v1")
	to.want(0, "removed", "snapshot", "rm", ids["other"])
	spoil.Store(true)
	to.failure(1, "import from "+place+"other:v1", "snapshot", "import", place+"other:v1")
	spoil.Store(false)
	if nodes := to.ids("function"); len(nodes) != 1 || nodes[0] != ids["counter"] {
		t.Errorf("snapshots %v after an import that failed", nodes)
	}
	to.want(0, "", "snapshot", "import", place+"other:v1")
	to.want(0, "as they were captured", "snapshot", "verify")
	if code := to.stop(); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
}

// spoiler flips a bit of what it passes on.
type spoiler struct {
	http.ResponseWriter
	n int
}

func (s *spoiler) Write(b []byte) (int, error) {
	b = append([]byte{}, b...)
	for i := range b {
		if s.n++; s.n == 100 {
			b[i] ^= 1
		}
	}
	return s.ResponseWriter.Write(b)
}
