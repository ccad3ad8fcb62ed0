package cmdline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
)

// UsageError says that the command line cannot mean anything.
type UsageError struct {
	Command string // full name, to point at its help
	Err     error
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a usageError for a command's full name.
func Usagef(command, format string, args ...any) error {
	return &UsageError{Command: command, Err: fmt.Errorf(format, args...)}
}

// ProgramExit ends seussctl with a program's exit code; err, if not nil, says why
// there is no other.
type ProgramExit struct {
	Code int
	Err  error
}

func (e *ProgramExit) Error() string { return fmt.Sprintf("exit code %d: %v", e.Code, e.Err) }
func (e *ProgramExit) Unwrap() error { return e.Err }

// These end a command that has printed why it failed itself.
var (
	ErrReported         = errors.New("failed as reported")              // api.ExitFailure
	ErrFunctionReported = errors.New("the function failed as reported") // api.ExitFunction
)

// Report prints an error the way its kind asks for and returns the exit code.
func Report(stdout, stderr io.Writer, err error) int {
	var program *ProgramExit
	if errors.As(err, &program) {
		if program.Err != nil {
			Report(io.Discard, stderr, program.Err)
		}
		return program.Code
	}
	var usage *UsageError
	var function *dispatcher.FunctionError
	var crash *dispatcher.CrashError
	switch {
	case err == nil:
		return api.ExitOK
	case errors.Is(err, ErrReported):
		return api.ExitFailure
	case errors.Is(err, ErrFunctionReported):
		return api.ExitFunction
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "seussctl: %v\nRun '%s --help' for help.\n", err, usage.Command)
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

// usageCode is the code of a failure that is the command line's.
const usageCode = "usage"

// failure is what ends a command with --json, one line on stderr.
type failure struct {
	Code    string     `json:"code"` // of the API, see docs/api.md; usageCode
	Message string     `json:"message"`
	Exit    int        `json:"exit"`
	Help    string     `json:"help,omitempty"` // command line that tells more
	Crash   *api.Crash `json:"crash,omitempty"`
}

// ReportJSON is Report for who reads JSON: what Report says on stderr is one line of JSON. A
// function's own failure is JSON anyway, on stdout.
func ReportJSON(stdout, stderr io.Writer, err error) int {
	var program *ProgramExit
	if errors.As(err, &program) {
		if program.Err != nil {
			tellFailure(stderr, program.Err, program.Code)
		}
		return program.Code
	}
	var function *dispatcher.FunctionError
	code := Report(stdout, io.Discard, err)
	if err == nil || errors.Is(err, ErrReported) || errors.Is(err, ErrFunctionReported) || errors.As(err, &function) {
		return code
	}
	tellFailure(stderr, err, code)
	return code
}

func tellFailure(w io.Writer, err error, exit int) {
	doc := api.ErrorOf(err, "")
	f := failure{Code: string(doc.Code), Message: strings.TrimRight(doc.Message, "\n"), Exit: exit, Crash: doc.Crash}
	var usage *UsageError
	if errors.As(err, &usage) {
		f.Code, f.Help = usageCode, usage.Command+" --help"
	}
	printLine(w, f)
}

// printLine prints one line of JSON.
func printLine(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // strings and numbers always encode
		fmt.Fprintf(w, "%q\n", err.Error())
	}
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
