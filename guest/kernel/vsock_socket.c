/*
 * vsock_socket.c: AF_VSOCK stream sockets: the connection's states, credit,
 * and the socket operations. Payload stays in the receive ring's buffer until
 * the program reads it, unless buffers run short: then it is copied out.
 */
#include "core.h"
#include "vsock.h"

#include <asm-generic/socket.h>
#include <asm/ioctls.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/socket.h>
#include <linux/vm_sockets.h>

#define SOCK_STREAM_TYPE 1
#define MSG_PEEK_FLAG 0x02
#define MSG_WAITALL_FLAG 0x100
#define MSG_DONTWAIT_FLAG 0x40
#define MSG_NOSIGNAL_FLAG 0x4000
#define ADDR_LEN ((u32)sizeof(struct sockaddr_vm))

enum state { UNCONNECTED, CONNECTING, CONNECTED, LISTENING, CLOSED };

struct chunk {
	struct chunk *next;
	const u8 *data;
	u32 len, off;
	u16 id;
	bool held; /* data lies in receive buffer id; else in the chunk itself */
};

struct vsock {
	struct vsock *next;
	struct file *file; /* NULL until accepted */
	enum state state;
	u32 local_port, peer_port;
	u64 peer_cid;
	struct chunk *rx_head, *rx_tail;
	u32 rx_bytes, fwd_cnt, told_fwd_cnt;
	u32 tx_cnt, peer_alloc, peer_fwd_cnt;
	bool peer_no_send, peer_no_receive, no_send, no_receive;
	int error; /* errno of the connection, reported once */
	struct vsock *backlog; /* of a listener: connected, not yet accepted */
	int backlog_max, backlog_len;
};

static struct vsock *sockets;
static u32 next_port = 1024;
static u32 held_buffers;
static const struct file_ops vsock_ops;

static struct waitq *queue_of(struct vsock *s)
{
	static struct waitq nobody;
	return s->file ? &s->file->wq : &nobody;
}

static void send_packet(struct vsock *s, u16 op, u32 flags, const void *payload, u32 len)
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

static struct vsock *vsock_new(struct file *f)
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

static void vsock_free(struct vsock *s)
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

static u32 free_port(void)
{
	for (;;) {
		u32 port = next_port++;
		bool taken = false;
		for (struct vsock *s = sockets; s; s = s->next)
			taken |= s->local_port == port;
		if (!taken && port)
			return port;
	}
}

/* ---- packets from the monitor --------------------------------------------------- */

