/*
 * udp.c: datagram sockets of AF_INET and AF_INET6: UDP and UDP-Lite, whose
 * checksum coverage nothing here looks at. As with UDP anywhere there
 * is no flow control: a datagram for a full queue is lost.
 */
#include "outbound.h"

#include <asm/ioctls.h>

/* Largest payload: 65535 less the UDP header and, for IPv4, the IP header. */
#define V4_MAX 65507u
#define V6_MAX 65527u

/* Linux: include/net/udplite.h; 8: the header, which is always covered. */
enum { UDPLITE_SEND_CSCOV = 10, UDPLITE_RECV_CSCOV = 11, COVERAGE_MIN = 8, COVERAGE_MAX = 65535 };

struct udp {
	struct sock s;
	struct inet in;
	struct msgq q;
	struct dns_way dns;
	int coverage[2]; /* UDP-Lite: sent, received */
};

static struct list udp_ports, udplite_ports;
static const struct file_ops udp_ops;

static struct udp *udp_of(struct file *f) { return f->priv; }

static struct list *ports_of(const struct udp *u) { return u->s.protocol == IPPROTO_UDP ? &udp_ports : &udplite_ports; }

struct file *udp_create(int family, int protocol, u32 flags)
{
	struct udp *u = kzalloc(sizeof *u);
	if (!u)
		return NULL;
	struct file *f = file_new(&udp_ops, O_RDWR | flags, u);
	if (!f) {
		kfree(u);
		return NULL;
	}
	sock_init(&u->s, f, family, SOCK_DGRAM, protocol);
	inet_init(&u->in, &u->s);
	return f;
}

static bool never(const struct inet *in)
{
	(void)in;
	return false;
}

static long udp_bind(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct udp *u = udp_of(f);
	struct inet_addr addr;
	long err = inet_parse(&u->in, a, len, &addr);
	if (err)
		return err;
	return u->in.local.port ? -EINVAL : inet_bind(ports_of(u), &u->in, &addr, never);
}

/* Of other machines only name servers can be reached. */
static bool is_dns(const struct udp *u, const struct inet_addr *to)
{
	return to->port == ABI_NET_DNS_PORT && u->s.protocol == IPPROTO_UDP;
}

static long udp_connect(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct udp *u = udp_of(f);
	if (a->family == AF_UNSPEC) {
		inet_disconnect(&u->in);
		u->s.error = 0;
		return 0;
	}
	inet_disconnect(&u->in);
	struct inet_addr to;
	long err = inet_parse(&u->in, a, len, &to);
	if (!err)
		err = inet_destination(&u->in, &to);
	if (!err && to.kind == INET_FOREIGN && !is_dns(u, &to))
		err = -ENETUNREACH;
	if (!err && !u->in.local.port)
		err = inet_autobind(ports_of(u), &u->in);
	if (err)
		return err == -EADDRNOTAVAIL ? -EAGAIN : err;
	inet_connect(&u->in, &to);
	return 0;
}

/* Who receives: the best match; a socket connected to the sender before others. */
static struct udp *find(struct list *ports, const struct inet_addr *to, const struct inet_addr *from)
{
	struct udp *best = NULL;
	int best_match = 0;
	struct list *head = inet_ports(ports);
	for (struct list *l = head->next; l != head; l = l->next) {
		struct udp *u = container_of(container_of(l, struct inet, bound), struct udp, in);
		int match = inet_match(&u->in, to);
		if (match && u->in.remote.port)
			match = inet_same(&u->in.remote, from) ? match + 4 : 0;
		if (match > best_match) {
			best = u;
			best_match = match;
		}
	}
	return best;
}

static long destination(struct udp *u, const struct msghdr_k *m, struct inet_addr *to)
{
	if (!m->name) {
		*to = u->in.remote;
		return to->port ? 0 : -EDESTADDRREQ;
	}
	long err = inet_parse(&u->in, m->name, m->namelen, to);
	if (err)
		return err;
	err = to->port ? inet_destination(&u->in, to) : -EINVAL;
	return !err && to->kind == INET_FOREIGN && !is_dns(u, to) ? -ENETUNREACH : err;
}

/* False: no memory. A datagram for a full queue is lost. */
static bool deliver(struct udp *to, const struct inet_addr *from, const struct inet_header *h, bool v6, const struct msghdr_k *m, u64 len)
{
	if (to->s.shut & SHUT_RX || msgq_full(&to->q, &to->s))
		return true;
	struct sockaddr_k name;
	u32 namelen = inet_put(to->s.family, from, &name);
	struct msg *msg = msg_new(&name, namelen, m, len);
	if (!msg)
		return false;
	msg->v6 = v6;
	msg->tos = h->tos;
	msg->ttl = h->ttl;
	msgq_add(&to->q, msg);
	wake_all(&to->s.file->wq);
	return true;
}

