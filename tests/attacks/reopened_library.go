package attacks

import (
	_ "embed"
	"time"
)

//go:embed reopened_library.py
var reopenedLibrary string

func init() {
	add(Attack{
		Name:  "reopened-library",
		Tries: "A function closes libraries that lie in the image, and opens them again",
		Holds: "each is as new, and no other instance sees a byte of what was written to it",
		Tests: []string{"TestEveryLibraryReopens", "TestObjectsInPlace", "TestFailedImport", "TestReopenedAfterRestore"},
		Run: func(t *Target) {
			t.Deploy("reopened-library", reopenedLibrary, Settings(20, 0))
			for range 3 {
				if a := t.Run("reopened-library", `{}`, 20*time.Second); a.Type != "" {
					t.Errorf("%+v", a)
				}
			}
		},
	})
}
