// Package dispatcher decides where an invocation starts and carries it out: it keeps
// machines that stand ready, finds the deepest snapshot that fits a request, has an
// instance of it made on one of them, runs the function there, and has the machine
// brought back afterwards. It also says which snapshots are made: base, import,
// function and argument nodes. What a machine does is in package instance.
//
// The files in the order in which a request travels: deployments.go (what the name
// stands for), function.go (what is known of it), invoke.go (one invocation), match.go
// and cost.go (which snapshot), pools.go and pool.go (which machine), conversation.go
// (what is said to the runtime's driver inside, and what comes of it). Snapshots come from
// maker.go and arguments.go.
//
// Units: pages are 4 KiB; durations are time.Duration; events and results are
// JSON of at most MaxEventBytes and MaxResultBytes.
//
// Ownership: a Dispatcher owns its stores, its images and its machines until
// Close; the platform stays the caller's. A machine belongs to one goroutine
// from the moment it is taken from the pool until it is put back.
//
// Caches (Deployments, functionCache, snapshots, rootImages) ask the stores whether what
// they keep still holds; nobody tells them.
//
// Concurrency: all exported methods may be called from any goroutine. The locks of a
// function and of a snapshot that is made (keyed.Locks) are held while a guest loads code;
// no lock is held while one runs an invocation. docs/locks.md has the order.
package dispatcher
