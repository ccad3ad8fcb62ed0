// Package runtimeapi declares the contract of AWS Lambda's Runtime API, 2018-06-01: what
// custom runtimes, Go and Rust binaries and runtime interface clients speak. A program is
// captured when its first GET .../invocation/next waits, or its GET .../restore/next, by
// which it says that it wants to hear of restores.
//
// The monitor is the server, for one instance, on the goroutine that runs the guest: a
// connection to AWS_LAMBDA_RUNTIME_API is a stream of the guest's (guest/abi/kernel.h).
// Each connection carries one request and is closed with its answer, so that one is open
// when the node is captured: the one that waits. Its request has been read, so an instance
// is sent an answer there and nothing else is left of it.
//
// Bounds: maxConns connections at a time, maxHeld bytes of their requests, guesthttp.MaxHead bytes of
// a request's header, a body of the largest answer. Whatever is beyond them is answered by name and counts as the
// program's error.
package runtimeapi
