package images

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"seuss/guest"
	"seuss/images/internal/elftest"
)

func TestBuildAndReopen(t *testing.T) {
	spec := smallSpec(t)
	path, info := build(t, spec)
	img := reopen(t, path)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Bytes != st.Size() || info.Digest != img.Digest() || uint64(info.Bytes) != img.Header().TotalBytes {
		t.Errorf("info %+v does not fit the file of %d bytes with digest %v", info, st.Size(), img.Digest())
	}
	want := spec.config()
	if got := img.Config(); !reflect.DeepEqual(got, want) || got.MemoryBytes != DefaultMemoryBytes {
		t.Errorf("config is %+v, want %+v", got, want)
	}
	for _, f := range spec.Files {
		e, err := img.Lstat(f.GuestPath)
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Symlink != "" {
			if e.Target != f.Symlink || !e.Inode.IsSymlink() {
				t.Errorf("%s leads to %q, want %q", f.GuestPath, e.Target, f.Symlink)
			}
			continue
		}
		if e.Inode.IsDir() {
			continue
		}
		data := f.Data
		if f.HostPath != "" {
			if data, err = os.ReadFile(f.HostPath); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, img, f.GuestPath); !bytes.Equal(got, data) {
			t.Errorf("%s: content of %d bytes differs", f.GuestPath, len(got))
		}
		checkTail(t, img, e)
	}
	var walked []string
	if err := img.Walk(func(e Entry) error { walked = append(walked, e.Path); return nil }); err != nil {
		t.Fatal(err)
	}
	wantWalk := []string{
		"/", "/bin", "/bin/abs", "/bin/x", "/bin/y", "/lib", "/loop", "/tmp", "/usr", "/usr/share",
		"/usr/share/below", "/usr/share/big", "/usr/share/empty", "/usr/share/host", "/usr/share/page", "/z",
	}
	if !slices.Equal(walked, wantWalk) {
		t.Errorf("walked %v, want %v", walked, wantWalk)
	}
	if got := info.Files + info.Dirs + info.Links; got != len(wantWalk) || info.Links != 4 || info.Dirs != 5 {
		t.Errorf("info counts %d files, %d directories, %d links", info.Files, info.Dirs, info.Links)
	}
}

// checkTail requires that a mapping of a large file's last page shows zero
// behind the end of the file, mmap(2).
func checkTail(t *testing.T, img *Image, e Entry) {
	t.Helper()
	n := e.Inode
	if n.Size < guest.PageSize {
		return
	}
	tail := make([]byte, pageCeil(n.Size)-n.Size)
	if len(tail) == 0 {
		return
	}
	if _, err := img.File().ReadAt(tail, int64(n.Off+n.Size)); err != nil {
		t.Fatal(err)
	}
	if n.Off%guest.PageSize != 0 || !bytes.Equal(tail, make([]byte, len(tail))) {
		t.Errorf("%s: at %#x, not aligned or not followed by zero", e.Path, n.Off)
	}
}

func TestAttributes(t *testing.T) {
	path, _ := build(t, smallSpec(t))
	img := reopen(t, path)
	for _, c := range []struct {
		path        string
		mode, nlink uint32
		mtime       uint64
	}{
		{"/", 0o40755, 5, 77},
		{"/bin", 0o40755, 2, 77},
		{"/bin/x", 0o100755, 1, 77},
		{"/bin/y", 0o120777, 1, 5},
		{"/usr/share", 0o40755, 2, 9},
		{"/usr/share/empty", 0o100644, 1, 0},
		{"/usr/share/host", 0o100640, 1, 9},
		{"/tmp", 0o41777, 2, 0},
	} {
		e, err := img.Lstat(c.path)
		if err != nil {
			t.Error(err)
		} else if n := e.Inode; n.Mode != c.mode || n.Nlink != c.nlink || n.Mtime != c.mtime {
			t.Errorf("%s: mode %#o nlink %d mtime %d, want %#o %d %d", c.path, n.Mode, n.Nlink, n.Mtime, c.mode, c.nlink, c.mtime)
		}
	}
}

func TestLookup(t *testing.T) {
	path, _ := build(t, smallSpec(t))
	img := reopen(t, path)
	for in, want := range map[string]string{
		"/":                    "/",
		"/bin/y":               "/bin/x",
		"/bin/abs":             "/bin/x",
		"/lib/page":            "/usr/share/page",
		"/lib/../share/page":   "/usr/share/page", // ".." of the link's target
		"/../usr/./share/page": "/usr/share/page",
		"/tmp/":                "/tmp",
	} {
		if e, err := img.Lookup(in); err != nil || e.Path != want {
			t.Errorf("Lookup(%s) = %q, %v, want %q", in, e.Path, err, want)
		}
	}
	for _, in := range []string{"/nothing", "/loop", "/z/", "/bin/x/y", "/bin/xx"} {
		if e, err := img.Lookup(in); !errors.Is(err, ErrNotFound) {
			t.Errorf("Lookup(%s) = %+v, %v, want ErrNotFound", in, e, err)
		}
	}
}

func TestDeterministic(t *testing.T) {
	spec := smallSpec(t)
	a, info := build(t, spec)
	slices.Reverse(spec.Files)
	b, again := build(t, spec)
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) || info.Digest != again.Digest {
		t.Errorf("equal input gave %v and %v", info.Digest, again.Digest)
	}
	spec.Files[0].Data = []byte("other")
	spec.Files[0].Symlink = ""
	if _, other := build(t, spec); other.Digest == info.Digest {
		t.Error("other content has the same digest")
	}
}

