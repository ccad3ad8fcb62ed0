package vsock

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"seuss/guest"
)

// expectBroken lets the device work on what a hostile guest has prepared.
func (d *fakeDriver) expectBroken(t *testing.T) {
	t.Helper()
	err := d.dev.Service()
	var broken *RingError
	if !errors.As(err, &broken) {
		t.Fatalf("error %v, want a broken ring", err)
	}
	if d.read(regStatus)&statusNeedsReset == 0 {
		t.Error("the device does not ask for a reset")
	}
	if err := d.dev.Service(); err != nil {
		t.Errorf("a broken device goes on: %v", err)
	}
	t.Log(err)
}

// TestRingErrorTellsTheCause: whether a guest broke a ring or its memory is gone is for the
// monitor to tell.
func TestRingErrorTellsTheCause(t *testing.T) {
	d := newFakeDriver(t)
	d.desc(queueTX, 0, driverTX, headerBytes, 0, 0)
	d.offer(queueTX, 0)
	d.mem.gone = unix.ESRCH
	if err := d.dev.Service(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("%v does not wrap what the memory said", err)
	}
}

func TestVsockHostileRings(t *testing.T) {
	for name, attack := range map[string]func(*fakeDriver){
		"transmit index far ahead": func(d *fakeDriver) { d.avail[queueTX] += 1000; d.offer(queueTX, 0) },
		"receive index far ahead":  func(d *fakeDriver) { d.avail[queueRX] += 1000; d.offer(queueRX, 0); _, _ = d.dev.Dial(1) },
		"head outside the table":   func(d *fakeDriver) { d.offer(queueTX, driverSize) },
		"link outside the table": func(d *fakeDriver) {
			d.desc(queueTX, 0, driverTX, headerBytes, descNext, 0xffff)
			d.offer(queueTX, 0)
		},
		"loop": func(d *fakeDriver) {
			d.desc(queueTX, 0, driverTX, headerBytes, descNext, 1)
			d.desc(queueTX, 1, driverTX, headerBytes, descNext, 0)
			d.offer(queueTX, 0)
		},
		"indirect": func(d *fakeDriver) { d.desc(queueTX, 0, driverTX, 16, descIndirect, 0); d.offer(queueTX, 0) },
		"buffer outside memory": func(d *fakeDriver) {
			d.desc(queueTX, 0, 16<<20-8, headerBytes, 0, 0)
			d.offer(queueTX, 0)
		},
		"buffer at page 0":     func(d *fakeDriver) { d.desc(queueTX, 0, 0, headerBytes, 0, 0); d.offer(queueTX, 0) },
		"buffer address wraps": func(d *fakeDriver) { d.desc(queueTX, 0, ^guest.GPA(0)-4, 0xffffffff, 0, 0); d.offer(queueTX, 0) },
		"chain of all memory": func(d *fakeDriver) { // each alone may be, but not together
			if err := d.mem.Write(driverTX, make([]byte, headerBytes)); err != nil {
				d.t.Fatal(err)
			}
			d.desc(queueTX, 0, driverTX, headerBytes, descNext, 1)
			for i := range uint16(driverSize - 1) {
				d.desc(queueTX, i+1, 1<<20, maxChainBytes-1, descNext, i+2)
			}
			d.desc(queueTX, driverSize-1, 1<<20, 1, 0, 0)
			d.offer(queueTX, 0)
		},
		"one buffer of all memory": func(d *fakeDriver) {
			d.desc(queueTX, 0, 1<<20, 12<<20, 0, 0)
			d.offer(queueTX, 0)
		},
		"short packet": func(d *fakeDriver) { d.desc(queueTX, 0, driverTX, headerBytes-1, 0, 0); d.offer(queueTX, 0) },
		"transmit buffer to write": func(d *fakeDriver) {
			d.desc(queueTX, 0, driverTX, headerBytes, descWrite, 0)
			d.offer(queueTX, 0)
		},
		"payload longer than its buffer": func(d *fakeDriver) {
			h := packetHeader{srcCID: 3, dstCID: 2, kind: typeStream, op: opData, length: 1000}
			var raw [headerBytes]byte
			h.encode(&raw)
			if err := d.mem.Write(driverTX, raw[:]); err != nil {
				d.t.Fatal(err)
			}
			d.desc(queueTX, 0, driverTX, headerBytes+999, 0, 0)
			d.offer(queueTX, 0)
		},
		"receive buffer to read": func(d *fakeDriver) {
			for i := range uint16(driverSize) {
				d.desc(queueRX, i, driverRX, driverBuffer, 0, 0)
			}
			_, _ = d.dev.Dial(1)
		},
		"receive buffer too short": func(d *fakeDriver) {
			for i := range uint16(driverSize) {
				d.desc(queueRX, i, driverRX, headerBytes-1, descWrite, 0)
			}
			_, _ = d.dev.Dial(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDriver(t)
			attack(d)
			d.expectBroken(t)
		})
	}
}

