package functionapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"seuss/dispatcher/chain"
	"seuss/dispatcher/guesthttp"
)

// called is the document of a call.
type called struct {
	ID string `json:"id"`
}

// calls is the path below which the requests about calls are.
const calls = "/v1/calls"

// call answers requests about calls: what is behind the path's prefix is the name of a
// function, or a call's id. An answer without a status is to a method that there is not.
func call(c *chain.Caller, method, name string, q *query, body []byte) (a Answer, _ Later) {
	long, wait := q.positive("timeout_ms"), q.wait()
	if q.err != nil {
		return failed(q.err), nil
	}
	switch {
	case method == http.MethodPost && name == "" && len(body) <= guesthttp.MaxHead:
		if a, ok := first(c, expired, body); ok {
			return a, nil
		}
		fallthrough
	case method == http.MethodPost && name == "":
		body = bytes.Clone(body)
		return a, within(wait, func(ctx context.Context) Answer {
			a, _ := first(c, ctx, body)
			return a
		})
	case method == http.MethodPost:
		id, err := c.Call(name, bytes.Clone(body), chain.Ask{Within: long, Key: q.Get("key")})
		if err != nil {
			return failed(err), nil
		}
		if q.Has("await") { // who does not get the result has no id to ask with
			return a, func(ctx context.Context) Answer { return result(c.Result(ctx, id)) }
		}
		return document(http.StatusOK, called{id}), nil
	case method == http.MethodGet && c.Done(name):
		return result(c.Result(expired, name)), nil
	case method == http.MethodGet:
		return a, within(wait, func(ctx context.Context) Answer { return result(c.Result(ctx, name)) })
	case method == http.MethodDelete:
		if err := c.Cancel(name); err != nil {
			return failed(err), nil
		}
		return document(http.StatusOK, called{name}), nil
	}
	return a, nil
}

// first waits for the first of the calls whose ids, a list, are the body; false: none is over
// yet.
func first(c *chain.Caller, ctx context.Context, body []byte) (Answer, bool) {
	var ids []string
	if err := json.Unmarshal(body, &ids); err != nil {
		return failed(fmt.Errorf("%w: want a list of ids: %w", ErrInvalid, err)), true
	}
	id, err := c.First(ctx, ids)
	if err != nil {
		return failed(err), !errors.Is(err, context.DeadlineExceeded)
	}
	return document(http.StatusOK, called{id}), true
}

// result is what has come of a call, which is told when it is on its way.
func result(out []byte, told func(), err error) (a Answer) {
	var own *chain.Failure
	switch {
	case errors.As(err, &own):
		a = document(http.StatusBadGateway, Problem{Error: "CallError", Message: own.Message, Type: own.Type, Trace: own.Trace})
	case err != nil:
		a = failed(err)
	default:
		a = Answer{Status: http.StatusOK, JSON: true, Body: out}
	}
	a.sent = told
	return a
}
