package server

import (
	"net/http"
	"net/url"
	"strings"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
)

// hosts are host names that a front door has for itself.
type hosts struct {
	match   func(host string) bool
	handler http.Handler
}

// HandleHosts gives a front door all requests whose Host header, with its port if it has one,
// matches. They need no token: the front door asks Signer where it wants to know who it is.
func (m *Routes) HandleHosts(match func(host string) bool, h http.Handler) {
	m.s.hosts = append(m.s.hosts, hosts{match, h})
}

// atHost returns the handler of a request's host; nil: it is for the routes.
func (s *Server) atHost(r *http.Request) http.Handler {
	for _, h := range s.hosts {
		if h.match(r.Host) {
			return h.handler
		}
	}
	return nil
}

// route serves a request that has come past Access.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	if h := s.atHost(r); h != nil {
		h.ServeHTTP(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Signer returns who has signed a request to a host of a front door's own. It takes nothing
// but a signature.
func (s *Server) Signer(r *http.Request) (*access.Principal, error) {
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); scheme != signatureAlgorithm {
		return nil, errUnsigned
	}
	st := stateOf(r)
	if st == nil || st.guard == nil { // past Access
		return access.Local, nil
	}
	return s.principal(r, st.guard.token, st.guard.unix)
}

// Caller returns who asks at a host of a front door's own, by whatever routes take; StillMay
// knows him from then on. Where no token is asked for, pages of that host's own origin may.
func (s *Server) Caller(r *http.Request) (*access.Principal, error) {
	st := stateOf(r)
	if st == nil || st.guard == nil { // past Access
		return access.Local, nil
	}
	asked := r
	if r.Header.Get("Origin") == "http://"+r.Host {
		asked = r.Clone(r.Context())
		asked.Header.Del("Origin")
	}
	p, err := s.principal(asked, st.guard.token, st.guard.unix)
	if err == nil {
		st.principal, r.Body = p, asked.Body // which is compared with its signature as it is read
	}
	return p, err
}

// guard is what Access asks for.
type guard struct {
	token string
	unix  bool
}

var errUnsigned = &Refusal{Status: http.StatusForbidden, Code: "MissingAuthenticationTokenException", credentials: true,
	Message: "This takes a signature (AWS Signature Version 4, service lambda): sign with a token's name as the access key id and its secret as the secret access key."}

// FunctionURL is the address of a function's URL.
func (s *Server) FunctionURL(of *functions.URL) string {
	host := of.Host()
	if u, err := url.Parse(s.Endpoint.URL); err == nil && u.Port() != "" {
		host += ":" + u.Port()
	}
	return "http://" + host + "/"
}
