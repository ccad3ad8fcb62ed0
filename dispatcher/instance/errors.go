package instance

import (
	"errors"
	"fmt"

	"seuss/dispatcher/inflight"
)

// How an instance ends other than with an answer. Errors that are not listed are the
// host's, and say what failed on what.
var (
	// ErrTimeout: there was no answer by the session's deadline; the instance is over.
	ErrTimeout = errors.New("timed out")
	// ErrMemory: the instance has written more memory than it may; it is over.
	ErrMemory = errors.New("out of memory")
	// ErrKilled: Instance.Progress was killed; the instance is over.
	ErrKilled = inflight.ErrKilled
	// ErrGuestExit: the program ended (os._exit, or the runtime gave up).
	ErrGuestExit = errors.New("runtime exited")
	// ErrProtocol: the driver's stream holds what no driver sends. The guest is
	// hostile, and its instance over.
	ErrProtocol = errors.New("malformed message from the guest's driver")
	// ErrStream: the guest has ended the stream that only its driver may use.
	ErrStream = errors.New("the guest's driver has closed its stream")
	// ErrNoMachine: the platform has made no machine. Another attempt may find it
	// otherwise.
	ErrNoMachine = errors.New("the host gives no machine (seussctl doctor says what it lacks)")
	// ErrCPU: a snapshot was taken on a CPU with features that this host lacks.
	ErrCPU = errors.New("snapshot needs CPU features that this host lacks")

	// errInterrupted: the caller's context ended while the guest ran.
	errInterrupted = errors.New("interrupted")
	errNoWay       = errors.New("there is no way out outside invocations")
)

// ExitError is the end of the program. It matches ErrGuestExit.
type ExitError struct{ Status int }

func (e *ExitError) Error() string        { return fmt.Sprintf("%v: exit status %d", ErrGuestExit, e.Status) }
func (e *ExitError) Is(target error) bool { return target == ErrGuestExit }

// CrashError is the death of a guest: a signal, a panic of the kernel library, a triple
// fault, a broken device protocol.
type CrashError struct {
	Summary string // one line
	Report  string // instruction, registers, backtrace, last output
}

func (e *CrashError) Error() string { return "the guest crashed: " + e.Summary }
