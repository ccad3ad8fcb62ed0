package tests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seuss/guest"
	"seuss/images"
	"seuss/images/runtimes"
	"seuss/tests/boot"
	"seuss/vmm"
	"seuss/vmm/vmmtest"
)

// refused says whether a text names both versions and what to do about it.
func refused(t *testing.T, text, contract string, theirs, ours int) {
	t.Helper()
	for _, want := range []string{contract, fmt.Sprint(theirs), fmt.Sprint(ours), "build the image anew"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// TestKernelContractRefused: the monitor runs no kernel library of another version.
// (That the kernel library refuses such a monitor, contract_test.c shows.)
func TestKernelContractRefused(t *testing.T) {
	platform := vmmtest.Require(t)
	library := bytes.Clone(guest.Kernel())
	at := bytes.Index(library, binary.LittleEndian.AppendUint64(nil, guest.EntriesMagic))
	if at < 0 {
		t.Fatal("the kernel library has no entry table")
	}
	binary.LittleEndian.PutUint32(library[at+guest.EntriesABIVersion:], 77)
	img := boot.NewWith(t, library, images.Spec{Name: "contract"})
	_, err := img.Run(platform, []string{"/program"}, nil, time.Minute)
	if !errors.Is(err, vmm.ErrABI) {
		t.Fatalf("error %v, want %v", err, vmm.ErrABI)
	}
	refused(t, err.Error(), "kernel contract", 77, guest.KernelVersion)
}

// TestImageContractRefused: an image of another version of its format, with a kernel
// library or with a driver of another contract is not opened. (That the kernel
// library refuses the first, fs_image_test.c shows.)
func TestImageContractRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contract.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spec := images.Spec{Name: "contract", Kernel: guest.Kernel(), Driver: "/driver", Files: []images.File{{GuestPath: "/driver", Data: []byte("x")}}}
	if _, err := images.Build(t.Context(), f, spec, nil); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	field := func(offset int) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[offset:], 77)
			return b
		}
	}
	stated := fmt.Appendf(nil, `"driver_protocol":%d`, guest.DriverVersion)
	for _, c := range []struct {
		contract string
		change   func([]byte) []byte
		ours     int
		want     error
	}{
		{"image format", field(guest.ImageHeaderVersion), guest.ImageVersion, images.ErrVersion},
		{"kernel contract", field(guest.ImageHeaderABIVersion), guest.KernelVersion, images.ErrABI},
		{"driver protocol", func(b []byte) []byte { return bytes.Replace(b, stated, []byte(`"driver_protocol":7`), 1) }, guest.DriverVersion, images.ErrABI},
	} {
		t.Run(strings.ReplaceAll(c.contract, " ", "-"), func(t *testing.T) {
			if err := os.WriteFile(path, c.change(bytes.Clone(good)), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := images.Open(path, images.SkipDigest())
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			refused(t, err.Error(), c.contract, 7, c.ours)
		})
	}
	// An image of before the version was stated has the first.
	unstated := bytes.Replace(good, append([]byte(","), stated...), bytes.Repeat([]byte(" "), len(stated)+1), 1)
	if err := os.WriteFile(path, unstated, 0o644); err != nil {
		t.Fatal(err)
	}
	im, err := images.Open(path, images.SkipDigest())
	if err != nil || bytes.Equal(unstated, good) {
		t.Fatalf("without a stated driver protocol: %v", err)
	}
	im.Close()
}

// driverProgram is a driver that states the version that its argument says.
const driverProgram = `
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "driver.h"
int main(int argc, char **argv)
{
	const char *monitor = getenv("SEUSS_DRIVER_PROTOCOL");
	if (!monitor || atoi(monitor) != ABI_DRIVER_VERSION)
		return 3;
	int s = socket(AF_VSOCK, SOCK_STREAM, 0);
	struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = 2, .svm_port = ABI_DRIVER_PORT};
	if (connect(s, (struct sockaddr *)&host, sizeof host))
		return 4;
	unsigned char frame[256];
	uint32_t n = snprintf((char *)frame + ABI_FRAME_HEADER, 200, "%s", argv[1]);
	memcpy(frame, &n, 4);
	frame[4] = ABI_MSG_READY;
	if (write(s, frame, ABI_FRAME_HEADER + n) < 0)
		return 5;
	read(s, frame, 1);
	return 0;
}
`

// TestDriverContractRefused: the monitor refuses a driver that states another version
// of the protocol, and takes one that states none for the first.
func TestDriverContractRefused(t *testing.T) {
	vmmtest.Require(t)
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc")
	}
	dir := t.TempDir()
	source, program := filepath.Join(dir, "driver.c"), filepath.Join(dir, "driver")
	if err := os.WriteFile(source, []byte(driverProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-O1", "-static", "-I../guest/abi", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	for _, c := range []struct {
		ready string
		ok    bool
	}{{`{"protocol": 77}`, false}, {`{"protocol": 0}`, false}, {`{}`, true}, {fmt.Sprintf(`{"protocol": %d}`, guest.DriverVersion), true}} {
		t.Run(c.ready, func(t *testing.T) {
			state := t.TempDir()
			if err := os.Mkdir(filepath.Join(state, "images"), 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(state, "images", "made")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			spec := images.Spec{
				Name: "driver", Kernel: guest.Kernel(), Program: "/driver", Driver: "/driver", Argv: []string{"/driver", c.ready},
				Files: images.WithMountPoints([]images.File{{GuestPath: "/driver", HostPath: program, Mode: 0o755}}),
			}
			info, err := images.Build(t.Context(), f, spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			digest := info.Digest.String()
			if err := os.Rename(path, filepath.Join(state, "images", digest+".img")); err != nil {
				t.Fatal(err)
			}
			_, err = openAt(t, state, nil).Base(context.Background(), digest, "")
			if c.ok != (err == nil) {
				t.Fatalf("error %v", err)
			}
			if err != nil && strings.Contains(c.ready, "77") {
				refused(t, err.Error(), "driver protocol", 77, guest.DriverVersion)
			}
		})
	}
}

// TestDriversRefuse: a driver refuses a monitor of another version of the protocol,
// before it connects to it.
func TestDriversRefuse(t *testing.T) {
	for _, r := range runtimes.WithFunctions() {
		t.Run(r.Name, func(t *testing.T) {
			program, err := r.Find()
			if err != nil {
				t.Skipf("skipped without %s: %v", r.Title, err)
			}
			dir := t.TempDir()
			for file, content := range r.Driver() {
				copyTo(t, filepath.Join(dir, file), content)
			}
			cmd := exec.Command(program, filepath.Join(dir, r.Main))
			cmd.Env = append(os.Environ(), "SEUSS_DRIVER_PROTOCOL=77")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%v\n%s", err, out)
			}
			refused(t, string(out), "driver protocol", 77, guest.DriverVersion)
		})
	}
}
