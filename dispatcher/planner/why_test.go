package planner

import (
	"errors"
	"strings"
	"testing"
)

// TestWhy: where a function starts, what is in the way of nodes that would save more, and
// why there is none are said; another owner's plan is not told of.
func TestWhy(t *testing.T) {
	l := newLiving(t, t.TempDir(), someNeeds)
	why := func(name string) string {
		t.Helper()
		s, err := l.Why(name)
		if err != nil {
			t.Fatal(err)
		}
		return s.String()
	}
	if got := why("b"); got != "no plan is applied" {
		t.Error(got)
	}
	l.h.fail = func(what string) error {
		if what == "make c" {
			return errors.New("it dies")
		}
		return nil
	}
	l.apply("", "b", "c", "b e", "a b e")
	l.apply("ann", "x")
	for name, want := range map[string]string{
		"":       "its code asks for no package of its image, or brings what these import",
		"b":      "planned for everybody: b==1, which saves 10.0 ms",
		"b e":    "planned for everybody: b==1 e==1, which saves 20.0 ms",
		"a":      "planned for everybody: b==1, which saves 10.0 ms; not a==1 b==1 e==1 (20.0 ms): it has beyond what is asked for e==1",
		"a|b":    "its code asks for no package of its image, or brings what these import",
		"c":      "no planned node has only packages that its code asks for; not c==1 (10.0 ms): it could not be made: it dies",
		"e":      "no planned node has only packages that its code asks for; not b==1 e==1 (10.0 ms): it has beyond what is asked for b==1; not a==1 b==1 e==1 (10.0 ms): it has beyond what is asked for a==1 b==1",
		"nobody": "its code asks for no package of its image, or brings what these import",
	} {
		if got := why(name); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
	at, f, _ := l.h.Function("x b c")
	f.Owner = "ann"
	if s := l.why(at, f); s.Plan != "ann" || strings.Join(s.Packages, " ") != "x==1" || s.SavesMS != 30 {
		t.Errorf("ann: %+v", s)
	}
	f.Owner = "bob"
	if s := l.why(at, f); strings.Contains(s.String(), "x==1") {
		t.Errorf("bob: %s", s)
	}
	f.Environment = map[string]string{"A": "b"}
	if s := l.why(at, f); !strings.Contains(s.String(), "environment") {
		t.Errorf("with an environment: %s", s)
	}
	if f.Elsewhere = true; !strings.Contains(l.why(at, f).String(), "says itself") {
		t.Errorf("elsewhere: %s", l.why(at, f))
	}
}
