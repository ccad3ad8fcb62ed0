package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"seuss/dispatcher"
	"seuss/dispatcher/events"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/logs"
)

// What functions ask for their asynchronous events: how often and how long they are tried,
// and which function is told what came of them ("Asynchronous invocation" in Lambda's
// developer guide).

// EventRules returns a function for events.Options.Rules: what the name says that the event
// was sent to.
func EventRules(from Functions) func(events.Event) events.Rules {
	return func(e events.Event) events.Rules {
		rules := events.DefaultRules
		if r := rulesOf(from, e.Function); r != nil {
			if r.Retries != nil {
				rules.Attempts = 1 + *r.Retries
			}
			if r.MaxAgeSec > 0 {
				rules.MaxAge = time.Duration(r.MaxAgeSec) * time.Second
			}
		}
		return rules
	}
}

// rulesOf returns what hangs on the name of a function; nil: nothing.
func rulesOf(from Functions, name string) *functions.EventRules {
	base, qualifier, qualified := strings.Cut(name, ":")
	if !qualified {
		qualifier = dispatcher.Latest
	}
	f, err := from.Lookup(base)
	if err != nil {
		return nil
	}
	return f.Attached[qualifier].Events
}

// destination is the document of an event that has ended, as Lambda has it.
type destination struct {
	Version        string            `json:"version"`
	Timestamp      string            `json:"timestamp"`
	RequestContext destinationAsked  `json:"requestContext"`
	RequestPayload json.RawMessage   `json:"requestPayload"`
	Response       *destinationReply `json:"responseContext,omitempty"` // the function has answered
	Payload        json.RawMessage   `json:"responsePayload,omitempty"`
}

type destinationAsked struct {
	RequestID   string `json:"requestId"`
	FunctionARN string `json:"functionArn"`
	Condition   string `json:"condition"`
	Attempts    int    `json:"approximateInvokeCount"`
}

type destinationReply struct {
	StatusCode int    `json:"statusCode"`
	Version    string `json:"executedVersion"`
	Error      string `json:"functionError,omitempty"`
}

// EventOver returns a function for events.Options.Ended that sends a function's
// destination the document. Why one is not told is in the function's log.
func EventOver(from Functions, into Logs) func(*events.Queue, events.Outcome) {
	return func(q *events.Queue, e events.Outcome) {
		r := rulesOf(from, e.Event.Function)
		if r == nil {
			return
		}
		to := r.OnSuccess
		if e.Err != nil {
			to = r.OnFailure
		}
		if to == nil {
			return
		}
		note := func(format string, args ...any) {
			into.Add(logs.Key{Function: functions.BaseName(e.Event.Function), ID: e.Event.FunctionID},
				logs.Entry{Time: time.Now(), Kind: logs.Event, RequestID: e.Event.RequestID, Version: versionOf(e.Event.Function), Note: fmt.Sprintf("destination %s: ", to.ARN) + fmt.Sprintf(format, args...)})
		}
		if e.Event.Hops >= events.MaxHops {
			note("it is not told: the event comes of %d others, of which each was another one's destination", e.Event.Hops)
			return
		}
		target, err := from.Lookup(to.Function)
		if err != nil {
			note("it is not told: %v", err)
			return
		}
		payload, err := destinationOf(&e, note)
		if err == nil {
			err = q.Follow(events.Event{Function: to.Function, FunctionID: target.ID, Payload: payload, RequestID: dispatcher.NewRequestID(), ARN: to.ARN, Hops: e.Event.Hops + 1})
		}
		if err != nil {
			note("it is not told: %v", err)
		}
	}
}

// destinationOf makes the document. What makes it larger than an event may be is left out:
// the answer, then the event.
func destinationOf(e *events.Outcome, note func(string, ...any)) ([]byte, error) {
	arn := e.Event.ARN
	if strings.Count(arn, ":") == 6 { // it has no qualifier
		arn += ":" + dispatcher.Latest
	}
	doc := destination{Version: "1.0", Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		RequestContext: destinationAsked{e.Event.RequestID, arn, "Success", e.Attempts}, RequestPayload: e.Event.Payload, Payload: e.Answer.Payload}
	switch {
	case errors.Is(e.Err, events.ErrTooOld):
		doc.RequestContext.Condition = "EventAgeExceeded"
	case e.Err != nil:
		doc.RequestContext.Condition = "RetriesExhausted"
	}
	if e.Answer.Version != "" {
		doc.Response = &destinationReply{StatusCode: 200, Version: e.Answer.Version}
		if e.Answer.Failed {
			doc.Response.Error = "Unhandled"
		}
	}
	b, err := json.Marshal(doc)
	for _, part := range []*json.RawMessage{&doc.Payload, &doc.RequestPayload} {
		if err != nil || len(b) <= events.MaxPayload {
			break
		}
		note("%d bytes are left out of what it is told: an event has at most %d", len(*part), events.MaxPayload)
		*part = json.RawMessage("null")
		b, err = json.Marshal(doc)
	}
	return b, err
}
