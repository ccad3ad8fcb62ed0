package dirtytrack_test

import (
	"fmt"

	"seuss/dirtytrack"
)

// A set of pages is walked page by page or in runs.
func ExamplePageSet() {
	set := dirtytrack.NewPageSet(1024)
	set.AddRange(10, 3)
	set.Add(40)
	fmt.Println(set.Len(), set.Has(11), set.Has(2000))
	for first, count := range set.Runs() {
		fmt.Println(first, count)
	}
	// Output:
	// 4 true false
	// 10 3
	// 40 1
}
