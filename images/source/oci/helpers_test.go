package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"seuss/images/layer"
	"seuss/images/source"
)

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive makes a tar archive of regular files.
func archive(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		check(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
		must(io.WriteString(w, text))(t)
	}
	check(t, w.Close())
	return b.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	must(w.Write(content))(t)
	check(t, w.Close())
	return b.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	t.Helper()
	return must(zstd.NewWriter(nil))(t).EncodeAll(content, nil)
}

// part is a layer of a test's image.
type part struct {
	v1.Layer
	diffID v1.Hash
}

func (p part) DiffID() (v1.Hash, error) { return p.diffID, nil }

// pack makes a layer of an archive and of what it is packed to.
func pack(t *testing.T, content, packed []byte, kind types.MediaType) v1.Layer {
	t.Helper()
	diffID, _, err := v1.SHA256(bytes.NewReader(content))
	check(t, err)
	return part{static.NewLayer(packed, kind), diffID}
}

// testConfig is what test images say of their programs.
var testConfig = v1.Config{
	Entrypoint: []string{"/bin/app", "--serve"}, Cmd: []string{"all"}, Env: []string{"PATH=/bin", "MODE=test"},
	WorkingDir: "/srv", User: "app:staff", Labels: map[string]string{"team": "tools", "seuss.guest": "forged"},
	ExposedPorts: map[string]struct{}{"8080/tcp": {}}, StopSignal: "SIGINT",
}

// container makes an image of layers for a platform.
func container(t *testing.T, arch string, layers ...v1.Layer) v1.Image {
	t.Helper()
	file := must(empty.Image.ConfigFile())(t).DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", arch, testConfig
	img := must(mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), file))(t)
	for _, l := range layers {
		img = must(mutate.Append(img, mutate.Addendum{Layer: l, MediaType: must(l.MediaType())(t), History: v1.History{CreatedBy: "RUN make"}}))(t)
	}
	return img
}

// threeLayers packs one file each, in every way.
func threeLayers(t *testing.T) v1.Image {
	a, b, c := archive(t, "bin/app=one", "etc/a=x"), archive(t, "etc/b=two"), archive(t, "etc/.wh.a=", "etc/c=three")
	return container(t, "amd64",
		pack(t, a, gzipped(t, a), types.OCILayer), pack(t, b, zstandard(t, b), types.OCILayerZStd), pack(t, c, c, types.OCIUncompressedLayer))
}

// writeLayout puts images into a new layout, each under its name.
func writeLayout(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	p := must(ocilayout.Write(dir, empty.Index))(t)
	for name, img := range images {
		var o []ocilayout.Option
		if name != "" {
			o = append(o, ocilayout.WithAnnotations(map[string]string{ocispec.AnnotationRefName: name}))
		}
		check(t, p.AppendImage(img, o...))
	}
	return dir
}

// pack a directory into a tar archive.
func tarOf(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	f := must(os.Create(file))(t)
	w := tar.NewWriter(f)
	check(t, w.AddFS(os.DirFS(dir)))
	check(t, w.Close())
	check(t, f.Close())
	return file
}

// writeSaved makes an archive as docker save does, its second layer being a link.
func writeSaved(t *testing.T, tag string, img v1.Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "saved.tar")
	f := must(os.Create(file))(t)
	w := tar.NewWriter(f)
	put := func(name string, content []byte) {
		check(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}))
		must(w.Write(content))(t)
	}
	m := savedImage{Config: "config.json", RepoTags: []string{tag}}
	put(m.Config, must(img.RawConfigFile())(t))
	for i, l := range must(img.Layers())(t) {
		name := string(rune('a'+i)) + "/layer.tar"
		r := must(l.Compressed())(t)
		content := must(io.ReadAll(r))(t)
		if i == 1 {
			put("blobs/second", content)
			check(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: "../blobs/second"}))
		} else {
			put(name, content)
		}
		m.Layers = append(m.Layers, name)
	}
	put("manifest.json", must(json.Marshal([]savedImage{m}))(t))
	check(t, w.Close())
	check(t, f.Close())
	return file
}

// server is a registry on loopback that counts what it is asked, and can answer itself.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	asked  map[string]int // by kind: manifests, blobs
	before func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T) *server {
	s := &server{asked: map[string]int{}}
	next := ggcr.New(ggcr.Logger(quiet()))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		for _, kind := range []string{"manifests", "blobs"} {
			if strings.Contains(r.URL.Path, "/"+kind+"/") {
				s.asked[kind]++
			}
		}
		before := s.before
		s.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

// answer lets f answer what it likes, and forgets what was asked.
func (s *server) answer(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.asked = f, map[string]int{}
}

func (s *server) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[kind]
}

func (s *server) push(t *testing.T, ref string, img v1.Image) {
	t.Helper()
	check(t, remote.Write(must(name.ParseReference(s.host()+"/"+ref))(t), img))
}

// options are those of a new layer store.
func options(t *testing.T) source.Options {
	return source.Options{Layers: layer.Store{Dir: filepath.Join(t.TempDir(), "layers")}}
}

// open finds a reference and opens it.
func open(t *testing.T, ref string, o source.Options) (*source.Found, *source.Tree, source.Config, error) {
	t.Helper()
	found, err := source.Find(t.Context(), ref, o)
	if err != nil {
		return nil, nil, source.Config{}, err
	}
	tree, config, err := found.Open(t.Context())
	if err == nil {
		t.Cleanup(func() { check(t, tree.Close()) })
	}
	return found, tree, config, err
}

// leftovers are the files below a directory, those of size 0 apart.
func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	return names
}
