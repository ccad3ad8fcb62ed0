package vsock

import (
	"testing"

	"seuss/guest"
)

// fakeDriver is the guest's side of a virtio socket device, in plain memory:
// what the kernel library does, and, on demand, what a hostile guest does.
type fakeDriver struct {
	t   testing.TB
	mem *testMemory
	dev *Device
	cid uint64

	avail [queueCount]uint16 // what the driver has offered
	seen  [queueCount]uint16 // used entries the driver has looked at

	peerAlloc, peerForwarded map[connKey]uint32
	forwarded                map[connKey]uint32
}

const (
	guestCID     = 3
	driverRings  = 0x100000 // desc, avail, used of the three queues, 64 KiB apart
	driverRX     = 0x200000 // buffers
	driverTX     = 0x600000
	driverBuffer = 0x10000
	driverSize   = 16
)

func descGPA(q int) guest.GPA  { return guest.GPA(driverRings + q*0x10000) }
func availGPA(q int) guest.GPA { return descGPA(q) + 0x2000 }
func usedGPA(q int) guest.GPA  { return descGPA(q) + 0x4000 }

func newFakeDriver(t testing.TB) *fakeDriver {
	t.Helper()
	mem := newTestMemory(t, 16<<20)
	d := &fakeDriver{t: t, mem: mem, cid: guestCID, peerAlloc: map[connKey]uint32{}, peerForwarded: map[connKey]uint32{}, forwarded: map[connKey]uint32{}}
	d.dev = New(mem, guestCID, func() {})
	d.setUp()
	return d
}

