package app

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/images"
)

// containerLayout writes an image layout whose only image has one layer with one file.
func containerLayout(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "srv/data", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := empty.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	file.Config = v1.Config{Entrypoint: []string{"/bin/app"}, Cmd: []string{"all"}, WorkingDir: "/srv", User: "1000"}
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), file)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.Append(img, mutate.Addendum{
		Layer: static.NewLayer(b.Bytes(), types.OCIUncompressedLayer), MediaType: types.OCIUncompressedLayer, History: v1.History{CreatedBy: "COPY data /srv"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestImagesFromSources builds images, looks at them, names them and removes them.
func TestImagesFromSources(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	one, two := "oci:"+containerLayout(t, "one"), "oci:"+containerLayout(t, "two")
	type built struct {
		Digest string
		Found  bool
	}
	build := func(args ...string) built {
		return decode[built](t, want(t, dir, append([]string{"--json", "image", "build"}, args...)))
	}
	first := build("tools", "--from", one)
	if again := build("tools", "--from", one); first.Found || !again.Found || again.Digest != first.Digest {
		t.Errorf("built %+v, then %+v", first, again)
	}
	if other := build("tools", "--from", two); other.Found || other.Digest == first.Digest {
		t.Errorf("another image is %+v", other)
	}
	want(t, dir, []string{"image", "ls"}, "tools ", "(was ")
	want(t, dir, []string{"image", "tag", first.Digest[:8], "old"}, "old")
	type shown struct {
		Tags    []string
		Config  images.Config
		Sources []images.Origin
		Rebuild []string
	}
	s := decode[shown](t, want(t, dir, []string{"--json", "image", "show", "old", "--rebuild"}))
	if ct := s.Config.Container; len(s.Sources) != 1 || s.Sources[0].Reference != one || s.Sources[0].Digest != s.Config.Origin || len(s.Rebuild) != 0 ||
		ct == nil || len(ct.Layers) != 1 || ct.WorkingDir != "/srv" || ct.User != "1000" {
		t.Errorf("shown %+v", s)
	}
	want(t, dir, []string{"image", "show", "old"}, "/bin/app", one, "COPY data /srv", "/srv")
	want(t, dir, []string{"image", "history", "old"}, "COPY data /srv")
	// A second image with the layer, and what is said of both.
	want(t, dir, []string{"image", "build", "third", "--from", one, "--memory", "64MiB"}, "third")
	type layers struct {
		Bytes    int64
		OwnBytes int64 `json:"own_bytes"`
		Layers   []struct {
			Digest string
			Bytes  int64
			Images []string
		}
	}
	l := decode[layers](t, want(t, dir, []string{"--json", "image", "show", "third"}))
	if len(l.Layers) != 1 || l.Bytes != l.OwnBytes+l.Layers[0].Bytes || !slices.Equal(l.Layers[0].Images, []string{"old"}) {
		t.Errorf("shown %+v", l)
	}
	want(t, dir, []string{"image", "show", "third"}, "of which", "which old has too")
	// Of an image with other names the name that is given goes, and its snapshots are nobody's matter.
	want(t, dir, []string{"image", "tag", "third", "fourth"})
	removed := decode[dispatcher.RemovedImage](t, want(t, dir, []string{"--json", "image", "rm", "third"}))
	if !slices.Equal(removed.Names, []string{"fourth"}) || len(removed.Nodes) != 0 || len(removed.Image) != 64 {
		t.Errorf("took a name away: %+v", removed)
	}
	refused(t, dir, api.ExitFailure, []string{"image", "rm", "third"}, "not found")
	want(t, dir, []string{"image", "tag", "fourth", "fifth"})
	refused(t, dir, api.ExitFailure, []string{"image", "rm", "fourth", "--cascade"}, "image fourth is also fifth", "leave --cascade out")
	want(t, dir, []string{"image", "rm", "fourth"}, "took the name fourth from image", "which is still fifth")
	want(t, dir, []string{"image", "show", "fifth"}, removed.Image)
	want(t, dir, []string{"image", "tag", "fifth", "sixth"})
	want(t, dir, []string{"image", "rm", removed.Image[:12]}, "removed image")
	refused(t, dir, api.ExitFailure, []string{"image", "show", "sixth"}, "not found")
	want(t, dir, []string{"image", "show", "old"}, l.Layers[0].Digest[:12])
	// What has a name stays; what has none goes, with its layers.
	want(t, dir, []string{"image", "prune", "--all"}, "removed 0 images and 0 layers")
	want(t, dir, []string{"image", "tag", "tools", "old"})
	want(t, dir, []string{"image", "prune"}, "removed 0 images") // of the last hour
	want(t, dir, []string{"image", "prune", "--all"}, "removed 1 images and 1 layers")
	refused(t, dir, api.ExitFailure, []string{"image", "show", first.Digest[:12]}, "not found")
	if again := build("--from", one); again.Found || again.Digest != first.Digest {
		t.Errorf("after prune: %+v, want %s anew", again, first.Digest)
	}
	// An image that has lost a layer is built again.
	lost, err := filepath.Glob(filepath.Join(dir, "images", "layers", "*.layer"))
	if err != nil || len(lost) == 0 {
		t.Fatal(lost, err)
	}
	for _, path := range lost {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if again := build("tools", "--from", two); again.Found {
		t.Errorf("without its layer: %+v", again)
	}
	want(t, dir, []string{"image", "rm", "tools"}, "which is still old")
	want(t, dir, []string{"image", "rm", "old"}, "removed image")
	if left, err := filepath.Glob(filepath.Join(dir, "images", "*.tag")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestImageBuildRefuses: what cannot be built says so in one line, and leaves nothing.
func TestImageBuildRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	bad := containerLayout(t, "one")
	blobs, err := filepath.Glob(filepath.Join(bad, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if text, err := os.ReadFile(b); err == nil && bytes.Contains(text, []byte("srv/data")) && !bytes.HasPrefix(text, []byte("{")) {
			if err := os.WriteFile(b, bytes.Replace(text, []byte("one"), []byte("eno"), 1), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for ref, text := range map[string]string{
		"oci:" + bad:           "does not match its digest",
		"oci:" + dir + "-none": "no such file",
		"rsync://host/x":       "no source has the scheme",
		"docker://a b/c":       "docker://a b/c",
		"dir:/nowhere":         "no such file",
	} {
		out := command(t, dir, "", nil, "image", "build", "x", "--from", ref)
		if out.code == api.ExitOK || !strings.Contains(out.stderr, text) || strings.Count(out.stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want one line with %q", ref, out.code, out.stderr, text)
		}
	}
	for _, pattern := range []string{"images/*", "images/layers/*"} {
		if left, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(left) > 1 { // the directory of layers
			t.Errorf("left %v, %v", left, err)
		}
	}
}
