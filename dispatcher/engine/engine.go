// Package engine is NATS with JetStream inside this process: what is durable of more than one
// kind is kept there. It has no port; who uses it connects within the process. It is started
// when it is first needed, and costs nothing before.
//
// What JetStream has acknowledged is on the disk: it syncs each message.
//
// Units: bytes. Ownership: an Engine owns a directory, and from its start to Close the
// goroutines of a server.
//
// Locks: Engine.mu, held while the server starts and stops; a leaf.
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

	mu     sync.Mutex
	closed bool
	server *server.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// New makes an Engine that keeps what it has in a directory.
func New(dir string, log *slog.Logger) *Engine { return &Engine{dir: dir, log: log} }

// Kept reports whether there is something that an engine has kept there.
func (e *Engine) Kept() bool {
	_, err := os.Stat(e.dir)
	return err == nil
}

// JetStream starts the engine, unless it runs.
func (e *Engine) JetStream() (jetstream.JetStream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	if e.js != nil {
		if e.server.JetStreamEnabled() {
			return e.js, nil
		}
		e.stop() // it has given itself up, say on a full disk
	}
	began := time.Now()
	if err := e.start(); err != nil {
		e.stop()
		return nil, fmt.Errorf("engine in %s: %w", e.dir, err)
	}
	e.log.Info("the engine for what is pushed has started", "took", time.Since(began))
	return e.js, nil
}

func (e *Engine) start() (err error) {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return err
	}
	e.server, err = server.NewServer(&server.Options{
		ServerName: "seuss", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: e.dir, SyncAlways: true, JetStreamMaxMemory: memoryBytes, JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		return err
	}
	go e.server.Start()
	if !e.server.ReadyForConnections(startTimeout) {
		return fmt.Errorf("it does not start: %w", ErrDamaged)
	}
	if !e.server.JetStreamEnabled() {
		return fmt.Errorf("it cannot read what it has kept: %w", ErrDamaged)
	}
	if e.conn, err = nats.Connect("", nats.InProcessServer(e.server)); err != nil {
		return err
	}
	e.js, err = jetstream.New(e.conn)
	return err
}

// stop ends what has started. mu is held.
func (e *Engine) stop() {
	if e.conn != nil {
		e.conn.Close()
	}
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	e.conn, e.server, e.js = nil, nil, nil
}

// Close ends the engine.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.stop()
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
