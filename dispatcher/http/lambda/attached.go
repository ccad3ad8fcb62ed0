package lambda

import (
	"net/http"

	"seuss/dispatcher"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// attachment is the name of a function that something hangs on.
type attachment struct {
	key       string
	qualifier string // dispatcher.Latest, an alias or a version
	arn       string // with the qualifier, if the request has one
}

// attachment reads it from a request.
func (s *door) attachment(r *http.Request) (attachment, error) {
	name, err := s.nameOf(r)
	at := attachment{name.Key, name.Qualifier, s.ARN(name.Key, name.Qualifier)}
	if at.qualifier == "" {
		at.qualifier = dispatcher.Latest
	}
	return at, err
}

// attached is attachment of a function that is there, with what hangs on it.
func (s *door) attached(r *http.Request) (attachment, functions.Function, error) {
	at, err := s.attachment(r)
	if err != nil {
		return at, functions.Function{}, err
	}
	f, err := s.Service.Function(at.key)
	if err == nil && at.qualifier != dispatcher.Latest { // is it one of the function's?
		_, err = s.Service.Lookup(at.key + ":" + at.qualifier)
	}
	if err != nil {
		return at, f, server.Answer(err, at.arn)
	}
	return at, f, nil
}
