package lambda

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"

	"seuss/dispatcher"
	"seuss/dispatcher/http/server"
)

// streams is InvokeWithResponseStream. A function's result is there when it has returned, so
// it comes as one chunk.
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
	defer entry.End(r.Context())
	event, err := server.ReadBody(r, maxEventSync, "InvokeWithResponseStream")
	if err != nil {
		return err
	}
	client, err := clientContext(r.Header.Get("X-Amz-Client-Context"))
	if err != nil {
		return err
	}
	result, err := entry.Invoke(r.Context(), &dispatcher.Request{Event: orObject(event), RequestID: server.RequestIDOf(r), ARN: arn, ClientContext: client, Memory: tail})
	if err != nil {
		return server.Answer(err, arn)
	}
	var end complete
	if result.Error != nil {
		end.ErrorCode, end.ErrorDetails = result.Error.Type, string(errorDocument(result))
	}
	if tail {
		end.LogResult = base64.StdEncoding.EncodeToString(logTail(result, cmp.Or(entry.Deployment().Settings.MemoryMiB, defaultMemoryMiB)))
	}
	answer, err := eventsOf(result.Output, &end)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-Amz-Executed-Version", versionOf(result))
	h.Set("Content-Type", eventStreamType)
	w.WriteHeader(http.StatusOK)
	w.Write(answer) // a client that has gone is no concern
	http.NewResponseController(w).Flush()
	return nil
}

// eventsOf writes a result and its end as events.
func eventsOf(output []byte, end *complete) ([]byte, error) {
	var b bytes.Buffer
	e := eventstream.NewEncoder()
	write := func(kind, contentType string, payload []byte) error {
		m := eventstream.Message{Payload: payload}
		m.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
		m.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue(kind))
		m.Headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue(contentType))
		return e.Encode(&b, m)
	}
	if len(output) > 0 {
		if err := write(chunkEvent, "application/octet-stream", output); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(end)
	if err == nil {
		err = write(completeEvent, "application/json", text)
	}
	return b.Bytes(), err
}
