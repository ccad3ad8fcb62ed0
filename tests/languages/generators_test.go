package languages

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// What instances of one snapshot draw from a generator.
const (
	sameNumbers = "same"
	ownNumbers  = "own"
)

// TestGenerators: what a program's own generators of random numbers hold across a snapshot is
// what its folder says, and the program is refused without leave where that says so.
func TestGenerators(t *testing.T) {
	b := newBench(t)
	for _, p := range programsIn(t, "generators") {
		if !*all && !p.CI || *only != "" && !slices.Contains(strings.Split(*only, ","), p.Name) {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			p.require(t)
			files := p.code(t)
			err := b.deployed(t, &p, files, false)
			if refused := err != nil && strings.Contains(err.Error(), "may draw the same random numbers"); p.Taken != (err == nil) || !p.Taken && !refused {
				t.Errorf("without leave: %v; want taken: %t", err, p.Taken)
			}
			b.deploy(t, &p, files)
			seen := map[string]map[string]bool{}
			for range times {
				got, ok := b.guestResult(t, &p, "null").Output.(map[string]any)
				if !ok || len(got) != len(p.Generators) {
					t.Fatalf("it has drawn %v", got)
				}
				for name, number := range got {
					if seen[name] == nil {
						seen[name] = map[string]bool{}
					}
					seen[name][fmt.Sprint(number)] = true
				}
			}
			for name, want := range p.Generators {
				switch n := len(seen[name]); {
				case n != 1 && n != times:
					t.Errorf("%s: %d instances have drawn %d numbers", name, times, n)
				case want == sameNumbers && n != 1, want == ownNumbers && n != times, want != sameNumbers && want != ownNumbers:
					t.Errorf("%s: %d instances have drawn %d numbers, want %q", name, times, n, want)
				}
			}
		})
	}
}

// TestGeneratorsTable: the page of contracts says what the folders of generators do.
func TestGeneratorsTable(t *testing.T) {
	section := sectionOf(t, "Generators of random numbers")
	for _, p := range programsIn(t, "generators") {
		var kinds []string
		for _, want := range []string{sameNumbers, ownNumbers} {
			var names []string
			for _, name := range slices.Sorted(maps.Keys(p.Generators)) {
				if p.Generators[name] == want {
					names = append(names, name)
				}
			}
			kinds = append(kinds, strings.Join(names, ", "))
		}
		row := fmt.Sprintf("| %s (`%s`) | %s | %s | %s |", p.Language, p.Name, kinds[0], kinds[1], map[bool]string{true: "yes", false: "no"}[p.Taken])
		if !strings.Contains(section, "\n"+row+"\n") {
			t.Errorf("docs/contracts.md does not have the row\n%s", row)
		}
	}
}

// sectionOf is a section of the page of contracts.
func sectionOf(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/contracts.md has no section %q", heading)
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return section
}
