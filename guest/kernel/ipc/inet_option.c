/*
 * inet_option.c: the IP-level options of AF_INET and AF_INET6, and control
 * messages with a packet's header fields.
 */
#include "inet.h"

#include <linux/ipv6.h>

/* Accepted without effect: what they steer does not exist on a loopback without wires. */
static bool ip_ignored(int opt)
{
	return opt == IP_RECVERR || opt == IP_MTU_DISCOVER || opt == IP_FREEBIND || opt == IP_BIND_ADDRESS_NO_PORT ||
	       opt == IP_MULTICAST_TTL || opt == IP_MULTICAST_LOOP;
}

static bool ipv6_ignored(int opt)
{
	return opt == IPV6_MULTICAST_HOPS || opt == IPV6_MULTICAST_LOOP || opt == IPV6_MTU_DISCOVER || opt == IPV6_RECVERR ||
	       opt == IPV6_FREEBIND;
}

/* An option that is a bit of sock.ancillary; 0: it is not one. */
static u8 control_bit(int level, int opt)
{
	if (level == IPPROTO_IP)
		return opt == IP_RECVTTL ? INET_RECV_TTL : opt == IP_RECVTOS ? INET_RECV_TOS : 0;
	return opt == IPV6_RECVHOPLIMIT ? INET_RECV_HOPLIMIT : opt == IPV6_RECVTCLASS ? INET_RECV_TCLASS : 0;
}

/* A header field that an option or a control message sets; NULL: it sets none. -1 is the default. */
static u8 *field(int level, int opt, struct inet_header *v4, struct inet_header *v6, u8 *preset)
{
	*preset = 0;
	if (level == IPPROTO_IP && opt == IP_TOS)
		return &v4->tos;
	if (level == IPPROTO_IPV6 && opt == IPV6_TCLASS)
		return &v6->tos;
	*preset = INET_TTL;
	if (level == IPPROTO_IP && opt == IP_TTL)
		return &v4->ttl;
	if (level == IPPROTO_IPV6 && opt == IPV6_UNICAST_HOPS)
		return &v6->ttl;
	return NULL;
}

static long set_field(u8 *to, int level, int opt, u8 preset, int value)
{
	if (level == IPPROTO_IP && opt == IP_TOS) {
		*to = (u8)value;
		return 0;
	}
	if (value < -1 || value > 255 || (level == IPPROTO_IP && value == 0))
		return -EINVAL;
	*to = value < 0 ? preset : (u8)value;
	return 0;
}

/* Options of IPPROTO_IP may be a single byte: ip(7) does not say so, Linux takes it. */
static long get_value(int level, const void *v, u32 len, int *out)
{
	if (level == IPPROTO_IP && len && len < sizeof *out) {
		*out = *(const u8 *)v;
		return 0;
	}
	return opt_get_int(v, len, out);
}

long inet_setsockopt(struct inet *in, int level, int opt, const void *v, u32 len)
{
	if (level == SOL_SOCKET)
		return opt == SO_PASSCRED ? -EOPNOTSUPP : sock_setsockopt(in->s, opt, v, len);
	if (level != IPPROTO_IP && (level != IPPROTO_IPV6 || in->s->family != AF_INET6))
		return -ENOPROTOOPT;
	u8 preset, *f = field(level, opt, &in->v4, &in->v6, &preset), bit = control_bit(level, opt);
	bool v6only = level == IPPROTO_IPV6 && opt == IPV6_V6ONLY;
	if (!f && !bit && !v6only) {
		if (level == IPPROTO_IP ? ip_ignored(opt) : ipv6_ignored(opt))
			return len ? 0 : -EINVAL;
		return -ENOPROTOOPT;
	}
	int value;
	long r = get_value(level, v, len, &value);
	if (r)
		return r;
	if (f)
		return set_field(f, level, opt, preset, value);
	if (v6only) {
		if (in->local.port)
			return -EINVAL;
		in->v6only = value != 0;
	} else if (value) {
		in->s->ancillary |= bit;
	} else {
		in->s->ancillary &= (u8)~bit;
	}
	return 0;
}

long inet_getsockopt(struct inet *in, int level, int opt, bool listening, void *v, u32 *len)
{
	int value;
	if (level == SOL_SOCKET)
		return sock_getsockopt(in->s, opt, listening, v, len);
	if (level != IPPROTO_IP && (level != IPPROTO_IPV6 || in->s->family != AF_INET6))
		return -ENOPROTOOPT;
	u8 preset, *f = field(level, opt, &in->v4, &in->v6, &preset), bit = control_bit(level, opt);
	if (f)
		value = *f;
	else if (bit)
		value = (in->s->ancillary & bit) != 0;
	else if (level == IPPROTO_IPV6 && opt == IPV6_V6ONLY)
		value = in->v6only;
	else
		return -ENOPROTOOPT;
	return opt_put(v, len, &value, sizeof value);
}

/* ---- control messages ------------------------------------------------------------- */

long inet_control(const struct msghdr_k *m, struct inet_header *h)
{
	const u8 *p = m->ctl;
	for (u64 left = m->ctllen; left >= sizeof(struct cmsghdr_k);) {
		struct cmsghdr_k c;
		memcpy(&c, p, sizeof c);
		if (c.len < sizeof c || c.len > left)
			return -EINVAL;
		if (c.level == IPPROTO_IP || c.level == IPPROTO_IPV6) {
			int opt = c.level == IPPROTO_IPV6 && c.type == IPV6_HOPLIMIT ? IPV6_UNICAST_HOPS : c.type, value;
			u8 preset, *f = field(c.level, opt, h, h, &preset);
			u64 bytes = c.len - sizeof c;
			bool byte = c.level == IPPROTO_IP && opt == IP_TOS && bytes == 1;
			if (!f || (bytes != sizeof value && !byte)) /* addresses, routes: not served, so not ignored */
				return -EINVAL;
			if (byte)
				value = p[sizeof c];
			else
				memcpy(&value, p + sizeof c, sizeof value);
			long r = set_field(f, c.level, opt, preset, value);
			if (r)
				return r;
		} else if (c.level == SOL_SOCKET) { /* time stamps, marks */
			return -EINVAL;
		}
		u64 step = MIN(CMSG_ALIGN(c.len), left);
		p += step;
		left -= step;
	}
	return 0;
}

void inet_put_control(const struct sock *s, const struct msg *msg, struct msghdr_k *m, u64 cap)
{
	int ttl = msg->ttl, tclass = msg->tos;
	if (msg->v6) {
		if (s->ancillary & INET_RECV_HOPLIMIT)
			cmsg_put(m, cap, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof ttl);
		if (s->ancillary & INET_RECV_TCLASS)
			cmsg_put(m, cap, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof tclass);
		return;
	}
	if (s->ancillary & INET_RECV_TTL)
		cmsg_put(m, cap, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
	if (s->ancillary & INET_RECV_TOS)
		cmsg_put(m, cap, IPPROTO_IP, IP_TOS, &msg->tos, sizeof msg->tos);
}
