package lambda

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"

	"seuss/dispatcher"
	"seuss/dispatcher/http/server"
)

// streams is InvokeWithResponseStream. What a program streams comes as it does; any other
// result is there when the function has returned, and comes as one chunk.
type streams struct{ *door }

func (s streams) routes() map[string]handler {
	return map[string]handler{"POST /2021-11-15/functions/{name}/response-streaming-invocations": s.invoke}
}

// Events of the answer (API reference, InvokeWithResponseStreamResponseEvent).
const (
	eventStreamType = "application/vnd.amazon.eventstream"
	chunkEvent      = "PayloadChunk"
	completeEvent   = "InvokeComplete"
)

// complete is the last event's document.
type complete struct {
	ErrorCode    string `json:",omitempty"`
	ErrorDetails string `json:",omitempty"`
	LogResult    string `json:",omitempty"`
}

func (s streams) invoke(w http.ResponseWriter, r *http.Request) error {
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
	arn := s.ARN(name.Key, name.Qualifier)
	switch kind := r.Header.Get("X-Amz-Invocation-Type"); kind {
	case "", "RequestResponse":
	case "DryRun":
		return s.accept(w, r, name, arn, kind, maxEventSync)
	default:
		return server.Validation("invocationType", kind, "Member must satisfy enum value set: [RequestResponse, DryRun]")
	}
	entry, err := s.Admission.Enter(name.Deployment())
	if err != nil {
		return server.Answer(err, arn)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			entry.End(r.Context())
		}
	}
	defer end()
	event, err := server.ReadBody(r, maxEventSync, "InvokeWithResponseStream")
	if err != nil {
		return err
	}
	client, err := clientContext(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		return err
	}
	_, version, _ := strings.Cut(entry.Deployment().Name, ":")
	answer := newEvents(w, version)
	feed := server.NewFeed(w, r, func(_ string, p []byte) error { return answer.write(chunkEvent, "application/octet-stream", p) })
	defer feed.Wait()
	result, err := entry.Invoke(r.Context(), &dispatcher.Request{Event: orObject(event), RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client, Memory: tail, Stream: feed.Put})
	feed.End()
	var last complete
	if err == nil && tail {
		last.LogResult = base64.StdEncoding.EncodeToString(logTail(result, cmp.Or(entry.Deployment().Settings.MemoryMiB, defaultMemoryMiB)))
	}
	end() // whoever reads slowly reads what is there, and holds no machine
	feed.Wait()
	if feed.Err() != nil && err == nil {
		err = feed.Err()
	}
	switch {
	case err != nil && !feed.Begun():
		return server.Answer(err, arn)
	case err != nil:
		refusal := server.Answer(err, arn)
		last.ErrorCode, last.ErrorDetails = refusal.Code, refusal.Message
	case result.Error != nil:
		last.ErrorCode, last.ErrorDetails = result.Error.Type, string(errorDocument(result))
	case len(result.Output) > 0:
		_ = answer.write(chunkEvent, "application/octet-stream", result.Output)
	}
	text, err := json.Marshal(&last)
	if err != nil {
		return err
	}
	_ = answer.write(completeEvent, "application/json", text) // a client that has gone is no concern
	return nil
}

// eventWriter writes an answer as events, each as soon as it is there.
type eventWriter struct {
	w       http.ResponseWriter
	encoder *eventstream.Encoder
	version string
	begun   bool
}

func newEvents(w http.ResponseWriter, version string) *eventWriter {
	return &eventWriter{w: w, encoder: eventstream.NewEncoder(), version: cmp.Or(version, dispatcher.Latest)}
}

func (e *eventWriter) write(kind, contentType string, payload []byte) error {
	m := eventstream.Message{Payload: payload}
	m.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	m.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue(kind))
	m.Headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue(contentType))
	var b bytes.Buffer
	if err := e.encoder.Encode(&b, m); err != nil {
		return err
	}
	if !e.begun {
		e.begun = true
		e.w.Header().Set("X-Amz-Executed-Version", e.version)
		e.w.Header().Set("Content-Type", eventStreamType)
		e.w.WriteHeader(http.StatusOK)
	}
	if _, err := e.w.Write(b.Bytes()); err != nil {
		return err
	}
	return http.NewResponseController(e.w).Flush()
}
