// Package lambda is the front door that speaks AWS Lambda's API for functions and
// their invocation ("Lambda API reference"), so that AWS's own clients can be
// pointed at the service. Its handlers decode, call and encode; what cannot be
// offered is refused rather than ignored.
//
// It registers itself: a program serves it by importing it.
//
// Units: those of the API: seconds, MiB.
//
// It owns nothing and has no locks.
package lambda

import (
	"maps"
	"net/http"
	"regexp"

	"seuss/dispatcher"
	"seuss/dispatcher/http/server"
)

// door is the API over a server.
type door struct{ *server.Server }

func init() { server.Register("lambda", open) }

func open(on *server.Server, mux *server.Routes) {
	s := &door{on}
	routes := map[string]handler{
		"POST /2015-03-31/functions/{name}/invocations":       s.invoke,
		"POST /2015-03-31/functions":                          s.createFunction,
		"POST /2015-03-31/functions/{$}":                      s.createFunction,
		"GET /2015-03-31/functions":                           s.listFunctions,
		"GET /2015-03-31/functions/{$}":                       s.listFunctions,
		"GET /2015-03-31/functions/{name}":                    s.getFunction,
		"DELETE /2015-03-31/functions/{name}":                 s.deleteFunction,
		"PUT /2015-03-31/functions/{name}/code":               s.updateCode,
		"GET /2015-03-31/functions/{name}/configuration":      s.getConfiguration,
		"PUT /2015-03-31/functions/{name}/configuration":      s.updateConfiguration,
		"POST /2015-03-31/functions/{name}/versions":          s.publishVersion,
		"GET /2015-03-31/functions/{name}/versions":           s.listVersions,
		"POST /2015-03-31/functions/{name}/aliases":           s.createAlias,
		"GET /2015-03-31/functions/{name}/aliases":            s.listAliases,
		"GET /2015-03-31/functions/{name}/aliases/{alias}":    s.getAlias,
		"PUT /2015-03-31/functions/{name}/aliases/{alias}":    s.updateAlias,
		"DELETE /2015-03-31/functions/{name}/aliases/{alias}": s.deleteAlias,
		"PUT /2017-10-31/functions/{name}/concurrency":        s.putConcurrency,
		"DELETE /2017-10-31/functions/{name}/concurrency":     s.deleteConcurrency,
		"GET /2019-09-30/functions/{name}/concurrency":        s.getConcurrency,
	}
	for _, more := range []map[string]handler{tags{s}.routes(), policies{s}.routes(), account{s}.routes(), eventRules{s}.routes(), urls{s}.routes(), streams{s}.routes(), publishedLayers{s}.routes()} {
		maps.Copy(routes, more)
	}
	for pattern, f := range routes {
		mux.HandleFunc(pattern, s.handle(f))
	}
	mux.HandleFunc("/", s.unoffered())
}

// handler is one whose errors are answers.
type handler func(http.ResponseWriter, *http.Request) error

// handle adapts a handler whose errors are answers.
func (s *door) handle(f handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			s.WriteRefusal(w, r, server.Answer(err, r.URL.Path))
		}
	}
}

var (
	aliasPattern  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	numberPattern = regexp.MustCompile(`^[0-9]+$`)
)

// nameOf is Server.NameOf, which answers for a function that the caller does not reach as
// for one that is not there.
func (s *door) nameOf(r *http.Request) (server.FunctionName, error) {
	f, err := s.NameOf(r)
	return f, s.answer(f, err)
}

// answer is the answer for what is wrong with a name.
func (s *door) answer(f server.FunctionName, err error) error {
	if err == nil {
		return nil
	}
	return server.Answer(err, s.ARN(f.Key, f.Qualifier))
}

// unqualified is nameOf for operations that take no qualifier.
func (s *door) unqualified(r *http.Request) (string, error) {
	f, err := s.NameIn(r, "")
	if err = s.answer(f, err); err == nil && f.Qualifier != "" && f.Qualifier != dispatcher.Latest {
		err = server.InvalidParameter("This operation is not permitted on an alias or a version: name the function without a qualifier.")
	}
	return f.Key, err
}
