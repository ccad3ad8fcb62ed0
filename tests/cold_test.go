package tests

import (
	"context"
	"testing"

	"seuss/dispatcher"
	"seuss/lineage"
	"seuss/vmm/vmmtest"
)

// counterAsPages is a state directory with the function counter, whose node is stored
// as whole pages, and what it answers to 7.
func counterAsPages(t *testing.T) (dir string, n *lineage.Node, want string) {
	t.Helper()
	dir = copyState(t)
	d := openAt(t, dir, nil)
	deploy(t, d, "counter", counterFunction, nil)
	n = functionNode(t, d, "counter")
	want = string(invoke(t, d, "counter", `{"n": "7"}`).Output)
	if _, _, err := d.Store().Reform(n.ID, lineage.FormPages); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, n, want
}

// TestColdStart: a node whose pages are on disk runs while they are paged in, the
// first process records what it needs, later ones read that first, and the answers
// are those of a node that was loaded whole.
func TestColdStart(t *testing.T) {
	vmmtest.RequirePaging(t)
	dir, n, want := counterAsPages(t)
	paged := map[dispatcher.Prefetch]uint64{}
	for _, how := range []dispatcher.Prefetch{dispatcher.PrefetchNone, dispatcher.PrefetchBeside, dispatcher.PrefetchFirst} {
		d := openAt(t, dir, func(o *dispatcher.Options) { o.Verify, o.Prefetch = lineage.VerifyDemand, how })
		r, err := d.Invoke(context.Background(), dispatcher.Request{Function: "counter", Event: []byte(`{"n": "7"}`)})
		if err != nil || r.Error != nil || string(r.Output) != want {
			t.Errorf("prefetch %d: %+v, %v, want %s", how, r, err, want)
		}
		if r != nil {
			paged[how] = r.PagesPagedIn
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("paged in on demand: %v", paged)
	s, err := lineage.Open(dir, lineage.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	node, err := s.Get(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	set, err := s.LoadingSet(node)
	if err != nil || set.Len() < 50 {
		t.Errorf("loading set of %d pages, %v", set.Len(), err)
	}
	if paged[dispatcher.PrefetchNone] < 50 || paged[dispatcher.PrefetchFirst]*4 > paged[dispatcher.PrefetchNone] {
		t.Errorf("the loading set of %d pages saved little", set.Len())
	}
}
