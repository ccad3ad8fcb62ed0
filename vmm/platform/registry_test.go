package platform

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// opens is a kind that can be opened, or says why not.
func opens(name string, rank int, err error) *Kind {
	return &Kind{Name: name, Title: strings.ToUpper(name), Summary: "for a test", Instead: "guests run on " + name, Rank: rank,
		Open: func(Options) (Platform, error) {
			if err != nil {
				return nil, err
			}
			return named{name: name}, nil
		}}
}

type named struct {
	Platform
	name string
}

func (n named) Name() string { return n.name }

// withKinds registers kinds for one test.
func withKinds(t *testing.T, list ...*Kind) {
	before := kinds
	t.Cleanup(func() { kinds = before })
	kinds = nil
	for _, k := range list {
		Register(k)
	}
}

// TestOpenBest: the first that can be used is taken, and it is said why the others were
// not; what is no lack of the host's is an error.
func TestOpenBest(t *testing.T) {
	lack := func(what string) error { return (&Kind{Title: what}).Lacks(os.ErrNotExist, "get "+what) }
	withKinds(t, opens("c", 3, nil), opens("hidden", 0, nil), opens("a", 1, lack("a")), opens("b", 2, nil))
	p, k, passed, err := OpenBest(Options{})
	if err != nil || p.Name() != "b" || k.Name != "b" || len(passed) != 1 || passed[0].Fix != "get a" {
		t.Errorf("%v, %v, %v, %v", p, k, passed, err)
	}
	if len(Kinds()) != 3 || Kinds()[0].Name != "a" || Find("hidden") == nil || Find("x") != nil {
		t.Errorf("kinds %v", Kinds())
	}
	withKinds(t, opens("a", 1, lack("a")), opens("b", 2, lack("b")))
	if _, _, _, err := OpenBest(Options{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "get a; and b is not available") {
		t.Error(err)
	}
	withKinds(t, opens("a", 1, errors.New("broken")), opens("b", 2, nil))
	if _, _, _, err := OpenBest(Options{}); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a platform that is broken was passed over: %v", err)
	}
	withKinds(t)
	if _, _, _, err := OpenBest(Options{}); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// TestRequirements: the first that is needed and not met counts, with its fix.
func TestRequirements(t *testing.T) {
	k := opens("a", 1, nil)
	met := func(Host) error { return nil }
	unmet := func(h Host) error { _, err := os.Stat(h.Device("none")); return err }
	k.Requirements = []Requirement{{Name: "one", Check: met, Fix: "x"}, {Name: "optional", Check: unmet, Fix: "x", Without: "slower"},
		{Name: "two", Check: unmet, Fix: "get two"}, {Name: "three", Check: unmet, Fix: "get three"}}
	var u *Unmet
	if err := k.Check(Host{Dev: t.TempDir()}); !errors.As(err, &u) || u.Fix != "get two" || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	k.Requirements = k.Requirements[:2]
	if err := k.Check(Host{Dev: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

func TestRegisterRefuses(t *testing.T) {
	for name, k := range map[string]*Kind{
		"same name": opens("a", 2, nil), "same rank": opens("b", 1, nil), "incomplete": {Name: "c"},
		"no fix": {Name: "d", Title: "D", Summary: "x", Open: opens("d", 0, nil).Open, Requirements: []Requirement{{Name: "r", Check: func(Host) error { return nil }}}},
	} {
		withKinds(t, opens("a", 1, nil))
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			Register(k)
		}()
	}
}
