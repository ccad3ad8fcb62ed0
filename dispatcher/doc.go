// Package dispatcher decides where an invocation starts and carries it out: it
// keeps machines that stand ready (shells), finds the deepest snapshot that
// fits a request, brings a shell to it, runs the function, and resets the
// shell afterwards. It also makes snapshots: base, import, function and
// argument nodes.
//
// The files in the order in which a request travels: dispatcher.go (state),
// invoke.go (one invocation), match.go (which node), pool.go (which shell),
// shell.go and deploy.go (bringing it there), session.go and protocol.go
// (talking to the runtime's driver inside), capture.go (making nodes).
//
// Units: pages are 4 KiB; durations are time.Duration; events and results are
// JSON of at most MaxEventBytes and MaxResultBytes.
//
// Ownership: a Dispatcher owns its store, its images and its shells until
// Close; the platform stays the caller's. A shell belongs to one goroutine
// from the moment it is taken from the pool until it is put back.
//
// Concurrency: all exported methods may be called from any goroutine. Locks,
// in the order in which they may be taken: Dispatcher.deployMu (one deployment
// or capture of a function at a time), pool.mu. Neither is held while a guest
// runs an invocation; deployMu is held while a guest loads code for a capture.
package dispatcher
