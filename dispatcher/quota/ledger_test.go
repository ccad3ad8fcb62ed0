package quota

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"seuss/lineage"
)

// TestLedgerLeftAlone: a file that this release cannot read is not written over.
func TestLedgerLeftAlone(t *testing.T) {
	dir := t.TempDir()
	nodes, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	path, later := filepath.Join(dir, LedgerFile), `{"format": 2, "charges": []}`
	if err := os.WriteFile(path, []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLedger(nodes)
	if !errors.Is(err, lineage.ErrFormat) {
		t.Error(err)
	}
	if err := l.Charge("some", "ann"); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); string(b) != later {
		t.Errorf("it says %s, %v", b, err)
	}
}

// TestLedgerIsWrittenAgain: what could not be written is when there is something to charge next.
func TestLedgerIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	nodes, err := lineage.Open(dir, lineage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	l, err := OpenLedger(nodes)
	if err != nil {
		t.Fatal(err)
	}
	path := l.path
	l.path = filepath.Join(dir, "none", LedgerFile)
	if err := l.Charge("some", "ann"); err == nil {
		t.Fatal("it is written nowhere")
	}
	l.path = path
	if err := l.Charge("some", "bob"); err != nil {
		t.Error(err)
	}
	again, err := OpenLedger(nodes)
	if err != nil || len(again.owners) != 1 {
		t.Errorf("%v, %v", again.owners, err)
	}
}
