package chain

import "errors"

// Errors. What they are wrapped in says of which function or call, and what to do.
var (
	// ErrForbidden: the caller's deployment does not name the function.
	ErrForbidden = errors.New("may not be called")
	// ErrInvalid: a name, a key or a time that cannot be.
	ErrInvalid = errors.New("not a call")
	// ErrTooDeep: the caller is the last that a chain may have.
	ErrTooDeep = errors.New("too deep")
	// ErrTooMany: as many calls are open as may be.
	ErrTooMany = errors.New("too many calls")
	// ErrFull: events and results take all the memory that they may.
	ErrFull = errors.New("no room for calls")
	// ErrTooLarge: an event is larger than is allowed.
	ErrTooLarge = errors.New("too large")
	// ErrNotFound: it is no call of this caller's, or it was awaited before; or there is no
	// such function.
	ErrNotFound = errors.New("no such call")
	// ErrDeadlock: to wait for the call would be to wait for ever.
	ErrDeadlock = errors.New("deadlock")
	// ErrMismatch: the idempotency key was given with another event.
	ErrMismatch = errors.New("the key was used for something else")
	// ErrTimeout: the caller's time was over, or what the call was given, before its turn came.
	ErrTimeout = errors.New("out of time")
	// ErrCancelled: the call was cancelled.
	ErrCancelled = errors.New("cancelled")
	// ErrRefused: the service does not run the function now.
	ErrRefused = errors.New("refused")
	// ErrClosed: the caller, or all of it, is over.
	ErrClosed = errors.New("the caller is over")
)

// Failure is what a function did wrong, in AWS Lambda's form.
type Failure struct {
	Type    string
	Message string
	Trace   []string
}

func (f *Failure) Error() string { return f.Type + ": " + f.Message }

// Refusal is returned by Options.Run where a function was not run and may be tried again. It
// wraps what has refused it.
type Refusal struct{ Err error }

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }
