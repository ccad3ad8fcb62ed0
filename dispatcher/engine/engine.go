// Package engine is NATS with JetStream inside this process: what is durable of more than one
// kind is kept there. It has no port; who uses it connects within the process. It is started
// when it is first needed, and costs nothing before.
//
// What JetStream has acknowledged is on the disk: it syncs each message.
//
// Units: bytes. Ownership: an Engine owns a directory, and from its start to Close the
// goroutines of a server.
//
// Locks: Engine.mu, a leaf, never held while the server starts or stops.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

// Errors.
var (
	// ErrDiskFull: the file system has no room for what is to be kept.
	ErrDiskFull = errors.New("the disk is full")
	// ErrDamaged: what was kept cannot be read.
	ErrDamaged = errors.New("what was kept is damaged")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("the engine is closed")
)

// startTimeout bounds the start, in which what is kept is looked through.
const startTimeout = 60 * time.Second

// leastFree is what is left of the file system for others, in bytes. JetStream gives itself up
// where it finds none.
const leastFree = 64 << 20

// memoryBytes bounds streams in memory, of which there are none.
const memoryBytes = 1 << 20

// Engine is the server, running or not.
type Engine struct {
	dir string
	log *slog.Logger

	mu       sync.Mutex
	closed   bool
	starting *start // nil: it does not start at the moment
	running  *running
}

// running is a server that has started, and the connection to it.
type running struct {
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// start is one that is made.
type start struct {
	done chan struct{} // closed when js and err are there
	js   jetstream.JetStream
	err  error
}

// New makes an Engine that keeps what it has in a directory.
func New(dir string, log *slog.Logger) *Engine { return &Engine{dir: dir, log: log} }

// Kept reports whether there is something that an engine has kept there.
func (e *Engine) Kept() bool {
	_, err := os.Stat(e.dir)
	return err == nil
}

// JetStream starts the engine, unless it runs. ctx ends the wait for that, and not the start.
func (e *Engine) JetStream(ctx context.Context) (jetstream.JetStream, error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	if r := e.running; r != nil && r.server.JetStreamEnabled() {
		e.mu.Unlock()
		return r.js, nil
	}
	s := e.starting
	if s == nil {
		s = &start{done: make(chan struct{})}
		e.starting = s
		go e.begin(s, e.running) // the one that runs has given itself up, say on a full disk
		e.running = nil
	}
	e.mu.Unlock()
	select {
	case <-s.done:
		return s.js, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the engine starts: %w", context.Cause(ctx))
	}
}

// begin starts the server in the place of one that ran before.
func (e *Engine) begin(s *start, before *running) {
	before.stop()
	began := time.Now()
	r := &running{}
	err := r.start(e.dir)
	if err != nil {
		r.stop()
		s.err = fmt.Errorf("engine in %s: %w", e.dir, err)
	} else {
		s.js = r.js
		e.log.Info("the engine for what is pushed has started", "took", time.Since(began))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.starting = nil
	if err == nil {
		e.running = r
	}
	close(s.done)
}

func (r *running) start(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r.server, err = server.NewServer(&server.Options{
		ServerName: "seuss", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true, JetStreamMaxMemory: memoryBytes, JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		return err
	}
	go r.server.Start()
	if !r.server.ReadyForConnections(startTimeout) {
		return fmt.Errorf("it does not start: %w", ErrDamaged)
	}
	if !r.server.JetStreamEnabled() {
		return fmt.Errorf("it cannot read what it has kept: %w", ErrDamaged)
	}
	if r.conn, err = nats.Connect("", nats.InProcessServer(r.server)); err != nil {
		return err
	}
	r.js, err = jetstream.New(r.conn)
	return err
}

// stop ends what has started; nil: nothing has.
func (r *running) stop() {
	if r == nil {
		return
	}
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server != nil {
		r.server.Shutdown()
		r.server.WaitForShutdown()
	}
}

// Close ends the engine.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	s := e.starting
	e.mu.Unlock()
	if s != nil {
		<-s.done
	}
	e.mu.Lock()
	r := e.running
	e.running = nil
	e.mu.Unlock()
	r.stop()
}

// Room refuses to keep so many bytes more where the file system has no room for them.
func (e *Engine) Room(bytes int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(e.dir, &fs); err != nil {
		return nil // what comes of it will be told
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < bytes+leastFree {
		return fmt.Errorf("%d bytes are free in %s, %d are to be kept and %d to stay free: %w", free, e.dir, bytes, int64(leastFree), ErrDiskFull)
	}
	return nil
}

// Error names what JetStream says: a full disk, a context that has ended.
func Error(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, unix.ENOSPC), errors.As(err, &api) && (api.ErrorCode == codeResources || api.ErrorCode == codeStore || api.ErrorCode == codeStorage):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// Codes of JetStream's errors (server/errors.json).
const (
	codeResources = 10023 // insufficient resources
	codeStorage   = 10047 // insufficient storage resources available
	codeStore     = 10077 // error storing message
)
