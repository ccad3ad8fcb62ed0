// Package httpapi serves a dispatcher over HTTP: AWS Lambda's API for functions
// and their invocation, a small JSON API for what Lambda has no word for, the
// description of both in OpenAPI, and metrics. Its handlers decode, call and
// encode; what is decided is decided in dispatcher.
//
// The files in the order in which a request travels: server.go (routes),
// limits.go (what is refused before it is read, tokens), lambda_*.go (Lambda's
// API; names.go are its function names), native*.go (the JSON API), async.go
// (events that nobody waits for), invoke.go (into the scheduler and the
// dispatcher), metrics.go and trace.go (what is told about it).
//
// Units: sizes in bytes, times as the documents of the two APIs say.
//
// Ownership: a Server owns the queue of asynchronous events and its goroutines
// until Close; Backend and listeners stay the caller's.
//
// Concurrency: everything may be called from any goroutine. The only lock is
// eventQueue.mu; it is not held while anything else is called.
package httpapi
