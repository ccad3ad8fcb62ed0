package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
)

// usageError says that the command line cannot mean anything.
type usageError struct {
	command string // full name, to point at its help
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef returns a usageError for a command's full name.
func usagef(command, format string, args ...any) error {
	return &usageError{command, fmt.Errorf(format, args...)}
}

// programExit ends seussctl with a program's exit code; err, if not nil, says why
// there is no other.
type programExit struct {
	code int
	err  error
}

func (e *programExit) Error() string { return fmt.Sprintf("exit code %d: %v", e.code, e.err) }
func (e *programExit) Unwrap() error { return e.err }

// These end a command that has printed why it failed itself.
var (
	errReported         = errors.New("failed as reported")              // api.ExitFailure
	errFunctionReported = errors.New("the function failed as reported") // api.ExitFunction
)

// report prints an error the way its kind asks for and returns the exit code.
func report(stdout, stderr io.Writer, err error) int {
	var program *programExit
	if errors.As(err, &program) {
		if program.err != nil {
			report(io.Discard, stderr, program.err)
		}
		return program.code
	}
	var usage *usageError
	var function *dispatcher.FunctionError
	var crash *dispatcher.CrashError
	switch {
	case err == nil:
		return api.ExitOK
	case errors.Is(err, errReported):
		return api.ExitFailure
	case errors.Is(err, errFunctionReported):
		return api.ExitFunction
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "seussctl: %v\nRun '%s --help' for help.\n", err, usage.command)
		return api.ExitUsage
	case errors.As(err, &function):
		printFunctionError(stdout, function)
		return api.FaultOf(err).Exit
	case errors.As(err, &crash):
		// Died while it was prepared, not in an invocation.
		fmt.Fprintf(stderr, "seussctl: %v\n%s\n", err, strings.TrimRight(crash.Report, "\n"))
		return api.FaultOf(err).Exit
	}
	fmt.Fprintf(stderr, "seussctl: %s\n", strings.TrimRight(err.Error(), "\n"))
	return api.FaultOf(err).Exit
}

// printFunctionError prints a function's own failure as AWS Lambda does.
func printFunctionError(w io.Writer, e *dispatcher.FunctionError) {
	doc := *e
	if doc.StackTrace == nil && doc.Trace == nil {
		doc.StackTrace = []string{} // Lambda always has the field
	}
	b, err := json.Marshal(doc)
	if err != nil { // strings always encode
		panic(fmt.Sprintf("encode function error: %v", err))
	}
	fmt.Fprintf(w, "%s\n", b)
}
