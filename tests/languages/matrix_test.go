package languages

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testPattern = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testNames are those of package tests, of this one and of the contracts.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{"*.go", "../*.go", "../../dispatcher/contracts/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testPattern.FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
		}
	}
	return names
}

// TestMatrix: the page of contracts names every program below its contract, and no other;
// the tests that it names are there, and each contract has one on each platform.
func TestMatrix(t *testing.T) {
	languages, platforms, ok := strings.Cut(sectionOf(t, "Languages"), "\nPlatforms: ")
	if !ok {
		t.Fatal("docs/contracts.md has no word on platforms")
	}
	names := []string{"driver", "runtimeapi", "http", "program"}
	tests, shown := testNames(t), map[string]string{}
	named := func(cell string) (words []string) {
		for k, word := range strings.Split(cell, "`") {
			if k%2 == 1 {
				words = append(words, word)
			}
			if k%2 == 1 && strings.HasPrefix(word, "Test") && !tests[word] {
				t.Errorf("docs/contracts.md names %s, which is no test", word)
			}
		}
		return words
	}
	for line := range strings.SplitSeq(languages, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 7 {
			continue
		}
		for n, contract := range names {
			for _, word := range named(cells[n+2]) {
				if !strings.HasPrefix(word, "Test") {
					shown[word] = contract
				}
			}
		}
	}
	for _, contract := range names {
		_, row, ok := strings.Cut(platforms, "\n| `"+contract+"` |")
		row, _, _ = strings.Cut(row, "\n")
		cells := strings.Split(row, "|")
		if !ok || len(cells) != 4 {
			t.Errorf("docs/contracts.md says of %s on no or on other platforms: %s", contract, row)
			continue
		}
		for _, cell := range cells[:3] {
			if len(named(cell)) == 0 {
				t.Errorf("docs/contracts.md names no test of %s: %s", contract, row)
			}
		}
	}
	for _, p := range programs(t) {
		if shown[p.Name] != p.Contract {
			t.Errorf("docs/contracts.md has %s below %q, not %s", p.Name, shown[p.Name], p.Contract)
		}
		delete(shown, p.Name)
	}
	for name := range shown {
		if !slices.Contains(names, name) {
			t.Errorf("docs/contracts.md names %s, which is no program of tools/seussctl/samples/languages", name)
		}
	}
}
