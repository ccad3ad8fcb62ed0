// Package attacks holds what guests and clients try against the service, a file for
// each attack, with the programs beside it (the .py files). A file declares its attack
// itself (add); docs/security.md has a row for each, made from here.
//
// TestAttacks (package tests) runs all of them against one daemon, beside honest
// clients; other tests take single programs from here.
//
// Units: bytes and time.Duration. Ownership: a Target's connections are closed when
// the test that it belongs to ends. Locks: a Target is used by one goroutine, but for
// Call and Invoke, which any may use.
package attacks
