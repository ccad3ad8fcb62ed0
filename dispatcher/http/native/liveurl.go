package native

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/api"
	"seuss/dispatcher/contracts/httpport"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
	"seuss/dispatcher/instances"
)

// Instances have addresses of their own, as functions have:
//
//	http://[PORT.]NAME[.OWNER].instance.localhost:8080/any/path
//
// The Host header says whose it is, and which port of it; without one it is the port that its
// program was created with. A request goes there as it comes, over a connection of its own, and
// so does a WebSocket: to rights and bounds each is a connection that is forwarded.

// liveHost is an instance's host name, below any domain. Names are as they are sent.
var liveHost = regexp.MustCompile(`^(?:([0-9]{1,5})\.)?([A-Za-z0-9_-]{1,64})(?:\.([A-Za-z0-9_-]{1,64}))?\.(?i:instance)\.[A-Za-z0-9.-]+$`)

// liveName is a Host header without its port. Every request is asked: it allocates nothing.
func liveName(host string) string {
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.IndexByte(host, ']') < at {
		host = host[:at]
	}
	return strings.TrimSuffix(host, ".")
}

// liveRights are those that it takes to reach a port.
const liveRights = access.Deploy | access.Invoke

// maxLiveHead bounds the header of an instance's answer, bytes.
const maxLiveHead = 256 << 10

// liveURL is the addresses over a door.
type liveURL struct{ live }

func (u liveURL) matches(host string) bool { return liveHost.MatchString(liveName(host)) }

// ServeHTTP serves a port of an instance at its address.
func (u liveURL) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := u.serve(w, r); err != nil {
		u.writeNativeError(w, r, err)
	}
}

func (u liveURL) serve(w http.ResponseWriter, r *http.Request) error {
	i, key, public, err := u.target(r)
	if err != nil {
		return err
	}
	port, err := portOf(r, i)
	if err != nil {
		return err
	}
	if upgrade := r.Header.Get("Upgrade"); upgrade != "" && !strings.EqualFold(upgrade, "websocket") && !strings.EqualFold(upgrade, "h2c") {
		return &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("upgrade to %.40q: WebSockets pass through, and no other protocol: forward the port (seussctl instance forward)", upgrade)}
	}
	leave, err := u.forwarding.enter(functions.OwnerOf(key))
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	moved := make(chan struct{}, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer cancel()
		u.watched(ctx, r, key, public, moved)
	}()
	defer func() { <-watched }()
	defer cancel()
	return u.pass(w, r.WithContext(ctx), i, port, moved)
}

// target finds the instance of a request, whom it is for, and whether everybody may. By what
// the request was let in is taken out of it.
func (u liveURL) target(r *http.Request) (i *instances.Instance, key string, public bool, err error) {
	part := liveHost.FindStringSubmatch(liveName(r.Host))
	name, owner := part[2], part[3]
	first := cmp.Or(owner, functions.DefaultOwner)
	keeper := u.Service.Live()
	open, err := keeper.Get(first, name)
	everybodys := err == nil && open.Public()
	if everybodys && r.Header.Get("Authorization") == "" {
		return open, functions.Key(first, name), true, nil
	}
	p, err := u.Caller(r)
	switch {
	case err != nil && everybodys && !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-"): // it is the instance's to judge
		return open, functions.Key(first, name), true, nil
	case err != nil:
		return nil, "", false, err
	}
	for _, shown := range server.CredentialHeaders { // to the service
		r.Header.Del(shown)
	}
	if key = functions.KeyFor(p.Owner, name); owner != "" {
		key = functions.Key(owner, name)
	}
	if p.Reaches(key) {
		i, err = keeper.Get(functions.OwnerOf(key), functions.NameOf(key))
	} else if everybodys && owner != "" {
		i = open
	} else {
		err = fmt.Errorf("%w: %q", instances.ErrUnknown, name)
	}
	switch {
	case err != nil:
		return nil, "", false, err
	case i.Public():
		return i, key, true, nil
	case !p.Has(liveRights):
		return nil, "", false, &server.Refusal{Status: http.StatusForbidden, Message: fmt.Sprintf("The token %s may not reach ports of instances, which takes the rights deploy and invoke.", p.Name)}
	}
	return i, key, false, nil
}

