package functions

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"seuss/lineage"
)

// TestGoldenRecords reads records of every format, and writes them as they were: an
// earlier release reads on what asks for nothing new.
func TestGoldenRecords(t *testing.T) {
	for _, name := range []string{"format1", "format2", "format3", "format4"} {
		want, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		f, err := decode(want, "hello")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := f.encode(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n%s\nwant %s", name, err, got, want)
		}
		later := bytes.Replace(want, []byte("{"), []byte(`{"format": 9,`), 1)
		if name != "format1" {
			later = bytes.Replace(want, []byte(`"format": `+name[6:]), []byte(`"format": 9`), 1)
		}
		if _, err := decode(later, "hello"); !errors.Is(err, lineage.ErrFormat) || !strings.Contains(err.Error(), "format 9") {
			t.Errorf("a later format: %v", err)
		}
	}
	f, _ := decode([]byte(`{"name":"hello","handler":"a.b","code_digest":"`+strings.Repeat("0", 64)+`"}`), "hello")
	if f.Settings.Network != nil || f.Settings.HostPorts != nil {
		t.Error("what says nothing of the network has a list")
	}
}
