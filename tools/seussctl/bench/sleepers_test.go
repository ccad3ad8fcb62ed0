package bench

import (
	"errors"
	"strings"
	"testing"
)

// TestSleepersNote: what is not answered is counted, and the first of it is kept.
func TestSleepersNote(t *testing.T) {
	var s Sleepers
	for _, c := range []struct {
		status int
		answer string
		err    error
	}{{200, "5\n", nil}, {429, "first", nil}, {429, "second", nil}, {200, "6", nil}, {0, "", errors.New("reset")}, {200, "5", nil}} {
		s.note("5", c.status, []byte(c.answer), c.err)
	}
	if s.Answered != 2 || s.Refused != 2 || !strings.Contains(s.Failed, "first") {
		t.Errorf("%+v", s)
	}
}
