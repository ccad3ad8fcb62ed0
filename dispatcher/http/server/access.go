package server

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/http/listener"
)

// Limits of a connection. What a request may hold is in the operations' files.
const (
	MaxHeaderBytes = 64 << 10
	MaxConnections = 4096
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
)

// NewHTTPServer makes the net/http server for a handler of Access's, to be served
// on listeners of a listener.Group, which says how long a client may take to read
// its answer. An invocation may take as long as its function may.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: MaxHeaderBytes, ConnContext: listener.Context}
}

// Access guards a listener: with a token, requests must carry it or one of the
// server's Keys, as a bearer token or as the secret access key of their AWS signature;
// without one, they must come from this machine's own programs, not from a web page in
// its browser; who shows a token there all the same must be known, or show access.NoSecret,
// but a signature is anybody's that names no token. On a
// Unix socket they need no token, but must come from a program of
// the service's own user, or of root, whatever the socket's permissions are; its
// listener must be one of a listener.Group. Who shows a token there acts as its holder:
// he may pass on what others ask.
func (s *Server) Access(token string, unix bool) http.Handler {
	return s.identify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Who has not read the last answer of a connection asks for nothing more on
		// it: the next answer would wait behind it, and a machine for the answer.
		if !listener.Ready(r.Context()) {
			panic(http.ErrAbortHandler)
		}
		if r.ContentLength != 0 {
			body := &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w), end: time.Now().Add(bodyTimeout), stall: s.BodyStall}
			// It holds for what net/http reads of a body that no handler wants, too.
			body.control.SetReadDeadline(body.end)
			stateOf(r).timed, r.Body = body, body
		}
		stateOf(r).guard = &guard{token, unix}
		if h := s.atHost(r); h != nil {
			stateOf(r).principal = nobody
			h.ServeHTTP(w, r)
			return
		}
		if isProbe(r) { // it says nothing that anybody may not know
			stateOf(r).principal = nobody
			s.mux.ServeHTTP(w, r)
			return
		}
		var err error
		if stateOf(r).principal, err = s.principal(r, token, unix); err != nil {
			s.Log.Warn("request refused", "remote", r.RemoteAddr, "path", r.URL.Path, "error", err)
			s.refuse(w, r, err)
			return
		}
		s.mux.ServeHTTP(w, r)
	}))
}

// CredentialHeaders are those with which a client shows who it is, and what comes with a
// signature: they are for the service, and not for a program behind it.
var CredentialHeaders = []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"}

// nobody has no right.
var nobody = new(access.Principal)

var errForbidden = &Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException",
	Message: "Only programs of this machine may use this address; give the service a token for others."}

// refuse says no in the words of the API that was asked.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	answer := Answer(err, "")
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		s.WriteRefusal(w, r, answer)
		return
	}
	status, code := answer.Status, api.Forbidden
	switch {
	case status >= 500 || status == http.StatusTooManyRequests:
		code = api.FaultOf(err).Code
	case status != http.StatusForbidden:
		code = api.Invalid
	case answer.credentials:
		status, code = http.StatusUnauthorized, api.Unauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="seuss"`)
	}
	WriteJSON(w, status, api.Error{Code: code, Message: answer.Message, RequestID: RequestIDOf(r)})
}

// checkPeer lets programs of this process's user and of root in.
func checkPeer(r *http.Request) error {
	uid, ok := listener.Peer(r.Context())
	if ok && (uid == 0 || int(uid) == os.Geteuid()) {
		return nil
	}
	who := "this user"
	if ok {
		who = fmt.Sprintf("user %d", uid)
	}
	return &Refusal{Status: http.StatusForbidden, Code: "AccessDeniedException",
		Message: fmt.Sprintf("%s may not use this socket: it is for user %d and root; others need an address and a token of the service's.", who, os.Geteuid())}
}

// checkLocal refuses what a browser sends for a foreign page: a host name that
// was made to lead here, or another origin.
func checkLocal(r *http.Request) error {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); !(ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")) {
		return errForbidden
	}
	if site := r.Header.Get("Sec-Fetch-Site"); r.Header.Get("Origin") != "" || site != "" && site != "same-origin" && site != "none" {
		return errForbidden
	}
	return nil
}

// Refusals of what a client says who it is.
var (
	errNoToken = &Refusal{Status: http.StatusForbidden, Code: "MissingAuthenticationTokenException", credentials: true,
		Message: "Missing Authentication Token: send the service's token as a bearer token, or sign with it as the secret access key; seussctl env prints what AWS's clients need."}
	errUnauthorized = &Refusal{Status: http.StatusForbidden, Code: "UnrecognizedClientException", credentials: true,
		Message: "The security token included in the request is invalid."}
)

// principal finds out who asks.
func (s *Server) principal(r *http.Request, token string, unix bool) (*access.Principal, error) {
	shown := r.Header.Get("Authorization") != ""
	switch {
	case unix:
		if err := checkPeer(r); err != nil || !shown {
			return access.Local, err
		}
	case token == "":
		if err := checkLocal(r); err != nil || !shown {
			return access.Local, err
		}
	}
	if !shown {
		return nil, errNoToken
	}
	open := token == "" && !unix
	if token == "" {
		token = access.NoSecret
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		value = strings.TrimSpace(value)
		own := access.Equal(value, token)
		if p := s.bearer(value); p != nil {
			return p, nil
		}
		if own {
			return access.Local, nil
		}
	case scheme == signatureAlgorithm:
		secret, p := s.signing(value, token)
		if open && p == access.Local { // AWS's clients sign in any case, with whatever they have
			return p, nil
		}
		return p, checkSignature(r, value, secret, time.Now())
	}
	return nil, errUnauthorized
}

// StillMay reports whether who asked has, in the present table of tokens, a right on a
// function, or on some at least where key is "". It is for answers that go on for long:
// what PrincipalOf returns after it is of the present table.
func (s *Server) StillMay(r *http.Request, right access.Right, key string) bool {
	st := stateOf(r)
	if s.Keys == nil || st == nil || st.principal == nil {
		return true
	}
	p := s.Keys.Table().Present(st.principal)
	if p == nil {
		return false
	}
	st.principal = p
	return p.Has(right) && (key == "" || p.Reaches(key))
}

// TokensReplaced returns a channel that is closed when there is another table of tokens.
// Take it before StillMay, then no change is missed.
func (s *Server) TokensReplaced() <-chan struct{} {
	if s.Keys == nil {
		return nil
	}
	return s.Keys.Table().Replaced()
}

// bearer finds who has a bearer token of the Keys; nil: nobody.
func (s *Server) bearer(secret string) *access.Principal {
	if s.Keys == nil {
		return nil
	}
	return s.Keys.Table().Bearer(secret)
}

// signing returns the secret of who a signature says he is. Whoever is no token that
// signs is held to be the holder of the service's own, whose name nobody has to know:
// an answer is the same whether the name is unknown or the secret wrong.
func (s *Server) signing(authorization, token string) (string, *access.Principal) {
	if s.Keys == nil {
		return token, access.Local
	}
	secret, p := s.Keys.Table().Signing(keyID(authorization))
	if p == nil {
		return token, access.Local
	}
	return secret, p
}
