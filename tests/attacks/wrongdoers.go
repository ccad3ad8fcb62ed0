package attacks

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"time"
)

//go:embed wrongdoers.py
var wrongdoers string

// endings are how wrongdoers.py ends, for each of its ways.
var endings = map[string][]string{
	"crash": {"Runtime.ExitError"}, "hang": {"Sandbox.Timedout"}, "eat": {"MemoryError", "Runtime.OutOfMemory"}, "beyond": {"Runtime.OutOfMemory"},
	"write": {"Sandbox.Timedout"}, "exit": {"Runtime.ExitError"}, "abort": {"Runtime.ExitError"}, "recurse": {"RecursionError"},
	"threads": {"Sandbox.Timedout", "Runtime.ExitError"}, "large": {"Function.ResponseSizeTooLarge"},
}

func init() {
	add(Attack{
		Name:  "wrongdoers",
		Tries: "A function crashes, hangs, exits, writes, recurses, starts threads or takes memory without end",
		Holds: "it ends by itself, by its timeout or by its memory limit, and is told which",
		Tests: []string{"TestHostileFunctions", "TestServedFunctionsThatDoWrong", "TestMemoryLimitLooksOnly"},
		Run: func(t *Target) {
			t.Deploy("wrongdoers", wrongdoers, Settings(300, 128))
			for _, how := range slices.Sorted(maps.Keys(endings)) {
				if t.Short && how == "eat" { // as beyond, with more memory
					continue
				}
				timeout := 5 * time.Minute
				if slices.Contains(endings[how], "Sandbox.Timedout") {
					timeout = 300 * time.Millisecond
				}
				if a := t.Run("wrongdoers", fmt.Sprintf(`{"how": %q}`, how), timeout); !slices.Contains(endings[how], a.Type) {
					t.Errorf("%s ended with %.300s, want %v", how, fmt.Sprintf("%+v", a), endings[how])
				}
			}
		},
	})
}
