package attacks

import (
	_ "embed"
	"time"
)

//go:embed endless_lists.py
var endlessLists string

// EndlessLists rings for as many give lists over all of its memory as its event says
// ("rings").
var EndlessLists = Forge + endlessLists

func init() {
	add(Attack{
		Name:  "endless-lists",
		Tries: "A function rings again and again for lists of all its memory, each of which is much work for the monitor",
		Holds: "its timeout ends it, and the monitor's work between two looks at the deadline is bounded",
		Tests: []string{"TestGiveListsKeepTheTimeout", "TestServiceIsBounded"},
		Run: func(t *Target) {
			t.Deploy("endless-lists", EndlessLists, Settings(20, 0))
			if a := t.Run("endless-lists", `{"rings": 1000000}`, time.Second); a.Type != "Sandbox.Timedout" {
				t.Errorf("it ended with %+v, want its timeout", a)
			}
		},
	})
}