func (d *fakeDriver) write(reg uint32, v uint32) {
	d.t.Helper()
	if err := d.dev.WriteRegister(reg, 4, uint64(v)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fakeDriver) read(reg uint32) uint32 { return uint32(d.dev.ReadRegister(reg, 4)) }

// setUp initialises the device as VIRTIO 3.1.1 says.
func (d *fakeDriver) setUp() {
	d.t.Helper()
	if d.read(regMagic) != guest.VsockMagic || d.read(regVersion) != guest.VsockVersion || d.read(regDeviceID) != vsockDevice {
		d.t.Fatal("not a vsock device")
	}
	d.write(regStatus, 0)
	d.write(regStatus, 3)
	d.write(regDriverFeaturesSel, 1)
	d.write(regDriverFeatures, 1)
	d.write(regStatus, 3|statusFeaturesOK)
	if d.read(regStatus)&statusFeaturesOK == 0 {
		d.t.Fatal("features refused")
	}
	for q := range queueCount {
		d.write(regQueueSel, uint32(q))
		if d.read(regQueueNumMax) < driverSize {
			d.t.Fatal("queue too short")
		}
		d.write(regQueueNum, driverSize)
		d.write(regQueueDescLow, uint32(descGPA(q)))
		d.write(regQueueDescHigh, 0)
		d.write(regQueueDriverLow, uint32(availGPA(q)))
		d.write(regQueueDriverHigh, 0)
		d.write(regQueueDeviceLow, uint32(usedGPA(q)))
		d.write(regQueueDeviceHigh, 0)
		d.write(regQueueReady, 1)
	}
	d.write(regStatus, 3|statusFeaturesOK|statusDriverOK)
	for i := range uint16(driverSize) {
		d.desc(queueRX, i, guest.GPA(driverRX+int(i)*driverBuffer), driverBuffer, descWrite, 0)
		d.offer(queueRX, i)
	}
}

func (d *fakeDriver) put(gpa guest.GPA, v uint64) {
	d.t.Helper()
	if err := d.mem.WriteU64(gpa, v); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fakeDriver) desc(q int, i uint16, gpa guest.GPA, length uint32, flags, next uint16) {
	at := descGPA(q) + guest.GPA(i)*descBytes
	d.put(at, uint64(gpa))
	d.put(at+8, uint64(length)|uint64(flags)<<32|uint64(next)<<48)
}

// offer makes a chain available.
func (d *fakeDriver) offer(q int, head uint16) {
	b, _ := d.mem.Slice(availGPA(q), ringHeader+2*driverSize)
	le.PutUint16(b[ringHeader+2*(d.avail[q]%driverSize):], head)
	d.avail[q]++
	le.PutUint16(b[ringIdx:], d.avail[q])
}

// used returns the next used entry.
func (d *fakeDriver) used(q int) (head, n uint32, ok bool) {
	b, _ := d.mem.Slice(usedGPA(q), ringHeader+usedElemBytes*driverSize)
	if le.Uint16(b[ringIdx:]) == d.seen[q] {
		return 0, 0, false
	}
	e := b[ringHeader+usedElemBytes*uint64(d.seen[q]%driverSize):]
	d.seen[q]++
	return le.Uint32(e), le.Uint32(e[4:]), true
}

// send queues a packet in two descriptors, header and payload, so that the
// device has to put them together.
func (d *fakeDriver) send(h packetHeader, payload []byte) {
	d.t.Helper()
	for {
		if _, _, ok := d.used(queueTX); !ok {
			break
		}
	}
	h.srcCID, h.dstCID, h.kind, h.length = d.cid, hostCID, typeStream, uint32(len(payload))
	if h.bufAlloc == 0 {
		h.bufAlloc = 256 << 10
	}
	h.fwdCnt = d.forwarded[connKey{h.dstPort, h.srcPort}]
	slot := d.avail[queueTX] % (driverSize / 2)
	at := guest.GPA(driverTX + int(slot)*2*driverBuffer)
	var raw [headerBytes]byte
	h.encode(&raw)
	if err := d.mem.Write(at, raw[:]); err != nil {
		d.t.Fatal(err)
	}
	flags := uint16(0)
	if len(payload) > 0 {
		flags = descNext
		if err := d.mem.Write(at+0x1000, payload); err != nil {
			d.t.Fatal(err)
		}
	}
	d.desc(queueTX, slot*2, at, headerBytes, flags, slot*2+1)
	d.desc(queueTX, slot*2+1, at+0x1000, uint32(len(payload)), 0, 0)
	d.offer(queueTX, slot*2)
}

// packet is what the driver received.
type packet struct {
	packetHeader
	payload []byte
}

// receive takes everything the device has delivered and offers the buffers
// again.
func (d *fakeDriver) receive() (out []packet) {
	d.t.Helper()
	for {
		head, n, ok := d.used(queueRX)
		if !ok {
			return out
		}
		b, err := d.mem.Slice(guest.GPA(driverRX+int(head)*driverBuffer), uint64(n))
		if err != nil || n < headerBytes {
			d.t.Fatalf("received %d bytes: %v", n, err)
		}
		var p packet
		p.decode((*[headerBytes]byte)(b))
		if p.length != n-headerBytes || p.srcCID != hostCID || p.dstCID != d.cid {
			d.t.Fatalf("packet %+v in %d bytes", p.packetHeader, n)
		}
		p.payload = append([]byte(nil), b[headerBytes:]...)
		key := connKey{p.srcPort, p.dstPort}
		d.peerAlloc[key], d.peerForwarded[key] = p.bufAlloc, p.fwdCnt
		d.forwarded[key] += p.length
		out = append(out, p)
		d.offer(queueRX, uint16(head))
	}
}

// service lets the device work and returns what the guest got.
func (d *fakeDriver) service() []packet {
	d.t.Helper()
	if err := d.dev.Service(); err != nil {
		d.t.Fatal(err)
	}
	return d.receive()
}

// expect lets the device work and checks which packets the guest got.
func (d *fakeDriver) expect(ops ...uint16) []packet {
	d.t.Helper()
	got := d.service()
	if len(got) != len(ops) {
		d.t.Fatalf("%d packets %+v, want operations %v", len(got), got, ops)
	}
	for i, p := range got {
		if p.op != ops[i] {
			d.t.Fatalf("packet %d is operation %d, want %d", i, p.op, ops[i])
		}
	}
	return got
}

// connect opens a stream from the guest to a listener of the host.
func (d *fakeDriver) connect(hostPort, guestPort uint32) *Conn {
	d.t.Helper()
	d.send(packetHeader{op: opRequest, srcPort: guestPort, dstPort: hostPort}, nil)
	d.expect(opResponse)
	c := d.dev.Lookup(hostPort, guestPort)
	if c == nil || c.State() != StreamOpen {
		d.t.Fatalf("stream %+v", c)
	}
	return c
}