static void incoming_connection(const struct virtio_vsock_hdr *h)
{
	struct vsock *l = listener(h->dst_port), *s;
	if (!l || l->backlog_len >= l->backlog_max || !(s = vsock_new(NULL))) {
		refuse(h);
		return;
	}
	s->state = CONNECTED;
	s->local_port = h->dst_port;
	s->peer_port = h->src_port;
	s->peer_cid = h->src_cid;
	s->peer_alloc = h->buf_alloc;
	s->peer_fwd_cnt = h->fwd_cnt;
	s->backlog = l->backlog; /* linked through backlog until accepted; oldest last */
	l->backlog = s;
	l->backlog_len++;
	send_packet(s, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
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
		send_packet(s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
		break;
	default: /* CREDIT_UPDATE: taken above */
		break;
	}
	if (!keep)
		vsock_release(id);
	wake_all(queue_of(s));
}

/* ---- data ---------------------------------------------------------------------------- */

static u32 credit(const struct vsock *s)
{
	u32 in_flight = s->tx_cnt - s->peer_fwd_cnt;
	return in_flight < s->peer_alloc ? s->peer_alloc - in_flight : 0;
}

static u32 poll(struct file *f)
{
	struct vsock *s = f->priv;
	u32 mask = 0;
	if (s->state == LISTENING)
		return s->backlog ? EPOLLIN | EPOLLRDNORM : 0;
	if (s->rx_bytes || s->peer_no_send || s->no_receive)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (s->state == CONNECTED && credit(s) && !s->no_send)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (s->peer_no_send || s->no_receive)
		mask |= EPOLLRDHUP;
	if (s->state == CLOSED)
		mask |= EPOLLHUP | EPOLLOUT;
	if (s->error)
		mask |= EPOLLERR;
	return mask;
}

static long take_error(struct vsock *s)
{
	int e = s->error;
	s->error = 0;
	return -e;
}

static long wait_for(struct file *f, u32 events, int flags)
{
	if (flags & MSG_DONTWAIT_FLAG)
		return poll(f) & (events | EPOLLERR | EPOLLHUP) ? 0 : -EAGAIN;
	return file_wait(f, events, NO_DEADLINE);
}

static u32 copy_out(struct vsock *s, u8 *buf, u32 n, bool peek)
{
	u32 done = 0;
	for (struct chunk *c = s->rx_head; c && done < n;) {
		u32 take = MIN(n - done, c->len - c->off);
		memcpy(buf + done, c->data + c->off, take);
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
	return done;
}

static long receive(struct file *f, void *buf, size_t n, int flags)
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
			done += copy_out(s, (u8 *)buf + done, (u32)MIN(n - done, (size_t)VSOCK_CREDIT), flags & MSG_PEEK_FLAG);
			/* Half the advertised buffer freed without the peer knowing: tell it. */
			if (s->state == CONNECTED && s->fwd_cnt - s->told_fwd_cnt >= VSOCK_CREDIT / 2)
				send_packet(s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, NULL, 0);
			if (done == n || !(flags & MSG_WAITALL_FLAG) || flags & MSG_PEEK_FLAG)
				return (long)done;
		}
		if (s->error)
			return done ? (long)done : take_error(s);
		if (s->peer_no_send || s->no_receive || s->state == CLOSED)
			return (long)done;
		long err = wait_for(f, EPOLLIN, flags);
		if (err)
			return done ? (long)done : err;
	}
}

static long transmit(struct file *f, const void *buf, size_t n, int flags)
{
	struct vsock *s = f->priv;
	size_t done = 0;
	while (done < n) {
		if (s->error)
			return done ? (long)done : take_error(s);
		if (s->state == UNCONNECTED || s->state == CONNECTING || s->state == LISTENING)
			return -ENOTCONN;
		if (s->state == CLOSED || s->no_send || s->peer_no_receive) {
			if (!(flags & MSG_NOSIGNAL_FLAG))
				signal_send_thread(current, 13 /* SIGPIPE */, NULL);
			return done ? (long)done : -EPIPE;
		}
		u32 room = credit(s);
		if (room == 0) {
			vsock_kick(); /* the monitor may free credit at once */
			poll_devices();
			if (credit(s))
				continue;
			long err = wait_for(f, EPOLLOUT, flags);
			if (err)
				return done ? (long)done : err;
			continue;
		}
		u32 len = (u32)MIN(MIN(n - done, (size_t)room), VSOCK_BUFFER - sizeof(struct virtio_vsock_hdr));
		s->tx_cnt += len;
		send_packet(s, VIRTIO_VSOCK_OP_RW, 0, (const u8 *)buf + done, len);
		done += len;
	}
	return (long)done;
}

static long vsock_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	return receive(f, buf, n, 0);
}

static long vsock_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	return transmit(f, buf, n, 0);
}

static long vsock_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	long total = 0;
	m->namelen = 0;
	m->ctllen = 0;
	m->flags = 0;
	for (u64 i = 0; i < m->iovlen; i++) {
		long n = receive(f, m->iov[i].base, m->iov[i].len, total ? flags | MSG_DONTWAIT_FLAG : flags);
		if (n < 0)
			return total ? total : n;
		total += n;
		if ((u64)n < m->iov[i].len)
			break;
	}
	return total;
}

static long vsock_sendmsg(struct file *f, const struct msghdr_k *m, int flags)
{
	long total = 0;
	for (u64 i = 0; i < m->iovlen; i++) {
		long n = transmit(f, m->iov[i].base, m->iov[i].len, flags);
		if (n < 0)
			return total ? total : n;
		total += n;
		if ((u64)n < m->iov[i].len)
			break;
	}
	return total;
}

