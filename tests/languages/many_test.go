package languages

import (
	"flag"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"seuss/dispatcher/contracts/httpport"
)

var (
	inRow  = flag.Int("in-row", 100, "requests to a server, one after the other")
	atOnce = flag.Int("at-once", 200, "requests to a server at a time")
)

// TestManyRequests: however many requests a server has had, and has at a time, each is
// answered as the first one is, and has a counter of its own.
func TestManyRequests(t *testing.T) {
	b := newBench(t)
	for _, p := range programs(t) {
		if p.Contract != httpport.Name || *only != "" && !slices.Contains(strings.Split(*only, ","), p.Name) || *only == "" && !*all && !p.CI {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			p.require(t)
			files := p.code(t)
			b.deploy(t, &p, files)
			b.many(t, &p, p.nativeReply(t, files, p.Requests[0]))
		})
	}
}

// many makes the program's first request many times at once, and in a row.
func (b *bench) many(t *testing.T, p *program, want reply) {
	door := b.door(t, p)
	defer door.Close()
	once := func() {
		if got, err := ask(door.URL, p.Requests[0]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v\nnatively %v", got, err, want)
		}
	}
	var all sync.WaitGroup
	for range *atOnce {
		all.Go(once)
	}
	all.Wait()
	for range *inRow {
		if once(); t.Failed() {
			return
		}
	}
}
