package images

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
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
// sorted. Where ref is no name, or the only one, it does nothing and returns none. With
// cascade, which is about what only the whole image takes with it, it refuses: it is
// ErrNamed then.
func (s Store) Unname(ref string, cascade bool) (left []string, err error) {
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
	if cascade {
		return nil, fmt.Errorf("%w: image %s is also %s, and its snapshots are those of all its names: leave --cascade out to take this name away, or remove the image with them as %.12s", ErrNamed, ref, strings.Join(left, ", "), digest)
	}
	return left, s.Untag(ref)
}