// portOf is the port that a request is for.
func portOf(r *http.Request, i *instances.Instance) (uint16, error) {
	text := liveHost.FindStringSubmatch(liveName(r.Host))[1]
	if text == "" {
		if port := i.Info().Port; port != 0 {
			return port, nil
		}
		return 0, &server.Refusal{Status: http.StatusBadRequest, Message: "which port? The instance was created with none (--http): put it before its name, as in 8000.NAME.instance.localhost"}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("port %s: want 1 to 65535", text)}
	}
	return uint16(port), nil
}

// watched returns when a connection is to end: with its request, its caller's right, the
// service, or after an hour without a byte.
func (u liveURL) watched(ctx context.Context, r *http.Request, key string, public bool, moved <-chan struct{}) {
	idle := time.NewTimer(forwardIdle)
	defer idle.Stop()
	for {
		tokens := u.TokensReplaced()
		if !public && !u.StillMay(r, liveRights, key) {
			return
		}
		select {
		case <-moved:
			idle.Reset(forwardIdle)
		case <-tokens:
		case <-ctx.Done():
			return
		case <-idle.C:
			return
		case <-u.Stopping():
			return
		}
	}
}

// pass hands a request to a port, and its answer back, both as they come.
func (u liveURL) pass(w http.ResponseWriter, r *http.Request, i *instances.Instance, port uint16, moved chan struct{}) (failed error) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // HTTP/2 is
	if r.Header.Get("Upgrade") != "" {
		control.SetReadDeadline(time.Time{}) // it is not over with its body
	}
	own := w.Header().Clone()
	edit := func(h http.Header) {
		for name := range own { // the service's to write
			h.Del(name)
		}
	}
	w = httpport.Interim{ResponseWriter: w, Edit: edit}
	proxy := httputil.ReverseProxy{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				c, err := i.Dial(ctx, port)
				if err != nil {
					return nil, err
				}
				return &noticed{c, moved}, nil
			},
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxLiveHead,
		},
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetXForwarded()
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.URL.RawQuery = "http", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), p.In.URL.RawQuery
			p.Out.Header.Set(httpport.HeaderRequestID, server.RequestIDOf(r))
			if strings.EqualFold(p.In.Header.Get("Upgrade"), "h2c") {
				p.Out.Header.Del("Upgrade")
				p.Out.Header.Del("Connection")
			}
		},
		ModifyResponse: func(a *http.Response) error {
			if a.StatusCode < 100 { // net/http reads any three digits, and panics when it is to write them
				return fmt.Errorf("status %03d is none", a.StatusCode)
			}
			maps.Copy(w.Header(), own) // a 1xx has taken them away
			if _, ok := a.Header["Content-Type"]; !ok {
				w.Header()["Content-Type"] = nil // else net/http makes one up of the body
			}
			edit(a.Header)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(ended{w, r.Context()}, r)
	var known *server.Refusal
	if failed != nil && !errors.As(failed, &known) && api.FaultOf(failed).Status >= 500 && !errors.Is(failed, instances.ErrFailed) {
		failed = &server.Refusal{Status: http.StatusBadGateway, Message: fmt.Sprintf("port %d of the instance has not answered as HTTP does: %v", port, failed)}
	}
	return failed
}

// ended is an answer whose connection, where it becomes a WebSocket's, ends with ctx: when an
// instance has ended its half httputil waits for the client's, who may say nothing for ever.
type ended struct {
	http.ResponseWriter
	ctx context.Context
}

// Unwrap is for http.ResponseController.
func (w ended) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w ended) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, b, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		context.AfterFunc(w.ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	}
	return c, b, err
}

// noticed is a connection whose bytes are noticed.
type noticed struct {
	net.Conn
	moved chan<- struct{}
}

func (c *noticed) note(n int) {
	if n > 0 {
		select {
		case c.moved <- struct{}{}:
		default:
		}
	}
}

// Read implements net.Conn.
func (c *noticed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.note(n)
	return n, err
}

// Write implements net.Conn.
func (c *noticed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.note(n)
	return n, err
}
