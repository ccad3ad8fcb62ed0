package functionapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"seuss/dispatcher/chain"
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
	// maxAnswers is what may wait of all answers with one that is larger than that: four large
	// ones.
	maxAnswers = 4 * (MaxBody + maxUnread)
)

// Server is the API for one instance.
type Server struct {
	api  API
	ctx  context.Context
	end  context.CancelFunc
	work sync.WaitGroup // answers that come later

	opening sync.Mutex
	session one[*state.Session]
	calls   one[*chain.Caller]

	mu    sync.Mutex
	ended bool
	conns map[*conn]struct{}
	held  int // bytes of requests
}

// one is what an instance has one of, when it has first asked for something of it.
type one[T interface{ Close() }] struct {
	s    *Server
	open func() (T, error)
	has  bool
	it   T
}

// New makes the API for an instance; open and calls make its session, and its calls, when it
// first asks for something of either.
func New(open func() (*state.Session, error), regions Regions, calls func() (*chain.Caller, error)) *Server {
	s := &Server{conns: map[*conn]struct{}{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.session, s.calls = one[*state.Session]{s: s, open: open}, one[*chain.Caller]{s: s, open: calls}
	s.api = API{Regions: regions, Session: s.session.get, Calls: s.calls.get}
	return s
}

func (o *one[T]) get() (T, error) {
	o.s.opening.Lock()
	defer o.s.opening.Unlock()
	if o.has || o.s.ctx.Err() != nil {
		return o.it, o.s.ctx.Err()
	}
	it, err := o.open()
	o.it, o.has = it, err == nil
	return it, err
}

// close ends it. opening is held.
func (o *one[T]) close() {
	if o.has {
		o.it.Close()
	}
}

// Close ends what the instance has open, gives its locks back and cancels what it has called.
func (s *Server) Close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.end()
	s.opening.Lock()
	s.session.close()
	s.calls.close()
	s.opening.Unlock()
	s.work.Wait()
}

// stream is what a connection needs of a vsock.Conn.
type stream interface {
	Take() []byte
	Send(p []byte) error
	Buffered() (in, out int)
	Ended() bool
	Err() error
	Close()
	Reset()
}

// conn is a connection.
type conn struct {
	s *Server
	c stream

	mu      sync.Mutex
	request guesthttp.Request
	counted int                // bytes of it that are in Server.held
	busy    bool               // an answer comes later
	stop    context.CancelFunc // ends what it waits for; nil: it does not
	told    bool               // that it may send the body
	over    bool               // what still comes is thrown away: who sends it reads the last answer then
	gone    bool               // it is nobody's any more
	out     []byte
}

// Accept takes a stream of the guest's: it is a vsock.AcceptFunc.
func (s *Server) Accept(c *vsock.Conn) error {
	k, err := s.accept(c)
	if err == nil {
		c.Handle(func(*vsock.Conn) { k.arrived() })
	}
	return err
}

func (s *Server) accept(c stream) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errors.New("the instance is over")
	}
	if len(s.conns) >= maxConns {
		return nil, fmt.Errorf("more than %d connections", maxConns)
	}
	k := &conn{s: s, c: c, request: guesthttp.Request{MaxBody: MaxBody}}
	s.conns[k] = struct{}{}
	return k, nil
}

// arrived takes what has come, unless an answer is to go first.
func (k *conn) arrived() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stop != nil && k.c.Err() != nil {
		k.stop() // nobody is there for the answer
	}
	k.take(nil)
}

// take serves the requests that are there: those that have come behind another, and what the
// stream has. mu is held.
func (k *conn) take(p []byte) {
	for !k.busy && !k.gone {
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
			k.last(failed(fmt.Errorf("%w: %w", ErrInvalid, err)))
		case whole:
			p = k.serve()
		case k.request.Expects() && !k.told:
			k.told = true
			_ = k.c.Send([]byte("HTTP/1.1 100 Continue\r\n\r\n")) // who has gone is noticed when he is read from
		}
	}
	if k.c.Ended() && !k.busy && !k.gone {
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
	k.s.mu.Lock()
	if k.s.ended {
		k.s.mu.Unlock()
		k.forget()
		k.c.Reset()
		return nil
	}
	defer k.s.mu.Unlock()
	k.busy = true
	var ctx context.Context
	ctx, k.stop = context.WithCancel(k.s.ctx)
	k.s.work.Go(func() {
		answer := later(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.stop()
		k.busy, k.stop = false, nil
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
	if len(a.Body) > maxUnread && k.s.unread()+len(a.Body) > maxAnswers {
		*a = failed(fmt.Errorf("answers that are not read take %d bytes: read them first: %w", k.s.unread(), state.ErrTooMany))
	}
	k.out = a.append(k.out[:0], r.Method == http.MethodHead, r.Close)
	switch err := k.c.Send(k.out); { // that he has gone is noticed when he is read from
	case err != nil && a.undo != nil:
		a.undo()
	case err == nil && a.sent != nil:
		a.sent()
	}
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

// unread is what waits of answers.
func (s *Server) unread() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.conns {
		_, out := k.c.Buffered()
		n += out
	}
	return n
}

func (k *conn) forget() {
	k.gone = true
	k.count(0)
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	delete(k.s.conns, k)
}
