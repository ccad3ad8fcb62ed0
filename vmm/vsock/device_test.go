package vsock

import (
	"bytes"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"testing"
)

func listen(t testing.TB, d *fakeDriver, port uint32) {
	t.Helper()
	if err := d.dev.Listen(port, func(*Conn) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestVsockGuestConnects(t *testing.T) {
	d := newFakeDriver(t)
	var accepted *Conn
	if err := d.dev.Listen(5, func(c *Conn) error { accepted = c; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := d.dev.Listen(5, nil); !errors.Is(err, ErrPortInUse) {
		t.Error("second listener:", err)
	}
	c := d.connect(5, 1000)
	if accepted != c || c.HostPort() != 5 || c.GuestPort() != 1000 {
		t.Fatalf("accepted %p, stream %p", accepted, c)
	}
	// Echo.
	handled := 0
	c.Handle(func(c *Conn) {
		handled++
		if p := c.Take(); p != nil {
			if err := c.Send(p); err != nil {
				t.Error(err)
			}
		}
	})
	for _, text := range []string{"hello", "", "world", string(bytes.Repeat([]byte("x"), 40000))} {
		d.send(packetHeader{op: opData, srcPort: 1000, dstPort: 5}, []byte(text))
		var got []byte
		for _, p := range d.service() {
			got = append(got, p.payload...)
		}
		if string(got) != text {
			t.Errorf("echo of %d bytes: %d bytes", len(text), len(got))
		}
	}
	if handled != 3 {
		t.Errorf("handler called %d times", handled)
	}
	// The guest ends the stream.
	d.send(packetHeader{op: opShutdown, srcPort: 1000, dstPort: 5, flags: shutBoth}, nil)
	d.expect(opReset)
	if c.State() != StreamClosed || c.Err() != io.EOF || !c.Ended() {
		t.Errorf("state %v, error %v", c.State(), c.Err())
	}
	if err := c.Send([]byte("x")); err == nil {
		t.Error("sent on a closed stream")
	}
	// A connection to a port without listener, and one that is turned away.
	d.send(packetHeader{op: opRequest, srcPort: 1000, dstPort: 6}, nil)
	d.expect(opReset)
	if err := d.dev.Listen(7, func(*Conn) error { return errors.New("no") }); err != nil {
		t.Fatal(err)
	}
	d.send(packetHeader{op: opRequest, srcPort: 1000, dstPort: 7}, nil)
	d.expect(opReset)
	if n := len(d.dev.Conns()); n != 0 {
		t.Errorf("%d streams left", n)
	}
}

func TestVsockHostConnects(t *testing.T) {
	d := newFakeDriver(t)
	c, err := d.dev.Dial(80)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send([]byte("early")); err != nil { // kept until the guest accepts
		t.Fatal(err)
	}
	req := d.expect(opRequest)[0]
	if req.dstPort != 80 || req.srcPort != c.HostPort() {
		t.Fatalf("request %+v", req)
	}
	d.send(packetHeader{op: opResponse, srcPort: 80, dstPort: c.HostPort()}, nil)
	if p := d.expect(opData)[0]; string(p.payload) != "early" {
		t.Errorf("payload %q", p.payload)
	}
	d.send(packetHeader{op: opData, srcPort: 80, dstPort: c.HostPort()}, []byte("answer"))
	d.service()
	if got := c.Take(); string(got) != "answer" {
		t.Errorf("took %q", got)
	}
	// The host ends it: data first, then shutdown, and the guest's reset frees it.
	if err := c.Send([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if p := d.expect(opData, opShutdown); p[1].flags != shutBoth {
		t.Errorf("shutdown flags %d", p[1].flags)
	}
	d.send(packetHeader{op: opReset, srcPort: 80, dstPort: c.HostPort()}, nil)
	d.expect()
	if c.State() != StreamClosed || c.Err() != io.EOF {
		t.Errorf("state %v, error %v", c.State(), c.Err())
	}
	// Refused.
	c, err = d.dev.Dial(81)
	if err != nil {
		t.Fatal(err)
	}
	d.expect(opRequest)
	d.send(packetHeader{op: opReset, srcPort: 81, dstPort: c.HostPort()}, nil)
	d.expect()
	if !errors.Is(c.Err(), ErrRefused) {
		t.Error(c.Err())
	}
	// Given up before the guest heard of it.
	c, err = d.dev.Dial(82)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	d.expect()
	if !errors.Is(c.Err(), ErrClosed) {
		t.Error(c.Err())
	}
}

func TestVsockCreditOfGuest(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	d.send(packetHeader{op: opRequest, srcPort: 9, dstPort: 5, bufAlloc: 1000}, nil)
	d.expect(opResponse)
	c := d.dev.Lookup(5, 9)
	want := bytes.Repeat([]byte("0123456789"), 500)
	if err := c.Send(want); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for round := 0; len(got) < len(want); round++ {
		for _, p := range d.service() {
			if len(p.payload) > 1000 {
				t.Fatalf("%d bytes at once, the window is 1000", len(p.payload))
			}
			got = append(got, p.payload...)
		}
		if more := d.service(); len(more) != 0 {
			t.Fatalf("sent %+v beyond the window", more)
		}
		d.send(packetHeader{op: opCreditUpdate, srcPort: 9, dstPort: 5, bufAlloc: 1000}, nil)
		if round > len(want) {
			t.Fatal("no progress")
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("bytes were lost or doubled")
	}
}

func TestVsockCreditOfHost(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	block := make([]byte, 32<<10)
	sent := 0
	for sent+len(block) <= recvWindow {
		d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, block)
		d.expect()
		sent += len(block)
	}
	if in, _ := c.Buffered(); in != sent {
		t.Fatalf("%d bytes buffered, %d sent", in, sent)
	}
	// Asked for, the credit says that nothing is free.
	d.send(packetHeader{op: opCreditRequest, srcPort: 9, dstPort: 5}, nil)
	if p := d.expect(opCreditUpdate)[0]; p.bufAlloc != recvWindow || p.fwdCnt != 0 {
		t.Errorf("credit %+v", p.packetHeader)
	}
	// Taking frees it, and the guest is told without asking.
	if n := len(c.Take()); n != sent {
		t.Errorf("took %d", n)
	}
	if p := d.expect(opCreditUpdate)[0]; p.fwdCnt != uint32(sent) {
		t.Errorf("forwarded %d of %d", p.fwdCnt, sent)
	}
	// A guest that sends beyond its window loses the stream, not the machine.
	for range recvWindow/len(block) + 1 {
		d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, block)
		d.service()
	}
	if !errors.Is(c.Err(), ErrReset) {
		t.Error(c.Err())
	}
}

func TestVsockHalfClose(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("last words"))
	d.send(packetHeader{op: opShutdown, srcPort: 9, dstPort: 5, flags: shutSend}, nil)
	d.expect()
	if !c.Ended() || string(c.Take()) != "last words" || c.State() != StreamOpen {
		t.Error("half-closed stream")
	}
	if err := c.Send([]byte("still here")); err != nil {
		t.Error(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	p := d.expect(opData, opShutdown)
	if string(p[0].payload) != "still here" || p[1].flags != shutSend {
		t.Errorf("%+v", p)
	}
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("liar"))
	d.expect(opReset)
}

func TestVsockFairness(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	a, b := d.connect(5, 1), d.connect(5, 2)
	if err := a.Send(make([]byte, 200<<10)); err != nil {
		t.Fatal(err)
	}
	if err := b.Send([]byte("b")); err != nil {
		t.Fatal(err)
	}
	if p := d.service(); len(p) < 3 || p[1].dstPort != 2 {
		t.Error("a busy stream starves another")
	}
}

func TestVsockInterruptSuppression(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	d.dev.TakeInterrupt()
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("x"))
	d.expect()
	if !d.dev.TakeInterrupt() {
		t.Error("no notice of a used transmit buffer")
	}
	avail, _ := d.mem.Slice(availGPA(queueTX), 2)
	le.PutUint16(avail, noInterrupt)
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("y"))
	d.expect()
	if d.dev.TakeInterrupt() {
		t.Error("notice of a used transmit buffer although suppressed")
	}
	if err := c.Send([]byte("z")); err != nil {
		t.Fatal(err)
	}
	d.expect(opData)
	if !d.dev.TakeInterrupt() || d.read(regInterruptStatus) != interruptUsed {
		t.Error("no notice of a received packet")
	}
	d.write(regInterruptACK, interruptUsed)
	if d.read(regInterruptStatus) != 0 {
		t.Error("not acknowledged")
	}
}

func TestVsockSurvivesRestore(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	d.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("unread"))
	d.expect()
	if err := c.Send([]byte("undelivered")); err != nil {
		t.Fatal(err)
	}
	var s, back State
	d.dev.Save(&s)
	ram := bytes.Clone(d.mem.Bytes())
	avail, seen, forwarded := d.avail, d.seen, d.forwarded[connKey{5, 9}]
	if err := back.Decode(s.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if !back.Equal(&s) {
		t.Fatal("the encoding loses something")
	}
	for range 3 {
		// Go on, open another stream, then put everything back.
		d.send(packetHeader{op: opRequest, srcPort: 10, dstPort: 5}, nil)
		d.service()
		if d.dev.Lookup(5, 10) == nil {
			t.Fatal("no second stream")
		}
		c.Take()
		copy(d.mem.Bytes(), ram)
		d.avail, d.seen, d.forwarded[connKey{5, 9}] = avail, seen, forwarded
		if err := d.dev.Restore(&back); err != nil {
			t.Fatal(err)
		}
		if d.dev.Lookup(5, 10) != nil || d.dev.Lookup(5, 9) != c {
			t.Fatal("streams after restore")
		}
		if got := c.Take(); string(got) != "unread" {
			t.Errorf("took %q", got)
		}
		if p := d.expect(opData)[0]; string(p.payload) != "undelivered" {
			t.Errorf("delivered %q", p.payload)
		}
	}
	// Another device takes the state over as well.
	other := New(d.mem, guestCID, func() {})
	copy(d.mem.Bytes(), ram)
	if err := other.Restore(&back); err != nil {
		t.Fatal(err)
	}
	var again State
	other.Save(&again)
	if !again.Equal(&s) {
		t.Error("state after restore differs")
	}
}

// raceDetector says whether this program was built with it.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestVsockSteadyStateAllocatesNothing(t *testing.T) {
	if raceDetector() {
		t.Skip("skipped: the race detector's own allocations are counted too")
	}
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	request, h := make([]byte, 600), packetHeader{op: opData, srcPort: 9, dstPort: 5}
	if n := testing.AllocsPerRun(100, func() {
		if err := c.Send(request); err != nil {
			t.Fatal(err)
		}
		d.send(h, request)
		if err := d.dev.Service(); err != nil {
			t.Fatal(err)
		}
		if c.Take() == nil {
			t.Fatal("nothing arrived")
		}
		for { // receive, without the test's own allocations
			head, n, ok := d.used(queueRX)
			if !ok {
				break
			}
			d.forwarded[connKey{5, 9}] += n - headerBytes
			d.offer(queueRX, uint16(head))
		}
	}); n != 0 {
		t.Errorf("%v allocations for a request and its answer", n)
	}
}

func TestVsockDeviceReset(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	d.write(regStatus, 0)
	if !errors.Is(c.Err(), ErrReset) || d.read(regStatus) != 0 {
		t.Errorf("after reset: %v, status %#x", c.Err(), d.read(regStatus))
	}
	d.avail, d.seen = [queueCount]uint16{}, [queueCount]uint16{}
	for q := range queueCount {
		ring, _ := d.mem.Slice(availGPA(q), ringHeader)
		clear(ring)
		ring, _ = d.mem.Slice(usedGPA(q), ringHeader)
		clear(ring)
	}
	d.setUp()
	d.connect(5, 9)
}

// TestHandlerIsTakenAway: a stream whose handler is taken away when something has happened to it
// already is left alone.
func TestHandlerIsTakenAway(t *testing.T) {
	d := newFakeDriver(t)
	if err := d.dev.Listen(700, func(*Conn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	conns := []*Conn{d.connect(700, 1), d.connect(700, 2)}
	calls := 0
	for n, c := range conns {
		c.Handle(func(*Conn) {
			calls++
			conns[1-n].Handle(nil)
		})
	}
	for n := range uint32(2) {
		d.send(packetHeader{srcPort: n + 1, dstPort: 700, op: opData}, []byte("x"))
	}
	d.service()
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
