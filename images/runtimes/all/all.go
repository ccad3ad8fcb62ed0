// Package all registers every runtime. Whoever builds images or deploys functions
// imports it for that; a new runtime is one line here.
//
// It has no state, units or locks.
package all

import (
	_ "seuss/images/runtimes/loader"
	_ "seuss/images/runtimes/lua"
	_ "seuss/images/runtimes/nodejs"
	_ "seuss/images/runtimes/python"
	_ "seuss/images/runtimes/ruby"
)
