package guest_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"seuss/guest"
)

// TestMirrorIsCurrent regenerates the mirror and compares it with the
// committed one.
func TestMirrorIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("gcc is needed to read the layout of abi.h:", err)
	}
	out := filepath.Join(t.TempDir(), "abi_gen.go")
	cmd := exec.Command("go", "run", "./internal/abigen", "-header", "abi.h", "-output", out)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("abigen: %v\n%s", err, msg)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("abi_gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("abi_gen.go does not match abi.h: run go generate ./guest")
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
