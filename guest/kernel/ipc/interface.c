/*
 * interface.c: what programs ask to list the network interfaces: requests to
 * NETLINK_ROUTE sockets, and the older ioctls. There is one, the loopback.
 */
#include "ipc.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

/* linux/if.h and the C library's net/if.h exclude each other in host tests. */
enum { LO_INDEX = 1, LO_FLAGS = 0x1 | 0x8 | 0x40, LO_LOWER_UP = 0x10000, LO_MTU = 65536 }; /* IFF_UP, LOOPBACK, RUNNING */
enum { LO_TYPE = 772 }; /* ARPHRD_LOOPBACK, linux/if_arp.h */
enum { AF_NETLINK_K = 16, SOL_NETLINK_K = 270, REQUEST_MAX = 4096 };
static const char lo_name[] = "lo";

struct netlink {
	struct sock s;
	u32 port;
	struct msgq q;
};

static const struct file_ops netlink_ops;

static struct netlink *netlink_of(struct file *f) { return f->priv; }

static struct file *netlink_create(int type, int protocol, u32 flags, long *err)
{
	*err = type != SOCK_RAW && type != SOCK_DGRAM ? -ESOCKTNOSUPPORT : protocol != NETLINK_ROUTE ? -EPROTONOSUPPORT : -ENOMEM;
	if (*err != -ENOMEM)
		return NULL;
	struct netlink *n = kzalloc(sizeof *n);
	struct file *f = n ? file_new(&netlink_ops, O_RDWR | flags, n) : NULL;
	if (!f) {
		kfree(n);
		return NULL;
	}
	sock_init(&n->s, f, AF_NETLINK_K, type, protocol);
	*err = 0;
	return f;
}

const struct sock_family netlink_family = {.family = AF_NETLINK_K, .create = netlink_create};

/* Linux gives the first socket the process's number, others negative ones. */
static void autobind(struct netlink *n)
{
	static u32 given;
	if (!n->port)
		n->port = given++ ? (u32)-(4096 + (s32)given) : KERNEL_PID;
}

static long parse(const struct sockaddr_k *a, u32 len, struct sockaddr_nl *out)
{
	if (len < sizeof *out)
		return -EINVAL;
	memcpy(out, a, sizeof *out);
	return out->nl_family == AF_NETLINK_K ? 0 : -EINVAL;
}

static long netlink_bind(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct netlink *n = netlink_of(f);
	struct sockaddr_nl nl;
	long err = parse(a, len, &nl);
	if (err)
		return err;
	if (n->port && nl.nl_pid && nl.nl_pid != n->port)
		return -EINVAL;
	if (nl.nl_pid)
		n->port = nl.nl_pid;
	autobind(n);
	return 0; /* groups: nothing here ever changes */
}

static long netlink_connect(struct file *f, const struct sockaddr_k *a, u32 len)
{
	struct sockaddr_nl nl;
	long err = a->family == AF_UNSPEC ? 0 : parse(a, len, &nl);
	if (!err && a->family != AF_UNSPEC && nl.nl_pid)
		err = -ECONNREFUSED; /* only the kernel listens */
	autobind(netlink_of(f));
	return err;
}

static long netlink_getname(struct file *f, struct sockaddr_k *a, bool peer)
{
	struct sockaddr_nl nl = {.nl_family = AF_NETLINK_K, .nl_pid = peer ? 0 : netlink_of(f)->port};
	memcpy(a, &nl, sizeof nl);
	return sizeof nl;
}

/* ---- answers -------------------------------------------------------------------------- */

struct answer { u8 buf[512]; u32 used; };

static void *put(struct answer *a, const void *data, u32 n)
{
	void *at = a->buf + a->used;
	memset(at, 0, NLMSG_ALIGN(n));
	memcpy(at, data, n);
	a->used += NLMSG_ALIGN(n);
	return at;
}

static void attribute(struct answer *a, u16 type, const void *data, u16 n)
{
	struct rtattr r = {(u16)(sizeof r + n), type};
	put(a, &r, sizeof r);
	put(a, data, n);
}

/* Begins a message; finish() sets its length. */
static u32 begin(struct answer *a, const struct netlink *n, const struct nlmsghdr *to, u16 type, u16 flags)
{
	struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = to->nlmsg_seq, .nlmsg_pid = n->port};
	u32 at = a->used;
	put(a, &h, sizeof h);
	return at;
}

static void finish(struct answer *a, u32 at) { ((struct nlmsghdr *)(a->buf + at))->nlmsg_len = a->used - at; }

static void link(struct answer *a, const struct netlink *n, const struct nlmsghdr *to, u16 flags)
{
	static const u8 none[6];
	u32 at = begin(a, n, to, RTM_NEWLINK, flags), mtu = LO_MTU, queue = 1000;
	struct ifinfomsg i = {.ifi_type = LO_TYPE, .ifi_index = LO_INDEX, .ifi_flags = LO_FLAGS | LO_LOWER_UP};
	put(a, &i, sizeof i);
	attribute(a, IFLA_IFNAME, lo_name, sizeof lo_name);
	attribute(a, IFLA_TXQLEN, &queue, sizeof queue);
	attribute(a, IFLA_MTU, &mtu, sizeof mtu);
	attribute(a, IFLA_ADDRESS, none, sizeof none);
	attribute(a, IFLA_BROADCAST, none, sizeof none);
	finish(a, at);
}

