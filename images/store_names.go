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
