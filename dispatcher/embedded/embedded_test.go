package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenRefuses: what cannot be opened is refused by name. That it opens, TestEmbed shows.
func TestOpenRefuses(t *testing.T) {
	if d, err := Open(t.Context(), t.TempDir(), Options{Runtimes: []string{"cobol"}}); err == nil || !strings.Contains(err.Error(), "cobol") {
		t.Errorf("a runtime that there is not: %v, %v", d, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file: %v, %v", d, err)
	}
}
