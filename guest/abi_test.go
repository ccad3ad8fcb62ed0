package guest_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"seuss/guest"
)

// TestMirrorIsCurrent regenerates the mirrors and compares them with the
// committed ones.
func TestMirrorIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is needed to read the layout of the headers:", err)
	}
	for _, contract := range []string{"kernel", "driver", "image"} {
		header, mirror := "abi/"+contract+".h", "abi_"+contract+"_gen.go"
		out := filepath.Join(t.TempDir(), mirror)
		cmd := exec.Command("go", "run", "./internal/abigen", "-header", header, "-output", out)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("abigen: %v\n%s", err, msg)
		}
		want, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(mirror)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s does not match %s: run go generate ./guest", mirror, header)
		}
	}
}

// TestHeadersStandAlone compiles each contract by itself, as C and for assembly, and
// looks at what it includes.
func TestHeadersStandAlone(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped without gcc:", err)
	}
	include := regexp.MustCompile(`(?m)^#include (.*)$`)
	for _, contract := range []string{"kernel", "driver", "image"} {
		header := "abi/" + contract + ".h"
		for _, flags := range [][]string{{"-std=c11", "-x", "c"}, {"-D__ASSEMBLER__", "-x", "assembler-with-cpp"}} {
			args := append(flags, "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-c", "-o", os.DevNull, header)
			if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
				t.Errorf("gcc %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		text, err := os.ReadFile(header)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range include.FindAllSubmatch(text, -1) {
			if what := string(m[1]); what != "<stdint.h>" && what != "<stddef.h>" {
				t.Errorf("%s includes %s", header, what)
			}
		}
	}
}

// TestTypesMatchSizes checks that encoding/binary sees the C sizes.
func TestTypesMatchSizes(t *testing.T) {
	for _, c := range []struct {
		v    any
		size int
	}{
		{guest.Entries{}, guest.EntriesSize},
		{guest.Boot{}, guest.BootSize},
		{guest.Identity{}, guest.IdentitySize},
		{guest.Control{}, guest.ControlSize},
		{guest.ConsoleRecord{}, guest.ConsoleRecordSize},
		{guest.Frame{}, guest.FrameSize},
		{guest.Fault{}, guest.FaultSize},
		{guest.ImageHeader{}, guest.ImageHeaderSize},
		{guest.ImageExtent{}, guest.ImageExtentSize},
		{guest.ImageInode{}, guest.ImageInodeSize},
		{guest.ImageDirent{}, guest.ImageDirentSize},
	} {
		if got := binary.Size(c.v); got != c.size {
			t.Errorf("%T encodes to %d bytes, C has %d", c.v, got, c.size)
		}
	}
	if guest.ControlUpcallRIP != 136 || guest.ControlRunnable != 96 {
		t.Errorf("control offsets: upcall_rip %d, runnable %d", guest.ControlUpcallRIP, guest.ControlRunnable)
	}
}
