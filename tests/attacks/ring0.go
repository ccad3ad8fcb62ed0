package attacks

import (
	_ "embed"
	"time"
)

//go:embed ring0.py
var ring0 string

func init() {
	add(Attack{
		Name:  "ring0",
		Tries: "A function forges its way into ring 0 and changes what outlives it: MSRs, debug and control registers, descriptor tables",
		Holds: "the next instance finds nothing of it, in ring 0 or out of it",
		Tests: []string{"TestNothingOfRing0Stays"},
		Run: func(t *Target) {
			t.Deploy("ring0", Forge+ring0, Settings(20, 0))
			for range t.few(10, 1) {
				a := t.Run("ring0", `{"write": true}`, 2*time.Second)
				t.Logf("%+v", a)
				// As many as there are machines, so that its own is among them.
				for range t.few(8, 4) {
					if a := t.Run("ring0", `{"write": false}`, 2*time.Second); a.Output == "true" {
						t.Errorf("an instance finds what another one has written at ring 0")
					}
				}
			}
		},
	})
}
