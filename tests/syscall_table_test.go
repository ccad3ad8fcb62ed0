package tests

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"seuss/guest"
)

// TestGuestPageShowsTheSyscallTable: the tables of system calls in docs/guest.md are
// what guest/kernel/syscalls.def gives. SEUSS_UPDATE_TABLES=1 writes them instead.
func TestGuestPageShowsTheSyscallTable(t *testing.T) {
	const begin, end = "<!-- system calls: made by make tables -->\n", "<!-- end of system calls -->\n"
	pageShows(t, "../docs/guest.md", begin, end, syscallTables())
}

// pageShows compares what a page has between two lines with what is made for it, and
// writes it if SEUSS_UPDATE_TABLES=1.
func pageShows(t *testing.T, page, begin, end, content string) {
	t.Helper()
	file, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(file), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", page, begin, end)
	}
	want := before + begin + content + end + after
	if want == string(file) {
		return
	}
	if os.Getenv("SEUSS_UPDATE_TABLES") != "1" {
		t.Fatalf("%s does not show what its source gives: run make tables", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func syscallTables() string {
	meaning := []struct{ support, text string }{
		{"FULL", "as on Linux, as far as a single process can tell"},
		{"PARTIAL", "the note says what"},
		{"STUB", "accepted, or answered with a fixed error, without effect"},
		{"NONE", "`ENOSYS`; counted, and named in the invocation's result"},
	}
	count, partial := map[string]int{}, map[string][]string{}
	for _, row := range guest.SyscallTable() {
		count[row.Support]++
		if row.Support == "PARTIAL" {
			partial[row.Note] = append(partial[row.Note], row.Name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "It has %d rows.\n\n| support | calls | meaning |\n|---|---:|---|\n", len(guest.SyscallTable()))
	for _, m := range meaning {
		fmt.Fprintf(&b, "| %s | %d | %s |\n", m.support, count[m.support], m.text)
	}
	b.WriteString("\nThe PARTIAL rows:\n\n| calls | note |\n|---|---|\n")
	notes := slices.SortedFunc(maps.Keys(partial), func(x, y string) int { return strings.Compare(partial[x][0], partial[y][0]) })
	for _, note := range notes {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(partial[note], ", "), note)
	}
	return b.String()
}
