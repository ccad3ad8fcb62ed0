package gate

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// TestStrangersAreBounded: of one source no more are let in than may be, whoever ends makes
// room for another, and those of other sources are let in beside.
func TestStrangersAreBounded(t *testing.T) {
	t.Parallel()
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(below, slog.New(slog.DiscardHandler))
	defer l.Close()
	accepted := make(chan net.Conn, 2*MaxOfSource)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", below.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var in []net.Conn
	for range MaxOfSource {
		dial("127.0.0.1")
		in = append(in, <-accepted)
	}
	refused := dial("127.0.0.1")
	refused.SetDeadline(time.Now().Add(time.Minute))
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("one more is let in")
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("one more is kept waiting: %v", err)
	}
	dial("127.0.0.2")
	(<-accepted).Close()
	in[0].Close()
	in[0].Close() // counts once
	dial("127.0.0.1")
	in[0] = <-accepted
	for _, c := range in {
		c.Close()
	}
	if l.mu.Lock(); l.all != 0 || len(l.of) != 0 {
		t.Errorf("all have ended, and %d are counted, of %d sources", l.all, len(l.of))
	}
	l.mu.Unlock()
}

// TestAllSourcesTogether: many sources have no more than all may.
func TestAllSourcesTogether(t *testing.T) {
	l := Listen(nowhere{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	n := 0
	for source := range 4 * MaxStrangers {
		a := &net.TCPAddr{IP: net.IPv4(10, 0, byte(source>>8), byte(source))}
		if l.enter(sourceOf(from{at: a})) {
			n++
		}
	}
	if n != MaxStrangers {
		t.Errorf("%d are let in", n)
	}
	one, other := &net.TCPAddr{IP: net.ParseIP("2001:db8::1")}, &net.TCPAddr{IP: net.ParseIP("2001:db8::2:1")}
	if sourceOf(from{at: one}) != sourceOf(from{at: other}) {
		t.Error("addresses of one IPv6 network are several sources")
	}
}

type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return &net.TCPAddr{} }

type from struct {
	net.Conn
	at net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.at }
