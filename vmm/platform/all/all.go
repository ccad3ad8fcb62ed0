// Package all registers every platform that users can choose. Whoever lets them choose
// imports it for that; a new platform is one line here.
//
// It has no state, units or locks.
package all

import (
	_ "seuss/vmm/platform/kvm"
	_ "seuss/vmm/platform/process"
)
