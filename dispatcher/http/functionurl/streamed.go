package functionurl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/http/server"
)

// A stream that says of itself that it is integrationType begins with a JSON document of
// status, headers and cookies, at most maxPrelude bytes, and preludeEnd ("Response streaming
// for Lambda functions").
const (
	integrationType = "application/vnd.awslambda.http-integration-response"
	preludeEnd      = "\x00\x00\x00\x00\x00\x00\x00\x00"
	maxPrelude      = server.MaxHeaderBytes
)

// streamed is an answer that goes out as the function makes it.
type streamed struct {
	w       http.ResponseWriter
	edit    func(http.Header)
	prelude []byte // as far as it is there
	begun   bool   // its head is on its way
}

// stream invokes a function whose URL is in mode RESPONSE_STREAM, and calls end when it needs
// its machine no longer. What the function has not streamed is a result, to be answered as in
// the other mode; nil: the answer is on its way.
func (s door) stream(w http.ResponseWriter, r *http.Request, entry *admission.Entry, end func(), request *dispatcher.Request, edit func(http.Header)) (*dispatcher.Result, error) {
	a := streamed{w: w, edit: edit}
	feed := server.NewFeed(w, r, a.write)
	defer feed.Wait()
	request.Stream = feed.Put
	result, err := entry.Invoke(r.Context(), request)
	feed.End()
	end() // whoever reads slowly holds no machine
	feed.Wait()
	switch fault := feed.Err(); {
	case !feed.Begun() && fault == nil:
		return result, err
	case a.begun && (err != nil || fault != nil || result.Error != nil):
		panic(http.ErrAbortHandler) // a client must not take half of an answer for all
	case err != nil:
		return nil, err
	case errors.As(fault, new(*server.Refusal)):
		return nil, fault
	case fault == nil && result.Error != nil:
		return result, nil
	case !a.begun:
		if fault == nil {
			fault = errPrelude
		}
		s.Log.Warn("a function's stream is no answer for its URL", "request_id", server.RequestIDOf(r), "function", request.Function, "error", fault)
		return nil, errFunction
	}
	return nil, nil
}

var errPrelude = errors.New("it ends within its head")

// write sends what has come.
func (a *streamed) write(kind string, p []byte) error {
	if !a.begun {
		head := answer{status: http.StatusOK, header: http.Header{}}
		switch {
		case kind == integrationType:
			a.prelude = append(a.prelude, p...)
			document, rest, whole := bytes.Cut(a.prelude, []byte(preludeEnd))
			if len(document) > maxPrelude {
				return fmt.Errorf("the head of its stream takes more than %d bytes", maxPrelude)
			}
			if !whole {
				return nil
			}
			if err := head.take(document); err != nil {
				return err
			}
			p = rest
		case kind != "":
			if err := head.set("Content-Type", kind); err != nil {
				return err
			}
		}
		if head.header.Get("Content-Type") == "" {
			head.header.Set("Content-Type", "application/octet-stream")
		}
		if a.edit != nil {
			a.edit(head.header)
		}
		for name, values := range head.header {
			a.w.Header()[name] = values
		}
		a.w.WriteHeader(head.status)
		a.begun = true
	}
	if len(p) > 0 {
		if _, err := a.w.Write(p); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) { // 204 and 304 have none
			return err
		}
	}
	return http.NewResponseController(a.w).Flush()
}

// take reads what a document says of status, headers and cookies.
func (a *answer) take(document []byte) error {
	var says said
	if err := json.Unmarshal(document, &says); err != nil {
		return err
	}
	if says.StatusCode == nil {
		says.StatusCode = json.RawMessage("200")
	}
	return a.head(&says)
}
