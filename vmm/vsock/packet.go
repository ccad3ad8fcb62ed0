package vsock

import (
	"encoding/binary"

	"seuss/guest"
)

// le reads and writes words, as the guest and the state encoding have them.
var le = binary.LittleEndian

// Packets of the virtio socket device, VIRTIO 1.2, section 5.10.6.

const (
	hostCID = 2 // VMADDR_CID_HOST

	headerBytes = 44       // struct virtio_vsock_hdr
	maxPayload  = 64 << 10 // largest packet, as Linux has it

	typeStream = 1 // VIRTIO_VSOCK_TYPE_STREAM
)

// Operations, enum virtio_vsock_op.
const (
	opRequest       = 1
	opResponse      = 2
	opReset         = 3
	opShutdown      = 4
	opData          = 5
	opCreditUpdate  = 6
	opCreditRequest = 7
)

// Flags of opShutdown: the sender will not receive, or not send, any more.
const (
	shutReceive = 1
	shutSend    = 2
	shutBoth    = shutReceive | shutSend
)

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
	h.srcCID, h.dstCID = le.Uint64(b[0:]), le.Uint64(b[8:])
	h.srcPort, h.dstPort = le.Uint32(b[16:]), le.Uint32(b[20:])
	h.length = le.Uint32(b[24:])
	h.kind, h.op = le.Uint16(b[28:]), le.Uint16(b[30:])
	h.flags, h.bufAlloc, h.fwdCnt = le.Uint32(b[32:]), le.Uint32(b[36:]), le.Uint32(b[40:])
}

func (h *packetHeader) encode(b *[headerBytes]byte) {
	le.PutUint64(b[0:], h.srcCID)
	le.PutUint64(b[8:], h.dstCID)
	le.PutUint32(b[16:], h.srcPort)
	le.PutUint32(b[20:], h.dstPort)
	le.PutUint32(b[24:], h.length)
	le.PutUint16(b[28:], h.kind)
	le.PutUint16(b[30:], h.op)
	le.PutUint32(b[32:], h.flags)
	le.PutUint32(b[36:], h.bufAlloc)
	le.PutUint32(b[40:], h.fwdCnt)
}

// Registers of virtio-mmio version 2, VIRTIO 1.2, section 4.2.2.
const (
	regMagic             = 0x000
	regVersion           = 0x004
	regDeviceID          = 0x008
	regVendorID          = 0x00c
	regDeviceFeatures    = 0x010
	regDeviceFeaturesSel = 0x014
	regDriverFeatures    = 0x020
	regDriverFeaturesSel = 0x024
	regQueueSel          = 0x030
	regQueueNumMax       = 0x034
	regQueueNum          = 0x038
	regQueueReady        = 0x044
	regQueueNotify       = 0x050
	regInterruptStatus   = 0x060
	regInterruptACK      = 0x064
	regStatus            = 0x070
	regQueueDescLow      = 0x080
	regQueueDescHigh     = 0x084
	regQueueDriverLow    = 0x090
	regQueueDriverHigh   = 0x094
	regQueueDeviceLow    = 0x0a0
	regQueueDeviceHigh   = 0x0a4
	regConfigGeneration  = 0x0fc
	regConfig            = 0x100 // struct virtio_vsock_config: le64 guest_cid

	mmioMagic   = 0x74726976 // "virt"
	mmioVersion = 2
	vsockDevice = 19
	vendorID    = 0x53535553 // "SUSS"

	featureStream   = uint64(1) << 0  // VIRTIO_VSOCK_F_STREAM
	featureVersion1 = uint64(1) << 32 // VIRTIO_F_VERSION_1
	featuresOffered = featureStream | featureVersion1

	statusFeaturesOK = 8
	statusDriverOK   = 4
	statusNeedsReset = 64

	interruptUsed = 1 // InterruptStatus: used buffer notification
)

// The device's queues, VIRTIO 1.2, section 5.10.2.
const (
	queueRX = iota
	queueTX
	queueEvent
	queueCount
)

// The device's registers fit its window.
var _ [guest.PageSize - (regConfig + 8)]struct{}
