package server

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

// Refusal is an answer that refuses a request, as an error. Its code is an error
// name of Lambda's API reference.
type Refusal struct {
	Status     int
	Code       string
	Message    string
	Reason     string        // of TooManyRequestsException
	RetryAfter time.Duration // 0: nothing is said

	credentials bool // it is about who the client says it is
}

func (e *Refusal) Error() string { return e.Code + ": " + e.Message }

// Validation refuses a field's value, in Lambda's words.
func Validation(field, value, pattern string) error {
	if len(value) > 300 {
		value = value[:300] + "…"
	}
	return &Refusal{Status: http.StatusBadRequest, Code: "ValidationException", Message: fmt.Sprintf(
		"1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: %s", value, field, pattern)}
}

// InvalidParameter refuses what a request asks for.
func InvalidParameter(format string, args ...any) error {
	return &Refusal{Status: http.StatusBadRequest, Code: "InvalidParameterValueException", Message: fmt.Sprintf(format, args...)}
}

// TooLarge refuses a body of more than limit bytes.
func TooLarge(limit int64, operation string) error {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "RequestTooLargeException",
		Message: fmt.Sprintf("Request must be smaller than %d bytes for the %s operation", limit, operation)}
}

// Answer finds the answer for an error of the service's. arn names what was
// asked for.
func Answer(err error, arn string) *Refusal {
	var answer *Refusal
	if errors.As(err, &answer) {
		return answer
	}
	fault := api.FaultOf(err)
	answer = &Refusal{Status: fault.StatusForLambda(), Code: fault.Lambda, Message: err.Error()}
	var refused *sched.RefusedError
	var failed *dispatcher.FunctionError
	var crash *dispatcher.CrashError
	switch {
	case errors.As(err, &refused):
		answer.Message, answer.Reason, answer.RetryAfter = "Rate Exceeded: "+refused.Error(), throttleReason(refused.Reason), refused.RetryAfter
	case errors.As(err, &failed):
		answer.Message = "The code does not load: " + failed.Error()
	case errors.As(err, &crash):
		answer.Message = "The runtime died while it loaded the code: " + crash.Summary
	case fault.Lambda == api.LambdaNotFound:
		answer.Message = "Function not found: " + arn
	case fault.Err == dispatcher.ErrExists:
		answer.Message = "Already exists: " + arn
	case fault.Err == dispatcher.ErrRevision:
		answer.Message = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
	case fault.Err == dispatcher.ErrBadEvent:
		answer.Message = "Could not parse request body into json: " + err.Error()
	case fault.Err == dispatcher.ErrClosed:
		answer.Message, answer.RetryAfter = "The service is shutting down.", time.Second
	case fault.Code == api.Unavailable && fault.Status == http.StatusServiceUnavailable:
		answer.RetryAfter = time.Second
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

// RetryAfterText writes a pause in whole seconds, rounded up.
func RetryAfterText(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// WriteRefusal answers with an error as Lambda does.
func (s *Server) WriteRefusal(w http.ResponseWriter, r *http.Request, e *Refusal) {
	kind := "User"
	if e.Status >= 500 {
		kind = "Service"
		s.Log.Error("request failed", "request_id", RequestIDOf(r), "path", r.URL.Path, "error", e.Message)
	}
	h := w.Header()
	h.Set("X-Amzn-Errortype", e.Code)
	if e.RetryAfter > 0 {
		h.Set("Retry-After", RetryAfterText(e.RetryAfter))
	}
	// Of some errors Lambda writes "Message", of others "message"; clients read
	// either.
	WriteJSON(w, e.Status, struct {
		Reason  string `json:"Reason,omitempty"`
		Type    string `json:"Type"`
		Message string `json:"Message"`
		Lower   string `json:"message"`
	}{e.Reason, kind, e.Message, e.Message})
}

// WriteJSON answers with a JSON document.
func WriteJSON(w http.ResponseWriter, status int, v any) {
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

// Send answers with a JSON document that is written already, and has it on its way at
// once: the handler is not at its end.
func Send(w http.ResponseWriter, document []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	if a, ok := w.(*statusWriter); ok {
		a.status, w = http.StatusOK, a.ResponseWriter
	}
	w.Write(document) // a client that has gone is no concern
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}
