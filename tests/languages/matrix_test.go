package languages

import (
	"os"
	"strings"
	"testing"
)

// TestMatrix: the page of contracts names every program below its contract, and no other.
func TestMatrix(t *testing.T) {
	text, err := os.ReadFile("../../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## Languages\n")
	if !ok {
		t.Fatal("docs/contracts.md has no section of languages")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	shown := map[string]string{}
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		for n, contract := range []string{"runtimeapi", "http", "program"} {
			for k, word := range strings.Split(cells[n+2], "`") {
				if k%2 == 1 {
					shown[word] = contract
				}
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
		if name != "runtimeapi" && name != "http" && name != "program" {
			t.Errorf("docs/contracts.md names %s, which is no program of tests/languages/programs", name)
		}
	}
}
