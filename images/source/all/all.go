// Package all registers every source of root file systems. Whoever opens references
// imports it for that; a new source is one line here.
//
// It has no state, units or locks.
package all

import (
	_ "seuss/images/source/debian"
	_ "seuss/images/source/dir"
	_ "seuss/images/source/oci"
)