static long udp_sendmsg(struct file *f, const struct msghdr_k *m, int flags)
{
	struct udp *u = udp_of(f);
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	long err = sock_take_error(&u->s);
	struct inet_addr to = {0};
	if (!err)
		err = destination(u, m, &to);
	if (!err && u->s.shut & SHUT_TX)
		err = -EPIPE;
	struct inet_header h = to.kind == INET_V4 ? u->in.v4 : u->in.v6;
	if (!err)
		err = inet_control(m, &h);
	u64 len = iov_bytes(m->iov, m->iovlen);
	if (!err && len > (to.kind == INET_V4 ? V4_MAX : V6_MAX))
		err = -EMSGSIZE;
	if (!err && !u->in.local.port)
		err = inet_autobind(ports_of(u), &u->in) ? -EAGAIN : 0;
	if (err)
		return err;
	struct inet_addr from = inet_source(&u->in, &to);
	struct udp *receiver = to.kind == INET_FOREIGN ? NULL : find(ports_of(u), &to, &from);
	if (!receiver && is_dns(u, &to)) { /* glibc and Go ask 127.0.0.1 where no /etc/resolv.conf names another */
		err = dns_send(f, &to, m, len);
		return err ? err : (long)len;
	}
	if (!receiver) {
		if (u->in.remote.port) { /* "port unreachable" reaches connected sockets */
			sock_fail(&u->s, ECONNREFUSED);
			wake_all(&f->wq);
		}
		return (long)len;
	}
	return deliver(receiver, &from, &h, to.kind != INET_V4, m, len) ? (long)len : -ENOBUFS;
}

void udp_deliver(struct file *f, const struct inet_addr *from, const struct msghdr_k *m, u64 len)
{
	struct udp *u = udp_of(f);
	struct inet_header h = {.ttl = INET_TTL};
	deliver(u, from, &h, u->s.family == AF_INET6, m, len);
}

void udp_unreachable(struct file *f)
{
	struct udp *u = udp_of(f);
	if (!u->in.remote.port)
		return;
	sock_fail(&u->s, ECONNREFUSED);
	wake_all(&f->wq);
}

struct dns_way *udp_dns_way(struct file *f) { return &udp_of(f)->dns; }

static long udp_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	struct udp *u = udp_of(f);
	return msgq_recv(&u->s, &u->q, NULL, m, flags);
}

static u32 udp_poll(struct file *f)
{
	const struct udp *u = udp_of(f);
	u32 mask = EPOLL_WRITE | (u->s.error ? EPOLLERR : 0) | (u->s.shut == SHUT_BOTH ? EPOLLHUP : 0);
	if (u->s.shut & SHUT_RX)
		mask |= EPOLL_READ | EPOLLRDHUP;
	return mask | (u->q.head ? EPOLL_READ : 0);
}

static long udp_ioctl(struct file *f, u32 request, u64 arg)
{
	const struct udp *u = udp_of(f);
	if (request == TIOCOUTQ)
		return user_put_int(arg, 0);
	return request == FIONREAD ? user_put_int(arg, u->q.head ? (int)u->q.head->len : 0) : interface_ioctl(request, arg);
}

static long udp_shutdown(struct file *f, int how)
{
	struct udp *u = udp_of(f);
	if (!u->in.remote.port)
		return -ENOTCONN;
	u->s.shut |= how == SHUT_RD ? SHUT_RX : how == SHUT_WR ? SHUT_TX : SHUT_BOTH;
	wake_all(&f->wq);
	return 0;
}

static long udp_getname(struct file *f, struct sockaddr_k *a, bool peer)
{
	struct udp *u = udp_of(f);
	if (peer && !u->in.remote.port)
		return -ENOTCONN;
	return inet_put(u->s.family, peer ? &u->in.remote : &u->in.local, a);
}

static long udp_setsockopt(struct file *f, int level, int opt, const void *v, u32 len)
{
	struct udp *u = udp_of(f);
	if (level == IPPROTO_UDPLITE && u->s.protocol == level && (opt == UDPLITE_SEND_CSCOV || opt == UDPLITE_RECV_CSCOV)) {
		int value;
		long r = opt_get_int(v, len, &value);
		if (!r)
			u->coverage[opt - UDPLITE_SEND_CSCOV] = value ? MIN(MAX(value, COVERAGE_MIN), COVERAGE_MAX) : 0;
		return r;
	}
	return inet_setsockopt(&udp_of(f)->in, level, opt, v, len);
}

static long udp_getsockopt(struct file *f, int level, int opt, void *v, u32 *len)
{
	struct udp *u = udp_of(f);
	if (level == IPPROTO_UDPLITE && u->s.protocol == level && (opt == UDPLITE_SEND_CSCOV || opt == UDPLITE_RECV_CSCOV))
		return opt_put(v, len, &u->coverage[opt - UDPLITE_SEND_CSCOV], sizeof u->coverage[0]);
	return inet_getsockopt(&udp_of(f)->in, level, opt, false, v, len);
}

static void udp_release(struct file *f)
{
	struct udp *u = udp_of(f);
	inet_unbind(&u->in);
	dns_close(&u->dns);
	msgq_free(&u->q);
	kfree(u);
}

static const struct sock_ops udp_sock_ops = {
	.bind = udp_bind,
	.connect = udp_connect,
	.sendmsg = udp_sendmsg,
	.recvmsg = udp_recvmsg,
	.shutdown = udp_shutdown,
	.getname = udp_getname,
	.setsockopt = udp_setsockopt,
	.getsockopt = udp_getsockopt,
};

static const struct file_ops udp_ops = {
	.name = "udp",
	.read = sock_read,
	.write = sock_write,
	.stat = sock_stat,
	.ioctl = udp_ioctl,
	.poll = udp_poll,
	.release = udp_release,
	.sock = &udp_sock_ops,
};
