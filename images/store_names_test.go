package images

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestUnname: a name goes and the image's others are told; with cascade, which would mean
// all that hangs on them, nothing goes.
func TestUnname(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "images")}
	digest := add(t, s, "a", "one").Digest.String()
	for _, name := range []string{"b", "c"} {
		if err := s.Tag(digest, name); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := s.Unname("a", true); !errors.Is(err, ErrNamed) || left != nil || !strings.Contains(err.Error(), "b, c") || !strings.Contains(err.Error(), digest[:12]) {
		t.Errorf("with cascade: %v, %v", left, err)
	}
	if left, err := s.Unname("a", false); err != nil || !slices.Equal(left, []string{"b", "c"}) {
		t.Errorf("%v, %v", left, err)
	}
	if names, err := s.Names(); err != nil || !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("names %v, %v", names, err)
	}
	for _, ref := range []string{digest, "a"} { // no name, or none any more
		if left, err := s.Unname(ref, true); err != nil || left != nil {
			t.Errorf("%s: %v, %v", ref, left, err)
		}
	}
}
