package functionapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"seuss/dispatcher/guesthttp"
	"seuss/dispatcher/state"
	"seuss/vmm/vsock"
)

// Bounds of an instance.
const (
	maxConns = 16
	// maxHeld is what is held of its requests: two large ones, and the heads of the others.
	maxHeld = 2*(MaxBody+guesthttp.MaxHead) + maxConns*guesthttp.MaxHead
	// maxUnread is what may wait of an answer when its reader asks for another one.
	maxUnread = 64 << 10
)

// Server is the API for one instance.
type Server struct {
	api  API
	ctx  context.Context
	end  context.CancelFunc
	work sync.WaitGroup // answers that come later

	opening sync.Mutex
	open    func() (*state.Session, error)
	session *state.Session // nil: nothing of it was asked for

	mu    sync.Mutex
	ended bool
	conns map[*conn]struct{}
	held  int // bytes of requests
}

// New makes the API for an instance; open makes its session, when it first asks for something.
func New(open func() (*state.Session, error)) *Server {
	s := &Server{open: open, conns: map[*conn]struct{}{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.api.Session = s.of
	return s
}

func (s *Server) of() (*state.Session, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.session != nil || s.ctx.Err() != nil {
		return s.session, s.ctx.Err()
	}
	session, err := s.open()
	s.session = session
	return session, err
}

// Close ends what the instance has open, and gives its locks back.
func (s *Server) Close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.end()
	s.opening.Lock()
	if s.session != nil {
		s.session.Close()
	}
	s.opening.Unlock()
	s.work.Wait()
}

// conn is a connection.
type conn struct {
	s *Server
	c *vsock.Conn

	mu      sync.Mutex
	request guesthttp.Request
	counted int  // bytes of it that are in Server.held
	busy    bool // an answer comes later
	told    bool // that it may send the body
	over    bool // what still comes is thrown away: who sends it reads the last answer then
	out     []byte
}

// Accept takes a stream of the guest's: it is a vsock.AcceptFunc.
func (s *Server) Accept(c *vsock.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return errors.New("the instance is over")
	}
	if len(s.conns) >= maxConns {
		return fmt.Errorf("more than %d connections", maxConns)
	}
	k := &conn{s: s, c: c, request: guesthttp.Request{MaxBody: MaxBody}}
	s.conns[k] = struct{}{}
	c.Handle(func(*vsock.Conn) { k.arrived() })
	return nil
}

// arrived takes what has come, unless an answer is to go first.
func (k *conn) arrived() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.take(nil)
}

// take serves the requests that are there: those that have come behind another, and what the
// stream has. mu is held.
func (k *conn) take(p []byte) {
	for !k.busy {
		if k.over {
			for len(k.c.Take()) > 0 {
			}
			break
		}
		if len(p) == 0 {
			if p = k.c.Take(); len(p) == 0 {
				break
			}
		}
		whole, err := k.add(p)
		p = nil
		switch {
		case errors.Is(err, guesthttp.ErrTooLarge):
			k.last(failed(fmt.Errorf("the request has more than %d bytes: do it in ranges: %w", MaxBody, state.ErrTooLarge)))
		case errors.Is(err, state.ErrTooMany):
			k.last(failed(err))
		case err != nil:
			k.last(failed(fmt.Errorf("%w: %w", errInvalid, err)))
		case whole:
			if p = k.serve(); k.c.State() != vsock.StreamOpen {
				return
			}
		case k.request.Expects() && !k.told:
			k.told = true
			_ = k.c.Send([]byte("HTTP/1.1 100 Continue\r\n\r\n")) // who has gone is noticed when he is read from
		}
	}
	if k.c.Ended() && !k.busy {
		k.forget()
		k.c.Close()
	}
}

func (k *conn) add(p []byte) (whole bool, err error) {
	if !k.count(k.counted + len(p)) {
		return false, fmt.Errorf("requests that are not whole take more than %d bytes together: %w", maxHeld, state.ErrTooMany)
	}
	return k.request.Add(p)
}

// count counts how many bytes are held of the request.
func (k *conn) count(n int) bool {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.held+n-k.counted > maxHeld {
		return false
	}
	k.s.held += n - k.counted
	k.counted = n
	return true
}

// serve answers the request that is whole, or has it answered, and returns what has come
// behind it.
func (k *conn) serve() (rest []byte) {
	if _, unread := k.c.Buffered(); unread > maxUnread {
		k.forget()
		k.c.Reset() // it asks, and does not read
		return nil
	}
	head := k.request.Head
	answer, later := k.s.api.Serve(head, k.request.Body())
	if later == nil {
		k.send(&answer, head)
		return k.next()
	}
	k.busy = true
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.ended {
		return nil
	}
	k.s.work.Go(func() {
		answer := later(k.s.ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.busy = false
		k.send(&answer, head)
		k.take(k.next())
	})
	return nil
}

// next forgets the request.
func (k *conn) next() (rest []byte) {
	rest = k.request.Next()
	k.told = false
	k.count(0)
	return rest
}

func (k *conn) send(a *Answer, r *http.Request) {
	k.out = a.append(k.out[:0], r.Method == http.MethodHead, r.Close)
	_ = k.c.Send(k.out) // who has gone is noticed when he is read from
	if cap(k.out) > maxUnread {
		k.out = nil
	}
	if r.Close {
		k.forget()
		k.c.Close()
	}
}

// last sends an answer after which nothing of the connection can be understood. Who still
// sends is taken from, or he would not come to read it.
func (k *conn) last(a Answer) {
	k.over = true
	k.request = guesthttp.Request{}
	k.count(0)
	_ = k.c.Send(a.append(nil, false, true))
}

func (k *conn) forget() {
	k.c.Handle(nil)
	k.count(0)
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	delete(k.s.conns, k)
}
