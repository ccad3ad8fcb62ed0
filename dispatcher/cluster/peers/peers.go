// Package peers is HTTP between the members of a cluster, straight from one to the other: what
// is too large for the engine, or must not wait for it. Both sides show certificates of the
// cluster's authority (TLS 1.3), and whoever connects to a member by name finds that member or
// nobody. A member has one connection to another, which all requests share (HTTP/2).
//
// Units: bytes. Ownership: a Peers owns its port, connections and goroutines until Close; a
// body that Do returns is the caller's.
//
// Locks: none.
package peers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"seuss/dispatcher/cluster/gate"
	"seuss/dispatcher/cluster/trust"
)

// ErrUnreachable: a member could not be asked, or did not answer. Nobody knows what it has done.
var ErrUnreachable = errors.New("the member cannot be reached")

// ErrNotSent: a member could not be connected to; it has done nothing. It matches
// ErrUnreachable too.
var ErrNotSent = fmt.Errorf("%w: not connected", ErrUnreachable)

const (
	dialTimeout = 3 * time.Second
	headTimeout = 5 * time.Second // of a request's head, and of a handshake
	// pingAfter and pingTimeout find a connection whose other end is silent.
	pingAfter   = 2 * time.Second
	pingTimeout = 2 * time.Second
	idleTimeout = 5 * time.Minute
	// maxStreams bounds the requests of one member that are under way.
	maxStreams = 10_000
	// maxRefusal bounds the text of a refusal.
	maxRefusal = 16 << 10
)

// Options are what Peers are started with.
type Options struct {
	Member string      // this one
	Listen string      // HOST:PORT; port 0: any
	TLS    *tls.Config // of this member
	// Address finds HOST:PORT of another member.
	Address func(member string) (string, error)
	Log     *slog.Logger
}

// Peers is this member to the others, and they to it.
type Peers struct {
	o      Options
	l      net.Listener
	mux    *http.ServeMux
	server *http.Server
	client *http.Transport
}

// Listen opens the port. Nobody is served before Serve.
func Listen(o Options) (*Peers, error) {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("members' port: %w", err)
	}
	p := &Peers{o: o, l: gate.Listen(l, o.Log), mux: http.NewServeMux()}
	ping := &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	only2 := new(http.Protocols)
	only2.SetHTTP2(true)
	p.server = &http.Server{
		Handler: p.mux, TLSConfig: o.TLS.Clone(), ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), HTTP2: ping, Protocols: only2,
	}
	p.client = &http.Transport{
		DialTLSContext: p.dial, ForceAttemptHTTP2: true, HTTP2: ping, Protocols: only2, IdleConnTimeout: idleTimeout, DisableCompression: true,
	}
	return p, nil
}

// Port is the one that it listens at.
func (p *Peers) Port() int { return p.l.Addr().(*net.TCPAddr).Port }

// dial connects to a member, by the name that stands for a host in URLs.
func (p *Peers) dial(ctx context.Context, _, host string) (net.Conn, error) {
	member, _, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	address, err := p.o.Address(member)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	config := p.o.TLS.Clone()
	config.NextProtos = []string{"h2"}
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if name := trust.NameOf(&s); name != member {
			return fmt.Errorf("at %s is member %q, not %q", address, name, member)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return c, nil
}

// Handler answers a member. An error is a refusal, whose text the member gets; nothing may have
// been written then.
type Handler func(w http.ResponseWriter, r *http.Request, member string) error

// Handle has requests answered, by a pattern of http.ServeMux.
func (p *Peers) Handle(pattern string, h Handler) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r, trust.NameOf(r.TLS)); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
}

// Serve answers members until Close.
func (p *Peers) Serve() {
	if err := p.server.ServeTLS(p.l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		p.o.Log.Error("members are not answered any more", "error", err)
	}
}

// Refusal is a member's own error.
type Refusal struct {
	Member string
	Status int
	Text   string
}

func (r *Refusal) Error() string { return fmt.Sprintf("member %q: %s", r.Member, r.Text) }

// Do asks a member. path may have a query; a nil body: there is none. An answer other than 2xx
// is an error: a *Refusal. One that matches ErrUnreachable says nothing of what the member has
// done.
func (p *Peers) Do(ctx context.Context, member, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	at, err := url.Parse("https://" + member + path)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := p.client.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("member %q: %w: %w", member, ErrUnreachable, err)
	}
	if answer.StatusCode/100 != 2 {
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		if err != nil {
			return nil, fmt.Errorf("member %q: %w: %w", member, ErrUnreachable, err)
		}
		return nil, &Refusal{member, answer.StatusCode, string(text)}
	}
	return answer, nil
}

// Close ends all of it.
func (p *Peers) Close() {
	p.client.CloseIdleConnections()
	_ = p.server.Close() // its connections are this process's own
	_ = p.l.Close()
}
