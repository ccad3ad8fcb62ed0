package vsock

import (
	"io"
	"sync/atomic"
	"testing"
	"time"
)

// TestVsockMoves: a device that leaves its machine keeps its streams, with who waits for
// them and what is on its way; what comes meanwhile wakes, and is delivered on the next
// machine, where nothing is left of the device before.
func TestVsockMoves(t *testing.T) {
	a, b := newFakeDriver(t), newFakeDriver(t)
	listen(t, a, 5)
	c := a.connect(5, 9)
	a.send(packetHeader{op: opData, srcPort: 9, dstPort: 5}, []byte("unread"))
	a.expect()
	listen(t, b, 5)
	left := b.connect(5, 10)
	var before, after State
	a.dev.Save(&before)

	moving := a.dev
	var woken atomic.Int32
	away, fresh := Detach(moving, func() { woken.Add(1) })
	if len(fresh.Conns()) != 0 || fresh.CID() != guestCID {
		t.Errorf("the machine has %d streams and CID %d", len(fresh.Conns()), fresh.CID())
	}
	if err := fresh.Listen(5, nil); err != nil {
		t.Errorf("a listener has stayed: %v", err)
	}
	s := NewStream(c)
	got := make([]byte, 6)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "unread" {
		t.Errorf("read %q, %v", got, err)
	}
	if woken.Load() != 0 {
		t.Error("reading wakes nobody")
	}
	// It takes as much for the guest as ever, and no more.
	if err := s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write(make([]byte, streamBuffer+1)); n != streamBuffer || err == nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	if woken.Load() == 0 {
		t.Error("bytes wake nobody")
	}
	copy(b.mem.Bytes(), a.mem.Bytes())
	if back, err := away.Attach(b.dev); err != nil || back != moving {
		t.Fatal(err)
	}
	if left.Err() == nil {
		t.Error("a stream of the machine's last instance is open")
	}
	b.dev, b.avail, b.seen, b.peerAlloc, b.peerForwarded, b.forwarded = moving, a.avail, a.seen, a.peerAlloc, a.peerForwarded, a.forwarded
	if moving.Lookup(5, 9) != c {
		t.Error("the stream is another")
	}
	moving.Save(&after)
	after.Streams[0].Out, before.Streams[0].In = nil, nil
	before.Streams[0].Forwarded += 6 // that were read
	if !after.Equal(&before) {
		t.Errorf("the state differs:\n%+v\nwant\n%+v", after, before)
	}
	delivered := 0
	for _, p := range b.expect(opData, opData, opData, opData, opData) {
		delivered += len(p.payload)
	}
	if delivered != streamBuffer {
		t.Errorf("%d bytes of what came meanwhile are delivered", delivered)
	}
	if woken.Load() != 1 {
		t.Errorf("woken %d times, with a machine too", woken.Load())
	}
}
