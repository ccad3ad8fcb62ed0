// Package driver declares the contract of functions that a runtime's driver loads: what
// guest/abi/driver.h says. The conversation with drivers is package instance's Session,
// for argument nodes are made in its middle.
package driver

import "seuss/dispatcher/contracts"

func init() {
	contracts.Register(&contracts.Contract{
		Name: contracts.Driver, Title: "the driver of a runtime",
		Ready:     "the driver has loaded the function and waits for a frame on its stream",
		Arguments: true, Imports: true, WarmUps: true, Handler: true,
	})
}
