// Package admission is the way of an invocation into the service, below every
// front door: its name is resolved, once, a slot of the scheduler is waited for
// within the limits of its function, it is run, and what came of it is counted,
// logged and traced. What cannot be served in time is refused while that is
// cheap: Check does so before anything of a request but its head is read.
//
// A result is handed to Invoke's respond before the machine is reset. respond must
// not wait for its reader: the machine and the slot are held until it returns.
//
// Events that nobody waits for (package events) come in by Run.
//
// Units: time.Duration.
//
// Ownership: a Control keeps nothing but counts; scheduler and functions stay the
// caller's.
//
// Locks: refusals.mu and resetSpan.mu, leaves; nothing is called with them held but
// the tracer.
package admission
