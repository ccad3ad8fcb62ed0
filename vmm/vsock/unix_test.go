package vsock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pump plays machine and guest: it serves the device all the time, and the
// guest answers like an echo server on ports below 100, within its credit, and
// refuses others.
func pump(t *testing.T, d *fakeDriver) (stop func()) {
	done := make(chan struct{})
	var waiting []packet // answers, in order
	sent := map[connKey]uint32{}
	step := func() error {
		if err := d.dev.Service(); err != nil {
			return err
		}
		for _, p := range d.receive() {
			answer := packetHeader{srcPort: p.dstPort, dstPort: p.srcPort}
			switch {
			case p.op == opRequest && p.dstPort < 100:
				answer.op = opResponse
			case p.op == opRequest:
				answer.op = opReset
			case p.op == opData:
				answer.op = opData
			case p.op == opShutdown && p.flags == shutSend:
				answer.op, answer.flags = opShutdown, shutBoth
			case p.op == opShutdown:
				answer.op = opReset
			default:
				continue
			}
			waiting = append(waiting, packet{answer, p.payload})
		}
		for len(waiting) > 0 {
			p := waiting[0]
			key := connKey{host: p.dstPort, guest: p.srcPort}
			if n := uint32(len(p.payload)); n > 0 && sent[key]-d.peerForwarded[key]+n > d.peerAlloc[key] {
				return nil // no credit: a later packet brings it
			}
			waiting = waiting[1:]
			sent[key] += uint32(len(p.payload))
			d.send(p.packetHeader, p.payload)
			if err := d.dev.Service(); err != nil {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := step(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(50 * time.Microsecond)
		}
	})
	return func() { close(done); wg.Wait() }
}

func TestUnixSockets(t *testing.T) {
	d := newFakeDriver(t)
	path := filepath.Join(t.TempDir(), "v.sock")
	f, err := NewUnixSockets(d.dev, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewUnixSockets(d.dev, path, nil); err == nil {
		t.Error("a second one on the same socket")
	}
	defer pump(t, d)()
	dial := func(text string) *net.UnixConn {
		t.Helper()
		u, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return u
	}
	// The first bytes come together with the handshake.
	want := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	u := dial("CONNECT 7\nearly")
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := u.Write(want); err != nil {
			t.Error(err)
		}
		if err := u.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(u)
	if err != nil {
		t.Error(err)
	}
	wg.Wait()
	line, rest, _ := bytes.Cut(got, []byte("\n"))
	if !strings.HasPrefix(string(line), "OK 10737418") || !bytes.Equal(rest, append([]byte("early"), want...)) {
		t.Errorf("%q, then %d bytes of %d", line, len(rest), len(want)+5)
	}
	u.Close()
	// What is no handshake, or refused by the guest, is closed without an answer.
	for _, bad := range []string{"CONNECT 1000\n", "HELLO\n", "CONNECT \n", "CONNECT 4294967296\n", "CONNECT -1\n", strings.Repeat("x", 100)} {
		u := dial(bad)
		if b, _ := io.ReadAll(u); len(b) != 0 {
			t.Errorf("%q: answered %q", bad, b)
		}
		u.Close()
	}
	// From the guest to the host.
	if err := f.Forward(200); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is still there:", err)
	}
}

func TestUnixSocketsForward(t *testing.T) {
	d := newFakeDriver(t)
	path := filepath.Join(t.TempDir(), "v.sock")
	f, err := NewUnixSockets(d.dev, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	l, err := net.Listen("unix", path+"_200")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, port := range []uint32{200, 201} {
		if err := f.Forward(port); err != nil {
			t.Fatal(err)
		}
	}
	d.connect(200, 9)
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 200}, []byte("from the guest"))
	d.expect()
	u, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	b := make([]byte, 14)
	if _, err := io.ReadFull(u, b); err != nil || string(b) != "from the guest" {
		t.Errorf("%q, %v", b, err)
	}
	// Nobody listens there: a reset follows.
	d.send(packetHeader{op: opRequest, srcPort: 10, dstPort: 201}, nil)
	for {
		if err := d.dev.Service(); err != nil {
			t.Fatal(err)
		}
		if p := d.receive(); len(p) > 0 && p[len(p)-1].op == opReset {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStreamDeadlines(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	s := NewStream(d.connect(5, 9))
	if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := s.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write(make([]byte, streamBuffer+1)); !errors.Is(err, os.ErrDeadlineExceeded) || n != streamBuffer {
		t.Error(n, err)
	}
	if s.LocalAddr().String() != "2:5" || s.RemoteAddr().String() != "3:9" {
		t.Error(s.LocalAddr(), s.RemoteAddr())
	}
}

func FuzzReadConnect(f *testing.F) {
	f.Add([]byte("CONNECT 5\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = readConnect(bytes.NewReader(b))
	})
}