static void address(struct answer *a, const struct netlink *n, const struct nlmsghdr *to, int family)
{
	static const u8 v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
	u32 at = begin(a, n, to, RTM_NEWADDR, NLM_F_MULTI), flags = IFA_F_PERMANENT;
	bool four = family == AF_INET;
	struct ifaddrmsg i = {.ifa_family = (u8)family, .ifa_prefixlen = four ? 8 : 128, .ifa_flags = IFA_F_PERMANENT,
			      .ifa_scope = RT_SCOPE_HOST, .ifa_index = LO_INDEX};
	put(a, &i, sizeof i);
	attribute(a, IFA_ADDRESS, four ? v4 : v6, four ? sizeof v4 : sizeof v6);
	if (four) {
		attribute(a, IFA_LOCAL, v4, sizeof v4);
		attribute(a, IFA_LABEL, lo_name, sizeof lo_name);
	}
	attribute(a, IFA_FLAGS, &flags, sizeof flags);
	finish(a, at);
}

static void error(struct answer *a, const struct netlink *n, const struct nlmsghdr *to, s32 err)
{
	u32 at = begin(a, n, to, NLMSG_ERROR, 0);
	struct nlmsgerr e = {.error = err, .msg = *to};
	put(a, &e, sizeof e);
	finish(a, at);
}

static long send_answer(struct netlink *n, struct answer *a)
{
	struct sockaddr_nl from = {.nl_family = AF_NETLINK_K};
	struct iovec_k v = {a->buf, a->used};
	struct msghdr_k m = {.iov = &v, .iovlen = 1};
	struct msg *msg = msg_new(&from, sizeof from, &m, a->used);
	if (!msg)
		return -ENOBUFS;
	msgq_add(&n->q, msg);
	wake_all(&n->s.file->wq);
	a->used = 0;
	return 0;
}

