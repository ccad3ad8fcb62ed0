/*
 * vsock_socket.c: the socket operations of AF_VSOCK, on top of its streams.
 */
#include "hold.h"
#include "vsock_stream.h"

#include <asm-generic/socket.h>
#include <asm/ioctls.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/socket.h>
#include <linux/vm_sockets.h>

#define SOCK_STREAM_TYPE 1
#define ADDR_LEN ((u32)sizeof(struct sockaddr_vm))

static const struct file_ops vsock_ops;

static long vsock_read(struct file *f, void *buf, size_t n, u64 *pos)
{
	(void)pos;
	return vsock_stream_receive(f, buf, n, 0);
}

static long vsock_write(struct file *f, const void *buf, size_t n, u64 *pos)
{
	(void)pos;
	return vsock_stream_transmit(f, buf, n, 0);
}

static long vsock_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	long total = 0;
	m->namelen = 0;
	m->ctllen = 0;
	m->flags = 0;
	for (u64 i = 0; i < m->iovlen; i++) {
		long n = vsock_stream_receive(f, m->iov[i].base, m->iov[i].len, total ? flags | MSG_DONTWAIT_FLAG : flags);
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
		long n = vsock_stream_transmit(f, m->iov[i].base, m->iov[i].len, flags);
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
		s->local_port = vsock_free_port();
		return 0;
	}
	if (vsock_port_taken(vm->svm_port))
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
			s->local_port = vsock_free_port();
		s->peer_cid = vm->svm_cid;
		s->peer_port = vm->svm_port;
		s->state = CONNECTING;
		vsock_send_packet(s, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
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
	return s->error ? vsock_take_error(s) : -ECONNRESET;
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
	vsock_send_packet(s, VIRTIO_VSOCK_OP_SHUTDOWN,
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
		control->purity.entropy = control->purity.clock = control->purity.socket = control->regions_opened = 0;
		return 0;
	}
	if (level == AF_VSOCK && opt == ABI_SO_SEEDED && s->local_port && s->local_port == control->driver_port)
		hold_seeded();
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
		value = (u32)-vsock_take_error(s);
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
		vsock_send_packet(s, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
	for (struct vsock *p = s->backlog; p;) {
		struct vsock *next = p->backlog;
		vsock_send_packet(p, VIRTIO_VSOCK_OP_RST, 0, NULL, 0);
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
	.poll = vsock_stream_poll,
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
