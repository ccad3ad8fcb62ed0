package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher"
)

// Limits of Invoke (API reference and "Lambda quotas").
const (
	maxEventSync     = dispatcher.MaxEventBytes // 6 MiB
	maxEventAsync    = 1 << 20                  // 1 MB
	maxClientContext = 3583                     // base64 characters
	logTailBytes     = 4 << 10
)

// invoke is Lambda's Invoke.
func (s *Server) invoke(w http.ResponseWriter, r *http.Request) error {
	name, err := s.nameOf(r)
	if err != nil {
		return err
	}
	var tail bool
	switch v := r.Header.Get("X-Amz-Log-Type"); v {
	case "", "None":
	case "Tail":
		tail = true
	default:
		return validation("logType", v, "Member must satisfy enum value set: [None, Tail]")
	}
	kind := r.Header.Get("X-Amz-Invocation-Type")
	limit := int64(maxEventSync)
	switch kind {
	case "", "RequestResponse", "DryRun":
	case "Event":
		limit = maxEventAsync
	default:
		return validation("invocationType", kind, "Member must satisfy enum value set: [Event, RequestResponse, DryRun]")
	}
	if kind == "" || kind == "RequestResponse" {
		if err := s.check(name.deployment()); err != nil {
			return err
		}
	}
	event, err := readBody(r, limit, "InvokeFunction")
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(event)) == 0 {
		event = []byte("{}")
	}
	client, err := clientContext(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		return err
	}
	qualifier := name.qualifier
	request := dispatcher.Request{
		Function: name.deployment(), Event: event, RequestID: requestID(r), ARN: s.arn(name.name, qualifier), ClientContext: client,
		Memory: tail, // for the report line
	}
	arn := s.arn(name.name, qualifier)
	switch kind {
	case "DryRun":
		if _, err := s.lookup(name); err != nil {
			return asAPIError(err, arn)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case "Event":
		if !json.Valid(event) {
			return asAPIError(fmt.Errorf("%w: not JSON", dispatcher.ErrBadEvent), arn)
		}
		if _, err := s.lookup(name); err != nil {
			return asAPIError(err, arn)
		}
		if err := s.events.add(request); err != nil {
			return asAPIError(err, arn)
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	_, err = s.run(r.Context(), &request, func(result *dispatcher.Result) {
		h := w.Header()
		h.Set("X-Amz-Executed-Version", versionOf(result))
		if tail {
			h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(logTail(result, s.memoryOf(name.name))))
		}
		writeOutcome(w, result)
		sent(w)
	})
	if err != nil {
		return asAPIError(err, arn)
	}
	return nil
}

// writeOutcome writes what a function returned, or Lambda's document of its error.
func writeOutcome(w http.ResponseWriter, result *dispatcher.Result) {
	h := w.Header()
	if result.Error != nil {
		h.Set("X-Amz-Function-Error", "Unhandled")
		writeJSON(w, http.StatusOK, struct {
			Message    string   `json:"errorMessage"`
			Type       string   `json:"errorType"`
			RequestID  string   `json:"requestId"`
			StackTrace []string `json:"stackTrace,omitzero"`
			Trace      []string `json:"trace,omitzero"` // of Node.js
		}{result.Error.Message, result.Error.Type, result.RequestID, stackTrace(result.Error), result.Error.Trace})
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(result.Output)))
	w.WriteHeader(http.StatusOK)
	w.Write(result.Output)
}

// lookup resolves a name to a deployment that exists.
func (s *Server) lookup(name functionName) (string, error) {
	deployment, err := s.backend.Resolve(name.deployment())
	if err == nil {
		_, err = s.backend.Function(deployment)
	}
	return deployment, err
}

func versionOf(r *dispatcher.Result) string {
	if r.Version == "" {
		return dispatcher.Latest
	}
	return r.Version
}

func (s *Server) memoryOf(name string) int {
	f, err := s.backend.Function(name)
	if err != nil || f.Settings.MemoryMiB == 0 {
		return defaultMemoryMiB
	}
	return f.Settings.MemoryMiB
}

// readBody reads a body of at most limit bytes.
func readBody(r *http.Request, limit int64, operation string) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit, operation)
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, &apiError{status: http.StatusBadRequest, code: "InvalidRequestContentException", message: "The request body could not be read: " + err.Error()}
	}
	if n > limit {
		return nil, tooLarge(limit, operation)
	}
	return b.Bytes(), nil
}

// clientContext decodes the header that becomes the context's client_context.
func clientContext(header string) ([]byte, error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > maxClientContext {
		return nil, invalidParameter("Client context must be at most %d bytes of base64-encoded data.", maxClientContext)
	}
	b, err := base64.StdEncoding.DecodeString(header)
	if err != nil || !json.Valid(b) {
		return nil, &apiError{status: http.StatusBadRequest, code: "InvalidRequestContentException", message: "Client context must be a valid Base64-encoded JSON object."}
	}
	return b, nil
}

// logTail is the end of what Lambda would have logged of an invocation.
func logTail(r *dispatcher.Result, memoryMiB int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "START RequestId: %s Version: %s\n", r.RequestID, versionOf(r))
	for _, l := range r.Logs {
		b.WriteString(l.Text)
	}
	if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
		b.WriteByte('\n')
	}
	if r.LogsCut {
		b.WriteString("[more output was dropped]\n")
	}
	if r.Error != nil {
		fmt.Fprintf(&b, "[ERROR] %s: %s\n%s", r.Error.Type, r.Error.Message, strings.Join(r.Error.StackTrace, "")+strings.Join(r.Error.Trace, "\n"))
	}
	run := float64(r.Timings.Total) / float64(time.Millisecond)
	fmt.Fprintf(&b, "END RequestId: %s\nREPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %.0f ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t\n",
		r.RequestID, r.RequestID, run, math.Ceil(run), memoryMiB, (r.PagesDirtied*4096+1<<20-1)>>20)
	text := b.Bytes()
	return text[max(0, len(text)-logTailBytes):]
}

// stackTrace is nil, and so left out, where the runtime gives a trace instead.
func stackTrace(e *dispatcher.FunctionError) []string {
	if e.Trace != nil {
		return nil
	}
	return e.StackTrace
}
