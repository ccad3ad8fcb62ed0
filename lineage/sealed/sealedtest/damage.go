package sealedtest

import (
	"bytes"
	"os"
	"testing"

	"seuss/lineage/sealed"
)

// Damage replaces a sealed file by what change makes of its content.
func Damage(t testing.TB, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = change(bytes.Clone(b))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, sealed.Mode); err != nil {
		t.Fatal(err)
	}
}
