package languages

import (
	"flag"
	"slices"
	"sync"
	"testing"

	"seuss/dispatcher/contracts/httpport"
)

var (
	inRow  = flag.Int("in-row", 100, "requests to a server, one after the other")
	atOnce = flag.Int("at-once", 200, "requests to a server at a time")
)

// TestManyRequests: however many requests a server has had, and has at a time, each has a
// counter of its own.
func TestManyRequests(t *testing.T) {
	list := programs(t)
	at := slices.IndexFunc(list, func(p program) bool { return p.Name == "go-http" && p.Contract == httpport.Name })
	if at < 0 {
		t.Fatal("there is no server go-http")
	}
	p := &list[at]
	if lacks := p.Lacks(); lacks != "" {
		t.Skipf("skipped without %s", lacks)
	}
	b := newBench(t)
	b.deploy(t, p, p.code(t))
	door := b.door(t, p)
	defer door.Close()
	count := func() {
		if got, err := ask(door.URL, request{Method: "GET", Path: "/count"}); err != nil || got.Status != 200 || got.Body != "1\n" {
			t.Errorf("%v, %v", got, err)
		}
	}
	var all sync.WaitGroup
	for range *atOnce {
		all.Go(count)
	}
	all.Wait()
	for range *inRow {
		if count(); t.Failed() {
			return
		}
	}
}
