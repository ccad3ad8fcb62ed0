package lambda

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/http/server"
)

// Limits of Invoke (API reference and "Lambda quotas").
const (
	maxEventSync     = dispatcher.MaxEventBytes // 6 MiB
	maxEventAsync    = events.MaxPayload        // 1 MB
	maxClientContext = 3583                     // base64 characters
	logTailBytes     = 4 << 10
)

// invoke is Lambda's Invoke.
func (s *door) invoke(w http.ResponseWriter, r *http.Request) error {
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
		return server.Validation("logType", v, "Member must satisfy enum value set: [None, Tail]")
	}
	kind := r.Header.Get("X-Amz-Invocation-Type")
	limit := int64(maxEventSync)
	switch kind {
	case "", "RequestResponse", "DryRun":
	case "Event":
		limit = maxEventAsync
	default:
		return server.Validation("invocationType", kind, "Member must satisfy enum value set: [Event, RequestResponse, DryRun]")
	}
	arn := s.ARN(name.Name, name.Qualifier)
	target, err := s.Service.Lookup(name.Deployment())
	if err == nil && (kind == "" || kind == "RequestResponse") {
		err = s.Admission.Check(target)
	}
	if err != nil {
		return server.Answer(err, arn)
	}
	event, err := server.ReadBody(r, limit, "InvokeFunction")
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
	switch kind {
	case "DryRun":
		w.WriteHeader(http.StatusNoContent)
		return nil
	case "Event":
		if !json.Valid(event) {
			return server.Answer(fmt.Errorf("%w: not JSON", dispatcher.ErrBadEvent), arn)
		}
		err := s.Events.Add(events.Event{Function: name.Deployment(), FunctionID: target.ID, Payload: event, RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client})
		if err != nil {
			return server.Answer(err, arn)
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	request := dispatcher.Request{
		Event: event, RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client,
		Memory: tail, // for the report line
	}
	_, err = s.Admission.Invoke(r.Context(), target, &request, func(result *dispatcher.Result) {
		h := w.Header()
		h.Set("X-Amz-Executed-Version", versionOf(result))
		if tail {
			h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(logTail(result, s.memoryOf(name.Name))))
		}
		writeOutcome(w, result)
		server.Sent(w)
	})
	if err != nil {
		return server.Answer(err, arn)
	}
	return nil
}

// writeOutcome writes what a function returned, or Lambda's document of its error.
func writeOutcome(w http.ResponseWriter, result *dispatcher.Result) {
	h := w.Header()
	if result.Error != nil {
		h.Set("X-Amz-Function-Error", "Unhandled")
		server.WriteJSON(w, http.StatusOK, struct {
			Message    string   `json:"errorMessage"`
			Type       string   `json:"errorType"`
			RequestID  string   `json:"requestId"`
			StackTrace []string `json:"stackTrace,omitzero"`
			Trace      []string `json:"trace,omitzero"` // some runtimes have it in place of StackTrace
		}{result.Error.Message, result.Error.Type, result.RequestID, stackTrace(result.Error), result.Error.Trace})
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(result.Output)))
	w.WriteHeader(http.StatusOK)
	w.Write(result.Output)
}

// lookup resolves a name to a deployment that exists.
func (s *door) lookup(name server.FunctionName) (string, error) {
	deployment, err := s.Service.Resolve(name.Deployment())
	if err == nil {
		_, err = s.Service.Function(deployment)
	}
	return deployment, err
}

func versionOf(r *dispatcher.Result) string {
	if r.Version == "" {
		return dispatcher.Latest
	}
	return r.Version
}

func (s *door) memoryOf(name string) int {
	f, err := s.Service.Function(name)
	if err != nil || f.Settings.MemoryMiB == 0 {
		return defaultMemoryMiB
	}
	return f.Settings.MemoryMiB
}

// clientContext decodes the header that becomes the context's client_context.
func clientContext(header string) ([]byte, error) {
	if header == "" {
		return nil, nil
	}
	if len(header) > maxClientContext {
		return nil, server.InvalidParameter("Client context must be at most %d bytes of base64-encoded data.", maxClientContext)
	}
	b, err := base64.StdEncoding.DecodeString(header)
	if err != nil || !json.Valid(b) {
		return nil, &server.Refusal{Status: http.StatusBadRequest, Code: "InvalidRequestContentException", Message: "Client context must be a valid Base64-encoded JSON object."}
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
