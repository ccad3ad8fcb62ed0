package records

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"seuss/lineage/sealed"
)

// TestRecords: what was written is there again, whatever a crash cuts off at the end, and
// damage is said.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	l, all, _, err := Open(path)
	if err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != sealed.OpenMode { // root could write to one that is not to be written
		t.Fatal(st.Mode(), err)
	}
	for n := range 100 {
		if err := l.Write(n%10 == 0, Change{fmt.Sprint(n % 20), n}, Change{Key: fmt.Sprint(n % 7)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, whole, damaged := Decode(b)
	if len(damaged) > 0 || len(whole) != 13 || string(whole["19"]) != "99" {
		t.Errorf("%s, %v", whole, damaged)
	}
	for cut := range 100 {
		if _, _, damaged := Decode(b[:len(b)-cut]); len(damaged) > 0 {
			t.Fatalf("%d bytes are cut off: %v", cut, damaged)
		}
	}
	b[bytes.IndexByte(b, '\n')-2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l, all, damaged, err = Open(path)
	if err != nil || len(damaged) != 1 || len(all) != 13 {
		t.Errorf("%v, %v, %v", all, damaged, err)
	}
	// What is replaced does not pile up.
	big := string(make([]byte, 10_000))
	for range 2000 {
		if err := l.Write(false, Change{"one", big}); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 2*slack {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range []Change{{"a", 1}, {Key: "a"}} {
		line, err := encode(&c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, records, _ := Decode(b)
		var all []byte
		for _, line := range lines {
			all = append(all, line...)
		}
		if _, again, damaged := Decode(all); len(damaged) > 0 || len(again) != len(records) {
			t.Errorf("%q: %v, %v", all, again, damaged)
		}
	})
}
