package engine

import (
	"context"
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
	if _, err := e.JetStream(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(file, slog.New(slog.DiscardHandler)).JetStream(t.Context()); err == nil {
		t.Error("a file is taken for a directory")
	}
}

// TestStartIsWaitedFor: who waits for the start waits no longer than he may, all get the same
// server, and one that was closed meanwhile stays closed.
func TestStartIsWaitedFor(t *testing.T) {
	e := New(t.TempDir(), slog.New(slog.DiscardHandler))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.JetStream(over); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	first, err := e.JetStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := e.JetStream(over); err != nil || again != first {
		t.Errorf("one that runs: %v", err)
	}
	e.Close()
	e = New(t.TempDir(), slog.New(slog.DiscardHandler))
	_, _ = e.JetStream(over)
	e.Close()
	if _, err := e.JetStream(t.Context()); !errors.Is(err, ErrClosed) || e.running != nil {
		t.Error(err)
	}
}