func TestVsockHostileQueueRegisters(t *testing.T) {
	for name, set := range map[string]func(*fakeDriver){
		"size 0":           func(d *fakeDriver) { d.write(regQueueNum, 0) },
		"size 3":           func(d *fakeDriver) { d.write(regQueueNum, 3) },
		"size too large":   func(d *fakeDriver) { d.write(regQueueNum, 2*queueMax) },
		"unaligned table":  func(d *fakeDriver) { d.write(regQueueDescLow, 0x100008) },
		"table at 2^63":    func(d *fakeDriver) { d.write(regQueueDescHigh, 1<<31) },
		"used ring at 0":   func(d *fakeDriver) { d.write(regQueueDeviceLow, 0) },
		"ring over end":    func(d *fakeDriver) { d.write(regQueueDriverLow, 16<<20-4) },
		"table at the top": func(d *fakeDriver) { d.write(regQueueDescLow, 0xfffffff0); d.write(regQueueDescHigh, 0xffffffff) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newFakeDriver(t)
			d.write(regQueueSel, queueTX)
			d.write(regQueueReady, 0)
			d.write(regQueueNum, driverSize)
			d.write(regQueueDescLow, uint32(descGPA(queueTX)))
			d.write(regQueueDriverLow, uint32(availGPA(queueTX)))
			d.write(regQueueDeviceLow, uint32(usedGPA(queueTX)))
			set(d)
			err := d.dev.WriteRegister(regQueueReady, 4, 1)
			var broken *RingError
			if !errors.As(err, &broken) {
				t.Fatal(err)
			}
		})
	}
}

// TestVsockResetFlood: packets that need a RST each must not make the host
// collect RSTs without bound when the guest takes none.
func TestVsockResetFlood(t *testing.T) {
	d := newFakeDriver(t)
	d.write(regQueueSel, queueRX)
	d.write(regQueueReady, 0)
	for range 10 * maxResets {
		d.send(packetHeader{op: opData, srcPort: 1, dstPort: 2}, nil)
		if err := d.dev.Service(); err != nil {
			var broken *RingError
			if !errors.As(err, &broken) {
				t.Fatal(err)
			}
			break // the transmit ring ran over, since the host stopped taking
		}
		if n := len(d.dev.resets); n > maxResets {
			t.Fatalf("%d RSTs wait", n)
		}
	}
}

