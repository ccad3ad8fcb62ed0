package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"seuss/vmm/vsock"
)

// connection connects to an address and carries bytes until both sides have ended.
func (i *Instance) connection(c *vsock.Conn, s *vsock.Stream, to netip.AddrPort) {
	if !i.allowed(to) {
		i.note(to.String())
		i.answer(s, syscall.EACCES)
		return
	}
	i.n.connections.Add(1)
	ctx, cancel := context.WithCancel(i.ctx)
	defer cancel()
	c.Handle(func(c *vsock.Conn) {
		if c.Err() != nil { // the guest has closed the socket
			cancel()
		}
	})
	if c.Err() != nil {
		return
	}
	timed, done := context.WithTimeout(ctx, connectTimeout)
	remote, err := i.n.Dial(timed, to)
	done()
	if err != nil {
		if ctx.Err() == nil {
			i.log().Debug("no connection", "request_id", i.name, "to", to, "error", err)
		}
		i.answer(s, errnoOf(err))
		return
	}
	if _, err := s.Write(status(0)); err != nil {
		remote.Close()
		return
	}
	i.relay(ctx, c, s, remote)
}

// answer says why there is no connection.
func (i *Instance) answer(s *vsock.Stream, e syscall.Errno) {
	if _, err := s.Write(status(e)); err == nil {
		s.Close()
	}
}

// errnoOf is what a guest is told of a failed connect(2) of the host.
func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &e):
		switch e {
		case syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.ECONNRESET:
			return e
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL:
			return syscall.ENOBUFS // the host's trouble
		}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return syscall.ETIMEDOUT
	}
	return syscall.EHOSTUNREACH
}

// halfCloser is a connection whose directions end one by one, such as TCP's.
type halfCloser interface{ CloseWrite() error }

// relay carries bytes both ways. Ends are passed on as what they are: an ordered
// end of one direction, or a reset of both. ctx ends when the guest has closed its
// side, or with the instance.
func (i *Instance) relay(ctx context.Context, c *vsock.Conn, s *vsock.Stream, remote net.Conn) {
	defer remote.Close()
	defer context.AfterFunc(ctx, func() {
		// Nobody reads what still comes; what was sent is passed on.
		_ = remote.SetReadDeadline(time.Unix(1, 0))
		_ = remote.SetWriteDeadline(time.Now().Add(flushTimeout))
	})()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := io.Copy(onlyWriter{remote}, s)
		switch {
		case err == nil:
			if h, ok := remote.(halfCloser); ok && c.Err() == nil {
				_ = h.CloseWrite() // the guest may still read
			}
		case errors.Is(err, vsock.ErrReset):
			if t, ok := remote.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			remote.Close()
		case errors.Is(err, vsock.ErrClosed), errors.Is(err, net.ErrClosed): // the instance has ended
		default: // the remote takes no more
			reset(c, s)
			remote.Close()
		}
	})
	wg.Go(func() {
		_, err := io.Copy(s, onlyReader{remote})
		switch {
		case err == nil:
			_ = s.CloseWrite() // an error means that the stream is over anyway
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ETIMEDOUT):
			reset(c, s)
		case errors.Is(err, os.ErrDeadlineExceeded): // ctx has ended
		}
	})
	wg.Wait()
	s.Close()
}

// These keep io.Copy from the connections' own methods, whose errors would not
// tell which side failed.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
