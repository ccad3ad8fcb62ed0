package runtimes_test

import (
	"errors"
	"strings"
	"testing"

	"seuss/images"
	"seuss/images/runtimes"
)

// TestAskIn: a driver of an image's own, which has no runtime's name, serves who asks for none,
// and nobody who names one.
func TestAskIn(t *testing.T) {
	list := runtimes.Of(&images.Config{Program: "/own", Argv: []string{"/own", "/driver"}, Driver: "/driver"})
	for _, r := range append(runtimes.WithFunctions(), nil) {
		n, err := (runtimes.Ask{Runtime: r}).In("img", list)
		if r == nil && (n != 0 || err != nil) {
			t.Errorf("any: %d, %v", n, err)
		}
		if r != nil && (!errors.Is(err, runtimes.ErrNotServed) || !strings.Contains(err.Error(), r.Name+" is wanted, image img has")) {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}
