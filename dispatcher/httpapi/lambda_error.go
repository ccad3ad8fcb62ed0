package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/sched"
)

// apiError is an answer that refuses a request. Its code is an error name of
// Lambda's API reference.
type apiError struct {
	status     int
	code       string
	message    string
	reason     string        // of TooManyRequestsException
	retryAfter time.Duration // 0: nothing is said
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func validation(field, value, pattern string) error {
	if len(value) > 300 {
		value = value[:300] + "…"
	}
	return &apiError{status: http.StatusBadRequest, code: "ValidationException", message: fmt.Sprintf(
		"1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", value, field, pattern)}
}

func invalidParameter(format string, args ...any) error {
	return &apiError{status: http.StatusBadRequest, code: "InvalidParameterValueException", message: fmt.Sprintf(format, args...)}
}

func tooLarge(limit int64, operation string) error {
	return &apiError{status: http.StatusRequestEntityTooLarge, code: "RequestTooLargeException",
		message: fmt.Sprintf("Request must be smaller than %d bytes for the %s operation", limit, operation)}
}

// asAPIError finds the answer for an error of the service's. arn names what was
// asked for.
func asAPIError(err error, arn string) *apiError {
	var answer *apiError
	if errors.As(err, &answer) {
		return answer
	}
	fault := api.FaultOf(err)
	answer = &apiError{status: fault.StatusForLambda(), code: fault.Lambda, message: err.Error()}
	var refused *sched.RefusedError
	var failed *dispatcher.FunctionError
	var crash *dispatcher.CrashError
	switch {
	case errors.As(err, &refused):
		answer.message, answer.reason, answer.retryAfter = "Rate Exceeded: "+refused.Error(), throttleReason(refused.Reason), refused.RetryAfter
	case errors.As(err, &failed):
		answer.message = "The code does not load: " + failed.Error()
	case errors.As(err, &crash):
		answer.message = "The runtime died while it loaded the code: " + crash.Summary
	case fault.Lambda == api.LambdaNotFound:
		answer.message = "Function not found: " + arn
	case fault.Err == dispatcher.ErrExists:
		answer.message = "Already exists: " + arn
	case fault.Err == dispatcher.ErrRevision:
		answer.message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
	case fault.Err == dispatcher.ErrBadEvent:
		answer.message = "Could not parse request body into json: " + err.Error()
	case fault.Err == dispatcher.ErrClosed:
		answer.message, answer.retryAfter = "The service is shutting down.", time.Second
	}
	return answer
}

// throttleReason is the Reason of a TooManyRequestsException.
func throttleReason(r sched.Reason) string {
	if r == sched.FunctionLimit {
		return "ReservedFunctionConcurrentInvocationLimitExceeded"
	}
	return "ConcurrentInvocationLimitExceeded"
}

// retryAfter writes a pause in whole seconds, rounded up.
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// writeError answers with an error as Lambda does.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, e *apiError) {
	kind := "User"
	if e.status >= 500 {
		kind = "Service"
		s.log.Error("request failed", "request_id", requestID(r), "path", r.URL.Path, "error", e.message)
	}
	h := w.Header()
	h.Set("X-Amzn-Errortype", e.code)
	if e.retryAfter > 0 {
		h.Set("Retry-After", retryAfter(e.retryAfter))
	}
	// Of some errors Lambda writes "Message", of others "message"; clients read
	// either.
	writeJSON(w, e.status, struct {
		Reason  string `json:"Reason,omitempty"`
		Type    string `json:"Type"`
		Message string `json:"Message"`
		Lower   string `json:"message"`
	}{e.reason, kind, e.message, e.message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"Type":"Service","message":"the answer could not be encoded"}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b) // a client that has gone is no concern
}
