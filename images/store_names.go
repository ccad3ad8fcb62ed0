package images

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Names returns the names that lead to images, sorted. A store that does not exist yet is
// empty.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list the names of images: %w", err)
	}
	tags, err := s.tags(entries)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(tags)), nil
}

// Unname takes a name away from an image to which others lead too, and returns these,
// sorted. Where ref is no name, or the only one, it does nothing and returns none.
func (s Store) Unname(ref string) (left []string, err error) {
	if CheckName(ref) != nil {
		return nil, nil
	}
	digest, err := s.readTag(ref)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("list the names of images: %w", err)
	}
	tags, err := s.tags(entries)
	if err != nil {
		return nil, err
	}
	for name, d := range tags {
		if d == digest && name != ref {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	if len(left) == 0 {
		return nil, nil
	}
	return left, s.Untag(ref)
}
