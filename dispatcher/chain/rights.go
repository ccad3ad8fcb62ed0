package chain

import (
	"fmt"
	"path"
	"strings"

	"seuss/dispatcher/functions"
)

// MaxRights bounds the functions that one deployment names.
const MaxRights = 64

// Rights are the functions of his own owner that a caller may call: names, in which * stands
// for any characters.
type Rights []string

// ParseRights checks what a deployment names.
func ParseRights(entries []string) (Rights, error) {
	if len(entries) > MaxRights {
		return nil, fmt.Errorf("%d functions to call, at most %d are allowed: %w", len(entries), MaxRights, ErrInvalid)
	}
	for i, entry := range entries {
		if !functions.ValidName(strings.ReplaceAll(entry, "*", "x")) {
			return nil, fmt.Errorf("function to call %.80q: want the name of a function of the same owner, in which * stands for any characters: %w", entry, ErrInvalid)
		}
		for _, other := range entries[:i] {
			if other == entry {
				return nil, fmt.Errorf("function to call %q is named twice: %w", entry, ErrInvalid)
			}
		}
	}
	return entries, nil
}

// allows refuses what a deployment does not name.
func (r Rights) allows(function, callee string) error {
	for _, entry := range r {
		if ok, err := path.Match(entry, callee); ok && err == nil {
			return nil
		}
	}
	if len(r) == 0 {
		return fmt.Errorf("function %q calls no others: %q %w: deploy it with --call %s", function, callee, ErrForbidden, callee)
	}
	return fmt.Errorf("function %q may call %s, and %q %w: deploy it with --call %s", function, strings.Join(r, ", "), callee, ErrForbidden, callee)
}
