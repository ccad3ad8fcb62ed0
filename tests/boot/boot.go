// Package boot runs one program of an image in a guest of its own, and returns
// what it printed and how it ended. It is for the suites that others wrote and
// for the tests that compare the guest with Linux: nothing of the dispatcher
// or of lineages takes part.
//
// An Image may be run by several goroutines; a run owns its machine.
package boot

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/vmm"
	"seuss/vmm/platform"
)

// outputLimit is how many bytes of output a run may make.
const outputLimit = 16 << 20

// layered makes of each image's files a layer.
var layered = flag.Bool("layered", false, "store the files of images as layers")

// Image is an image from which programs are run.
type Image struct{ img *images.Image }

// New builds an image that lasts as long as the test. Spec.Kernel is filled in.
func New(t testing.TB, spec images.Spec) *Image {
	t.Helper()
	return NewWith(t, guest.Kernel(), spec)
}

// NewWith is New with another kernel library.
func NewWith(t testing.TB, library []byte, spec images.Spec) *Image {
	t.Helper()
	spec.Kernel = library
	for _, p := range []string{"/dev", "/proc", "/sys", "/tmp", "/root", "/run", "/etc"} {
		spec.Files = addDir(spec.Files, p)
	}
	store := images.Store{Dir: t.TempDir()}
	if spec.Name == "" {
		spec.Name = "boot"
	}
	info, err := store.Add(context.Background(), spec, images.AddOptions{NoTag: true, Layered: *layered})
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.Open(store.Path(info.Digest), images.SkipDigest())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Image{img}
}

func addDir(files []images.File, p string) []images.File {
	for _, f := range files {
		if f.GuestPath == p || strings.HasPrefix(f.GuestPath, p+"/") {
			return files
		}
	}
	mode := os.ModeDir | 0o755
	if p == "/tmp" {
		mode = os.ModeDir | os.ModeSticky | 0o777
	}
	return append(files, images.File{GuestPath: p, Mode: mode})
}

// Result is how a run ended.
type Result struct {
	Stdout, Stderr string
	Kind           vmm.StopKind
	Code           uint32            // exit status, or the signal that killed the program
	Report         string            // of a guest that did not exit
	Unsupported    map[string]uint32 // calls answered with ENOSYS
	Took           time.Duration
}

// Ended says how the run ended in the words of a list of results.
func (r *Result) Ended() string {
	switch r.Kind {
	case vmm.StopExit:
		return fmt.Sprintf("exit %d", r.Code)
	case vmm.StopFault:
		return fmt.Sprintf("signal %d", r.Code)
	}
	return r.Kind.String()
}

// Run boots the image's program with the arguments and the environment, waits
// until it ends, at most timeout.
func (i *Image) Run(p platform.Platform, args, env []string, timeout time.Duration) (res Result, err error) {
	start := time.Now()
	var out [3]strings.Builder
	total := i.img.MappedBytes()
	ram := i.img.Config().MemoryBytes
	m, err := vmm.NewMachine(p, vmm.Config{
		RAMBytes: ram, ImageBytes: total, ConsoleLimit: outputLimit,
		Console: func(fd uint16, b []byte) {
			if int(fd) >= len(out) {
				fd = 0
			}
			out[fd].Write(b)
		},
	})
	if err != nil {
		return res, err
	}
	defer func() {
		if cerr := m.Close(); err == nil {
			err = cerr
		}
	}()
	for _, p := range i.img.Mappings(ram) {
		if err := m.Memory().MapFile(p.GPA/guest.PageSize, p.Bytes/guest.PageSize, p.File, p.FileOff); err != nil {
			return res, err
		}
	}
	if err := m.ColdBoot(vmm.BootConfig{Args: args, Env: env}); err != nil {
		return res, err
	}
	stop, err := m.Run(vmm.RunOptions{Deadline: start.Add(timeout), Wait: vmm.WaitEvents})
	if err != nil {
		return res, err
	}
	res.Kind, res.Code, res.Took = stop.Kind, stop.Code, time.Since(start)
	res.Stdout, res.Stderr = out[1].String(), out[2].String()+out[0].String()
	if stop.Kind != vmm.StopExit {
		res.Report = m.CrashReport(stop, nil).String()
	}
	calls, err := m.UnsupportedCalls()
	if err != nil {
		return res, err
	}
	res.Unsupported = make(map[string]uint32, len(calls))
	for nr, n := range calls {
		res.Unsupported[guest.SyscallName(nr)] = n
	}
	return res, nil
}
