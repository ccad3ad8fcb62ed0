package functionurl

import (
	"bytes"
	"cmp"
	"io"
	"net/http"

	"seuss/dispatcher"
	"seuss/dispatcher/admission"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// takesRequests reports whether a function is a server, which is given requests as they are.
func takesRequests(f *dispatcher.Deployment) bool {
	p := f.Settings.Program
	return p != nil && p.Contract == httpport.Name
}

// forward hands a request to a function that is a server, as it comes, and its answer back.
// What is signed comes whole first: nothing is done for a body that is another one.
func forward(w http.ResponseWriter, r *http.Request, entry *admission.Entry, request *dispatcher.Request, u *functions.URL) error {
	proxy := httpport.Proxy{W: w, R: r, Path: cmp.Or(r.URL.EscapedPath(), "/")}
	if u.Auth == functions.AuthIAM {
		proxy.Hide = server.CredentialHeaders
		body, err := server.ReadBody(r, maxBody, "function URL")
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if u.CORS != nil {
		origin := r.Header.Get("Origin")
		proxy.Edit = func(h http.Header) { cors(h, u.CORS, origin) }
	}
	request.Event, request.Exchange = []byte("null"), proxy.Exchange
	result, err := entry.Invoke(r.Context(), request)
	switch {
	case err == nil && result.Error == nil:
		return nil
	case proxy.Begun():
		panic(http.ErrAbortHandler) // a client must not take half of an answer for all
	case err != nil:
		return err
	}
	return errFunction
}
