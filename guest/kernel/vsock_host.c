/*
 * vsock_host.c: streams to the monitor for other sockets than AF_VSOCK's own.
 */
#include "hoststream.h"
#include "vsock_stream.h"

#include <linux/vm_sockets.h>

struct vsock *host_stream_open(struct file *f, u32 port, void (*changed)(struct file *f))
{
	struct vsock *s = vsock_present() ? vsock_new(f) : NULL;
	if (!s)
		return NULL;
	s->changed = changed;
	s->local_port = vsock_free_port();
	s->peer_cid = VMADDR_CID_HOST;
	s->peer_port = port;
	s->state = CONNECTING;
	vsock_send_packet(s, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	return s;
}

bool host_stream_accepted(const struct vsock *s) { return s->state == CONNECTED; }
bool host_stream_reset(const struct vsock *s) { return s->state == CLOSED; }
bool host_stream_ended(const struct vsock *s) { return s->peer_no_send; }
u32 host_stream_waiting(const struct vsock *s) { return s->rx_bytes; }
u32 host_stream_room(const struct vsock *s) { return s->state == CONNECTED && !s->no_send ? vsock_credit(s) : 0; }
u32 host_stream_sending(const struct vsock *s) { return s->tx_cnt - s->peer_fwd_cnt; }
u32 host_stream_take(struct vsock *s, void *buf, u32 n, bool peek) { return vsock_stream_take(s, buf, n, peek); }

u32 host_stream_put(struct vsock *s, const void *buf, u32 n)
{
	return host_stream_room(s) ? vsock_stream_put(s, buf, n) : 0;
}

void host_stream_shutdown(struct vsock *s)
{
	if (s->state != CONNECTED || s->no_send)
		return;
	s->no_send = true;
	vsock_send_packet(s, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	vsock_kick();
}

void host_stream_close(struct vsock *s, bool reset)
{
	if (s->state == CONNECTED && !reset)
		vsock_send_packet(s, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND, NULL, 0);
	else if (s->state != CLOSED)
		vsock_send_packet(s, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	vsock_free(s);
	vsock_kick();
}

void host_stream_announce(void) { vsock_kick(); }

void host_stream_kick(void)
{
	vsock_kick();
	poll_devices();
}
