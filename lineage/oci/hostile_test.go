package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"seuss/lineage"
)

// blobs is an image layout under attack, in memory.
type blobs struct {
	files    map[string][]byte
	index    v1.IndexManifest
	manifest v1.Manifest
	config   config
}

// openBlobs takes a good layout apart.
func openBlobs(t testing.TB, dir string) *blobs {
	t.Helper()
	b := &blobs{files: map[string][]byte{}}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b.files[path], err = os.ReadFile(filepath.Join(dir, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		from func() []byte
		to   any
	}{
		{func() []byte { return b.files["index.json"] }, &b.index},
		{func() []byte { return b.files[blob(b.index.Manifests[0].Digest)] }, &b.manifest},
		{func() []byte { return b.files[blob(b.manifest.Config.Digest)] }, &b.config},
	} {
		if err := json.Unmarshal(part.from(), part.to); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// put stores content under its digest.
func (b *blobs) put(content []byte, d *v1.Descriptor) {
	d.Digest, d.Size = v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(content))}, int64(len(content))
	b.files[blob(d.Digest)] = content
}

func (b *blobs) layer(i int) []byte { return bytes.Clone(b.files[blob(b.manifest.Layers[i].Digest)]) }

// seal makes config, manifest and index consistent again.
func (b *blobs) seal(t testing.TB) {
	for _, part := range []struct {
		from any
		to   *v1.Descriptor
	}{{&b.config, &b.manifest.Config}, {&b.manifest, &b.index.Manifests[0]}} {
		content, err := json.Marshal(part.from)
		if err != nil {
			t.Fatal(err)
		}
		b.put(content, part.to)
	}
	b.sealIndex(t)
}

func (b *blobs) sealIndex(t testing.TB) {
	content, err := json.Marshal(&b.index)
	if err != nil {
		t.Fatal(err)
	}
	b.files["index.json"] = content
}

func (b *blobs) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range b.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func compress(b []byte) []byte {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e.EncodeAll(b, nil)
}

// goodLayout exports function one and returns the layout's directory.
func goodLayout(t testing.TB) string {
	t.Helper()
	from := openStore(t)
	nodes, _ := testTree(t, from)
	dir := filepath.Join(t.TempDir(), "layout")
	if err := WriteLayout(dir, "one", export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Each is refused with its reason, takes little memory, and leaves nothing.
func TestHostileLayouts(t *testing.T) {
	good := goodLayout(t)
	other := openStore(t)
	strangers, _ := testTree(t, other)
	cases := map[string]struct {
		change func(t *testing.T, b *blobs)
		want   error
	}{
		"flipped bit in a node layer": {func(t *testing.T, b *blobs) {
			c := b.layer(2)
			c[len(c)/2] ^= 1
			b.files[blob(b.manifest.Layers[2].Digest)] = c
		}, lineage.ErrChecksum},
		"flipped bit, digests made right": {func(t *testing.T, b *blobs) {
			c := b.layer(2)
			c[len(c)/2] ^= 1
			b.put(c, &b.manifest.Layers[2])
			b.seal(t)
		}, lineage.ErrChecksum},
		"truncated layer": {func(t *testing.T, b *blobs) {
			c := b.layer(3)
			b.files[blob(b.manifest.Layers[3].Digest)] = c[:len(c)-5]
		}, lineage.ErrLength},
		"truncated layer, digests made right": {func(t *testing.T, b *blobs) {
			c := b.layer(3)
			b.put(c[:len(c)-5], &b.manifest.Layers[3])
			b.seal(t)
		}, lineage.ErrLength},
		"layer missing":    {func(t *testing.T, b *blobs) { delete(b.files, blob(b.manifest.Layers[3].Digest)) }, ErrFormat},
		"manifest missing": {func(t *testing.T, b *blobs) { delete(b.files, blob(b.index.Manifests[0].Digest)) }, ErrFormat},
		"no index":         {func(t *testing.T, b *blobs) { delete(b.files, "index.json") }, ErrFormat},
		"index is no JSON": {func(t *testing.T, b *blobs) { b.files["index.json"] = []byte("{") }, ErrFormat},
		"digest that leads out": {func(t *testing.T, b *blobs) {
			b.files["index.json"] = bytes.ReplaceAll(b.files["index.json"], []byte(b.index.Manifests[0].Digest.Hex), []byte("../../../../../../../../../../../../../../../../etc/passwd/aaaaaaaa"))
		}, ErrFormat},
		"digest of another algorithm": {func(t *testing.T, b *blobs) {
			b.files["index.json"] = bytes.ReplaceAll(b.files["index.json"], []byte("sha256:"), []byte("md5:"))
		}, ErrFormat},
		"image whose size overflows the sum": {func(t *testing.T, b *blobs) {
			b.config.Image.Bytes = math.MaxInt64 &^ (lineage.PageSize - 1)
			b.seal(t)
		}, ErrTooLarge},
		"pages without end": {func(t *testing.T, b *blobs) {
			b.config.Nodes[2].DeltaBytes = math.MaxUint64
			b.seal(t)
		}, ErrTooLarge},
		"circle of parents": {func(t *testing.T, b *blobs) {
			b.config.Nodes[1].Parent = b.config.Nodes[2].ID
			b.seal(t)
		}, ErrFormat},
		"own parent": {func(t *testing.T, b *blobs) {
			b.config.Nodes[2].Parent = b.config.Nodes[2].ID
			b.seal(t)
		}, ErrFormat},
		"two roots": {func(t *testing.T, b *blobs) {
			b.config.Nodes[1] = b.config.Nodes[0]
			b.seal(t)
		}, ErrFormat},
		"layers swapped": {func(t *testing.T, b *blobs) {
			l := b.manifest.Layers
			l[2], l[3] = l[3], l[2]
			b.seal(t)
		}, lineage.ErrNotFound},
		"another node than the config says": {func(t *testing.T, b *blobs) {
			p, err := other.Transfer().Export(strangers[3].ID)
			if err != nil {
				t.Fatal(err)
			}
			r, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			b.put(content, &b.manifest.Layers[3])
			b.seal(t)
		}, ErrFormat},
		"features forged in the config": {func(t *testing.T, b *blobs) {
			b.config.Nodes[2].CPUFeatures.Named = nil
			b.seal(t)
		}, ErrFormat},
		"unknown field": {func(t *testing.T, b *blobs) {
			c := append([]byte(`{"x":1,`), b.files[blob(b.manifest.Config.Digest)][1:]...)
			b.put(c, &b.manifest.Config)
			m, _ := json.Marshal(&b.manifest)
			b.put(m, &b.index.Manifests[0])
			b.sealIndex(t)
		}, ErrFormat},
		"other schema": {func(t *testing.T, b *blobs) { b.config.Schema = 2; b.seal(t) }, ErrFormat},
		"other media type": {func(t *testing.T, b *blobs) {
			b.manifest.Layers[1].MediaType = "application/vnd.oci.image.layer.v1.tar+gzip"
			b.seal(t)
		}, ErrFormat},
		"a container image": {func(t *testing.T, b *blobs) {
			b.manifest.Config.MediaType = "application/vnd.oci.image.config.v1+json"
			m, _ := json.Marshal(&b.manifest)
			b.put(m, &b.index.Manifests[0])
			b.sealIndex(t)
		}, ErrFormat},
		"a million children": {func(t *testing.T, b *blobs) {
			b.files["index.json"] = []byte(`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", 1_000_000) + `{}]}`)
		}, ErrTooLarge},
		"a million children, in full": {func(t *testing.T, b *blobs) {
			b.files["index.json"] = []byte(`{"schemaVersion":2,"manifests":[` + strings.Repeat(`{"size":1,"digest":"sha256:00"},`, 1_000_000) + `{}]}`)
		}, ErrTooLarge},
		"a million nodes": {func(t *testing.T, b *blobs) {
			c := []byte(`{"schema":1,"nodes":[` + strings.Repeat("null,", 1_000_000) + `null]}`)
			b.put(c, &b.manifest.Config)
			m, _ := json.Marshal(&b.manifest)
			b.put(m, &b.index.Manifests[0])
			b.sealIndex(t)
		}, ErrTooLarge},
		"a million layers": {func(t *testing.T, b *blobs) {
			b.put([]byte(`{"schemaVersion":2,"layers":[`+strings.Repeat("{},", 1_000_000)+`{}]}`), &b.index.Manifests[0])
			b.sealIndex(t)
		}, ErrTooLarge},
		"deeper than allowed": {func(t *testing.T, b *blobs) {
			for i := len(b.manifest.Layers); i < maxDepth+2; i++ {
				b.manifest.Layers = append(b.manifest.Layers, b.manifest.Layers[1])
			}
			b.seal(t)
		}, ErrTooLarge},
		"absurd layer size":       {func(t *testing.T, b *blobs) { b.manifest.Layers[3].Size = 1 << 60; b.seal(t) }, ErrTooLarge},
		"negative layer size":     {func(t *testing.T, b *blobs) { b.manifest.Layers[3].Size = -1; b.seal(t) }, ErrFormat},
		"absurd manifest size":    {func(t *testing.T, b *blobs) { b.index.Manifests[0].Size = 1 << 60; b.sealIndex(t) }, ErrTooLarge},
		"absurd image size":       {func(t *testing.T, b *blobs) { b.config.Image.Bytes = 1 << 60; b.seal(t) }, ErrTooLarge},
		"image size not of pages": {func(t *testing.T, b *blobs) { b.config.Image.Bytes++; b.seal(t) }, ErrFormat},
		"decompression bomb as image": {func(t *testing.T, b *blobs) {
			b.put(compress(make([]byte, 64<<20)), &b.manifest.Layers[0]) // 2 KiB
			b.seal(t)
		}, lineage.ErrLength},
		"another image under the digest": {func(t *testing.T, b *blobs) {
			b.put(compress(make([]byte, 50*lineage.PageSize)), &b.manifest.Layers[0])
			b.seal(t)
		}, lineage.ErrChecksum},
		"image layer is no zstd": {func(t *testing.T, b *blobs) {
			b.put([]byte("plain"), &b.manifest.Layers[0])
			b.seal(t)
		}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := openBlobs(t, good)
			c.change(t, b)
			dir := b.write(t)
			b = nil
			s := openStore(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := take(s, accept())(OpenLayout(dir, ""))
			runtime.ReadMemStats(&after)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
				t.Errorf("refusing it allocated %d bytes", used)
			}
			// Ancestors that were whole may have come, nothing else.
			if faults, err := s.Inspect().Audit(t.Context(), nil, nil); err != nil || len(faults) > 0 {
				t.Errorf("%v, %v", faults, err)
			}
			if n := len(s.List()); n > 2 {
				t.Errorf("%d nodes were imported", n)
			}
		})
	}
}

// A layout whose blob is a link to a file elsewhere.
func TestLinkedBlob(t *testing.T) {
	b := openBlobs(t, goodLayout(t))
	dir := b.write(t)
	path := filepath.Join(dir, blob(b.manifest.Layers[3].Digest))
	elsewhere := filepath.Join(t.TempDir(), "blob")
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	if _, err := take(openStore(t), accept())(OpenLayout(dir, "")); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, min(h.Size, 1<<10))); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Flush() // sizes may promise more than is there
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	hex := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		archive []byte
		want    error
	}{
		"path that leads out": {tarOf(t, tar.Header{Name: "blobs/sha256/../../../../x", Typeflag: tar.TypeReg, Size: 10}), ErrFormat},
		"absolute path":       {tarOf(t, tar.Header{Name: "/etc/passwd", Typeflag: tar.TypeReg, Size: 10}), ErrFormat},
		"symbolic link":       {tarOf(t, tar.Header{Name: "index.json", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}), ErrFormat},
		"hard link":           {tarOf(t, tar.Header{Name: "blobs/sha256/" + hex, Linkname: "/etc/passwd", Typeflag: tar.TypeLink}), ErrFormat},
		"device":              {tarOf(t, tar.Header{Name: "blobs/sha256/" + hex, Typeflag: tar.TypeChar}), ErrFormat},
		"linked directory":    {tarOf(t, tar.Header{Name: "blobs", Linkname: "/tmp", Typeflag: tar.TypeSymlink}), ErrFormat},
		"twice":               {tarOf(t, tar.Header{Name: "index.json", Typeflag: tar.TypeReg, Size: 5}, tar.Header{Name: "index.json", Typeflag: tar.TypeReg, Size: 5}), ErrFormat},
		"absurd size":         {tarOf(t, tar.Header{Name: "blobs/sha256/" + hex, Typeflag: tar.TypeReg, Size: 1 << 50}), ErrTooLarge},
		"empty":               {nil, ErrFormat},
		"no tar":              {bytes.Repeat([]byte("no archive "), 200), ErrFormat},
	} {
		s := openStore(t)
		outside := t.TempDir()
		t.Setenv("TMPDIR", outside)
		if _, err := take(s, accept())(OpenArchive(bytes.NewReader(c.archive), "", 0)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		noTraces(t, s)
		if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	b := openBlobs(f, goodLayout(f))
	good := b.files[blob(b.manifest.Config.Digest)]
	f.Add(good)
	f.Add(bytes.ReplaceAll(good, []byte(`"schema":1`), []byte(`"schema":2`)))
	f.Add([]byte(`{"schema":1,"image":{"digest":"","bytes":0},"nodes":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeConfig(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		seen := map[string]bool{}
		for _, n := range c.Nodes {
			if n.Parent != "" && !seen[n.Parent] {
				t.Fatalf("node %s hangs on nothing", n.ID)
			}
			seen[n.ID] = true
		}
	})
}

func FuzzManifest(f *testing.F) {
	b := openBlobs(f, goodLayout(f))
	f.Add(b.files[blob(b.index.Manifests[0].Digest)])
	f.Add([]byte(`{"schemaVersion":2,"config":{"size":-1},"layers":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if len(m.Layers) > maxDepth+1 || m.Config.Size > maxConfigBytes {
			t.Fatal("unbounded")
		}
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "index.json", Typeflag: tar.TypeReg, Size: 5}))
	f.Add(tarOf(f, tar.Header{Name: "../x", Typeflag: tar.TypeReg, Size: 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		spool := Spool{MaxBytes: 1 << 20}
		if err := spool.unpack(bytes.NewReader(b), filepath.Join(dir, "in")); err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
			t.Log(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Fatalf("outside of the directory: %v, %v", entries, err)
		}
	})
}
