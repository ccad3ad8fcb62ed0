/*
 * vsock_stream.c: AF_VSOCK streams: the connection's states, packets from the
 * monitor, credit, and data. Payload stays in the receive ring's buffer until
 * the program reads it, unless buffers run short: then it is copied out.
 */
#include "hoststream.h"
#include "vsock_stream.h"

#include <linux/eventpoll.h>

static struct vsock *sockets; /* all, listeners and not yet accepted ones included */
static u32 next_port = 1024;
static u32 held_buffers;

static struct waitq *queue_of(struct vsock *s)
{
	static struct waitq nobody;
	return s->file ? &s->file->wq : &nobody;
}

void vsock_send_packet(struct vsock *s, u16 op, u32 flags, const void *payload, u32 len)
{
	struct virtio_vsock_hdr h = {
		.src_cid = identity->cid, .dst_cid = s->peer_cid, .src_port = s->local_port, .dst_port = s->peer_port,
		.len = len, .type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .flags = flags,
		.buf_alloc = VSOCK_CREDIT, .fwd_cnt = s->fwd_cnt,
	};
	s->told_fwd_cnt = s->fwd_cnt;
	vsock_transmit(&h, payload);
}

static void refuse(const struct virtio_vsock_hdr *in)
{
	if (in->op == VIRTIO_VSOCK_OP_RST)
		return;
	struct virtio_vsock_hdr h = {
		.src_cid = in->dst_cid, .dst_cid = in->src_cid, .src_port = in->dst_port, .dst_port = in->src_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = VIRTIO_VSOCK_OP_RST,
	};
	vsock_transmit(&h, NULL);
}

struct vsock *vsock_new(struct file *f)
{
	struct vsock *s = kzalloc(sizeof *s);
	if (!s)
		return NULL;
	s->file = f;
	s->next = sockets;
	sockets = s;
	return s;
}

static void drop_chunk(struct vsock *s)
{
	struct chunk *c = s->rx_head;
	s->rx_head = c->next;
	if (!s->rx_head)
		s->rx_tail = NULL;
	if (c->held) {
		held_buffers--;
		vsock_release(c->id);
	}
	kfree(c);
}

