package images

import (
	"bytes"
	"io"
	"os"
	"slices"
	"testing"

	"seuss/images/internal/object"
)

// TestDirectCallsInImage: the loaded layout is patched, the file's content is
// not, counts and configuration say so, and two builds agree.
func TestDirectCallsInImage(t *testing.T) {
	const libcPath = "/lib/x86_64-linux-gnu/libc.so.6"
	image, err := os.ReadFile(libcPath)
	if err != nil {
		t.Skipf("no C library: %v", err)
	}
	o, err := object.Read(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := o.Load(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.PlanDirect(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Apply(slices.Clone(mem))
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "direct", Files: []File{{GuestPath: "/libc", HostPath: libcPath}, {GuestPath: "/none", Data: []byte("text")}}}
	path, info := build(t, spec)
	img := reopen(t, path)
	loaded := func(img *Image) []byte {
		e, err := img.Lookup("/libc")
		if err != nil {
			t.Fatal(err)
		}
		r, err := img.Loaded(e)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(loaded(img), want) {
		t.Error("the loaded layout is not the patched one")
	}
	if !bytes.Equal(read(t, img, "/libc"), image) {
		t.Error("the content of the file changed")
	}
	if info.DirectCalls != p.Calls() || info.LeftCalls != p.Left || info.LoadBytes != int64(len(want)) || !img.Config().DirectCalls {
		t.Errorf("%+v, configuration %+v", info, img.Config())
	}
	if _, again := build(t, spec); again.Digest != info.Digest {
		t.Errorf("digests %v and %v", info.Digest, again.Digest)
	}
	spec.NoDirectCalls = true
	path, info = build(t, spec)
	img = reopen(t, path)
	if !bytes.Equal(loaded(img), mem) || info.DirectCalls+info.LeftCalls != 0 || img.Config().DirectCalls {
		t.Errorf("switched off: %+v, configuration %+v", info, img.Config())
	}
}
