package testguest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestBinaryIsCurrent(t *testing.T) {
	for _, tool := range []string{"gcc", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs gcc and ld:", err)
		}
	}
	dir := t.TempDir()
	object, flat := filepath.Join(dir, "guest.o"), filepath.Join(dir, "guest.bin")
	for _, args := range [][]string{
		{"gcc", "-c", "-o", object, "testdata/guest.S"},
		{"ld", "-Ttext=0x30000", "-e", "0x30000", "--oformat", "binary", "-o", flat, object},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	got, err := os.ReadFile(flat)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, Binary) {
		t.Error("testdata/guest.bin is not what testdata/guest.S assembles to")
	}
}