void vsock_free(struct vsock *s)
{
	while (s->rx_head)
		drop_chunk(s);
	for (struct vsock **p = &sockets; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	kfree(s);
}

static struct vsock *find(const struct virtio_vsock_hdr *h)
{
	for (struct vsock *s = sockets; s; s = s->next)
		if ((s->state == CONNECTED || s->state == CONNECTING) && s->local_port == h->dst_port &&
		    s->peer_port == h->src_port && s->peer_cid == h->src_cid)
			return s;
	return NULL;
}

static struct vsock *listener(u32 port)
{
	for (struct vsock *s = sockets; s; s = s->next)
		if (s->state == LISTENING && s->local_port == port)
			return s;
	return NULL;
}

bool vsock_port_taken(u32 port)
{
	for (struct vsock *s = sockets; s; s = s->next)
		if (s->local_port == port)
			return true;
	return false;
}

u32 vsock_free_port(void)
{
	for (;;) {
		u32 port = next_port++;
		if (port && !vsock_port_taken(port))
			return port;
	}
}

/* ---- packets from the monitor --------------------------------------------------- */

/* A stream that the monitor opens; NULL: no memory. */
static struct vsock *new_incoming(const struct virtio_vsock_hdr *h)
{
	struct vsock *s = vsock_new(NULL);
	if (!s)
		return NULL;
	s->state = CONNECTED;
	s->local_port = h->dst_port;
	s->peer_port = h->src_port;
	s->peer_cid = h->src_cid;
	s->peer_alloc = h->buf_alloc;
	s->peer_fwd_cnt = h->fwd_cnt;
	return s;
}

/* One to a TCP port. */
static void inbound(const struct virtio_vsock_hdr *h)
{
	struct vsock *s = new_incoming(h);
	if (s && (s->file = host_stream_incoming((u16)(h->dst_port - ABI_INBOUND_PORT), (u16)h->src_port, s, &s->changed))) {
		vsock_send_packet(s, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
		return;
	}
	if (s)
		vsock_free(s);
	refuse(h);
}

static void incoming_connection(const struct virtio_vsock_hdr *h)
{
	if (h->dst_port - ABI_INBOUND_PORT < ABI_INBOUND_PORTS) {
		inbound(h);
		return;
	}
	struct vsock *l = listener(h->dst_port), *s;
	if (!l || l->backlog_len >= l->backlog_max || !(s = new_incoming(h))) {
		refuse(h);
		return;
	}
	s->backlog = l->backlog; /* linked through backlog until accepted; oldest last */
	l->backlog = s;
	l->backlog_len++;
	vsock_send_packet(s, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	wake_all(queue_of(l));
}

/* True: the buffer is kept. */
static bool data(struct vsock *s, const u8 *payload, u32 len, u16 id)
{
	if (s->no_receive || len == 0)
		return false;
	if (len > VSOCK_CREDIT - s->rx_bytes)
		return false; /* the peer ignores its credit */
	bool hold = held_buffers < VSOCK_RING / 2;
	struct chunk *c = kmalloc(sizeof *c + (hold ? 0 : len));
	if (!c)
		return false;
	*c = (struct chunk){.data = payload, .len = len, .id = id, .held = hold};
	if (!hold) {
		memcpy(c + 1, payload, len);
		c->data = (u8 *)(c + 1);
	}
	held_buffers += hold;
	if (s->rx_tail)
		s->rx_tail->next = c;
	else
		s->rx_head = c;
	s->rx_tail = c;
	s->rx_bytes += len;
	return hold;
}

void vsock_receive(const struct virtio_vsock_hdr *h, const u8 *payload, u16 id)
{
	bool keep = false;
	struct vsock *s = h->type == VIRTIO_VSOCK_TYPE_STREAM ? find(h) : NULL;
	if (!s) {
		if (h->type == VIRTIO_VSOCK_TYPE_STREAM && h->op == VIRTIO_VSOCK_OP_REQUEST)
			incoming_connection(h);
		else
			refuse(h);
		vsock_release(id);
		return;
	}
	s->peer_alloc = h->buf_alloc;
	s->peer_fwd_cnt = h->fwd_cnt;
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		if (s->state == CONNECTING)
			s->state = CONNECTED;
		break;
	case VIRTIO_VSOCK_OP_RW:
		keep = data(s, payload, h->len, id);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		s->peer_no_receive |= h->flags & VIRTIO_VSOCK_SHUTDOWN_RCV;
		s->peer_no_send |= (h->flags & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
		if (s->peer_no_receive && s->peer_no_send && !s->file)
			s->state = CLOSED;
		break;
	case VIRTIO_VSOCK_OP_RST:
		s->error = s->state == CONNECTING ? ECONNRESET : s->rx_bytes || s->peer_no_send ? 0 : ECONNRESET;
		s->peer_no_send = s->peer_no_receive = true;
		s->state = CLOSED;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		vsock_send_packet(s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
		break;
	default: /* CREDIT_UPDATE: taken above */
		break;
	}
	if (!keep)
		vsock_release(id);
	if (s->changed)
		s->changed(s->file);
	else
		wake_all(queue_of(s));
}

/* ---- data ---------------------------------------------------------------------------- */

u32 vsock_credit(const struct vsock *s)
{
	u32 in_flight = s->tx_cnt - s->peer_fwd_cnt;
	return in_flight < s->peer_alloc ? s->peer_alloc - in_flight : 0;
}

u32 vsock_stream_poll(struct file *f)
{
	struct vsock *s = f->priv;
	u32 mask = 0;
	if (s->state == LISTENING)
		return s->backlog ? EPOLLIN | EPOLLRDNORM : 0;
	if (s->rx_bytes || s->peer_no_send || s->no_receive)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (s->state == CONNECTED && vsock_credit(s) && !s->no_send)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (s->peer_no_send || s->no_receive)
		mask |= EPOLLRDHUP;
	if (s->state == CLOSED)
		mask |= EPOLLHUP | EPOLLOUT;
	if (s->error)
		mask |= EPOLLERR;
	return mask;
}

long vsock_take_error(struct vsock *s)
{
	int e = s->error;
	s->error = 0;
	return -e;
}

static long wait_for(struct file *f, u32 events, int flags)
{
	if (flags & MSG_DONTWAIT_FLAG)
		return vsock_stream_poll(f) & (events | EPOLLERR | EPOLLHUP) ? 0 : -EAGAIN;
	return file_wait(f, events, NO_DEADLINE);
}

u32 vsock_stream_take(struct vsock *s, void *buf, u32 n, bool peek)
{
	u8 *to = buf;
	u32 done = 0;
	for (struct chunk *c = s->rx_head; c && done < n;) {
		u32 take = MIN(n - done, c->len - c->off);
		memcpy(to + done, c->data + c->off, take);
		done += take;
		struct chunk *next = c->next;
		if (!peek) {
			c->off += take;
			s->rx_bytes -= take;
			s->fwd_cnt += take;
			if (c->off == c->len)
				drop_chunk(s);
		}
		c = next;
	}
	/* Half the advertised buffer freed without the peer knowing: tell it. */
	if (s->state == CONNECTED && s->fwd_cnt - s->told_fwd_cnt >= VSOCK_CREDIT / 2)
		vsock_send_packet(s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
	return done;
}

u32 vsock_stream_put(struct vsock *s, const void *buf, u32 n)
{
	u32 done = 0;
	while (done < n) {
		u32 len = MIN(MIN(n - done, vsock_credit(s)), VSOCK_BUFFER - (u32)sizeof(struct virtio_vsock_hdr));
		if (!len)
			break;
		s->tx_cnt += len;
		vsock_send_packet(s, VIRTIO_VSOCK_OP_RW, 0, (const u8 *)buf + done, len);
		done += len;
	}
	return done;
}

long vsock_stream_receive(struct file *f, void *buf, size_t n, int flags)
{
	struct vsock *s = f->priv;
	size_t done = 0;
	if (s->state == UNCONNECTED || s->state == CONNECTING || s->state == LISTENING)
		return -ENOTCONN;
	if (s->local_port != control->driver_port)
		purity_socket();
	if (n == 0)
		return 0;
	for (;;) {
		if (s->rx_bytes) {
			done += vsock_stream_take(s, (u8 *)buf + done, (u32)MIN(n - done, (size_t)VSOCK_CREDIT), flags & MSG_PEEK_FLAG);
			if (done == n || !(flags & MSG_WAITALL_FLAG) || flags & MSG_PEEK_FLAG)
				return (long)done;
		}
		if (s->error)
			return done ? (long)done : vsock_take_error(s);
		if (s->peer_no_send || s->no_receive || s->state == CLOSED)
			return (long)done;
		long err = wait_for(f, EPOLLIN, flags);
		if (err)
			return done ? (long)done : err;
	}
}

long vsock_stream_transmit(struct file *f, const void *buf, size_t n, int flags)
{
	struct vsock *s = f->priv;
	size_t done = 0;
	while (done < n) {
		if (s->error)
			return done ? (long)done : vsock_take_error(s);
		if (s->state == UNCONNECTED || s->state == CONNECTING || s->state == LISTENING)
			return -ENOTCONN;
		if (s->state == CLOSED || s->no_send || s->peer_no_receive) {
			if (!(flags & MSG_NOSIGNAL_FLAG))
				signal_send_thread(current, 13 /* SIGPIPE */, NULL);
			return done ? (long)done : -EPIPE;
		}
		if (vsock_credit(s) == 0) {
			vsock_kick(); /* the monitor may free credit at once */
			poll_devices();
			if (vsock_credit(s))
				continue;
			long err = wait_for(f, EPOLLOUT, flags);
			if (err)
				return done ? (long)done : err;
			continue;
		}
		done += vsock_stream_put(s, (const u8 *)buf + done, (u32)MIN(n - done, (size_t)VSOCK_CREDIT));
	}
	return (long)done;
}
