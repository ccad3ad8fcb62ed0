package tests

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// layerOf is a container image's layer with the files of a directory.
func layerOf(t *testing.T, dir string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// pageCommands are the lines of a page's block of commands below a heading.
func pageCommands(t *testing.T, page, heading string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	_, rest, begins := strings.Cut(rest, "\n```sh\n")
	block, _, ends := strings.Cut(rest, "\n```\n")
	if !ok || !begins || !ends {
		t.Fatalf("docs/%s has no commands below %q", page, heading)
	}
	return strings.Split(block, "\n")
}

// TestContainerImageBecomesFunction runs the commands of docs/images.md: an image of layers in
// a registry becomes a root; a function runs on its interpreter with its packages, which
// its upper layer has changed; and the program of the image runs as it says.
func TestContainerImageBecomesFunction(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	root, upper := hostRoot(t), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(root, "usr/lib/python3/dist-packages/greeting.py"):  "WORD = 'below'\n",
		filepath.Join(root, "srv/gone.txt"):                               "it is deleted above",
		filepath.Join(upper, "usr/lib/python3/dist-packages/greeting.py"): "WORD = 'above'\n",
		filepath.Join(upper, "srv/.wh.gone.txt"):                          "",
		filepath.Join(upper, "srv/here.txt"):                              "here",
		filepath.Join(upper, "etc/passwd"):                                "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
		filepath.Join(upper, "etc/group"):                                 "root:x:0:\napp:x:1001:\nstaff:x:50:app\n",
		filepath.Join(upper, "var/task/theirs"):                           "", // a directory of root's
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image, err := mutate.AppendLayers(empty.Image, layerOf(t, root), layerOf(t, upper))
	if err == nil {
		image, err = mutate.Config(image, v1.Config{
			Env: []string{"WORD=env"}, WorkingDir: "/srv", Entrypoint: []string{"/usr/bin/python3"}, User: "app",
			Cmd: []string{"-c", "import os, greeting; print(os.getcwd(), sorted(os.listdir()), os.environ['WORD'], greeting.WORD)"},
		})
	}
	if err == nil {
		image, err = mutate.ConfigFile(image, withPlatform(t, image))
	}
	if err != nil {
		t.Fatal(err)
	}
	var blobs atomic.Int64 // layers and configurations that were fetched
	answers := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			blobs.Add(1)
		}
		answers.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/report:1")
	if err == nil {
		err = remote.Write(ref, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	app := c.file("app.py", "import os, greeting\ndef handler(event, context):\n    return [greeting.WORD, event, os.path.exists('/srv/gone.txt'), os.getuid(), os.getgid(), os.getgroups()]\n")
	source := "docker://" + host + "/report:1"
	ran := 0
	for _, line := range pageCommands(t, "images.md", "From a Dockerfile to a function") {
		args, ok := strings.CutPrefix(line, "seussctl ")
		if !ok {
			continue // what builds and pushes the image
		}
		args = strings.NewReplacer("registry.example.com", host, "app.py", app, "'", "").Replace(args)
		words := strings.Fields(args)
		r := c.want(0, "", words...)
		if ran++; words[0] == "invoke" && strings.TrimSpace(r.stdout) != `["above", {"rows": 3}, false, 1000, 1001, [50]]` {
			t.Errorf("%s: %s", line, r.stdout)
		}
	}
	if ran < 3 {
		t.Errorf("the page has %d commands", ran)
	}
	fetched := blobs.Load()
	const want = "/srv ['here.txt'] env above"
	c.want(0, want, "run", "--image", source)
	c.want(0, "/usr 3", "run", "--image", "report", "--workdir", "/usr", "--", "-c", "import os; print(os.getcwd(), 1 + 2)")
	if now := blobs.Load(); now != fetched || fetched == 0 {
		t.Errorf("%d blobs were fetched, then %d more", fetched, now-fetched)
	}
	c.want(0, "0", "run", "--image", "report", "--user", "root", "--", "-c", "import os; print(os.getuid())")
	const ids = "import os; print(os.getuid(), os.getgid(), os.getgroups(), os.environ['HOME'], os.access('/etc/passwd', 2), os.access('/var/task', 2))"
	c.want(0, "1000 1001 [50] /home/app False True", "run", "--image", "report", "--", "-c", ids)
	c.want(0, "1000 50 [] /home/app False True", "run", "--image", "report", "--user", "1000:staff", "--", "-c", ids)
	c.want(0, "7 0 [] / False True", "run", "--image", "report", "--user", "7", "--", "-c", ids)
	c.failure(125, `has no user "nobody"`, "run", "--image", "report", "--user", "nobody", "--", "-c", "pass")
	c.want(0, "", "image", "build", "other", "--from", source, "--user", "root:app")
	c.want(0, "0 1001 [] /root True True", "run", "--image", "other", "--", "-c", ids)
	c.failure(1, `has no group "none"`, "image", "build", "other", "--from", source, "--user", "app:none")
	c.failure(125, "no such image", "run", "--image", "docker://"+host+"/other:1")
}

// withPlatform is the configuration of an image for this platform.
func withPlatform(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	return file
}
