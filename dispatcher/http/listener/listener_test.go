package listener

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// pair returns both ends of a connection of a group's, over TCP or a Unix socket.
func pair(t *testing.T, g *Group, network string) (server net.Conn, client net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	inner, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	l := g.Listen(inner, 1)
	defer l.Close()
	if client, err = net.Dial(network, inner.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return server, client
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>11)
	}
	return b
}

const large = 20 << 20 // more than any socket takes

func TestWriteDoesNotWait(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			g := NewGroup(Options{})
			server, client := pair(t, g, network)
			want := content(large)
			sent := bytes.Clone(want)
			for _, part := range [][]byte{sent[:5], sent[5:]} {
				if n, err := server.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			clear(sent) // it is the caller's again
			if g.WaitingBytes() == 0 {
				t.Error("nothing waits")
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := server.Write([]byte("more")); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Error("written after Close:", n, err)
			}
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
			}
			if err := g.Close(t.Context()); err != nil || g.WaitingBytes() != 0 {
				t.Error(g.WaitingBytes(), err)
			}
		})
	}
}

// Small answers are written by the caller: nothing waits, nothing is allocated.
func TestSmallWrite(t *testing.T) {
	g := NewGroup(Options{})
	server, client := pair(t, g, "tcp")
	p, got := content(300), make([]byte, 300)
	allocated := testing.AllocsPerRun(100, func() {
		if n, err := server.Write(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, p) {
			t.Fatal(err)
		}
	})
	if allocated != 0 || g.WaitingBytes() != 0 {
		t.Errorf("%v allocations, %d bytes wait", allocated, g.WaitingBytes())
	}
}

// A reader that takes nothing is reset; one that takes little at a time is not.
func TestStall(t *testing.T) {
	g := NewGroup(Options{Stall: 200 * time.Millisecond})
	server, client := pair(t, g, "tcp")
	if _, err := server.Write(content(large)); err != nil {
		t.Fatal(err)
	}
	if server.(*Conn).Ready() {
		t.Error("everything is away, though nobody has read it")
	}
	if n, err := io.Copy(io.Discard, client); err == nil {
		t.Errorf("the end of %d bytes looks like that of the answer", n)
	}

	const stall = 3 * time.Second // many times what it pauses for, on a busy host too
	g = NewGroup(Options{Stall: stall})
	server, client = pair(t, g, "unix")
	want := content(1 << 20)
	if _, err := server.Write(want); err != nil {
		t.Fatal(err)
	}
	server.Close()
	var got bytes.Buffer
	for {
		n, err := io.CopyN(&got, client, 64<<10)
		if n < 64<<10 {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		time.Sleep(stall / 14) // in all it takes longer than a stall may
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d of %d bytes", got.Len(), len(want))
	}
}

// TestWriteDeadline: whoever writes waits for a reader until its deadline, however slowly
// that one reads; what waits already goes on, and so does a later write.
func TestWriteDeadline(t *testing.T) {
	g := NewGroup(Options{Stall: time.Minute})
	server, client := pair(t, g, "tcp")
	if _, err := server.Write(content(large)); err != nil {
		t.Fatal(err)
	}
	if err := server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // while it is waited for, and after it
		if n, err := server.Write([]byte("late")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d bytes were written, %v", n, err)
		}
	}
	server.SetWriteDeadline(time.Time{})
	wrote := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte("more"))
		wrote <- errors.Join(err, server.Close())
	}()
	got, err := io.ReadAll(client)
	if err := errors.Join(err, <-wrote); err != nil || !bytes.Equal(got, append(content(large), "more"...)) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
}

// All answers that wait have one bound, and the slowest reader pays for it.
func TestSlowestIsReset(t *testing.T) {
	g := NewGroup(Options{WaitingBytes: 3 * large})
	slow, slowClient := pair(t, g, "unix")
	steady, steadyClient := pair(t, g, "unix")
	for _, c := range []net.Conn{slow, steady} {
		if _, err := c.Write(content(large)); err != nil {
			t.Fatal(err)
		}
	}
	// They have waited for a while, and one of them has read.
	if _, err := io.CopyN(io.Discard, steadyClient, 1<<20); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	for c := range g.waiting {
		c.since = c.since.Add(-2 * newcomer)
	}
	g.mu.Unlock()
	fresh, freshClient := pair(t, g, "unix")
	if _, err := fresh.Write(content(large + large/2)); err != nil {
		t.Fatal(err)
	}
	if slow.(*Conn).Ready() {
		t.Error("the slowest was kept")
	}
	if n, _ := io.Copy(io.Discard, slowClient); n >= large {
		t.Error("its reader got everything")
	}
	var readers sync.WaitGroup
	for c, want := range map[net.Conn]int64{steadyClient: large - 1<<20, freshClient: large + large/2} {
		readers.Go(func() {
			if n, err := io.CopyN(io.Discard, c, want); err != nil {
				t.Errorf("%d of %d bytes, %v", n, want, err)
			}
		})
	}
	readers.Wait()
	// What can never fit is its own reader's loss.
	if _, err := fresh.Write(content(5 * large)); err == nil {
		t.Error("more waits than may")
	}
	if err := g.Close(t.Context()); err != nil || g.WaitingBytes() != 0 {
		t.Error(g.WaitingBytes(), err)
	}
}

// What is made piece by piece is made at the pace of its reader.
func TestPiecesWait(t *testing.T) {
	g := NewGroup(Options{})
	server, client := pair(t, g, "unix")
	want := content(large)
	written := make(chan error, 1)
	go func() {
		var err error
		for piece := want; len(piece) > 0 && err == nil; piece = piece[min(len(piece), 32<<10):] {
			_, err = server.Write(piece[:min(len(piece), 32<<10)])
			if n := g.WaitingBytes(); n > maxAhead+pieceBytes {
				t.Errorf("%d bytes wait", n)
				break
			}
		}
		server.Close()
		written <- err
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// Close gives readers until its context ends, and a connection that lingers counts.
func TestCloseHasAnEnd(t *testing.T) {
	g := NewGroup(Options{})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := g.Listen(inner, 1)
	defer l.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(content(large)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if n := len(l.(*limited).slots); n != 1 {
		t.Errorf("%d connections count, want the one that lingers", n)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Close(over); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(l.(*limited).slots); n != 0 || g.WaitingBytes() != 0 {
		t.Errorf("%d connections count, %d bytes wait", n, g.WaitingBytes())
	}
	if _, err := io.Copy(io.Discard, client); err == nil {
		t.Error("the end looks like that of the answer")
	}
	next, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := server.Write(content(large)); err == nil {
		t.Error("an answer waits after Close")
	}
}
