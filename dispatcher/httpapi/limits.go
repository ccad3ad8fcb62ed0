package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"seuss/dispatcher/http/listener"
)

// Limits of a connection. What a request may hold is in the operations' files.
const (
	MaxHeaderBytes = 64 << 10
	MaxConnections = 4096
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	bodyStall      = 10 * time.Second // without a byte of the body
	bodyTimeout    = 2 * time.Minute  // for the whole body
)

// NewHTTPServer makes the net/http server for a handler of Access's, to be served
// on listeners of a listener.Group, which says how long a client may take to read
// its answer. An invocation may take as long as its function may.
func NewHTTPServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: MaxHeaderBytes, ConnContext: listener.Context}
}

// Access guards a listener: with a token, requests must carry it, as a bearer
// token or as the secret access key of their AWS signature; without one, they
// must come from this machine's own programs, not from a web page in its
// browser. unix lets everything pass: the socket's permissions decide.
func (s *Server) Access(token string, unix bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Who has not read the last answer of a connection asks for nothing more on
		// it: the next answer would wait behind it, and a machine for the answer.
		if !listener.Ready(r.Context()) {
			panic(http.ErrAbortHandler)
		}
		if r.ContentLength != 0 {
			body := &timedBody{ReadCloser: r.Body, control: http.NewResponseController(w), end: time.Now().Add(bodyTimeout)}
			// It holds for what net/http reads of a body that no handler wants, too.
			body.control.SetReadDeadline(body.end)
			// A copy: net/http looks at the body of its own request to see what is
			// left of it.
			r = r.WithContext(r.Context())
			r.Body = body
		}
		if unix {
			s.ServeHTTP(w, r)
			return
		}
		var err error
		if token == "" {
			err = checkLocal(r)
		} else {
			err = checkToken(r, token)
		}
		if err != nil {
			w.Header().Set("X-Amzn-Requestid", newRequestID())
			s.log.Warn("request refused", "remote", r.RemoteAddr, "path", r.URL.Path, "error", err)
			s.writeError(w, r, asAPIError(err, ""))
			return
		}
		s.ServeHTTP(w, r)
	})
}

// timedBody ends a body that does not come. The deadline is taken back at its
// end: the connection is read on while the function runs, to notice a client
// that goes away.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time
}

func (b *timedBody) Read(p []byte) (int, error) {
	deadline := time.Now().Add(bodyStall)
	if b.end.Before(deadline) {
		deadline = b.end
	}
	b.control.SetReadDeadline(deadline) // a writer of tests has none
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

var errForbidden = &apiError{status: http.StatusForbidden, code: "AccessDeniedException",
	message: "Only programs of this machine may use this address; give the service a token for others."}

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

var errUnauthorized = &apiError{status: http.StatusForbidden, code: "UnrecognizedClientException",
	message: "The security token included in the request is invalid."}

func checkToken(r *http.Request, token string) error {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer") && equal(strings.TrimSpace(value), token):
		return nil
	case scheme == signatureAlgorithm:
		return checkSignature(r, value, token, time.Now())
	}
	return errUnauthorized
}

// equal compares in a time that depends on neither text.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
