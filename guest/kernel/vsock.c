/*
 * vsock.c: AF_VSOCK over virtio-vsock over virtio-mmio (virtio 1.2, sections
 * 4.2 and 5.10). No interrupts: the rings are polled on the way back to the
 * program after a kick, and in the idle loop. Transmitted packets are not
 * announced one by one: the idle doorbell makes the monitor look at the ring,
 * so a request and its answer cost one exit.
 */
#include "core.h"
#include "vsock.h"

#include <linux/eventpoll.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>

static struct vsock_queue rx, tx, events;
static struct virtio_vsock_event event_buffers[4];
static bool present, asked;

/* Buffers: what is never touched costs nothing. */
static u8 rx_buffers[VSOCK_RING][VSOCK_BUFFER] __attribute__((aligned(4096)));
static u8 tx_buffers[VSOCK_RING][VSOCK_BUFFER] __attribute__((aligned(4096)));

static inline u32 reg_read(u32 reg) { return mmio_read32(ABI_VSOCK_MMIO_GPA + reg); }
static inline void reg_write(u32 reg, u32 v) { mmio_write32(ABI_VSOCK_MMIO_GPA + reg, v); }
static inline void barrier(void) { __asm__ volatile("" ::: "memory"); }

static void queue_setup(struct vsock_queue *q, u32 index, u16 size)
{
	reg_write(VIRTIO_MMIO_QUEUE_SEL, index);
	if (reg_read(VIRTIO_MMIO_QUEUE_NUM_MAX) < size)
		panic("virtio-vsock queue %u is shorter than %u", index, size);
	q->size = size;
	reg_write(VIRTIO_MMIO_QUEUE_NUM, size);
	reg_write(VIRTIO_MMIO_QUEUE_DESC_LOW, (u32)(u64)q->desc);
	reg_write(VIRTIO_MMIO_QUEUE_DESC_HIGH, (u32)((u64)q->desc >> 32));
	reg_write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (u32)(u64)&q->avail);
	reg_write(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (u32)((u64)&q->avail >> 32));
	reg_write(VIRTIO_MMIO_QUEUE_USED_LOW, (u32)(u64)&q->used);
	reg_write(VIRTIO_MMIO_QUEUE_USED_HIGH, (u32)((u64)&q->used >> 32));
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void offer(struct vsock_queue *q, u16 id)
{
	q->avail.ring[q->avail.idx % q->size] = id;
	barrier();
	q->avail.idx++;
}

static void setup(void)
{
	if (reg_read(VIRTIO_MMIO_MAGIC_VALUE) != ABI_VSOCK_MAGIC || reg_read(VIRTIO_MMIO_VERSION) != ABI_VSOCK_VERSION ||
	    reg_read(VIRTIO_MMIO_DEVICE_ID) != VIRTIO_ID_VSOCK)
		return; /* no such device: AF_VSOCK is then refused */
	reg_write(VIRTIO_MMIO_STATUS, 0);
	reg_write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 1u << (VIRTIO_F_VERSION_1 - 32));
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	reg_write(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	u32 status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
	reg_write(VIRTIO_MMIO_STATUS, status);
	if (!(reg_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK))
		panic("the monitor's virtio-vsock refused VIRTIO_F_VERSION_1");
	tx.avail.flags = VRING_AVAIL_F_NO_INTERRUPT; /* nobody waits for sent packets: no notice, no second exit */
	queue_setup(&rx, 0, VSOCK_RING);
	queue_setup(&tx, 1, VSOCK_RING);
	queue_setup(&events, 2, ARRAY_SIZE(event_buffers));
	for (u16 i = 0; i < VSOCK_RING; i++) {
		rx.desc[i] = (struct vring_desc){(u64)rx_buffers[i], VSOCK_BUFFER, VRING_DESC_F_WRITE, 0};
		tx.desc[i] = (struct vring_desc){(u64)tx_buffers[i], 0, 0, 0};
		offer(&rx, i);
	}
	for (u16 i = 0; i < ARRAY_SIZE(event_buffers); i++) {
		events.desc[i] = (struct vring_desc){(u64)&event_buffers[i], sizeof event_buffers[i], VRING_DESC_F_WRITE, 0};
		offer(&events, i);
	}
	reg_write(VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
	present = true;
}

/* Forty exits to the monitor, so they are for programs that want a socket. */
bool vsock_present(void)
{
	if (!asked)
		setup();
	asked = true;
	return present;
}

/* ---- transmit ------------------------------------------------------------------ */

bool vsock_tx_room(void) { return (u16)(tx.avail.idx - *(volatile u16 *)&tx.used.idx) < tx.size; }

/* Another thread takes the CPU, so the idle doorbell may be far: what was sent
 * is announced now. */
void vsock_flush(void)
{
	if (present && tx.avail.idx != *(volatile u16 *)&tx.used.idx)
		vsock_kick();
}

void vsock_kick(void) { reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, 1); }

/* Queues a packet: header and payload in one buffer. The slot is free because
 * the device takes packets in order. */
void vsock_transmit(const struct virtio_vsock_hdr *h, const void *payload)
{
	for (int tries = 0; !vsock_tx_room(); tries++) {
		if (tries == 1000)
			panic("the monitor takes no virtio-vsock packets");
		vsock_kick();
	}
	u16 slot = tx.avail.idx % tx.size;
	memcpy(tx_buffers[slot], h, sizeof *h);
	memcpy(tx_buffers[slot] + sizeof *h, payload, h->len);
	tx.desc[slot].len = (u32)(sizeof *h + h->len);
	offer(&tx, slot);
}

/* ---- receive ------------------------------------------------------------------- */

void vsock_poll(void)
{
	if (!present)
		return;
	while (rx.seen != *(volatile u16 *)&rx.used.idx) {
		struct vring_used_elem *e = &rx.used.ring[rx.seen % rx.size];
		rx.seen++;
		barrier();
		u16 id = (u16)e->id;
		const struct virtio_vsock_hdr *h = (void *)rx_buffers[id % VSOCK_RING];
		if (e->len >= sizeof *h && h->len <= e->len - sizeof *h)
			vsock_receive(h, (const u8 *)(h + 1), id);
		else
			vsock_release(id);
	}
	while (events.seen != *(volatile u16 *)&events.used.idx) {
		u16 id = (u16)events.used.ring[events.seen++ % events.size].id;
		offer(&events, id % ARRAY_SIZE(event_buffers)); /* transport reset: streams survive a restore */
	}
}

void vsock_release(u16 id) { offer(&rx, id % VSOCK_RING); }
