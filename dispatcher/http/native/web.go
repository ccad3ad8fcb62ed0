package native

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"seuss/dispatcher"
	"seuss/dispatcher/api"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instance"
)

// webPath is below what a function that listens on a port is given requests.
const webPath = "/v1/functions/{name}/http/{path...}"

// webMethods are those that such a function may be asked with; GET stands for HEAD too.
var webMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// web hands requests to functions that are servers, as they come.
type web struct{ *door }

// sandboxed has a browser give the program's pages an origin of their own: at this address
// they would be the daemon's, and might ask it for what its user may see. A page that needs
// its origin has it at the function's URL.
func sandboxed(h http.Header) {
	h.Add("Content-Security-Policy", "sandbox allow-scripts allow-forms allow-popups")
}

func (s web) serve(w http.ResponseWriter, r *http.Request) error {
	name, err := s.deployment(r)
	if err != nil {
		return err
	}
	if err := server.CheckBody(r); err != nil {
		return err
	}
	entry, err := s.Admission.Enter(name)
	if err != nil {
		return fmt.Errorf("request to %q: %w", name, err)
	}
	defer entry.End(r.Context())
	path := "/" + strings.SplitN(r.URL.EscapedPath(), "/", 6)[5]
	proxy := httpport.Proxy{W: w, R: r, Path: path, Hide: server.CredentialHeaders, Edit: sandboxed}
	result, err := entry.Invoke(r.Context(), &dispatcher.Request{Event: []byte("null"), RequestID: server.RequestIDOf(r), Exchange: proxy.Exchange})
	switch {
	case err == nil && result.Error == nil:
		return nil
	case proxy.Begun():
		panic(http.ErrAbortHandler) // a client must not take half of an answer for all
	case err != nil:
		return err
	}
	status := http.StatusBadGateway
	if errors.Is(result.Error, instance.ErrTimeout) {
		status = http.StatusGatewayTimeout
	}
	server.WriteJSON(w, status, api.Error{Code: api.FunctionFailed, Message: "the function failed: " + result.Error.Error(), RequestID: result.RequestID, Function: result.Error})
	return nil
}
