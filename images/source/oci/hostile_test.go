package oci

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/images/layer"
	"seuss/images/source"
)

// oneLine is what every refusal is held to.
func oneLine(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v, want one line with %q", what, err, want)
	}
}

// TestRegistryRefuses are registries that do not give what was asked for.
func TestRegistryRefuses(t *testing.T) {
	s := serve(t)
	content := archive(t, "f="+strings.Repeat("x", 100_000))
	s.push(t, "a", container(t, "amd64", pack(t, content, gzipped(t, content), types.OCILayer)))
	ref := "docker://" + s.host() + "/a"
	config := must(container(t, "amd64", pack(t, content, gzipped(t, content), types.OCILayer)).ConfigName())(t).Hex
	layers := func(f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/blobs/") || strings.Contains(r.URL.Path, config) {
				return false
			}
			f(w, r)
			return true
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			return true
		}
	}
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"401":         {status(401), "log in with: docker login " + s.host()},
		"403":         {status(403), "log in with: docker login " + s.host()},
		"404":         {status(404), "has no such image"},
		"418":         {status(418), "status 418"},
		"other bytes": {layers(func(w http.ResponseWriter, _ *http.Request) { w.Write(gzipped(t, archive(t, "f=other"))) }), "does not match"},
		"endless": {layers(func(w http.ResponseWriter, _ *http.Request) {
			for w.Header().Set("Content-Type", "x"); ; {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}), ""},
		"large answer": {func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") || r.Method == http.MethodHead {
				return false
			}
			for range 2 * maxDocument >> 16 {
				w.Write(bytes.Repeat([]byte(" "), 1<<16))
			}
			return true
		}, "too large"},
		"cut off": {layers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(gzipped(t, content)[:50])
		}), ""},
	} {
		o := options(t)
		s.answer(c.answer)
		_, _, _, err := open(t, ref, o)
		oneLine(t, what, err, c.want)
		if left := leftovers(t, o.Layers.Dir); len(left) > 0 {
			t.Errorf("%s left %v", what, left)
		}
	}
	s.Close()
	_, _, _, err := open(t, ref, options(t))
	oneLine(t, "down", err, "registry "+s.host()+" is down")
	_, _, _, err = open(t, "docker://registry.invalid/a", options(t))
	oneLine(t, "no host", err, "registry.invalid")
}

