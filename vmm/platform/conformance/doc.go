// Package conformance is the suite that every platform's own test runs: what the
// comments of package platform promise, as tests. A platform is held to what its
// Capabilities claim; what it does not claim is skipped by name.
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t testing.TB) platform.Platform { ... })
//	}
//
// Its guest is package testguest. A platform whose guests are no machine code runs
// StandIn in its place.
//
// Addresses are guest-physical, times generous: a slow machine fails nothing. Nothing is
// kept from one check to the next, and there are no locks.
package conformance
