package cmdline

import (
	"errors"
	"slices"
	"strings"
)

// SplitList takes a comma-separated flag apart and drops empty and repeated
// items.
func SplitList(text string) ([]string, error) {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, errors.New("an item is empty")
		}
		if !slices.Contains(out, item) {
			out = append(out, item)
		}
	}
	return out, nil
}
