// Package all registers every contract.
package all

import (
	_ "seuss/dispatcher/contracts/driver"
	_ "seuss/dispatcher/contracts/httpport"
	_ "seuss/dispatcher/contracts/program"
	_ "seuss/dispatcher/contracts/runtimeapi"
)
