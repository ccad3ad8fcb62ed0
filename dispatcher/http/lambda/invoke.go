package lambda

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
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
	tail, err := wantsTail(r)
	if err != nil {
		return err
	}
	if err := notInvoked(r); err != nil {
		return err
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
	arn := s.ARN(name.Key, name.Qualifier)
	if kind == "DryRun" || kind == "Event" {
		return s.accept(w, r, name, arn, kind, limit)
	}
	entry, err := s.Admission.Enter(name.Deployment())
	if err != nil {
		return server.Answer(err, arn)
	}
	defer entry.End(r.Context())
	event, err := server.ReadBody(r, limit, "InvokeFunction")
	if err != nil {
		return err
	}
	client, err := clientContext(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		return err
	}
	result, err := entry.Invoke(r.Context(), &dispatcher.Request{
		Event: orObject(event), RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client,
		Memory: tail, // for the report line
	})
	if err != nil {
		return server.Answer(err, arn)
	}
	h := w.Header()
	h.Set("X-Amz-Executed-Version", versionOf(result))
	if tail {
		h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(logTail(result, cmp.Or(entry.Deployment().Settings.MemoryMiB, defaultMemoryMiB))))
	}
	document := []byte(result.Output)
	if result.Error != nil {
		h.Set("X-Amz-Function-Error", "Unhandled")
		document = errorDocument(result)
	}
	server.Send(w, document)
	return nil
}

// wantsTail reports whether the answer is to have the end of the log.
func wantsTail(r *http.Request) (bool, error) {
	switch v := r.Header.Get("X-Amz-Log-Type"); v {
	case "", "None":
		return false, nil
	case "Tail":
		return true, nil
	default:
		return false, server.Validation("logType", v, "Member must satisfy enum value set: [None, Tail]")
	}
}

// notInvoked refuses what an invocation cannot be.
func notInvoked(r *http.Request) error {
	if v := r.Header.Get("X-Amz-Durable-Execution-Name"); v != "" {
		return server.InvalidParameter("DurableExecutionName %q is not supported: %s.", v, noDurable)
	}
	if v := r.Header.Get("X-Amz-Tenant-Id"); v != "" {
		return server.InvalidParameter("TenantId %q is not supported: every invocation has an instance of its own.", v)
	}
	return nil
}

// accept takes an event that nobody waits for, or looks only whether one could be sent.
func (s *door) accept(w http.ResponseWriter, r *http.Request, name server.FunctionName, arn, kind string, limit int64) error {
	target, err := s.Service.Lookup(name.Deployment())
	if err != nil {
		return server.Answer(err, arn)
	}
	event, err := server.ReadBody(r, limit, "InvokeFunction")
	if err != nil {
		return err
	}
	client, err := clientContext(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		return err
	}
	if kind == "DryRun" {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if event = orObject(event); !json.Valid(event) {
		return server.Answer(fmt.Errorf("%w: not JSON", dispatcher.ErrBadEvent), arn)
	}
	err = s.Events.Add(events.Event{Function: name.Deployment(), FunctionID: target.ID, Payload: event, RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client})
	if err != nil {
		return server.Answer(err, arn)
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// orObject is the event of a request that may have none.
func orObject(event []byte) []byte {
	if len(bytes.TrimSpace(event)) == 0 {
		return []byte("{}")
	}
	return event
}

// errorDocument is Lambda's document of what a function did wrong.
func errorDocument(r *dispatcher.Result) []byte {
	document, _ := json.Marshal(struct { // no type of it fails
		Message    string   `json:"errorMessage"`
		Type       string   `json:"errorType"`
		RequestID  string   `json:"requestId"`
		StackTrace []string `json:"stackTrace,omitzero"`
		Trace      []string `json:"trace,omitzero"` // some runtimes have it in place of StackTrace
	}{r.Error.Message, r.Error.Type, r.RequestID, stackTrace(r.Error), r.Error.Trace})
	return document
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
