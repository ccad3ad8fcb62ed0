package attacks

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Forge gives a Python function what the guest's kernel library has; the function's
// own source goes behind it.
//
//go:embed forge.py
var Forge string

// Forgeries maps a name to the body of a Python function, which has Forge's names in
// scope and returns "done" after it, and to how such an invocation may end: kinds of
// endings as TestHostileGuests names them, with what the message must contain behind
// a colon; alternatives are separated by |.
type Forgeries map[string][2]string

// Limit is how long one may take: as little as shows it where its time limit may be its
// end, else as long as it needs on a busy host.
func Limit(forgery [2]string) time.Duration {
	if slices.Contains(strings.Split(forgery[1], "|"), "timeout") {
		return 400 * time.Millisecond
	}
	return 20 * time.Second
}

// AllForgeries are those of all attacks.
func AllForgeries() Forgeries {
	union := Forgeries{}
	for _, f := range []Forgeries{doorbells, console, queues, stream, memory, jumps} {
		maps.Copy(union, f)
	}
	return union
}

// Source is a function that tries the forgery that its event names as "attack".
func (f Forgeries) Source() string {
	var b strings.Builder
	b.WriteString(Forge)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "def %s():\n    %s\n    return 'done'\n", strings.ReplaceAll("attack-"+name, "-", "_"), f[name][0])
	}
	b.WriteString("def handler(event, context):\n    return globals()['attack_' + event['attack'].replace('-', '_')]()\n")
	return b.String()
}

// forge tries forgeries, a tenth of them if few are enough.
func (t *Target) forge(f Forgeries) {
	name := strings.ReplaceAll(t.Name(), "/", "-")
	t.Deploy(name, f.Source(), Settings(20, 0))
	for i, forgery := range slices.Sorted(maps.Keys(f)) {
		if t.Short && i%10 != 0 {
			continue
		}
		a := t.Run(name, fmt.Sprintf(`{"attack": %q}`, forgery), Limit(f[forgery]))
		t.Logf("%s: %s %s %s", forgery, a.Output, a.Type, a.Message)
		if strings.ContainsRune(a.Message, '\n') {
			t.Errorf("%s: the error is not one line: %q", forgery, a.Message)
		}
	}
}
