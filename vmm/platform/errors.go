package platform

import "errors"

var (
	// ErrUnavailable means that a platform cannot be used on this host. It comes as an
	// Unmet, which says what the host lacks and how to get it.
	ErrUnavailable = errors.New("the platform is not available")

	// ErrStateMismatch means that a valid state belongs to a machine of another
	// shape: memory size, privilege level or CPU.
	ErrStateMismatch = errors.New("machine state does not fit this machine")
)

// Unmet is a requirement that the host does not meet. It is an ErrUnavailable.
type Unmet struct {
	Title string // of the Kind
	Err   error  // what is missing
	Fix   string // how to get it
}

func (u *Unmet) Error() string { return u.Title + " is not available: " + u.Reason() }

// Reason says what is missing and how to get it.
func (u *Unmet) Reason() string {
	if u.Fix == "" {
		return u.Err.Error()
	}
	return u.Err.Error() + ": " + u.Fix
}

// Is makes it an ErrUnavailable.
func (u *Unmet) Is(target error) bool { return target == ErrUnavailable }

// Unwrap returns what is missing.
func (u *Unmet) Unwrap() error { return u.Err }
