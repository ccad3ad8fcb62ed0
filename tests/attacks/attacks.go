package attacks

import (
	"fmt"
	"slices"
	"strings"
)

// Attack is something that a guest or a client tries.
type Attack struct {
	Name  string // of its subtest of TestAttacks
	Tries string // who tries what
	Holds string // whatever comes
	// Tests are tests that try it too, more finely or where a daemon cannot show it.
	Tests []string
	// Run tries it against a daemon, and fails if what must hold does not. What must
	// hold after every attack is not its business: that others are served, and that the
	// store is what it was. nil: only Tests try it.
	Run func(*Target)
}

var all []Attack

// add declares an attack; each file calls it from its init.
func add(a Attack) { all = append(all, a) }

// All returns the attacks in the order of their names.
func All() []Attack {
	return slices.SortedFunc(slices.Values(all), func(a, b Attack) int { return strings.Compare(a.Name, b.Name) })
}

// Table returns the attacks as rows of docs/security.md.
func Table() string {
	var b strings.Builder
	b.WriteString("| attack | what holds | test |\n|---|---|---|\n")
	for _, a := range All() {
		var tests []string
		if a.Run != nil {
			tests = append(tests, "`TestAttacks/"+a.Name+"`")
		}
		for _, name := range a.Tests {
			tests = append(tests, "`"+name+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", a.Tries, a.Holds, strings.Join(tests, ", "))
	}
	return b.String()
}
