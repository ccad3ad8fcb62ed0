package cmdline

import (
	"strings"
	"testing"
)

// TestTable: columns are lined up, and a table without a header has rows only.
func TestTable(t *testing.T) {
	for want, header := range map[string][]string{
		"NAME  SIZE\nab       1\nc       22\n": {"NAME", ">SIZE"},
		"ab  1\nc   22\n":                      nil,
	} {
		table := NewTable(header...)
		table.Row("ab", "1")
		table.Row("c", "22")
		var b strings.Builder
		if err := table.Print(&b); err != nil || b.String() != want {
			t.Errorf("%q, want %q (%v)", b.String(), want, err)
		}
	}
}
