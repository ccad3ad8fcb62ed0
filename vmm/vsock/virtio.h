/*
 * virtio.h: what the device needs of the virtio standard. Its numbers are those of
 * Linux's headers, which the guest's driver (guest/kernel/vsock.c) is compiled with;
 * here they get the names by which the device knows them. virtio_gen.go is made from
 * this file by `go generate ./vmm/vsock`.
 */
#ifndef SEUSS_VIRTIO_H
#define SEUSS_VIRTIO_H

#include <stddef.h>
#include <sys/socket.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>

/* Registers of virtio-mmio version 2, VIRTIO 1.2, section 4.2.2. */
#define ABI_REG_MAGIC VIRTIO_MMIO_MAGIC_VALUE
#define ABI_REG_VERSION VIRTIO_MMIO_VERSION
#define ABI_REG_DEVICE_ID VIRTIO_MMIO_DEVICE_ID
#define ABI_REG_VENDOR_ID VIRTIO_MMIO_VENDOR_ID
#define ABI_REG_DEVICE_FEATURES VIRTIO_MMIO_DEVICE_FEATURES
#define ABI_REG_DEVICE_FEATURES_SEL VIRTIO_MMIO_DEVICE_FEATURES_SEL
#define ABI_REG_DRIVER_FEATURES VIRTIO_MMIO_DRIVER_FEATURES
#define ABI_REG_DRIVER_FEATURES_SEL VIRTIO_MMIO_DRIVER_FEATURES_SEL
#define ABI_REG_QUEUE_SEL VIRTIO_MMIO_QUEUE_SEL
#define ABI_REG_QUEUE_NUM_MAX VIRTIO_MMIO_QUEUE_NUM_MAX
#define ABI_REG_QUEUE_NUM VIRTIO_MMIO_QUEUE_NUM
#define ABI_REG_QUEUE_READY VIRTIO_MMIO_QUEUE_READY
#define ABI_REG_QUEUE_NOTIFY VIRTIO_MMIO_QUEUE_NOTIFY
#define ABI_REG_INTERRUPT_STATUS VIRTIO_MMIO_INTERRUPT_STATUS
#define ABI_REG_INTERRUPT_ACK VIRTIO_MMIO_INTERRUPT_ACK
#define ABI_REG_STATUS VIRTIO_MMIO_STATUS
#define ABI_REG_QUEUE_DESC_LOW VIRTIO_MMIO_QUEUE_DESC_LOW
#define ABI_REG_QUEUE_DESC_HIGH VIRTIO_MMIO_QUEUE_DESC_HIGH
#define ABI_REG_QUEUE_DRIVER_LOW VIRTIO_MMIO_QUEUE_AVAIL_LOW
#define ABI_REG_QUEUE_DRIVER_HIGH VIRTIO_MMIO_QUEUE_AVAIL_HIGH
#define ABI_REG_QUEUE_DEVICE_LOW VIRTIO_MMIO_QUEUE_USED_LOW
#define ABI_REG_QUEUE_DEVICE_HIGH VIRTIO_MMIO_QUEUE_USED_HIGH
#define ABI_REG_CONFIG_GENERATION VIRTIO_MMIO_CONFIG_GENERATION
#define ABI_REG_CONFIG VIRTIO_MMIO_CONFIG /* struct virtio_vsock_config */
#define ABI_CONFIG_BYTES sizeof(struct virtio_vsock_config)

#define ABI_VSOCK_DEVICE VIRTIO_ID_VSOCK
#define ABI_FEATURE_STREAM 1 /* VIRTIO_VSOCK_F_STREAM, VIRTIO 1.2, section 5.10.3: Linux has no name for it */
#define ABI_FEATURE_VERSION_1 (1ull << VIRTIO_F_VERSION_1)

#define ABI_STATUS_DRIVER_OK VIRTIO_CONFIG_S_DRIVER_OK
#define ABI_STATUS_FEATURES_OK VIRTIO_CONFIG_S_FEATURES_OK
#define ABI_STATUS_NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define ABI_INTERRUPT_USED VIRTIO_MMIO_INT_VRING /* a used buffer notification */

/* Split virtqueues, VIRTIO 1.2, section 2.7. */
#define ABI_DESC_BYTES sizeof(struct vring_desc)
#define ABI_DESC_ALIGN VRING_DESC_ALIGN_SIZE
#define ABI_DESC_NEXT VRING_DESC_F_NEXT
#define ABI_DESC_WRITE VRING_DESC_F_WRITE
#define ABI_DESC_INDIRECT VRING_DESC_F_INDIRECT /* not offered */
#define ABI_AVAIL_ALIGN VRING_AVAIL_ALIGN_SIZE
#define ABI_USED_ALIGN VRING_USED_ALIGN_SIZE
#define ABI_RING_HEADER offsetof(struct vring_avail, ring) /* of the used ring too */
#define ABI_RING_IDX offsetof(struct vring_avail, idx)
#define ABI_USED_ELEM_BYTES sizeof(struct vring_used_elem)
#define ABI_NO_INTERRUPT VRING_AVAIL_F_NO_INTERRUPT

/* Packets, VIRTIO 1.2, section 5.10.6. */
#define ABI_HOST_CID VMADDR_CID_HOST
#define ABI_HEADER_BYTES sizeof(struct virtio_vsock_hdr)
#define ABI_HEADER_SRC_CID offsetof(struct virtio_vsock_hdr, src_cid)
#define ABI_HEADER_DST_CID offsetof(struct virtio_vsock_hdr, dst_cid)
#define ABI_HEADER_SRC_PORT offsetof(struct virtio_vsock_hdr, src_port)
#define ABI_HEADER_DST_PORT offsetof(struct virtio_vsock_hdr, dst_port)
#define ABI_HEADER_LENGTH offsetof(struct virtio_vsock_hdr, len)
#define ABI_HEADER_TYPE offsetof(struct virtio_vsock_hdr, type)
#define ABI_HEADER_OP offsetof(struct virtio_vsock_hdr, op)
#define ABI_HEADER_FLAGS offsetof(struct virtio_vsock_hdr, flags)
#define ABI_HEADER_BUF_ALLOC offsetof(struct virtio_vsock_hdr, buf_alloc)
#define ABI_HEADER_FWD_CNT offsetof(struct virtio_vsock_hdr, fwd_cnt)
#define ABI_TYPE_STREAM VIRTIO_VSOCK_TYPE_STREAM
#define ABI_OP_REQUEST VIRTIO_VSOCK_OP_REQUEST
#define ABI_OP_RESPONSE VIRTIO_VSOCK_OP_RESPONSE
#define ABI_OP_RESET VIRTIO_VSOCK_OP_RST
#define ABI_OP_SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define ABI_OP_DATA VIRTIO_VSOCK_OP_RW
#define ABI_OP_CREDIT_UPDATE VIRTIO_VSOCK_OP_CREDIT_UPDATE
#define ABI_OP_CREDIT_REQUEST VIRTIO_VSOCK_OP_CREDIT_REQUEST
/* Flags of ABI_OP_SHUTDOWN: the sender will not receive, or not send, any more. */
#define ABI_SHUT_RECEIVE VIRTIO_VSOCK_SHUTDOWN_RCV
#define ABI_SHUT_SEND VIRTIO_VSOCK_SHUTDOWN_SEND

#endif
