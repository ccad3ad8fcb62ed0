package native

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"seuss/dispatcher/access"
	"seuss/dispatcher/functions"
	"seuss/dispatcher/http/server"
)

// forwardIdle is how long a connection to an instance's port may be open without a byte.
const forwardIdle = time.Hour

// forwarded is the protocol that a request to forward upgrades its connection to: bytes.
const forwarded = "tcp"

// forward makes the connection of the request one to a port of an instance.
func (l live) forward(w http.ResponseWriter, r *http.Request) error {
	i, err := l.find(r)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if err != nil || port == 0 {
		return &server.Refusal{Status: http.StatusBadRequest, Message: fmt.Sprintf("port=%q: want a number from 1 to 65535", r.URL.Query().Get("port"))}
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), forwarded) || r.ProtoMajor != 1 || r.ContentLength != 0 {
		return &server.Refusal{Status: http.StatusBadRequest, Message: "want a request of HTTP/1.1 without a body, with Connection: Upgrade and Upgrade: " + forwarded}
	}
	leave, err := l.forwarding.enter(server.PrincipalOf(r).Owner)
	if err != nil {
		return err
	}
	defer leave()
	to, err := i.Dial(r.Context(), uint16(port))
	if err != nil {
		return err
	}
	defer to.Close()
	client, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	defer client.Close()
	client.SetDeadline(time.Time{})
	if _, err := io.WriteString(client, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+forwarded+"\r\n\r\n"); err != nil {
		return nil // he has gone
	}
	info := i.Info()
	key := functions.Key(info.Owner, info.Name)
	over := make(chan struct{})
	s := &splice{moved: make(chan struct{}, 1)}
	go func() {
		defer close(over)
		s.run(client, io.MultiReader(io.LimitReader(ahead, int64(ahead.Reader.Buffered())), client), to)
	}()
	idle := time.NewTimer(forwardIdle)
	defer idle.Stop()
	for {
		tokens := l.TokensReplaced()
		if !l.StillMay(r, access.Deploy|access.Invoke, key) {
			break
		}
		select {
		case <-over:
			return nil
		case <-s.moved:
			idle.Reset(forwardIdle)
			continue
		case <-tokens:
			continue
		case <-idle.C:
		case <-l.Stopping():
		}
		break
	}
	client.SetDeadline(time.Unix(1, 0)) // what it does not take now it is not sent
	to.Close()
	client.Close()
	<-over
	return nil
}

// splice has what one connection sends written to another, either way.
type splice struct{ moved chan struct{} }

// run ends when both have said all, or one has failed. What from reads is what a sends.
func (s *splice) run(a net.Conn, from io.Reader, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { s.copy(b, from, a) })
	wg.Go(func() { s.copy(a, b, b) })
	wg.Wait()
}

// copy is one way. A sender's end is the receiver's, and a failure both's.
func (s *splice) copy(to net.Conn, from io.Reader, of net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, bad := to.Write(buffer[:n]); bad != nil {
				break
			}
			select {
			case s.moved <- struct{}{}:
			default:
			}
		}
		if err == nil {
			continue
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == io.EOF && half.CloseWrite() == nil {
			return
		}
		break
	}
	to.Close()
	of.Close()
}
