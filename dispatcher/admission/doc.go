// Package admission is the way of an invocation into the service, below every
// front door: its name is resolved, once, a slot of the scheduler is waited for
// within the limits of its function, it is run, and what came of it is counted,
// logged and traced. What cannot be served in time is refused while that is
// cheap: Enter does so before anything of a request but its head is read.
//
// Machine and slot are held from Invoke's return to End, in which the result is to be
// sent on its way without waiting for its reader.
//
// Events that nobody waits for (package events) come in by Run.
//
// Units: time.Duration.
//
// Ownership: a Control keeps nothing but counts; an Entry belongs to who entered, until
// End; scheduler and functions stay the caller's.
//
// Locks: refusals.mu and resetSpan.mu, leaves; nothing is called with them held but
// the tracer.
package admission