// TestVsockCloseWithoutCredit: a stream that is closed while the guest grants
// no credit waits; the device does not spin over it.
func TestVsockCloseWithoutCredit(t *testing.T) {
	d := newFakeDriver(t)
	listen(t, d, 5)
	c := d.connect(5, 9)
	d.send(packetHeader{op: opCreditUpdate, srcPort: 9, dstPort: 5, bufAlloc: 1}, nil)
	d.expect()
	if err := c.Send([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	d.expect(opData)
	d.expect()
	d.send(packetHeader{op: opCreditUpdate, srcPort: 9, dstPort: 5, bufAlloc: 100}, nil)
	d.expect(opData, opShutdown)
}

// FuzzVsock lets bytes play the guest: registers, ring memory and
// notifications in any order. Nothing may panic, hang or write outside memory.
func FuzzVsock(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{1, 0x50, 1, 0, 0, 0, 2, 0, 0x20, 0x10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		d := newFakeDriver(t)
		listen(t, d, 5)
		d.connect(5, 9)
		word := func(n int) uint64 {
			var b [8]byte
			script = script[copy(b[:n], script):]
			return binary.LittleEndian.Uint64(b[:])
		}
		for step := 0; len(script) > 0 && step < 200; step++ {
			switch word(1) % 6 {
			case 0:
				_ = d.dev.Service()
			case 1:
				_ = d.dev.WriteRegister(uint32(word(1))&^3, 4, word(4))
			case 2: // ring memory
				at := guest.GPA(driverRings + word(3)%0x30000)
				_ = d.mem.WriteU64(at&^7, word(8))
			case 3: // a packet
				d.send(packetHeader{op: uint16(word(1)), srcPort: uint32(word(1)), dstPort: uint32(word(1)), flags: uint32(word(1)),
					bufAlloc: uint32(word(3))}, make([]byte, word(2)))
				_ = d.dev.Service()
			case 4:
				for _, c := range d.dev.Conns() {
					_ = c.Send(make([]byte, word(2)))
					c.Take()
				}
			case 5:
				var s, back State
				d.dev.Save(&s)
				if err := back.Decode(s.Append(nil)); err != nil {
					t.Fatalf("a state that was saved cannot be read: %v", err)
				}
				_ = d.dev.Restore(&back)
			}
			_ = d.dev.ReadRegister(uint32(step*4), 4)
		}
	})
}

func FuzzVsockState(f *testing.F) {
	d := newFakeDriver(f)
	listen(f, d, 5)
	c := d.connect(5, 9)
	if err := c.Send([]byte("queued")); err != nil {
		f.Fatal(err)
	}
	var s State
	d.dev.Save(&s)
	f.Add(s.Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s State
		if s.Decode(raw) != nil {
			return
		}
		if back := s.Append(nil); string(back) != string(raw) {
			t.Fatalf("accepted bytes encode differently:\n%x\n%x", raw, back)
		}
		d := newFakeDriver(t)
		if d.dev.Restore(&s) != nil {
			return
		}
		_ = d.dev.Service()
	})
}

// TestServiceIsBounded: one service moves so many bytes and no more, and says that
// something is left; nothing of it is lost.
func TestServiceIsBounded(t *testing.T) {
	d := newFakeDriver(t)
	var h packetHeader
	h.srcCID, h.dstCID, h.kind, h.op = d.cid, hostCID, typeStream, opReset // answered by nothing
	var raw [headerBytes]byte
	h.encode(&raw)
	for i := range uint16(driverSize) {
		at := guest.GPA(driverTX + int(i)*driverBuffer)
		if err := d.mem.Write(at, raw[:]); err != nil {
			t.Fatal(err)
		}
		d.desc(queueTX, i, at, maxChainBytes, 0, 0)
		d.offer(queueTX, i)
	}
	taken, services := 0, 0
	for more := true; more; services++ {
		if err := d.dev.Service(); err != nil {
			t.Fatal(err)
		}
		more = d.dev.More()
		now := 0
		for {
			if _, _, ok := d.used(queueTX); !ok {
				break
			}
			now++
		}
		if now*maxChainBytes > serviceBytes+maxChainBytes {
			t.Errorf("one service took %d packets with %d bytes of buffers each", now, maxChainBytes)
		}
		taken += now
	}
	if taken != driverSize || services < driverSize*maxChainBytes/serviceBytes {
		t.Errorf("%d of %d packets in %d services", taken, driverSize, services)
	}
}
