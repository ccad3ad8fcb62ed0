// Package bus is the engine of a cluster: NATS in this process, with routes to the engines
// of the other members. Small messages go over it; bytes and invocations do not.
//
// Routes are TLS with certificates of the cluster's authority on both sides. NATS does not
// start its routes without a port for clients: there is one on loopback, at any free port,
// which answers nobody without a certificate and a password that is made at each start and
// that nobody is told.
//
// NATS listens for routes on loopback; the port for others is this package's, which passes on
// what package gate lets in: NATS itself has no bound on strangers.
//
// Units: seconds. Ownership: a Bus owns a server's goroutines and ports until Close.
// Locks: none.
package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"seuss/dispatcher/cluster/gate"
	"seuss/dispatcher/cluster/trust"
)

const (
	// startTimeout bounds the start.
	startTimeout = 30 * time.Second
	// maxPayload bounds a message, in bytes; what members say takes far less.
	maxPayload = 4 << 20
	// pingEvery and maxPings find a route whose other end is silent.
	pingEvery = 2 * time.Second
	maxPings  = 2
	// tlsTimeout bounds a handshake, in seconds.
	tlsTimeout = 5
)

// ErrAddress: an address of a member cannot be one.
var ErrAddress = errors.New("not a member's address")

// Options are what a Bus is started with.
type Options struct {
	Cluster string      // its name
	Server  string      // the engine's own name, which no other one in the cluster has
	Listen  string      // HOST:PORT for routes
	Reached string      // HOST:PORT at which others reach that; "": Listen
	Join    []string    // HOST:PORT of members that are there already
	TLS     *tls.Config // of this member
	Log     *slog.Logger
}

// Bus is an engine that runs.
type Bus struct {
	server *server.Server
	conn   *nats.Conn
	door   *door
}

// Split splits HOST:PORT, where a number from 1 is the port.
func Split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q: want HOST:PORT: %w", address, ErrAddress)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("%q: want HOST:PORT, and of the ports one that others can know: %w", address, ErrAddress)
	}
	return host, int(n), nil
}

// Start starts the engine. Members that cannot be reached are tried again and again.
func Start(o Options) (_ *Bus, err error) {
	if _, _, err := Split(o.Listen); err != nil {
		return nil, err
	}
	password := trust.NewSecret()
	opts := &server.Options{
		ServerName: o.Server, NoSigs: true, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		Authorization: password, TLSConfig: o.TLS, TLSTimeout: tlsTimeout, MaxPayload: maxPayload,
		Cluster: server.ClusterOpts{
			Name: o.Cluster, Host: "127.0.0.1", Port: server.RANDOM_PORT, Advertise: cmp.Or(o.Reached, o.Listen), TLSConfig: o.TLS, TLSTimeout: tlsTimeout,
			PingInterval: pingEvery, MaxPingsOut: maxPings, ConnectRetries: -1, ConnectBackoff: true,
		},
	}
	for _, address := range o.Join {
		if _, _, err := Split(address); err != nil {
			return nil, err
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: address})
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("cluster: listen: %w", err)
	}
	b := &Bus{door: &door{Listener: gate.Listen(l, o.Log)}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.server, err = server.NewServer(opts); err != nil {
		return nil, fmt.Errorf("cluster's engine: %w", err)
	}
	b.server.SetLoggerV2(logger{o.Log, new(atomic.Int64)}, false, false, false)
	go b.server.Start()
	if !b.server.ReadyForConnections(startTimeout) {
		return nil, errors.New("cluster's engine: it does not start")
	}
	at := b.server.ClusterAddr()
	if at == nil {
		return nil, errors.New("cluster's engine: it takes no routes")
	}
	b.door.open(at.String())
	b.conn, err = nats.Connect("", nats.InProcessServer(b.server), nats.Token(password), nats.Name(o.Server), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("cluster's engine: %w", err)
	}
	return b, nil
}

// Conn is a connection to the engine.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// Routes is how many other engines it is connected to.
func (b *Bus) Routes() int {
	z, err := b.server.Routez(nil)
	if err != nil {
		return 0
	}
	names := map[string]bool{}
	for _, r := range z.Routes {
		names[r.RemoteID] = true
	}
	return len(names)
}

// Close ends the engine.
func (b *Bus) Close() {
	b.door.Close()
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	b.door.passing.Wait()
}

// logger has the engine's log in the daemon's. Whoever can reach the port can have the engine
// complain: of that there is a line a second.
type logger struct {
	log  *slog.Logger
	last *atomic.Int64 // complaint, in seconds of Unix time
}

func (l logger) tell(level slog.Level, format string, v []any) {
	if now := time.Now().Unix(); level > slog.LevelDebug && l.last.Swap(now) == now {
		level = slog.LevelDebug
	}
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "cluster's engine", "says", fmt.Sprintf(format, v...))
	}
}

// These make it a server.Logger.

func (l logger) Noticef(format string, v ...any) { l.tell(slog.LevelDebug, format, v) }
func (l logger) Warnf(format string, v ...any)   { l.tell(slog.LevelWarn, format, v) }
func (l logger) Errorf(format string, v ...any)  { l.tell(slog.LevelWarn, format, v) }
func (l logger) Fatalf(format string, v ...any)  { l.tell(slog.LevelError, format, v) }
func (l logger) Debugf(format string, v ...any)  { l.tell(slog.LevelDebug, format, v) }
func (l logger) Tracef(string, ...any)           {}
