package instancetest

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// raceDetector: sync.Pool forgets, and more is allocated.
var raceDetector bool

// Allocations counts what the service allocates at each of n runs, on whatever
// goroutine, and says where. What guests of the fake platform allocate is left out.
func Allocations(t testing.TB, n int, run func()) (each float64, where string) {
	t.Helper()
	if raceDetector {
		t.Skip("skipped, the race detector allocates")
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	before := allocated(t)
	for range n {
		run()
	}
	after := allocated(t)
	type site struct {
		stack string
		each  float64
	}
	var sites []site
	for stack, objects := range after {
		if made := float64(objects-before[stack]) / float64(n); made >= 0.05 { // less is none of each run
			each += made
			sites = append(sites, site{stack, made})
		}
	}
	slices.SortFunc(sites, func(a, b site) int { return cmp.Compare(b.each, a.each) })
	var b strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&b, "%5.2f  %s\n", s.each, s.stack)
	}
	return each, b.String()
}

// allocated counts the objects that the service has allocated, by the functions that
// led there.
func allocated(t testing.TB) map[string]int64 {
	t.Helper()
	runtime.GC() // the profile is complete as of the last collection but one
	runtime.GC()
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, ok := runtime.MemProfile(records, true)
	if !ok {
		t.Fatalf("%d stacks allocate", n)
	}
	objects := map[string]int64{}
	for _, r := range records[:n] {
		var names []string
		ours := false
		for frames, more := runtime.CallersFrames(r.Stack()), true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			name := f.Function
			if strings.HasPrefix(name, "seuss/vmm/platform/fake.") || strings.Contains(name, "instancetest.") {
				break // a guest, or this
			}
			ours = ours || strings.HasPrefix(name, "seuss/") && !strings.Contains(name, ".Test")
			if len(names) < 5 && !strings.HasPrefix(name, "runtime.") {
				names = append(names, fmt.Sprintf("%s:%d", name[strings.LastIndexByte(name, '/')+1:], f.Line))
			}
		}
		if ours {
			objects[strings.Join(names, " < ")] += r.AllocObjects
		}
	}
	return objects
}
