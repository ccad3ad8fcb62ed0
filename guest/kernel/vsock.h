/* vsock.h: between the virtio transport (vsock.c) and the sockets (vsock_socket.c). */
#ifndef SEUSS_VSOCK_H
#define SEUSS_VSOCK_H

#include "kernel.h"

#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>

enum {
	VSOCK_RING = 16,        /* descriptors in the rx and tx queues */
	VSOCK_BUFFER = 0x10000, /* bytes of one packet, header included */
	VSOCK_CREDIT = 0x40000, /* receive buffer that a socket advertises */
};

struct vsock_queue {
	struct vring_desc desc[VSOCK_RING] __attribute__((aligned(16)));
	struct { u16 flags, idx, ring[VSOCK_RING], event; } avail;
	struct { u16 flags, idx; struct vring_used_elem ring[VSOCK_RING]; u16 event; } used __attribute__((aligned(4)));
	u16 size, seen; /* seen: used entries taken */
};

bool vsock_present(void);
bool vsock_tx_room(void);
void vsock_kick(void); /* makes the monitor take what is in the tx ring now */
void vsock_transmit(const struct virtio_vsock_hdr *h, const void *payload);
/* A packet came. Whoever takes it calls vsock_release(id) once it is done with the payload. */
void vsock_receive(const struct virtio_vsock_hdr *h, const u8 *payload, u16 id);
void vsock_release(u16 id);

#endif
