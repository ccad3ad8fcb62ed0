package vsock

import (
	"encoding/binary"

	"seuss/guest"
)

// le reads and writes words, as the guest and the state encoding have them.
var le = binary.LittleEndian

// maxPayload is the largest packet, VIRTIO_VSOCK_MAX_PKT_BUF_SIZE of Linux's driver, which
// is in no header for programs.
const maxPayload = 64 << 10

const shutBoth = shutReceive | shutSend

// packetHeader is struct virtio_vsock_hdr.
type packetHeader struct {
	srcCID, dstCID   uint64
	srcPort, dstPort uint32
	length           uint32
	kind, op         uint16
	flags            uint32
	bufAlloc, fwdCnt uint32
}

func (h *packetHeader) decode(b *[headerBytes]byte) {
	h.srcCID, h.dstCID = le.Uint64(b[headerSrcCID:]), le.Uint64(b[headerDstCID:])
	h.srcPort, h.dstPort = le.Uint32(b[headerSrcPort:]), le.Uint32(b[headerDstPort:])
	h.length = le.Uint32(b[headerLength:])
	h.kind, h.op = le.Uint16(b[headerType:]), le.Uint16(b[headerOp:])
	h.flags, h.bufAlloc, h.fwdCnt = le.Uint32(b[headerFlags:]), le.Uint32(b[headerBufAlloc:]), le.Uint32(b[headerFwdCnt:])
}

func (h *packetHeader) encode(b *[headerBytes]byte) {
	le.PutUint64(b[headerSrcCID:], h.srcCID)
	le.PutUint64(b[headerDstCID:], h.dstCID)
	le.PutUint32(b[headerSrcPort:], h.srcPort)
	le.PutUint32(b[headerDstPort:], h.dstPort)
	le.PutUint32(b[headerLength:], h.length)
	le.PutUint16(b[headerType:], h.kind)
	le.PutUint16(b[headerOp:], h.op)
	le.PutUint32(b[headerFlags:], h.flags)
	le.PutUint32(b[headerBufAlloc:], h.bufAlloc)
	le.PutUint32(b[headerFwdCnt:], h.fwdCnt)
}

const (
	vendorID        = 0x53535553 // "SUSS"
	featuresOffered = uint64(featureStream | featureVersion1)
)

// The device's queues, VIRTIO 1.2, section 5.10.2.
const (
	queueRX = iota
	queueTX
	queueEvent
	queueCount
)

// The device's registers fit its window.
var _ [guest.PageSize - (regConfig + configBytes)]struct{}
