package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
	"seuss/images/internal/layertest"
	"seuss/images/layer"
)

// TestDiskFull: an image or a layer that finds no room leaves nothing of itself, takes nothing
// of what is there, and says what to do; when there is room, it is made.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	resize := func(flags uintptr, kib int) error {
		return unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%dk", kib))
	}
	if err := resize(0, 16<<10); err != nil {
		t.Skip("skipped, a small file system to fill cannot be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := Store{Dir: filepath.Join(dir, "images")}
	spec := Spec{Name: "there", Kernel: testKernel(), Files: []File{{GuestPath: "/a", Data: pattern(1<<20, 1)}}}
	if _, err := s.Add(t.Context(), spec, AddOptions{Layered: true}); err != nil {
		t.Fatal(err)
	}
	there, err := s.Find("there")
	if err != nil {
		t.Fatal(err)
	}
	spec.Name, spec.Files = "new", []File{{GuestPath: "/b", Data: pattern(6<<20, 2)}}
	tarred := layertest.Tar(t, layertest.Entry{Name: "c", Data: pattern(6<<20, 3)})
	ways := map[string]func() error{
		"flat":    func() error { _, err := s.Add(t.Context(), spec, AddOptions{}); return err },
		"layered": func() error { _, err := s.Add(t.Context(), spec, AddOptions{Layered: true}); return err },
		"layer": func() error {
			_, err := s.Layers().Add(t.Context(), bytes.NewReader(tarred), layer.AddOptions{})
			return err
		},
	}
	tree := func() (names []string) {
		err := filepath.WalkDir(s.Dir, func(path string, d os.DirEntry, err error) error {
			names = append(names, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	if _, err := io.Copy(ballast, io.LimitReader(zeroReader{}, 1<<30)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk cannot be filled: %v", err)
	}
	full, err := ballast.Seek(0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	before := tree()
	digest := strings.TrimSuffix(filepath.Base(there), guest.ImageSuffix)
	for name, small := range map[string]func() error{
		"tag":    func() error { return s.Tag("there", "again") },
		"origin": func() error { return s.SetOrigin(Origin{Key: "key", Image: digest}) },
	} {
		if err := small(); !errors.Is(err, layer.ErrFull) || strings.Count(err.Error(), "make room") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, room := range []int64{0, 4 << 10, 1 << 20, 5 << 20} { // of what is the first, and the last, to find none
		if err := ballast.Truncate(full - room); err != nil {
			t.Fatal(err)
		}
		for name, add := range ways {
			err := add()
			if !errors.Is(err, layer.ErrFull) || !errors.Is(err, syscall.ENOSPC) || strings.Count(err.Error(), "make room") != 1 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %d bytes of room: %v", name, room, err)
			}
			if after := tree(); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Errorf("%s with %d bytes of room left %q, before there was %q", name, room, after, before)
			}
		}
		if got := read(t, reopen(t, there), "/a"); !bytes.Equal(got, pattern(1<<20, 1)) {
			t.Error("what was there has changed")
		}
	}
	if err := resize(unix.MS_REMOUNT, 64<<10); err != nil {
		t.Fatal(err)
	}
	for name, add := range ways {
		if err := add(); err != nil {
			t.Errorf("%s when there is room: %v", name, err)
		}
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
