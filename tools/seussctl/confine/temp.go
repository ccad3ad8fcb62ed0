package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tempDir is where a confined daemon has its temporary files: the host's are out of
// its reach.
func tempDir(state string) string { return filepath.Join(state, "tmp") }

func makeTemp(state string) error {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := os.Mkdir(tempDir(state), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("temporary files: %w", err)
	}
	return nil
}

// CleanTemp removes what an earlier daemon has left of temporary files. The caller
// holds the state directory.
func CleanTemp(state string) error {
	entries, err := os.ReadDir(tempDir(state))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(tempDir(state), e.Name())))
	}
	return errors.Join(errs...)
}
