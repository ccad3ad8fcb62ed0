package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"seuss/dispatcher/instances/archive"
	"seuss/dispatcher/instances/archive/archivetest"
)

type files func(ctx context.Context, steps []archive.Step) ([]archive.Result, error)

func (f files) Files(ctx context.Context, steps []archive.Step) ([]archive.Result, error) {
	return f(ctx, steps)
}

// tarOf makes an archive of headers; content is a letter for each byte.
func tarOf(t *testing.T, list ...*tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range list {
		err := w.WriteHeader(h)
		if err == nil && h.Typeflag == tar.TypeReg {
			_, err = w.Write(bytes.Repeat([]byte{h.Name[len(h.Name)-1]}, int(h.Size)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func entry(kind byte, name string, size int64) *tar.Header {
	h := &tar.Header{Typeflag: kind, Name: name, Size: size, Mode: 0o640}
	if kind == tar.TypeSymlink {
		h.Linkname = "elsewhere"
	}
	return h
}

// TestRoundTrip: what is put into an instance comes out of it, in few steps, whatever its
// size: nothing, a batch and more.
func TestRoundTrip(t *testing.T) {
	var tree archivetest.Tree
	list := []*tar.Header{entry(tar.TypeDir, "d", 0), entry(tar.TypeReg, "d/a", 0), entry(tar.TypeReg, "d/b", 5),
		entry(tar.TypeReg, "d/c", 3<<20+1), entry(tar.TypeSymlink, "d/l", 0), entry(tar.TypeReg, "d/no/dir/z", 1<<20)}
	for n := range 1000 {
		list = append(list, entry(tar.TypeReg, fmt.Sprintf("d/many/%d", n), 7))
	}
	if err := archive.Unpack(t.Context(), files(tree.Do), "/", tarOf(t, list...)); err != nil {
		t.Fatal(err)
	}
	if tree.Calls > 20 {
		t.Errorf("%d calls", tree.Calls)
	}
	// As another name, of a directory that is there and of one that is not.
	for _, to := range []string{"/e", "/d"} {
		tree.Calls = 0
		var out bytes.Buffer
		if err := archive.Pack(t.Context(), files(tree.Do), "/d", &out, func() {}); err != nil {
			t.Fatal(err)
		}
		if tree.Calls > 30 {
			t.Errorf("%d calls", tree.Calls)
		}
		if err := archive.Unpack(t.Context(), files(tree.Do), to, &out); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range tree.Files {
		below, ok := strings.CutPrefix(name, "/d/")
		if !ok || strings.HasPrefix(below, "d") {
			continue
		}
		for _, copied := range []string{"/e/", "/d/d/"} {
			if other := tree.Files[copied+below]; other == nil || !bytes.Equal(other.Data, f.Data) || other.Entry.Mode != f.Entry.Mode || other.Link != f.Link {
				t.Errorf("%s%s is not what %s is", copied, below, name)
			}
		}
	}
	if got := tree.Files["/e/c"]; got == nil || len(got.Data) != 3<<20+1 || got.Data[3<<20] != 'c' {
		t.Error("a file of some batches has not come through")
	}
	// A file as another name, over one that is there.
	for range 2 {
		if err := archive.Unpack(t.Context(), files(tree.Do), "/as", tarOf(t, entry(tar.TypeReg, "b", 5))); err != nil || string(tree.Files["/as"].Data) != "bbbbb" {
			t.Errorf("%v", err)
		}
	}
}

// TestHostileArchives: what leads elsewhere, or is nothing that is copied, is refused by name
// and reaches no file outside.
func TestHostileArchives(t *testing.T) {
	for want, list := range map[string][]*tar.Header{
		"leads out":      {entry(tar.TypeReg, "../x", 1)},
		`"/etc/x" leads`: {entry(tar.TypeReg, "/etc/x", 1)},
		"out of":         {entry(tar.TypeReg, "a/../../x", 1)},
		"of type":        {entry(tar.TypeChar, "null", 0)},
		"only files":     {{Typeflag: tar.TypeLink, Name: "l", Linkname: "/etc/passwd"}},
		"its path":       {entry(tar.TypeReg, strings.Repeat("x/", 2100)+"x", 1)},
	} {
		var tree archivetest.Tree
		tree.Files = map[string]*archivetest.File{}
		for _, dir := range []string{"/", "/tmp"} {
			tree.Files[dir] = &archivetest.File{Entry: archive.Entry{Type: "directory"}}
		}
		err := archive.Unpack(t.Context(), files(tree.Do), "/tmp", tarOf(t, list...))
		if !errors.Is(err, archive.ErrFiles) || !strings.Contains(err.Error(), want) || len(tree.Files) != 2 {
			t.Errorf("%s: %v, %v", want, err, slices.Collect(maps.Keys(tree.Files)))
		}
	}
	var tree archivetest.Tree
	for to, list := range map[string][]*tar.Header{
		"relative": {entry(tar.TypeReg, "a", 1)}, "/none/": {entry(tar.TypeReg, "a", 1)}, "/none/a": {entry(tar.TypeReg, "a", 1)},
		"/as": {entry(tar.TypeReg, "a", 1), entry(tar.TypeReg, "b", 1)},
	} {
		if err := archive.Unpack(t.Context(), files(tree.Do), to, tarOf(t, list...)); !errors.Is(err, archive.ErrFiles) {
			t.Errorf("%s: %v", to, err)
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{entry(tar.TypeReg, "a", 1), entry(tar.TypeReg, "b", 1<<63-1)} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("a"))
		w.Flush() // of what is said to be longer there is no more
	}
	if err := archive.Unpack(t.Context(), files(tree.Do), "/", &b); !errors.Is(err, archive.ErrFiles) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("sizes beyond any number: %v", err)
	}
	if err := archive.Unpack(t.Context(), files(tree.Do), "/", strings.NewReader("no archive, but long enough"+strings.Repeat("x", 512))); err == nil {
		t.Error("no archive is unpacked")
	}
}

// TestHostileInstances: what an instance says of its files is believed as far as it can be.
func TestHostileInstances(t *testing.T) {
	file := func(name string, size int64) archive.Entry {
		return archive.Entry{Name: name, Type: "file", Size: size}
	}
	for want, said := range map[string]archive.Result{
		`entry ".."`:     {Entries: []archive.Entry{file("..", 1)}},
		`entry "a/../b"`: {Entries: []archive.Entry{file("a/../b", 1)}},
		`entry ""`:       {Entries: []archive.Entry{file("", 1)}},
		`entry "a"`:      {Entries: []archive.Entry{file("a", 0), file("a", 0)}},
		"-1 bytes":       {Entries: []archive.Entry{file("a", -1)}},
		"at most":        {Entries: []archive.Entry{file("a", 1<<62)}},
		"a device":       {Entries: []archive.Entry{{Name: "a", Type: "pipe"}}},
		"has changed":    {Entries: []archive.Entry{file("a", 5)}, Data: []byte("more than that")},
		"too much":       {Error: "too much"},
	} {
		err := archive.Pack(t.Context(), files(func(_ context.Context, steps []archive.Step) (list []archive.Result, err error) {
			for _, s := range steps {
				r := said
				if s.Do == "stat" {
					r = archive.Result{Entries: []archive.Entry{{Type: "directory"}}}
				}
				list = append(list, r)
			}
			return append(list, archive.Result{}), nil
		}), "/d", io.Discard, func() {})
		if !errors.Is(err, archive.ErrFiles) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	// What else than files has a size takes none of an archive's, nor gives any.
	large := []archive.Entry{{Name: "a", Type: "link", Link: "x", Size: 1<<63 - 1}, {Name: "b", Type: "link", Link: "x", Size: 1}, file("c", archive.MaxBytes+1)}
	sizes := files(func(_ context.Context, steps []archive.Step) (list []archive.Result, err error) {
		for _, s := range steps {
			switch s.Do {
			case "stat":
				list = append(list, archive.Result{Entries: []archive.Entry{{Type: "directory"}}})
			case "list":
				list = append(list, archive.Result{Entries: large})
			default:
				list = append(list, archive.Result{Data: make([]byte, s.Bytes)})
			}
		}
		return list, nil
	})
	if err := archive.Pack(t.Context(), sizes, "/d", io.Discard, func() {}); !errors.Is(err, archive.ErrFiles) {
		t.Errorf("sizes beyond any number: %v", err)
	}
	large = large[:2]
	if err := archive.Pack(t.Context(), sizes, "/d", io.Discard, func() {}); err != nil {
		t.Errorf("links: %v", err)
	}
	silent := files(func(context.Context, []archive.Step) ([]archive.Result, error) { return nil, nil })
	if err := archive.Pack(t.Context(), silent, "/d", io.Discard, func() { t.Error("it begins") }); !errors.Is(err, archive.ErrFiles) {
		t.Errorf("no answer: %v", err)
	}
	// Directories without end come to one.
	endless := files(func(_ context.Context, steps []archive.Step) (list []archive.Result, err error) {
		for range steps {
			list = append(list, archive.Result{Entries: []archive.Entry{{Name: "d", Type: "directory"}}})
		}
		return list, nil
	})
	if err := archive.Pack(t.Context(), endless, "/d", io.Discard, func() {}); !errors.Is(err, archive.ErrFiles) {
		t.Errorf("directories without end: %v", err)
	}
}
