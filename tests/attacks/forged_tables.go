package attacks

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
)

// ForgedTables has the forgeries of TableForgeries ("how") for stretches of memory i
// and j, and "free", which lists such stretches, and "look".
//
//go:embed forged_tables.py
var ForgedTables string

// TableForgeries are the ways in which page tables are forged.
var TableForgeries = []string{"entries", "entries, and back", "table", "table, and back", "table of the other", "large", "directory", "root"}

func init() {
	add(Attack{
		Name:  "forged-tables",
		Tries: "A function changes the page tables, so that memory shows in another place, and leaves them so or puts them back",
		Holds: "the next instance in its machine, of any function, finds its pages where they belong",
		Tests: []string{"TestForgedTables"},
		Run: func(t *Target) {
			t.Deploy("forged-tables", ForgedTables, Settings(20, 0))
			run := func(how string, i, j int) Answer {
				return t.Run("forged-tables", fmt.Sprintf(`{"how": %q, "i": %d, "j": %d}`, how, i, j), 20*time.Second)
			}
			var free []int
			if a := run("free", 0, 0); json.Unmarshal([]byte(a.Output), &free) != nil || len(free) < 2 {
				t.Fatalf("free stretches: %+v", a)
			}
			for n, how := range TableForgeries {
				if t.Short && n%4 != 0 {
					continue
				}
				run(how, free[0], free[1])
				for range 3 {
					if a := run("look", free[0], free[1]); a.Output != "0" {
						t.Errorf("after %s: %+v pages are where another instance has put them", how, a)
					}
				}
			}
		},
	})
}