/* Serves one request; body is what follows its header. */
static long serve(struct netlink *n, const struct nlmsghdr *h, const u8 *body, u32 bytes)
{
	struct answer a = {.used = 0};
	bool dump = (h->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int family = bytes ? body[0] : AF_UNSPEC; /* rtgenmsg and all that begin like it */
	s32 index = 0;
	if (h->nlmsg_type == RTM_GETLINK && bytes >= sizeof(struct ifinfomsg))
		memcpy(&index, body + offsetof(struct ifinfomsg, ifi_index), sizeof index);
	bool known = h->nlmsg_type == RTM_GETLINK || h->nlmsg_type == RTM_GETADDR || h->nlmsg_type == RTM_GETROUTE;
	if (!known || !(h->nlmsg_flags & NLM_F_REQUEST) || (!dump && h->nlmsg_type != RTM_GETLINK)) {
		error(&a, n, h, -EOPNOTSUPP);
		return send_answer(n, &a);
	}
	if (!dump) {
		if (index == LO_INDEX)
			link(&a, n, h, 0);
		else
			error(&a, n, h, -ENODEV);
		return send_answer(n, &a);
	}
	if (h->nlmsg_type == RTM_GETLINK)
		link(&a, n, h, NLM_F_MULTI);
	if (h->nlmsg_type == RTM_GETADDR && (family == AF_UNSPEC || family == AF_INET))
		address(&a, n, h, AF_INET);
	if (h->nlmsg_type == RTM_GETADDR && (family == AF_UNSPEC || family == AF_INET6))
		address(&a, n, h, AF_INET6);
	long err = a.used ? send_answer(n, &a) : 0;
	if (err)
		return err;
	u32 at = begin(&a, n, h, NLMSG_DONE, NLM_F_MULTI), zero = 0;
	put(&a, &zero, sizeof zero);
	finish(&a, at);
	return send_answer(n, &a);
}

static long netlink_sendmsg(struct file *f, const struct msghdr_k *m, int flags)
{
	struct netlink *n = netlink_of(f);
	u64 len = iov_bytes(m->iov, m->iovlen);
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (!len)
		return -ENODATA;
	if (m->name) {
		struct sockaddr_nl to;
		long err = parse(m->name, m->namelen, &to);
		if (err || to.nl_pid)
			return err ? err : -ECONNREFUSED;
	}
	if (len > REQUEST_MAX)
		return -EMSGSIZE;
	autobind(n);
	u8 *buf = kmalloc(len + 1);
	if (!buf)
		return -ENOBUFS;
	iov_gather(m, buf, len);
	long err = 0;
	for (u64 at = 0; !err && len - at >= sizeof(struct nlmsghdr);) {
		struct nlmsghdr h;
		memcpy(&h, buf + at, sizeof h);
		if (h.nlmsg_len < sizeof h || h.nlmsg_len > len - at)
			break;
		err = serve(n, &h, buf + at + sizeof h, h.nlmsg_len - (u32)sizeof h);
		at += MIN((u64)NLMSG_ALIGN(h.nlmsg_len), len - at);
	}
	kfree(buf);
	return err ? err : (long)len;
}

static long netlink_recvmsg(struct file *f, struct msghdr_k *m, int flags)
{
	struct netlink *n = netlink_of(f);
	return msgq_recv(&n->s, &n->q, NULL, m, flags);
}

static u32 netlink_poll(struct file *f)
{
	const struct netlink *n = netlink_of(f);
	return EPOLL_WRITE | (n->s.error ? EPOLLERR : 0) | (n->q.head ? EPOLL_READ : 0);
}

static long netlink_setsockopt(struct file *f, int level, int opt, const void *v, u32 len)
{
	if (level == SOL_NETLINK_K) { /* which details answers hold; there are none */
		int value;
		return opt == NETLINK_EXT_ACK || opt == NETLINK_GET_STRICT_CHK || opt == NETLINK_CAP_ACK || opt == NETLINK_NO_ENOBUFS
			       ? opt_get_int(v, len, &value)
			       : -ENOPROTOOPT;
	}
	return level == SOL_SOCKET ? sock_setsockopt(&netlink_of(f)->s, opt, v, len) : -ENOPROTOOPT;
}

static long netlink_getsockopt(struct file *f, int level, int opt, void *v, u32 *len)
{
	return level == SOL_SOCKET ? sock_getsockopt(&netlink_of(f)->s, opt, false, v, len) : -ENOPROTOOPT;
}

static void netlink_release(struct file *f)
{
	struct netlink *n = netlink_of(f);
	msgq_free(&n->q);
	kfree(n);
}

static const struct sock_ops netlink_sock_ops = {
	.bind = netlink_bind,
	.connect = netlink_connect,
	.sendmsg = netlink_sendmsg,
	.recvmsg = netlink_recvmsg,
	.getname = netlink_getname,
	.setsockopt = netlink_setsockopt,
	.getsockopt = netlink_getsockopt,
};

static const struct file_ops netlink_ops = {
	.name = "netlink",
	.read = sock_read,
	.write = sock_write,
	.stat = sock_stat,
	.poll = netlink_poll,
	.release = netlink_release,
	.sock = &netlink_sock_ops,
};

/* ---- ioctls of any socket: netdevice(7) ---------------------------------------------------- */

struct ifreq_k { /* struct ifreq */
	char name[16];
	union { s32 number; int16_t flags; struct { u16 family; u8 data[14]; } addr; u8 room[24]; };
};
struct ifconf_k { s32 len, pad; struct ifreq_k *req; }; /* struct ifconf */

static void set_address(struct ifreq_k *r, u32 ip)
{
	r->addr.family = AF_INET;
	memset(r->addr.data, 0, sizeof r->addr.data);
	memcpy(r->addr.data + 2, &ip, sizeof ip);
}

static long list_interfaces(u64 arg)
{
	struct ifconf_k *c = (void *)arg;
	if (!user_writable(c, sizeof *c))
		return -EFAULT;
	if (c->req && c->len >= (s32)sizeof *c->req) {
		if (!user_writable(c->req, sizeof *c->req))
			return -EFAULT;
		memset(c->req, 0, sizeof *c->req);
		memcpy(c->req->name, lo_name, sizeof lo_name);
		set_address(c->req, 0x0100007f);
	} else if (c->req) {
		c->len = 0;
		return 0;
	}
	c->len = sizeof *c->req;
	return 0;
}

long interface_ioctl(u32 request, u64 arg)
{
	struct ifreq_k *r = (void *)arg;
	if (request == SIOCGIFCONF)
		return list_interfaces(arg);
	if (request < SIOCGIFNAME || request > SIOCGIFTXQLEN)
		return -ENOTTY;
	if (!user_writable(r, sizeof *r))
		return -EFAULT;
	if (request == SIOCGIFNAME) {
		if (r->number != LO_INDEX)
			return -ENODEV;
		memset(r->name, 0, sizeof r->name);
		memcpy(r->name, lo_name, sizeof lo_name);
		return 0;
	}
	if (strncmp(r->name, lo_name, sizeof r->name))
		return -ENODEV;
	switch (request) {
	case SIOCGIFINDEX: r->number = LO_INDEX; return 0;
	case SIOCGIFFLAGS: r->flags = LO_FLAGS; return 0;
	case SIOCGIFMTU: r->number = LO_MTU; return 0;
	case SIOCGIFADDR: set_address(r, 0x0100007f); return 0;
	case SIOCGIFNETMASK: set_address(r, 0x000000ff); return 0;
	case SIOCGIFHWADDR:
		memset(r->room, 0, sizeof r->room);
		r->addr.family = LO_TYPE;
		return 0;
	default:
		return -ENOTTY;
	}
}
