// Package functionapi is what a function finds at SEUSS_API, a port of its guest's loopback:
// HTTP/1.1 about the state that it shares, and about what it calls. The modules that drivers bring speak it, and so
// may any language. docs/state.md and docs/chaining.md have the requests.
//
// API answers requests, of whomever it has a session for. Server is the API for one instance:
// its connections are streams of the guest's (guest/abi/kernel.h), and what needs not wait is
// answered by the goroutine that runs the guest, in the exit with which the request came.
// What waits is answered by another one, while the instance may be parked.
//
// Bounds, for an instance: maxConns connections, maxHeld bytes of requests, maxAnswers of large
// answers that are not read, one request of each connection at a time, and no further one before
// the answer is read.
//
// Ownership: a Server is its instance's, and ends all that it has begun when it is closed. A
// stream that is open at a capture is reset in whatever starts from there, whose locks and
// waits are its own.
//
// Locks: Server.mu, Server.opening and conn.mu, in the order conn.mu, Server.mu; Server.opening
// is held while a session is made.
package functionapi