func TestKernelExtents(t *testing.T) {
	path, info := build(t, Spec{Name: "k"})
	img := reopen(t, path)
	if info.Entry != guest.KernelGPA+0x10 || info.KernelEnd != guest.KernelGPA+0x7000 {
		t.Errorf("entry %#x, end %#x", info.Entry, info.KernelEnd)
	}
	checkSegments(t, img, testKernel(), info.KernelEnd)
}

func TestBuildRefuses(t *testing.T) {
	text := elftest.Segment{Vaddr: guest.KernelGPA, Off: 0x1000, Data: pattern(64, 1), Flags: elf.PF_R | elf.PF_X}
	high := text
	high.Memsz = guest.ProgramGPA
	host := filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"name":            {func(s *Spec) { s.Name = "../x" }, "image name"},
		"no kernel":       {func(s *Spec) { s.Kernel = []byte{} }, "kernel library of 0 bytes"},
		"kernel type":     {func(s *Spec) { s.Kernel = elftest.Make(elf.ET_DYN, guest.KernelGPA, text) }, "static ET_EXEC"},
		"kernel place":    {func(s *Spec) { s.Kernel = elftest.Make(elf.ET_EXEC, guest.KernelGPA, high) }, "linked at"},
		"kernel entry":    {func(s *Spec) { s.Kernel = elftest.Make(elf.ET_EXEC, 5, text) }, "entry point"},
		"memory":          {func(s *Spec) { s.MemoryBytes = 5000 }, "memory of 5000 bytes"},
		"memory too much": {func(s *Spec) { s.MemoryBytes = maxGPA }, "exceed"},
		"argv":            {func(s *Spec) { s.Argv = []string{strings.Repeat("x", guest.ArgsSize)} }, "at most"},
		"nul":             {func(s *Spec) { s.Env = []string{"a\x00b"} }, "NUL"},
		"utf-8":           {func(s *Spec) { s.Env = []string{"a=\xff"} }, "UTF-8"},
		"relative":        {func(s *Spec) { s.Files = []File{{GuestPath: "a"}} }, "absolute"},
		"dots":            {func(s *Spec) { s.Files = []File{{GuestPath: "/a/../b"}} }, "clean"},
		"long":            {func(s *Spec) { s.Files = []File{{GuestPath: "/" + strings.Repeat("n", 256)}} }, "256 bytes"},
		"twice":           {func(s *Spec) { s.Files = []File{{GuestPath: "/a"}, {GuestPath: "/a"}} }, "given twice"},
		"below a file":    {func(s *Spec) { s.Files = []File{{GuestPath: "/a"}, {GuestPath: "/a/b"}} }, "not a directory"},
		"device":          {func(s *Spec) { s.Files = []File{{GuestPath: "/a", Mode: fs.ModeDevice}} }, "symbolic links only"},
		"two contents":    {func(s *Spec) { s.Files = []File{{GuestPath: "/a", Data: []byte{1}, Symlink: "b"}} }, "cannot have content"},
		"host file":       {func(s *Spec) { s.Files = []File{{GuestPath: "/a", HostPath: host}} }, host},
		"host directory":  {func(s *Spec) { s.Files = []File{{GuestPath: "/a", HostPath: "/"}} }, "no regular file"},
		"no program":      {func(s *Spec) { s.Program = "/a" }, "no entry"},
		"program kind": {func(s *Spec) {
			s.Program, s.Files = "/a", []File{{GuestPath: "/a", Data: []byte("#!/bin/sh\n")}}
		}, "not an x86-64 ELF"},
		"program place": {func(s *Spec) {
			s.Program, s.Files = "/a", []File{{GuestPath: "/a", Data: elftest.Make(elf.ET_EXEC, 0x10000, elftest.Segment{Vaddr: 0x10000, Off: 0x1000, Data: []byte{1}})}}
		}, "linked at"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{Name: "x", Kernel: testKernel()}
			c.change(&spec)
			_, err := Build(context.Background(), discardAt{}, spec, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

// discardAt is a writer that keeps nothing.
type discardAt struct{}

func (discardAt) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// failAt fails where it is written at or behind an offset.
type failAt int64

var errDiskFull = errors.New("disk full")

func (f failAt) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(f) {
		return 0, errDiskFull
	}
	return len(b), nil
}

func TestBuildWriteError(t *testing.T) {
	spec := smallSpec(t)
	spec.Kernel = testKernel()
	for _, at := range []int64{0, 4096, 20000} {
		if _, err := Build(context.Background(), failAt(at), spec, nil); !errors.Is(err, errDiskFull) {
			t.Errorf("failure at %d: error is %v", at, err)
		}
	}
}

func TestBuildProgressAndCancel(t *testing.T) {
	spec := smallSpec(t)
	spec.Kernel = testKernel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var before int64
	var seen []string
	_, err := Build(ctx, discardAt{}, spec, func(done, total int64, what string) {
		if done < before || done > total {
			t.Errorf("%s: %d of %d after %d", what, done, total, before)
		}
		before = done
		seen = append(seen, what)
	})
	if err != nil || !slices.Contains(seen, "/usr/share/big") {
		t.Fatalf("error %v, seen %v", err, seen)
	}
	_, err = Build(ctx, discardAt{}, spec, func(int64, int64, string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled build: %v", err)
	}
}

// TestHostFileChanges lets a file grow between plan and copy.
func TestHostFileChanges(t *testing.T) {
	host := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(host, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	grown := false
	_, err := Build(context.Background(), discardAt{}, Spec{
		Name: "x", Kernel: testKernel(), Files: []File{{GuestPath: "/f", HostPath: host}},
	}, func(int64, int64, string) {
		if !grown {
			grown = true
			if err := os.WriteFile(host, []byte("three"), 0o644); err != nil {
				panic(fmt.Sprint("grow the file: ", err))
			}
		}
	})
	if err == nil || !strings.Contains(err.Error(), "changed while") {
		t.Errorf("error is %v", err)
	}
}