// TestStall is a registry that sends half a layer and then nothing.
func TestStall(t *testing.T) {
	defer func(d time.Duration) { stallTimeout = d }(stallTimeout)
	s := serve(t)
	content := archive(t, "f="+strings.Repeat("x", 100_000))
	img := container(t, "amd64", pack(t, content, content, types.OCIUncompressedLayer))
	s.push(t, "a", img)
	config := must(img.ConfigName())(t).Hex
	stallTimeout = 200 * time.Millisecond
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") || strings.Contains(r.URL.Path, config) {
			return false
		}
		w.Write(content[:50_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	o := options(t)
	_, _, _, err := open(t, "docker://"+s.host()+"/a", o)
	oneLine(t, "a stall", err, "no data came for too long")
	if left := leftovers(t, o.Layers.Dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestBadLayers are layouts whose layers are not what they should be.
func TestBadLayers(t *testing.T) {
	good := archive(t, "f="+strings.Repeat("x", 10_000))
	other := archive(t, "g=y")
	bomb := archive(t, "zeros="+strings.Repeat("\x00", 8<<20))
	for what, c := range map[string]struct {
		layer  v1.Layer
		change func(blob []byte) []byte
		want   error
	}{
		"flipped bit":     {pack(t, good, good, types.OCIUncompressedLayer), func(b []byte) []byte { b[5000] ^= 1; return b }, ErrDigest},
		"cut off":         {pack(t, good, gzipped(t, good), types.OCILayer), func(b []byte) []byte { return b[:len(b)-1] }, ErrDigest},
		"longer":          {pack(t, good, gzipped(t, good), types.OCILayer), func(b []byte) []byte { return append(b, 0) }, ErrDigest},
		"other diff id":   {pack(t, other, gzipped(t, good), types.OCILayer), nil, layer.ErrDiffID},
		"gzip bomb":       {pack(t, bomb, gzipped(t, bomb), types.OCILayer), nil, ErrTooLarge},
		"zstd bomb":       {pack(t, bomb, zstandard(t, bomb), types.OCILayerZStd), nil, ErrTooLarge},
		"path traversal":  {pack(t, archive(t, "../x=1"), archive(t, "../x=1"), types.OCIUncompressedLayer), nil, layer.ErrTar},
		"no archive":      {pack(t, []byte("hello, world"), []byte("hello, world"), types.OCIUncompressedLayer), nil, layer.ErrTar},
		"half a gzip":     {pack(t, good, gzipped(t, good)[:100], types.OCILayer), nil, layer.ErrTar},
		"encrypted layer": {pack(t, good, good, "application/vnd.oci.image.layer.v1.tar+encrypted"), nil, ErrFormat},
	} {
		dir := writeLayout(t, map[string]v1.Image{"": container(t, "amd64", c.layer)})
		if c.change != nil {
			blob := filepath.Join(dir, "blobs/sha256", must(c.layer.Digest())(t).Hex)
			b := must(os.ReadFile(blob))(t)
			check(t, os.WriteFile(blob, c.change(b), 0o644))
		}
		o := options(t)
		o.MaxBytes = 1 << 20
		_, _, _, err := open(t, "oci:"+dir, o)
		if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if left := leftovers(t, o.Layers.Dir); len(left) > 0 {
			t.Errorf("%s left %v", what, left)
		}
	}
}

// TestBadPlaces are references that lead to no image.
func TestBadPlaces(t *testing.T) {
	two := writeLayout(t, map[string]v1.Image{"one": container(t, "amd64"), "two": threeLayers(t)})
	void := t.TempDir()
	packed := filepath.Join(void, "a.tar.gz")
	check(t, os.WriteFile(packed, gzipped(t, archive(t, "x=1")), 0o644))
	text := filepath.Join(void, "text")
	check(t, os.WriteFile(text, []byte(strings.Repeat("no archive\n", 100)), 0o644))
	saved := writeSaved(t, "app:1", container(t, "amd64"))
	linked := t.TempDir()
	check(t, os.Symlink("/etc/hostname", filepath.Join(linked, "oci-layout")))
	for ref, want := range map[string]string{
		"oci:" + void:                     "no oci-layout in it",
		"oci:" + two:                      "several images; name one of one, two",
		"oci:" + two + ":three":           `no image "three" in it; there are one, two`,
		"oci:/nowhere":                    "no such file",
		"oci:" + linked:                   "escapes",
		"oci-archive:" + packed:           "gunzip " + packed,
		"oci-archive:" + text:             "not a valid container image",
		"oci-archive:" + saved:            "docker-archive:FILE",
		"docker-archive:" + tarOf(t, two): "oci-archive:FILE",
		"docker-archive:" + saved + ":2":  `no image "2" in it; there are app:1`,
		"docker-archive:" + void:          "not a file",
		"docker:alpine":                   "want docker://",
		"docker://host/UPPER":             "UPPER",
		"docker://host/a@sha256:abc":      "sha256:abc",
		"docker://host/a@sha512:" + strings.Repeat("a", 128): "sha512",
	} {
		_, err := source.Find(t.Context(), ref, options(t))
		oneLine(t, ref, err, want)
	}
}

// TestDocuments are manifests, indexes and configs that break rules.
func TestDocuments(t *testing.T) {
	dir := writeLayout(t, map[string]v1.Image{"": container(t, "amd64")})
	index := func(text string) string {
		check(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte(text), 0o644))
		return "oci:" + dir
	}
	blob := func(content, mediaType string) string {
		h, n, err := v1.SHA256(strings.NewReader(content))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, "blobs/sha256", h.Hex), []byte(content), 0o644))
		return fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":%q}`, mediaType, n, h)
	}
	manifests := func(list ...string) string {
		return `{"schemaVersion":2,"manifests":[` + strings.Join(list, ",") + `]}`
	}
	const manifest, oci1 = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	config := blob(`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:`+strings.Repeat("0", 64)+`"]}}`, "x")
	nested := blob(manifests(), oci1)
	for range maxIndexes + 1 {
		nested = blob(manifests(nested), oci1)
	}
	for what, c := range map[string]struct{ index, want string }{
		"no JSON":           {"{", "index.json"},
		"no manifests":      {manifests(), "an index without images"},
		"large manifest":    {manifests(fmt.Sprintf(`{"mediaType":%q,"size":%d,"digest":"sha256:%064d"}`, manifest, 1<<40, 0)), "too large"},
		"missing manifest":  {manifests(fmt.Sprintf(`{"mediaType":%q,"size":2,"digest":"sha256:%064d"}`, manifest, 0)), "no blob"},
		"nested":            {manifests(nested), "indexes in one another"},
		"diff ids too many": {manifests(blob(`{"schemaVersion":2,"config":`+config+`,"layers":[]}`, manifest)), "names 1 layers, the manifest 0"},
		"large config":      {manifests(blob(fmt.Sprintf(`{"schemaVersion":2,"config":{"size":%d,"digest":"sha256:%064d"}}`, 1<<40, 0), manifest)), "too large"},
		"digest of a path":  {manifests(blob(`{"schemaVersion":2,"config":{"size":1,"digest":"sha256:../../../../etc/passwd"}}`, manifest)), "manifest"},
		"schema 1":          {manifests(blob(`{}`, "application/vnd.docker.distribution.manifest.v1+json")), "an index without images"},
	} {
		_, err := source.Find(t.Context(), index(c.index), options(t))
		oneLine(t, what, err, c.want)
	}
}

// FuzzArchive reads damaged archives: any error will do, but no panic.
func FuzzArchive(f *testing.F) {
	f.Add([]byte("oci"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "a.tar")
		check(t, os.WriteFile(file, b, 0o644))
		for _, scheme := range []string{"oci-archive:", "docker-archive:"} {
			_, _ = source.Find(t.Context(), scheme+file, source.Options{})
		}
	})
}