/* ---- connection ------------------------------------------------------------------------ */

static long vsock_bind(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct vsock *s = f->priv;
	const struct sockaddr_vm *vm = (const void *)a;
	if (len < ADDR_LEN || vm->svm_family != AF_VSOCK || s->local_port)
		return -EINVAL;
	if (vm->svm_cid != VMADDR_CID_ANY && vm->svm_cid != identity->cid)
		return -EADDRNOTAVAIL;
	if (vm->svm_port == VMADDR_PORT_ANY) {
		s->local_port = free_port();
		return 0;
	}
	for (struct vsock *o = sockets; o; o = o->next)
		if (o->local_port == vm->svm_port)
			return -EADDRINUSE;
	s->local_port = vm->svm_port;
	return 0;
}

static long vsock_connect(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct vsock *s = f->priv;
	const struct sockaddr_vm *vm = (const void *)a;
	if (len < ADDR_LEN || vm->svm_family != AF_VSOCK)
		return -EINVAL;
	if (s->state == CONNECTED)
		return -EISCONN;
	if (s->state != CONNECTING) {
		if (s->state != UNCONNECTED)
			return -EINVAL;
		if (vm->svm_cid != VMADDR_CID_HOST)
			return -ENETUNREACH;
		if (!s->local_port)
			s->local_port = free_port();
		s->peer_cid = vm->svm_cid;
		s->peer_port = vm->svm_port;
		s->state = CONNECTING;
		send_packet(s, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
		vsock_kick();
		poll_devices();
	}
	while (s->state == CONNECTING) {
		if (f->flags & O_NONBLOCK)
			return -EINPROGRESS;
		long err = wait_on(&f->wq, mono_ns() + 10 * NS_PER_SEC);
		if (err == -ETIMEDOUT)
			s->state = UNCONNECTED;
		if (err)
			return err;
	}
	if (s->state == CONNECTED)
		return 0;
	s->state = UNCONNECTED;
	return s->error ? take_error(s) : -ECONNRESET;
}

static long vsock_listen(struct file *f, int backlog)
{
	struct vsock *s = f->priv;
	if (!s->local_port || (s->state != UNCONNECTED && s->state != LISTENING))
		return -EINVAL;
	s->state = LISTENING;
	s->backlog_max = MAX(1, MIN(backlog, 128));
	return 0;
}

static struct file *vsock_accept(struct file *f, long *err)
{
	struct vsock *l = f->priv;
	if (l->state != LISTENING) {
		*err = -EINVAL;
		return NULL;
	}
	while (!l->backlog)
		if ((*err = file_wait(f, EPOLLIN, NO_DEADLINE)))
			return NULL;
	struct file *nf = file_new(&vsock_ops, O_RDWR, NULL);
	if (!nf) {
		*err = -ENFILE;
		return NULL;
	}
	struct vsock **last = &l->backlog;
	while ((*last)->backlog)
		last = &(*last)->backlog;
	struct vsock *s = *last;
	*last = NULL;
	l->backlog_len--;
	s->file = nf;
	nf->priv = s;
	return nf;
}

static long vsock_shutdown(struct file *f, int how)
{
	struct vsock *s = f->priv;
	if (how < 0 || how > 2)
		return -EINVAL;
	if (s->state != CONNECTED)
		return -ENOTCONN;
	s->no_receive |= how != 1;
	s->no_send |= how != 0;
	send_packet(s, VIRTIO_VSOCK_OP_SHUTDOWN,
		    (s->no_receive ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0) | (s->no_send ? VIRTIO_VSOCK_SHUTDOWN_SEND : 0), NULL, 0);
	wake_all(&f->wq);
	return 0;
}

static long vsock_getname(struct file *f, struct sockaddr_k *a, bool peer)
{
	struct vsock *s = f->priv;
	if (peer && s->state != CONNECTED)
		return -ENOTCONN;
	struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK,
		.svm_cid = peer ? (u32)s->peer_cid : identity->cid,
		.svm_port = peer ? s->peer_port : s->local_port,
	};
	memcpy(a, &vm, sizeof vm);
	return sizeof vm;
}

