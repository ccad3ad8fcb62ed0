// Package functionurl is the front door of functions' own addresses ("Lambda function URLs"
// in AWS Lambda's developer guide):
//
//	http://ID.lambda-url.localhost:PORT/any/path?query
//
// The Host header says whose it is. A request becomes an event of payload format 2.0, and
// what the function returns an answer. Whoever asks needs no token where the URL's auth is
// NONE; where it is AWS_IAM he signs as a token that may invoke the function.
//
// It registers itself: a program serves it by importing it.
//
// Units: bytes; seconds.
//
// It owns nothing and has no locks.
package functionurl

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// maxBody bounds the body of a request; as an event, with its headers, it may have
// dispatcher.MaxEventBytes (Lambda's 6 MB).
const maxBody = dispatcher.MaxEventBytes

// hostPattern is a function's host name: the id and the label that tells it from others'
// names, below any domain.
var hostPattern = regexp.MustCompile(`^([a-z2-7]{32})\.lambda-url\.[a-z0-9.-]+$`)

// door is the addresses over a server.
type door struct{ *server.Server }

func init() { server.Register("functionurl", open) }

func open(on *server.Server, routes *server.Routes) {
	routes.HandleHosts(func(host string) bool { return hostPattern.MatchString(nameOf(host)) }, door{on})
}

// nameOf is a Host header without its port, in lower case.
func nameOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// ServeHTTP serves a function at its address.
func (s door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.serve(w, r); err != nil {
		answer := server.Answer(err, "")
		if answer.Code == "ResourceNotFoundException" { // no function has that name: so much is all there is to say
			answer = errNoURL
		}
		s.WriteRefusal(w, r, answer)
	}
}

var errNoURL = &server.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "No function has this URL."}

func (s door) serve(w http.ResponseWriter, r *http.Request) error {
	host := nameOf(r.Host)
	id := hostPattern.FindStringSubmatch(host)[1]
	name, u, err := s.Service.URLTarget(id)
	if err != nil {
		return err
	}
	origin := r.Header.Get("Origin")
	if u.CORS != nil && isPreflight(r) { // a browser asks without credentials, whatever the auth
		preflight(w.Header(), u.CORS, r)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	who, err := s.caller(r, name, u)
	if err != nil {
		return err
	}
	entry, err := s.Admission.Enter(name)
	if err != nil {
		return err
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			entry.End(r.Context())
		}
	}
	defer end()
	key, qualifier, _ := strings.Cut(name, ":")
	request := &dispatcher.Request{RequestID: server.RequestIDOf(r), ARN: s.ARN(key, qualifier)}
	if takesRequests(entry.Deployment()) {
		return forward(w, r, entry, request, u)
	}
	if r.ContentLength > maxBody {
		return server.TooLarge(maxBody, "function URL")
	}
	body, err := server.ReadBody(r, maxBody, "function URL")
	if err != nil {
		return err
	}
	if request.Event, err = eventOf(r, host, id, who, body); err != nil {
		return err
	}
	if len(request.Event) > dispatcher.MaxEventBytes {
		return server.TooLarge(dispatcher.MaxEventBytes, "function URL")
	}
	var result *dispatcher.Result
	if u.Mode == functions.ModeStream {
		var edit func(http.Header)
		if u.CORS != nil {
			edit = func(h http.Header) { cors(h, u.CORS, origin) }
		}
		if result, err = s.stream(w, r, entry, end, request, edit); err == nil && result == nil {
			return nil
		}
	} else {
		result, err = entry.Invoke(r.Context(), request)
	}
	if err != nil {
		return err
	}
	if result.Error != nil {
		return errFunction
	}
	answer, err := answerOf(result.Output)
	if err != nil {
		s.Log.Warn("a function's answer is none for its URL", "request_id", server.RequestIDOf(r), "function", name, "error", err)
		return errFunction
	}
	if u.CORS != nil {
		cors(answer.header, u.CORS, origin)
	}
	answer.write(w)
	return nil
}

// errFunction is all that those outside are told of what a function does wrong, as Lambda has
// it; its log says more.
var errFunction = &server.Refusal{Status: http.StatusBadGateway, Code: "InternalServerError", Message: "Internal Server Error"}

// caller finds out who asks, where the URL wants to know: a signature it must be, of a token
// that may invoke the function.
func (s door) caller(r *http.Request, name string, u *functions.URL) (*access.Principal, error) {
	if u.Auth != functions.AuthIAM {
		return nil, nil
	}
	r.Body = http.MaxBytesReader(nil, r.Body, maxBody+1)
	p, err := s.Signer(r)
	if err != nil {
		return nil, err
	}
	if !p.Has(access.Invoke) || !p.Reaches(functions.BaseName(name)) {
		return nil, &server.Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException", Message: fmt.Sprintf("The token %s may not invoke this function.", p.Name)}
	}
	return p, nil
}
