package attacks

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
)

//go:embed shared_randomness.py
var sharedRandomness string

func init() {
	add(Attack{
		Name:  "shared-randomness",
		Tries: "A client collects what clones of one snapshot draw, to foretell the next",
		Holds: "no two clones draw the same from any generator that a runtime makes itself; what clones do share is listed above",
		Tests: []string{"TestClonesAreDistinct", "TestNodeClonesAreDistinct", "TestRubyClonesAreDistinct", "TestClonesShare"},
		Run: func(t *Target) {
			t.Deploy("shared-randomness", sharedRandomness, Settings(20, 0))
			seen := map[string]bool{}
			const clones = 20
			for range clones {
				var drawn []any
				a := t.Run("shared-randomness", `{}`, 20*time.Second)
				if err := json.Unmarshal([]byte(a.Output), &drawn); err != nil {
					t.Fatalf("%+v: %v", a, err)
				}
				for generator, value := range drawn {
					key := fmt.Sprint(generator, value)
					if seen[key] {
						t.Errorf("two clones drew %s", key)
					}
					seen[key] = true
				}
			}
		},
	})
}
