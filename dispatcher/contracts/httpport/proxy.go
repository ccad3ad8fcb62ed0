package httpport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/contracts"
	"seuss/lineage"
)

// What a program is told of its request, in headers of it.
const (
	HeaderRequestID = "Seuss-Request-Id"
	HeaderDeadline  = "Seuss-Deadline-Ms" // since 1970
)

// Proxy hands a request to a program, at a path, and its answer to w, both as they come.
// WebSockets and other upgrades are refused.
type Proxy struct {
	W    http.ResponseWriter
	R    *http.Request
	Path string // escaped, with the leading slash; the query is the request's
	// Hide are headers that are the daemon's and not the program's.
	Hide []string
	// Edit changes the headers of the answer; nil: they are the program's.
	Edit func(http.Header)

	begun bool // an answer is on its way
}

// Begun reports whether the client has part of an answer already: another can not be
// given to it.
func (p *Proxy) Begun() bool { return p.begun }

// Exchange is a contracts.Exchange.
func (p *Proxy) Exchange(ctx context.Context, call *contracts.Call, dial contracts.Dial) (err error) {
	if upgrade := p.R.Header.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "h2c") {
		return fmt.Errorf("upgrade to %.40q: a program is given one request and answers it: %w", upgrade, lineage.ErrInvalid)
	}
	at, err := url.ParseRequestURI(p.Path) // what begins with two slashes is no host
	if err != nil || !strings.HasPrefix(p.Path, "/") {
		return fmt.Errorf("path %.100q: want an absolute path: %w", p.Path, lineage.ErrInvalid)
	}
	control := http.NewResponseController(p.W)
	// Else net/http takes what is left of the body for itself before the answer begins.
	_ = control.EnableFullDuplex() // HTTP/2 is
	// Whoever stalls, or is not heard any more, holds the machine no longer than ctx lasts.
	// How long a body may stand still, and an answer be not read, the server says.
	past := time.Unix(1, 0)
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = errors.Join(control.SetReadDeadline(past), control.SetWriteDeadline(past))
		close(expired)
	})
	defer func() {
		if !stop() {
			<-expired
			p.W.Header().Set("Connection", "close")   // net/http has given it up
			_ = control.SetWriteDeadline(time.Time{}) // where nothing has begun, an error can still be the answer
		}
		if v := recover(); v == http.ErrAbortHandler {
			err = fmt.Errorf("the program's answer, or its client, has ended in the middle: %w", contracts.ErrClient)
		} else if v != nil {
			panic(v)
		}
	}()
	port, own := call.Port, p.W.Header().Clone()
	edit := func(h http.Header) {
		for name := range own { // the service's to write
			h.Del(name)
		}
		if p.Edit != nil {
			p.Edit(h)
		}
	}
	proxy := httputil.ReverseProxy{
		Transport: transport(dial), FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", local(port)
			r.Out.URL.Path, r.Out.URL.RawPath = at.Path, at.RawPath
			r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, whatever net/url thinks of it
			for _, name := range append(p.Hide, "Upgrade") {
				r.Out.Header.Del(name)
			}
			r.Out.Header.Set(HeaderRequestID, call.RequestID)
			r.Out.Header.Set(HeaderDeadline, strconv.FormatInt(call.Deadline.UnixMilli(), 10))
		},
		ModifyResponse: func(a *http.Response) error {
			switch {
			case a.StatusCode == http.StatusSwitchingProtocols:
				return errors.New("it switches protocols")
			case a.StatusCode < 100: // net/http reads any three digits, and panics when it is to write them
				return fmt.Errorf("status %03d is none", a.StatusCode)
			}
			maps.Copy(p.W.Header(), own) // a 1xx has taken them away
			if _, ok := a.Header["Content-Type"]; !ok {
				p.W.Header()["Content-Type"] = nil // else net/http makes one up of the body
			}
			edit(a.Header)
			p.begun = true
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, e error) { err = e },
	}
	proxy.ServeHTTP(Interim{p.W, edit}, p.R.WithContext(context.WithValue(ctx, http.ServerContextKey, p.R.Context().Value(http.ServerContextKey))))
	return err
}

// Interim has the headers of answers that go before the answer (1xx) edited as its own are.
type Interim struct {
	http.ResponseWriter
	Edit func(http.Header)
}

// Unwrap is for http.ResponseController.
func (w Interim) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w Interim) WriteHeader(status int) {
	if status < http.StatusOK {
		w.Edit(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}
