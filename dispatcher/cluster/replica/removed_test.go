package replica

import (
	"strings"
	"testing"
	"time"

	"seuss/dispatcher/functions"
)

// TestOldRemoval: a removal holds for who still has the function, however old it is. Then it is
// forgotten, also by a member that runs on: when it is asked, and before the next change.
func TestOldRemoval(t *testing.T) {
	t.Parallel()
	a := newShop(t).begin("a", t.TempDir()).join()
	a.deploy("hello", "one")
	remove := func(key string, ago time.Duration) {
		c := &functions.Change{Key: key, Stamp: functions.Stamp{Count: 2, By: "b", Seen: map[string]uint64{"a": 1, "b": 2}}, Removed: time.Now().Add(-ago)}
		if err := a.r.take(t.Context(), c, "b"); err != nil || a.has(key) != "" || a.r.markOf(key).Count != 2 {
			t.Errorf("%s: %q, %+v, %v", key, a.has(key), a.r.markOf(key), err)
		}
	}
	remove("hello", 2*functions.RemovedFor)
	remove("old", 2*functions.RemovedFor)
	remove("new", functions.RemovedFor/2)
	var out strings.Builder
	a.r.write(&out, []string{"old", "new"})
	if text := out.String(); strings.Contains(text, `"old"`) || !strings.Contains(text, `"new"`) || a.r.markOf("old").Count != 0 {
		t.Errorf("%s, %+v", text, a.r.markOf("old"))
	}
	a.deploy("hello", "two")
	if a.has("hello") != "two" || a.r.markOf("hello").Count != 1 {
		t.Errorf("%q, %+v", a.has("hello"), a.r.markOf("hello"))
	}
}
