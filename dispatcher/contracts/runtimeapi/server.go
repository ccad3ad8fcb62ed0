package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"seuss/dispatcher/contracts"
	"seuss/dispatcher/guesthttp"
	"seuss/dispatcher/instance"
	"seuss/guest"
	"seuss/vmm/vsock"
)

// maxConns is how many connections a program may have to the API at a time.
const maxConns = 64

// maxHeld bounds what is held of the requests of all connections, in bytes: a program has
// one large response.
const maxHeld = 2 * (guesthttp.MaxHead + maxBody)

// maxBody is a streamed response with its chunks and trailers.
const maxBody = contracts.MaxAnswerBytes + 64<<10

var errHeld = fmt.Errorf("requests that are not whole take more than %d bytes together", maxHeld)

// server is the API for one instance, until its program is ready or has answered. It is
// used by the goroutine that runs the guest.
type server struct {
	call  *contracts.Call // nil: the program is not ready yet
	given bool            // the event is on its way
	conns []*conn

	waiting *vsock.Conn // where a GET waits
	waits   string      // for what: invocation or restore

	live    bool // the program goes on after its answer, and is over when it waits for the next
	replied bool // it has answered, and goes on

	streamed int // bytes of the answer that were given to the call's Stream

	over   bool // the program is ready, has answered, or nothing more is wanted of it
	answer []byte
	err    error
}

type conn struct {
	*vsock.Conn
	guesthttp.Request
	told bool // that it may send the body
}

func (s *server) accept(c *vsock.Conn) error {
	if c.HostPort() != guest.RuntimeApiPort {
		return errors.New("a program that speaks the Runtime API has no other stream")
	}
	if len(s.conns) >= maxConns {
		return errors.New("too many connections to the Runtime API")
	}
	k := &conn{Conn: c, Request: guesthttp.Request{MaxBody: maxBody}}
	s.conns = append(s.conns, k)
	c.Handle(func(*vsock.Conn) { s.arrived(k) })
	return nil
}

// arrived takes what a connection has brought.
func (s *server) arrived(c *conn) {
	if s.over || c.Conn == s.waiting {
		return
	}
	p, held := c.Conn.Take(), 0
	for _, o := range s.conns {
		held += o.Held()
	}
	whole, err := false, errHeld
	if held+len(p) <= maxHeld {
		whole, err = c.Add(p)
	}
	if err == nil && s.streams(c) {
		s.forward(c)
	}
	switch {
	case s.over: // what it has streamed was too much
	case errors.Is(err, guesthttp.ErrTooLarge):
		s.drop(c, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", err.Error())
		s.fail(contracts.TooLarge())
	case err != nil:
		s.drop(c, http.StatusBadRequest, "InvalidRequest", err.Error())
	case whole:
		s.serve(c)
	case c.Expects() && !c.told:
		c.told = true
		_ = c.Send([]byte("HTTP/1.1 100 Continue\r\n\r\n")) // a stream that is over says so when it is read
	case c.Ended():
		s.forget(c)
		c.Close()
	}
}

// streams reports whether a request is the answer, and comes in pieces that somebody reads.
func (s *server) streams(c *conn) bool {
	return s.call != nil && s.call.Stream != nil && s.given && c.Head != nil && c.Head.Method == http.MethodPost &&
		c.Head.ContentLength < 0 && strings.EqualFold(c.Head.Header.Get(headerMode), "streaming") &&
		c.Head.URL.Path == version+"invocation/"+s.call.RequestID+"/response"
}

// forward gives away what has come of the answer.
func (s *server) forward(c *conn) {
	p := c.Request.Take()
	if s.streamed += len(p); s.streamed <= contracts.MaxAnswerBytes && len(p) > 0 {
		s.call.Stream(c.Head.Header.Get("Content-Type"), p)
	}
	if s.streamed > contracts.MaxAnswerBytes {
		s.drop(c, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the response is larger than is allowed")
		s.fail(contracts.TooLarge())
	}
}

// forget takes a connection off the list: what becomes of it concerns nobody.
func (s *server) forget(c *conn) {
	c.Handle(nil)
	s.conns = slices.DeleteFunc(s.conns, func(o *conn) bool { return o == c })
}

// drop answers with an error, in the API's form.
func (s *server) drop(c *conn, status int, kind, message string) {
	s.forget(c)
	document, err := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	if err != nil {
		panic(err) // strings are always JSON
	}
	send(c.Conn, status, document, "")
}

// done answers that a POST was taken.
func (s *server) done(c *conn) {
	s.forget(c)
	send(c.Conn, http.StatusAccepted, []byte(`{"status":"OK"}`), "")
}

// fail ends the run with what the program did wrong.
func (s *server) fail(err error) { s.over, s.err = true, err }

// reply ends the run with an answer, or what is one too: an error that the program reports
// itself. One that lives on goes on until it asks for more.
func (s *server) reply(answer []byte, err error) {
	s.answer, s.err = answer, err
	s.over, s.replied = !s.live, s.live
}

// wrong is a program that does what the API does not allow, for the request that it has.
func (s *server) wrong(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if s.call != nil {
		message = "RequestId: " + s.call.RequestID + " Error: " + message
	}
	s.fail(&instance.HandlerError{Type: "Runtime.InvalidState", Message: message})
}

// send answers a connection's request and ends it.
func send(c *vsock.Conn, status int, body []byte, headers string) {
	head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%sConnection: close\r\n\r\n", status, http.StatusText(status), len(body), headers)
	if c.Send(append(head, body...)) == nil { // else the program has hung up
		c.Close()
	}
}
