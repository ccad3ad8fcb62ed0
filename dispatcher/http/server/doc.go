// Package server is what the front doors of the service over HTTP share: who may
// come in (access.go: connections, tokens; sigv4.go: AWS's signatures), what a
// request may hold (body.go), its id, log line and trace (server.go), names of
// functions (names.go), refusals (errors.go), and metrics. A front door is a package
// that registers itself: lambda, native.
//
// In the order in which a request travels: listener, Access, a handler of a front
// door, admission.Control, dispatcher.
//
// Units: sizes in bytes.
//
// Ownership: a Server owns nothing; listeners and what its Options hold stay the
// caller's.
//
// Everything may be called from any goroutine; there are no locks.
package server
