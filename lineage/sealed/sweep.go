package sealed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// IsTemp reports whether a name is that of a file that was not published.
func IsTemp(name string) bool {
	return strings.HasPrefix(name, TempPrefix) && strings.HasSuffix(name, TempSuffix)
}

// Sweep removes what interrupted writes left in dir. Its caller has the Lock: nobody
// else is writing there now.
func Sweep(dir string) error { return sweep(dir, TempPrefix, 0) }

// sweep removes files of temporary names that begin with prefix and are older than age.
func sweep(dir, prefix string, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, TempSuffix) {
			continue
		}
		if age > 0 {
			if fi, err := e.Info(); err != nil || time.Since(fi.ModTime()) <= age {
				continue // gone, or perhaps still being written
			}
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}
