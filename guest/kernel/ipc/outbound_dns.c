/*
 * outbound_dns.c: questions to name servers. Datagrams leave the machine for
 * port 53 alone: whoever they are for, the monitor's resolver answers, in the
 * name of the address that was asked.
 */
#include "outbound.h"

#define PENDING_MAX (16u * ABI_NET_DATAGRAM_BYTES)

static void flush(struct dns_way *w)
{
	u8 piece[256];
	if (!w->pending.used)
		return;
	while (w->pending.used && host_stream_room(w->out)) {
		u32 n = MIN(w->pending.used, (u32)sizeof piece);
		ring_peek(&w->pending, 0, piece, n);
		ring_drop(&w->pending, host_stream_put(w->out, piece, n));
	}
	host_stream_announce();
}

/* One answer, if it is there whole; false: it is not, or the stream makes no sense. */
static bool answer(struct file *f, struct dns_way *w, bool *broken)
{
	struct abi_net_datagram d;
	if (host_stream_take(w->out, &d, sizeof d, true) < sizeof d)
		return false;
	if (d.bytes > ABI_NET_DATAGRAM_BYTES) {
		*broken = true;
		return false;
	}
	if (host_stream_waiting(w->out) < sizeof d + d.bytes)
		return false;
	u8 *bytes = kmalloc(MAX((u32)d.bytes, 1u));
	if (!bytes) {
		*broken = true;
		return false;
	}
	host_stream_take(w->out, &d, sizeof d, false);
	host_stream_take(w->out, bytes, d.bytes, false);
	if (w->unanswered)
		w->unanswered--;
	struct iovec_k v = {bytes, d.bytes};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	struct inet_addr from;
	struct sock *s = f->priv; /* the first member of struct udp */
	if (inet_from_bytes(d.addr, d.port, s->family, &from))
		udp_deliver(f, &from, &m, d.bytes);
	kfree(bytes);
	return true;
}

static void changed(struct file *f)
{
	struct dns_way *w = udp_dns_way(f);
	bool broken = false;
	if (host_stream_accepted(w->out))
		flush(w);
	while (answer(f, w, &broken))
		;
	if (broken || host_stream_reset(w->out) || host_stream_ended(w->out)) {
		bool asked = w->unanswered;
		dns_close(w);
		if (asked)
			udp_unreachable(f);
	}
	wake_all(&f->wq);
}

long dns_send(struct file *f, const struct inet_addr *to, const struct msghdr_k *m, u64 len)
{
	struct dns_way *w = udp_dns_way(f);
	if (len > ABI_NET_DATAGRAM_BYTES)
		return -EMSGSIZE;
	purity_socket();
	if (!w->out) {
		struct abi_net_request r = {.kind = ABI_NET_KIND_DATAGRAM};
		w->out = host_stream_open(f, ABI_NET_PORT, changed);
		if (!w->out) {
			udp_unreachable(f);
			return to->kind == INET_FOREIGN ? -ENETUNREACH : 0;
		}
		if (!ring_append(&w->pending, &r, sizeof r)) {
			dns_close(w);
			return -ENOBUFS;
		}
	}
	u32 bytes = (u32)(sizeof(struct abi_net_datagram) + len);
	if (w->pending.used > PENDING_MAX)
		return 0; /* lost, as datagrams are */
	u8 *frame = kmalloc(bytes);
	if (!frame)
		return -ENOBUFS;
	struct abi_net_datagram d = {.port = to->port, .bytes = (u16)len};
	inet_bytes(to, d.addr);
	memcpy(frame, &d, sizeof d);
	iov_gather(m, frame + sizeof d, len);
	bool room = ring_reserve(&w->pending, bytes);
	if (room)
		ring_append(&w->pending, frame, bytes);
	kfree(frame);
	if (!room)
		return -ENOBUFS;
	w->unanswered++;
	if (host_stream_accepted(w->out))
		flush(w);
	host_stream_kick();
	return 0;
}

void dns_close(struct dns_way *w)
{
	struct vsock *out = w->out;
	ring_free(&w->pending);
	*w = (struct dns_way){0};
	if (out)
		host_stream_close(out, true);
}
