package oci

import (
	"errors"
	"io"
	"log"
	"net/http"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/images"
	"seuss/images/source"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// TestEverySource reads one image from all places, with each kind of layer.
func TestEverySource(t *testing.T) {
	img := threeLayers(t)
	s := serve(t)
	s.push(t, "team/app:1.2", img)
	dir := writeLayout(t, map[string]v1.Image{"one": img, "two": container(t, "amd64")})
	manifest, config := must(img.Digest())(t).String(), must(img.ConfigName())(t).String()
	file := must(img.ConfigFile())(t)
	for ref, want := range map[string]struct{ name, digest string }{
		"docker://" + s.host() + "/team/app:1.2":                   {"app-1.2", manifest},
		"docker://" + s.host() + "/team/app:gone@" + manifest:      {"app", manifest},
		"oci:" + dir + ":one":                                      {"", manifest},
		"oci-archive:" + tarOf(t, dir) + ":one":                    {"archive", manifest},
		"docker-archive:" + writeSaved(t, "team/app:1.2", img):     {"saved", config},
		"docker-archive:" + writeSaved(t, "app:1", img) + ":1":     {"saved", config},
		"oci:" + writeLayout(t, map[string]v1.Image{"": img}) + "": {"", manifest},
	} {
		o := options(t)
		found, tree, got, err := open(t, ref, o)
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if found.Digest != want.digest || tree.Digest != want.digest || want.name != "" && found.Name != want.name {
			t.Errorf("%s: found %+v of %s", ref, found, tree.Digest)
		}
		if len(tree.Layers) != 3 {
			t.Errorf("%s: %d layers", ref, len(tree.Layers))
		}
		for i, l := range got.Layers {
			if l.DiffID != file.RootFS.DiffIDs[i].String() || l.CreatedBy != "RUN make" || i < 2 && l.Bytes == 0 {
				t.Errorf("%s: layer %d is %+v", ref, i, l)
			}
		}
		got.Layers = nil
		if want := (source.Config{Env: testConfig.Env, Labels: testConfig.Labels, Container: images.Container{
			Entrypoint: testConfig.Entrypoint, Cmd: testConfig.Cmd, WorkingDir: "/srv", User: "app:staff",
			ExposedPorts: []string{"8080/tcp"}, StopSignal: "SIGINT",
		}}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: config %+v", ref, got)
		}
		spec := tree.Spec(got)
		if spec.Labels["team"] != "tools" || spec.Labels["seuss.guest"] != "" {
			t.Errorf("%s: labels %v", ref, spec.Labels)
		}
	}
}

// TestLayersAreFetchedOnce asks a registry again, for an image that shares a layer, and
// with a digest that needs no asking.
func TestLayersAreFetchedOnce(t *testing.T) {
	s := serve(t)
	base := archive(t, "base=0123456789")
	more := archive(t, "more=1")
	shared := pack(t, base, gzipped(t, base), types.OCILayer)
	s.push(t, "a", container(t, "amd64", shared))
	s.push(t, "b", container(t, "amd64", shared, pack(t, more, gzipped(t, more), types.OCILayer)))
	o := options(t)
	for _, step := range []struct {
		ref   string
		blobs int // config and layers
	}{{"a", 2}, {"a", 1}, {"b", 2}, {"b", 1}} {
		s.answer(nil)
		if _, _, _, err := open(t, "docker://"+s.host()+"/"+step.ref, o); err != nil {
			t.Fatal(err)
		}
		if n := s.count("blobs"); n != step.blobs {
			t.Errorf("%s: %d blobs fetched, want %d", step.ref, n, step.blobs)
		}
	}
	s.answer(nil)
	digest := must(container(t, "amd64", shared).Digest())(t)
	found, err := source.Find(t.Context(), "docker://"+s.host()+"/a@"+digest.String(), o)
	if err != nil || found.Digest != digest.String() || s.count("manifests")+s.count("blobs") > 0 {
		t.Errorf("a digest: %+v, %v, %d requests", found, err, s.count("manifests"))
	}
	// Finding out what a tag leads to asks for no more than that.
	if _, err := source.Find(t.Context(), "docker://"+s.host()+"/a", o); err != nil || s.count("manifests") != 1 || s.count("blobs") != 0 {
		t.Errorf("a tag: %v, %d manifests, %d blobs", err, s.count("manifests"), s.count("blobs"))
	}
}

// TestPlatform picks linux/amd64 from indexes, and refuses what has none by name.
func TestPlatform(t *testing.T) {
	index := func(arches ...string) v1.ImageIndex {
		i := v1.ImageIndex(mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
		for _, arch := range arches {
			os := "linux"
			if arch == "unknown" {
				os = arch
			}
			i = mutate.AppendManifests(i, mutate.IndexAddendum{Add: container(t, arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}})
		}
		return i
	}
	write := func(i v1.ImageIndex) string {
		dir := t.TempDir()
		p := must(ocilayout.Write(dir, empty.Index))(t)
		check(t, p.AppendIndex(i))
		return dir
	}
	found, _, _, err := open(t, "oci:"+write(index("arm64", "amd64", "unknown")), options(t))
	if want := must(container(t, "amd64").Digest())(t).String(); err != nil || found.Digest != want {
		t.Errorf("found %+v, %v, want %s", found, err, want)
	}
	for want, i := range map[string]v1.ImageIndex{
		"not for linux/amd64 but for linux/arm64, linux/s390x only": index("s390x", "arm64", "unknown"),
		"an index without images":                                   index("unknown"),
	} {
		if _, _, _, err := open(t, "oci:"+write(i), options(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, _, _, err = open(t, "oci:"+writeLayout(t, map[string]v1.Image{"": container(t, "arm64")}), options(t))
	if !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("an image for arm64: %v", err)
	}
}

// TestInsecure holds registries to TLS, wherever they lead.
func TestInsecure(t *testing.T) {
	s := serve(t)
	s.push(t, "a", container(t, "amd64"))
	// A name that is not loopback's: the transport is asked, nobody is reached.
	for _, c := range []struct {
		scheme, host string
		insecure     []string
		refused      bool
	}{
		{"http", "127.0.0.1:5000", nil, false}, {"http", "localhost", nil, false}, {"http", "[::1]:5000", nil, false},
		{"http", "10.0.0.7:5000", nil, true}, {"http", "registry.example.com", nil, true}, {"https", "registry.example.com", nil, false},
		{"http", "10.0.0.7:5000", []string{"10.0.0.7:5000"}, false}, {"http", "10.0.0.7:5000", []string{"10.0.0.7"}, true},
	} {
		g := &guarded{next: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), insecure: c.insecure}
		q := must(http.NewRequestWithContext(t.Context(), http.MethodGet, c.scheme+"://"+c.host+"/v2/", nil))(t)
		if _, err := g.RoundTrip(q); errors.Is(err, ErrInsecure) != c.refused {
			t.Errorf("%s://%s with %v: %v", c.scheme, c.host, c.insecure, err)
		}
	}
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "http://files.example.com/x", http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if _, _, _, err := open(t, "docker://"+s.host()+"/a", options(t)); !errors.Is(err, ErrInsecure) || !strings.Contains(err.Error(), "--insecure-registry files.example.com") {
		t.Errorf("a redirection to plain HTTP: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