static long vsock_setsockopt(struct file *f, int level, int opt, const void *v, u32 len)
{
	struct vsock *s = f->priv;
	if (level == AF_VSOCK && opt == ABI_SO_DRIVER) {
		u64 site = 0;
		if (len == sizeof site)
			memcpy(&site, v, sizeof site);
		if (site)
			clock_lock_site(site);
		control->driver_port = s->local_port;
		control->purity.entropy = control->purity.clock = control->purity.socket = 0;
		return 0;
	}
	return level == SOL_SOCKET || level == AF_VSOCK ? 0 : -ENOPROTOOPT;
}

static long vsock_getsockopt(struct file *f, int level, int opt, void *v, u32 *len)
{
	struct vsock *s = f->priv;
	if (level != SOL_SOCKET || *len < 4)
		return -ENOPROTOOPT;
	u32 value;
	switch (opt) {
	case SO_ERROR:
		value = (u32)-take_error(s);
		break;
	case SO_TYPE:
		value = SOCK_STREAM_TYPE;
		break;
	case SO_DOMAIN:
		value = AF_VSOCK;
		break;
	case SO_ACCEPTCONN:
		value = s->state == LISTENING;
		break;
	case SO_RCVBUF:
	case SO_SNDBUF:
		value = VSOCK_CREDIT;
		break;
	case SO_PROTOCOL:
		value = 0;
		break;
	default:
		return -ENOPROTOOPT;
	}
	memcpy(v, &value, 4);
	*len = 4;
	return 0;
}

static long vsock_ioctl(struct file *f, u32 request, u64 arg)
{
	struct vsock *s = f->priv;
	if (request != FIONREAD)
		return -ENOTTY;
	if (!user_writable((void *)arg, 4))
		return -EFAULT;
	*(u32 *)arg = s->rx_bytes;
	return 0;
}

static void vsock_release_file(struct file *f)
{
	struct vsock *s = f->priv;
	if (!s)
		return;
	if (s->state == CONNECTED || s->state == CONNECTING)
		send_packet(s, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	for (struct vsock *p = s->backlog; p;) {
		struct vsock *next = p->backlog;
		send_packet(p, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
		vsock_free(p);
		p = next;
	}
	vsock_free(s);
}

static const struct sock_ops vsock_sock_ops = {
	.bind = vsock_bind,
	.connect = vsock_connect,
	.listen = vsock_listen,
	.accept = vsock_accept,
	.sendmsg = vsock_sendmsg,
	.recvmsg = vsock_recvmsg,
	.shutdown = vsock_shutdown,
	.getname = vsock_getname,
	.setsockopt = vsock_setsockopt,
	.getsockopt = vsock_getsockopt,
};

static const struct file_ops vsock_ops = {
	.name = "vsock",
	.read = vsock_read,
	.write = vsock_write,
	.poll = poll,
	.ioctl = vsock_ioctl,
	.release = vsock_release_file,
	.sock = &vsock_sock_ops,
};

static struct file *vsock_create(int type, int protocol, u32 flags, long *err)
{
	(void)protocol;
	if (type != SOCK_STREAM_TYPE || !vsock_present()) {
		*err = vsock_present() ? -ESOCKTNOSUPPORT : -EAFNOSUPPORT;
		return NULL;
	}
	struct file *f = file_new(&vsock_ops, O_RDWR | flags, NULL);
	struct vsock *s = f ? vsock_new(f) : NULL;
	if (!s) {
		if (f)
			file_put(f);
		*err = -ENOMEM;
		return NULL;
	}
	f->priv = s;
	return f;
}

const struct sock_family vsock_family = {.family = AF_VSOCK, .create = vsock_create};
