package oci

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"seuss/lineage"
)

func TestLayout(t *testing.T) {
	from := openStore(t)
	nodes, mem := testTree(t, from)
	dir := filepath.Join(t.TempDir(), "layout")
	for i, name := range map[int]string{2: "one@v1", 3: "two@v1"} {
		if err := WriteLayout(dir, name, export(t, from, nodes[i].ID)); err != nil {
			t.Fatal(err)
		}
	}
	// Writing again replaces, and siblings share layers: config and manifest of
	// two, image, image node, base node, two functions.
	if err := WriteLayout(dir, "one@v1", export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	if blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); err != nil || len(blobs) != 9 {
		t.Errorf("%d blobs, want 9; %v", len(blobs), err)
	}
	to := openStore(t)
	if _, err := take(to, accept())(OpenLayout(dir, "")); !errors.Is(err, lineage.ErrAmbiguous) {
		t.Errorf("two images and no name: %v", err)
	}
	if _, err := take(to, accept())(OpenLayout(dir, "three")); !errors.Is(err, lineage.ErrNotFound) {
		t.Errorf("unknown name: %v", err)
	}
	done, err := take(to, accept())(OpenLayout(dir, "one@v1"))
	if err != nil || len(done.Added) != 3 || done.Skipped != 0 || done.Node.ID != nodes[2].ID {
		t.Fatalf("%+v, %v", done, err)
	}
	checkImported(t, to, nodes[2], mem[2])
	done, err = take(to, accept())(OpenLayout(dir, "two@v1"))
	if err != nil || len(done.Added) != 1 || done.Skipped != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkImported(t, to, nodes[3], mem[3])
	if done, err = take(to, accept())(OpenLayout(dir, "two@v1")); err != nil || len(done.Added) != 0 || done.Bytes != 0 {
		t.Fatalf("again: %+v, %v", done, err)
	}
	// What was imported is exported to the same bytes.
	again := filepath.Join(t.TempDir(), "layout")
	if err := WriteLayout(again, "one@v1", export(t, to, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	a, err := os.ReadFile(filepath.Join(again, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "index.json")); err != nil || !strings.Contains(string(b), digestIn(t, string(a))) {
		t.Errorf("another manifest: %s, %v", a, err)
	}
}

func digestIn(t *testing.T, index string) string {
	t.Helper()
	at := strings.Index(index, "sha256:")
	if at < 0 {
		t.Fatal(index)
	}
	return index[at : at+7+64]
}

func TestArchive(t *testing.T) {
	from, to := openStore(t), openStore(t)
	nodes, mem := testTree(t, from)
	path := filepath.Join(t.TempDir(), "one.tar")
	if err := WriteArchive(path, "one", export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the archive: %v, %v", entries, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := take(to, accept())(OpenArchive(f, "", 0)); err != nil {
		t.Fatal(err)
	}
	checkImported(t, to, nodes[2], mem[2])
}

// What is sent has no layers of nodes that the other side has, and is taken there as
// the whole is. Nobody else takes it.
func TestSend(t *testing.T) {
	from, to := openStore(t), openStore(t)
	nodes, mem := testTree(t, from)
	dir := filepath.Join(t.TempDir(), "layout")
	for i, name := range map[int]string{2: "one", 3: "two"} {
		if err := WriteLayout(dir, name, export(t, from, nodes[i].ID)); err != nil {
			t.Fatal(err)
		}
	}
	send := func(name string, has func(string) bool) *bytes.Buffer {
		t.Helper()
		src, err := OpenLayout(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		b := new(bytes.Buffer)
		if err := errors.Join(src.Send(b, has), src.Close()); err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := send("one", func(string) bool { return false })
	if _, err := take(to, accept())(OpenArchive(all, "", 0)); err != nil {
		t.Fatal(err)
	}
	checkImported(t, to, nodes[2], mem[2])
	part := send("two", func(id string) bool { _, err := to.Get(id); return err == nil })
	if left := part.Len(); left > 40<<10 {
		t.Errorf("%d bytes were sent for a sibling", left)
	}
	other := openStore(t)
	if _, err := take(other, accept())(OpenArchive(bytes.NewReader(part.Bytes()), "", 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("a store that has no ancestors: %v", err)
	}
	noTraces(t, other)
	done, err := take(to, accept())(OpenArchive(part, "", 0))
	if err != nil || len(done.Added) != 1 || done.Skipped != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkImported(t, to, nodes[3], mem[3])
}

// A registry process on loopback, with its requests counted.
func TestRegistry(t *testing.T) {
	var uploads, downloads atomic.Int64
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/"):
			uploads.Add(1)
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:"):
			downloads.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	from, to := openStore(t), openStore(t)
	nodes, mem := testTree(t, from)

	if err := Push(t.Context(), host+"/seuss/fn:one", export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	if n := uploads.Swap(0); n != 5 { // image, three nodes, config
		t.Errorf("%d blobs were sent, want 5", n)
	}
	if err := Push(t.Context(), host+"/seuss/fn:two", export(t, from, nodes[3].ID)); err != nil {
		t.Fatal(err)
	}
	if n := uploads.Swap(0); n != 2 { // one node, config
		t.Errorf("%d blobs were sent for a sibling, want 2", n)
	}
	done, err := take(to, accept())(OpenRegistry(t.Context(), host+"/seuss/fn:one"))
	if err != nil || len(done.Added) != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	checkImported(t, to, nodes[2], mem[2])
	downloads.Store(0)
	if done, err = take(to, accept())(OpenRegistry(t.Context(), host+"/seuss/fn:two")); err != nil || len(done.Added) != 1 || done.Skipped != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	if n := downloads.Load(); n != 2 { // config, one node
		t.Errorf("%d blobs were fetched for a sibling, want 2", n)
	}
	checkImported(t, to, nodes[3], mem[3])

	if _, err := take(to, accept())(OpenRegistry(t.Context(), host+"/seuss/fn:three")); err == nil || !strings.Contains(err.Error(), "fn:three") {
		t.Errorf("unknown tag: %v", err)
	}
	if _, err := take(to, accept())(OpenRegistry(t.Context(), "not a reference")); !errors.Is(err, lineage.ErrInvalid) {
		t.Errorf("bad reference: %v", err)
	}
}

// A registry that answers with something endless or absurd.
func TestHostileRegistry(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		for range 1 << 14 { // 64 MiB, of unknown length
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	s := openStore(t)
	_, err := take(s, accept())(OpenRegistry(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/x/y:z"))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("endless manifest: %v", err)
	}
	noTraces(t, s)
}

// What does not fit is refused by name, before anything is stored.
func TestImportMismatch(t *testing.T) {
	from := openStore(t)
	nodes, _ := testTree(t, from)
	dir := filepath.Join(t.TempDir(), "layout")
	if err := WriteLayout(dir, "one", export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*ImportOptions)
		want   error
		text   string
	}{
		"ABI": {func(o *ImportOptions) { o.ABIVersion = 8 }, ErrMismatch, "guest ABI 7, this program has 8"},
		"CPU": {func(o *ImportOptions) {
			o.CheckCPU = func(f lineage.CPUFeatures) error { return errors.New("lacks " + f.Named[1]) }
		}, ErrMismatch, "lacks sha_ni"},
		"image": {func(o *ImportOptions) {
			o.CheckImage = func(string, string) error { return errors.New("image has another digest") }
		}, nil, "another digest"},
		"size": {func(o *ImportOptions) { o.MaxBytes = 100_000 }, ErrTooLarge, "100000"},
	} {
		s := openStore(t)
		o := accept()
		c.change(&o)
		_, err := take(s, o)(OpenLayout(dir, ""))
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		noTraces(t, s)
	}
}

// An archive is stored only as far as its spool allows: what it unpacks to counts, whatever
// its own size, and there has to be room for what is missing before anything is written.
func TestImportWithinItsSpool(t *testing.T) {
	from := openStore(t)
	nodes, mem := testTree(t, from)
	var archive bytes.Buffer
	if err := Stream(&archive, export(t, from, nodes[2].ID)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	bytesOf := int64(50+300+60) * lineage.PageSize // the image and the nodes' pages, at least
	for _, c := range []struct {
		name   string
		stored int64
		fullAt int // of the questions that Import asks
		want   error
	}{
		{"too large unpacked", bytesOf / 2, 0, ErrTooLarge},
		{"no room for all", 1 << 30, 1, full},
		{"no room for the image", 1 << 30, 2, full},
		{"no room for a node", 1 << 30, 4, full},
		{"fits", 1 << 30, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened := false
			var asked []int64
			spool := Spool{Dir: t.TempDir(), Stored: c.stored, Room: func(n int64) error {
				if opened {
					asked = append(asked, n)
				}
				if len(asked) == c.fullAt && opened {
					return full
				}
				return nil
			}}
			s := openStore(t)
			src, err := spool.OpenArchive(bytes.NewReader(archive.Bytes()), "")
			opened = true
			done, err := take(s, accept())(src, err)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want == nil {
				checkImported(t, s, done.Node, mem[2])
				if len(asked) != 5 || asked[0] < bytesOf || asked[1] != 50*lineage.PageSize {
					t.Errorf("asked for room for %v", asked)
				}
			} else if c.fullAt < 3 {
				noTraces(t, s)
			}
		})
	}
	// Of what is there nothing is counted.
	spool := Spool{Dir: t.TempDir(), Room: func(n int64) error { return nil }}
	src, err := spool.OpenArchive(&archive, "")
	if err != nil {
		t.Fatal(err)
	}
	src.room = func(n int64) error {
		if n != 0 {
			t.Errorf("asked for %d bytes", n)
		}
		return nil
	}
	if _, err := take(from, accept())(src, nil); err != nil {
		t.Fatal(err)
	}
}
