package version

import (
	"os"
	"regexp"
	"testing"
)

// TestChangelogBeginsWithTheNumber: the newest entry of CHANGELOG.md is this version's.
func TestChangelogBeginsWithTheNumber(t *testing.T) {
	b, err := os.ReadFile("../../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	newest := regexp.MustCompile(`(?m)^## (\S+)`).FindSubmatch(b)
	if newest == nil || string(newest[1]) != Number {
		t.Errorf("CHANGELOG.md begins with %q, and the version is %s", newest, Number)
	}
}
