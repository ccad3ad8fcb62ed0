// Package chain has functions call functions: what is called runs beside its caller, which
// waits for what has come of it, or not. docs/chaining.md says what is promised.
//
// A Chains has all calls of a daemon, a Caller those that one instance has made. Who may call
// what is said by Rights, which deployments name. How a function is run is Options.Run: with
// a turn in the service's queue, where there is one.
//
// A call waits in its function's queue here, the deepest of its chain first, and of these
// Options.Asking at a time ask for a turn: what somebody calls by the thousand is not refused
// for being many, and does not stand in the way of others. What has begun is not counted any
// more, or callers that wait would keep their callees from running.
//
// Calls make no circle: each is its caller's alone, or, found again by its idempotency key,
// one that does not lead back to who asks.
//
// Units: bytes, time.Duration. Bounds: MaxDepth, MaxCalls of a caller, Options.Calls and
// Options.Bytes of all, of which an owner may have three quarters, unless the host is his,
// and a caller three quarters of that.
//
// Ownership: a Caller is its instance's, and when it is closed what it has called, and
// nobody else waits for, is cancelled. A Chains has a goroutine for each call that asks for a
// turn or runs, which ends with it.
//
// Locks: Chains.mu, a leaf.
package chain
