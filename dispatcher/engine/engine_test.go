package engine

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestNamedErrors: a disk without room and a directory that cannot be used are errors by name,
// and a closed engine does not start again.
func TestNamedErrors(t *testing.T) {
	dir := t.TempDir()
	e := New(dir, slog.New(slog.DiscardHandler))
	if err := e.Room(1 << 60); !errors.Is(err, ErrDiskFull) {
		t.Error(err)
	}
	if err := e.Room(0); err != nil {
		t.Error(err)
	}
	e.Close()
	if _, err := e.JetStream(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(file, slog.New(slog.DiscardHandler)).JetStream(); err == nil {
		t.Error("a file is taken for a directory")
	}
}
