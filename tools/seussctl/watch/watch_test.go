package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChanges: what people and programs do to sources is told, and nothing else.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	file, tree := filepath.Join(dir, "main.py"), filepath.Join(dir, "tree")
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(time.Now().String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	must(os.MkdirAll(filepath.Join(tree, "lib"), 0o755))
	must(os.MkdirAll(filepath.Join(tree, ".git"), 0o755))
	skip := func(rel string) bool { return strings.HasPrefix(filepath.Base(rel), ".") }
	for _, c := range []struct {
		name, path string
		change     func()
		seen       bool
	}{
		{"write", file, func() { write(file) }, true},
		{"rename into place", file, func() { write(file + "~"); must(os.Rename(file+"~", file)) }, true},
		{"remove and write", file, func() { must(os.Remove(file)); write(file) }, true},
		{"a file beside", file, func() { write(filepath.Join(dir, "main.pyc")) }, false},
		{"mode only", file, func() { must(os.Chmod(file, 0o600)) }, false},
		{"below", tree, func() { write(filepath.Join(tree, "lib", "a.py")) }, true},
		{"below, removed", tree, func() { must(os.Remove(filepath.Join(tree, "lib", "a.py"))) }, true},
		{"skipped", tree, func() { write(filepath.Join(tree, ".swp")); write(filepath.Join(tree, ".git", "index")) }, false},
		{"directory with files", tree, func() { must(os.MkdirAll(filepath.Join(tree, "x", "y"), 0o755)) }, true},
	} {
		w, err := Open(c.path, skip)
		must(err)
		c.change()
		patience := time.Minute
		if !c.seen {
			patience = 3 * quiet
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := w.Next(ctx); c.seen && err != nil || !c.seen && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", c.name, err)
		}
		cancel()
		must(w.Close())
	}
}

// TestLaterDirectories: directories that come, or come back, are watched too.
func TestLaterDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	w, err := Open(dir, nil)
	must(err)
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := range 2 {
		deep := filepath.Join(dir, "a", "b", "c")
		must(os.MkdirAll(deep, 0o755))
		must(w.Next(ctx))
		must(os.WriteFile(filepath.Join(deep, "x"), []byte{byte(n)}, 0o644))
		must(w.Next(ctx))
		must(os.RemoveAll(dir))
		must(w.Next(ctx))
		must(os.Mkdir(dir, 0o755))
		must(w.Next(ctx))
	}
}

// TestBurst: many changes at once are one.
func TestBurst(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for n := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+n%26))), []byte{byte(n)}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	told := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 6*quiet)
		err := w.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		told++
	}
	if told == 0 || told > 10 { // one, but where the machine stood still meanwhile
		t.Errorf("a burst is told %d times", told)
	}
}
