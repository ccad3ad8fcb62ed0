package runtimeapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/instance"
)

// What a GET waits for.
const (
	forInvocation = ""
	forRestore    = "restore/next"
)

const version = "/2018-06-01/runtime/"

// Headers of the API, as AWS documents them.
const (
	headerErrorType = "Lambda-Runtime-Function-Error-Type"    // also a trailer of streams
	headerMode      = "Lambda-Runtime-Function-Response-Mode" // "streaming": the body is for the client as it comes
	headerErrorBody = "Lambda-Runtime-Function-Error-Body"    // of streams: the error document in base64
)

// serve answers a request that is there as a whole.
func (s *server) serve(c *conn) {
	body := c.Body()
	path, ours := strings.CutPrefix(c.Head.URL.Path, version)
	method := c.Head.Method
	id, what, _ := strings.Cut(strings.TrimPrefix(path, "invocation/"), "/")
	switch {
	case !ours && strings.Contains(c.Head.URL.Path, "/extension/"):
		s.drop(c, http.StatusForbidden, "Extension.Unsupported", "extensions are not supported: a guest has one process, which is the runtime's")
	case !ours:
		s.drop(c, http.StatusNotFound, "NotFound", c.Head.URL.Path+" is no part of the Runtime API 2018-06-01")
	case path == "invocation/next" && method == http.MethodGet:
		s.next(c, forInvocation)
	case path == "restore/next" && method == http.MethodGet:
		s.next(c, forRestore)
	case path == "init/error" && method == http.MethodPost, path == "restore/error" && method == http.MethodPost:
		s.failed(c, body, path == "init/error")
	case strings.HasPrefix(path, "invocation/") && (what == "response" || what == "error") && method == http.MethodPost:
		s.answered(c, id, what == "error", body)
	default:
		s.drop(c, http.StatusNotFound, "NotFound", method+" "+path+" is no part of the Runtime API 2018-06-01")
	}
}

// next has a program wait for what comes, or gives it its event.
func (s *server) next(c *conn, waits string) {
	switch {
	case (s.call == nil || s.replied && waits == forInvocation) && s.waiting == nil:
		s.forget(c)
		s.waiting, s.waits, s.over = c.Conn, waits, true
	case s.call != nil && !s.given && waits == forInvocation:
		s.forget(c)
		s.give(c.Conn)
	default:
		s.drop(c, http.StatusForbidden, "InvalidStateTransition", "another request for what is next waits already, or was answered")
		if s.call != nil {
			s.wrong("the program asked for its next event before it had answered this one")
		}
	}
}

// failed takes the error of a program that cannot start.
func (s *server) failed(c *conn, body []byte, start bool) {
	if start && s.call != nil {
		s.drop(c, http.StatusForbidden, "InvalidStateTransition", "the program is ready already")
		return
	}
	s.done(c)
	s.fail(decodeError(body, c.Head.Header.Get(headerErrorType)))
}

// answered takes the program's answer.
func (s *server) answered(c *conn, id string, failed bool, body []byte) {
	if s.call == nil || !s.given || s.replied || id != s.call.RequestID {
		s.drop(c, http.StatusBadRequest, "InvalidRequestID", "the program has no invocation of this id")
		return
	}
	kind, document := c.Head.Header.Get(headerErrorType), body
	if trailer := c.Head.Trailer.Get(headerErrorType); trailer != "" && !failed { // a stream that failed half way
		failed, kind = true, trailer
		document, _ = base64.StdEncoding.DecodeString(c.Head.Trailer.Get(headerErrorBody)) // else it cannot be read, and is told so
	}
	switch {
	case failed:
		s.done(c)
		s.reply(nil, decodeError(document, kind))
	case s.streamed > 0 && !s.streams(c): // whoever has the half of one answer must not take it for all
		s.drop(c, http.StatusForbidden, "InvalidStateTransition", "another response is being streamed")
		s.wrong("the program answered while it streamed another answer")
	case len(body) > contracts.MaxAnswerBytes:
		s.drop(c, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the response is larger than is allowed")
		s.fail(contracts.TooLarge())
	case s.streams(c):
		s.done(c)
		s.reply(nil, nil)
	default:
		s.done(c)
		s.reply(bytes.Clone(body), nil)
	}
}

// line is a frame of a stack trace, which is a text, or an object as aws-lambda-go writes
// it.
func line(frame json.RawMessage) string {
	var text string
	var place struct {
		Path  string `json:"path"`
		Line  int    `json:"line"`
		Label string `json:"label"`
	}
	switch {
	case json.Unmarshal(frame, &text) == nil:
		return text
	case json.Unmarshal(frame, &place) == nil && place.Path != "":
		return fmt.Sprintf("%s (%s:%d)", place.Label, place.Path, place.Line)
	}
	return string(frame)
}

// decodeError reads an error document; kind is what the header says, where the document
// does not.
func decodeError(body []byte, kind string) error {
	var document struct {
		Type       string            `json:"errorType"`
		Message    string            `json:"errorMessage"`
		StackTrace []json.RawMessage `json:"stackTrace"`
	}
	e := instance.HandlerError{Message: "the program reported an error that cannot be read"}
	if json.Unmarshal(body, &document) == nil && (document.Type != "" || document.Message != "") {
		e.Type, e.Message = document.Type, document.Message
		for _, frame := range document.StackTrace {
			e.StackTrace = append(e.StackTrace, line(frame))
		}
	}
	if e.Type == "" {
		e.Type = kind
	}
	if e.Type == "" {
		e.Type = "Runtime.Unknown"
	}
	return e.Bounded()
}
