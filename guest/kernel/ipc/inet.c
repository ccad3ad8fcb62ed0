/*
 * inet.c: the AF_INET and AF_INET6 families: socket creation and addresses.
 */
#include "inet.h"

static struct file *create(int family, int type, int protocol, u32 flags, long *err)
{
	struct file *f;
	if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP)) {
		f = tcp_create(family, flags);
	} else if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE)) {
		f = udp_create(family, protocol ? protocol : IPPROTO_UDP, flags);
	} else {
		*err = type == SOCK_STREAM || type == SOCK_DGRAM ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
		return NULL;
	}
	*err = f ? 0 : -ENOMEM;
	return f;
}

static struct file *inet4_create(int type, int protocol, u32 flags, long *err)
{
	return create(AF_INET, type, protocol, flags, err);
}

static struct file *inet6_create(int type, int protocol, u32 flags, long *err)
{
	return create(AF_INET6, type, protocol, flags, err);
}

const struct sock_family inet_family = {.family = AF_INET, .create = inet4_create};
const struct sock_family inet6_family = {.family = AF_INET6, .create = inet6_create};

void inet_init(struct inet *in, struct sock *s)
{
	in->s = s;
	in->local.kind = s->family == AF_INET6 ? INET_V6_ANY : INET_V4;
	in->v4.ttl = in->v6.ttl = INET_TTL;
}

/* ---- addresses -------------------------------------------------------------------- */

static u16 swap16(u16 v) { return __builtin_bswap16(v); }
static u32 swap32(u32 v) { return __builtin_bswap32(v); }

#define SIN6_LEN_MIN 24u /* SIN6_LEN_RFC2133: without the scope */

static const u8 mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void classify4(u32 ip, struct inet_addr *out)
{
	if (ip == 0 || ip >> 24 == 127) {
		out->kind = INET_V4;
		out->ip = ip;
		return;
	}
	out->kind = INET_FOREIGN;
	ip = swap32(ip);
	memcpy(out->v6, mapped_prefix, sizeof mapped_prefix);
	memcpy(out->v6 + 12, &ip, sizeof ip);
}

static void classify6(const u8 a[16], struct inet_addr *out)
{
	static const u8 zeros[15];
	if (!memcmp(a, mapped_prefix, sizeof mapped_prefix)) {
		u32 ip;
		memcpy(&ip, a + 12, sizeof ip);
		classify4(swap32(ip), out);
	} else if (!memcmp(a, zeros, sizeof zeros) && a[15] <= 1) {
		out->kind = a[15] ? INET_V6_LO : INET_V6_ANY;
	} else {
		out->kind = INET_FOREIGN;
		memcpy(out->v6, a, 16);
	}
}

static bool mapped(const struct inet_addr *a) { return !memcmp(a->v6, mapped_prefix, sizeof mapped_prefix); }

long inet_parse(const struct inet *in, const struct sockaddr_k *a, u32 len, struct inet_addr *out)
{
	*out = (struct inet_addr){0};
	if (in->s->family == AF_INET) {
		struct sockaddr_in sin;
		if (len < sizeof sin)
			return -EINVAL;
		memcpy(&sin, a, sizeof sin);
		if (sin.sin_family != AF_INET)
			return -EAFNOSUPPORT;
		classify4(swap32(sin.sin_addr.s_addr), out);
		out->port = swap16(sin.sin_port);
		return 0;
	}
	struct sockaddr_in6 sin6;
	if (len < SIN6_LEN_MIN)
		return -EINVAL;
	memcpy(&sin6, a, sizeof sin6);
	if (sin6.sin6_family != AF_INET6)
		return -EAFNOSUPPORT;
	classify6(sin6.sin6_addr.s6_addr, out);
	out->port = swap16(sin6.sin6_port);
	return 0;
}

void inet_bytes(const struct inet_addr *a, u8 out[16])
{
	memset(out, 0, 16);
	if (a->kind == INET_FOREIGN) {
		memcpy(out, a->v6, 16);
	} else if (a->kind == INET_V4) {
		u32 ip = swap32(a->ip);
		memcpy(out, mapped_prefix, sizeof mapped_prefix);
		memcpy(out + 12, &ip, sizeof ip);
	} else if (a->kind == INET_V6_LO) {
		out[15] = 1;
	}
}

bool inet_from_bytes(const u8 bytes[16], u16 port, int family, struct inet_addr *out)
{
	*out = (struct inet_addr){.port = port};
	classify6(bytes, out);
	return family != AF_INET || out->kind == INET_V4 || (out->kind == INET_FOREIGN && mapped(out));
}

u32 inet_put(int family, const struct inet_addr *from, struct sockaddr_k *a)
{
	u8 bytes[16];
	inet_bytes(from, bytes);
	if (family == AF_INET) {
		struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = swap16(from->port)};
		memcpy(&sin.sin_addr, bytes + 12, sizeof sin.sin_addr);
		memcpy(a, &sin, sizeof sin);
		return sizeof sin;
	}
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = swap16(from->port)};
	memcpy(sin6.sin6_addr.s6_addr, bytes, sizeof bytes);
	memcpy(a, &sin6, sizeof sin6);
	return sizeof sin6;
}

bool inet_same(const struct inet_addr *a, const struct inet_addr *b)
{
	return a->kind == b->kind && a->ip == b->ip && a->port == b->port && !memcmp(a->v6, b->v6, sizeof a->v6);
}

static bool is_any(const struct inet_addr *a) { return a->kind == INET_V6_ANY || (a->kind == INET_V4 && !a->ip); }

/* A destination beyond the machine, from a socket that is bound to local. */
static long leave(const struct inet *in, const struct inet_addr *to)
{
	if (mapped(to) ? in->v6only : in->local.kind == INET_V4)
		return -ENETUNREACH;
	if (in->local.kind == INET_FOREIGN)
		return mapped(to) == mapped(&in->local) ? 0 : -ENETUNREACH;
	return is_any(&in->local) ? 0 : -EINVAL; /* Linux: a loopback address leaves no machine */
}

long inet_destination(const struct inet *in, struct inet_addr *to)
{
	if (to->kind == INET_FOREIGN)
		return leave(in, to);
	if (to->kind == INET_V6_ANY)
		to->kind = INET_V6_LO;
	if (to->kind == INET_V4 && !to->ip)
		to->ip = LOOPBACK_IP;
	if (to->kind == INET_V4 && in->v6only)
		return -ENETUNREACH;
	/* A socket bound to an address of one kind cannot reach the other. */
	bool v4 = in->local.kind == INET_V4, either = in->local.kind == INET_V6_ANY;
	return either || v4 == (to->kind == INET_V4) ? 0 : -ENETUNREACH;
}

/* What the machine calls itself towards others, which do not see it: 192.0.0.2
 * is for this by RFC 7335, and an address from fd00::/8 for IPv6 by RFC 4193. */
static const u8 own_v4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 0, 2};
static const u8 own_v6[16] = {0xfd, 's', 'e', 'u', 's', 's', 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};

struct inet_addr inet_source(const struct inet *in, const struct inet_addr *to)
{
	struct inet_addr from = in->local;
	if (to->kind == INET_FOREIGN) {
		from.kind = INET_FOREIGN;
		from.ip = 0;
		memcpy(from.v6, mapped(to) ? own_v4 : own_v6, sizeof from.v6);
		return from;
	}
	if (to->kind == INET_V4) {
		if (from.kind != INET_V4 || !from.ip)
			from.ip = LOOPBACK_IP;
		from.kind = INET_V4;
	} else {
		from.kind = INET_V6_LO;
		from.ip = 0;
	}
	return from;
}

void inet_connect(struct inet *in, const struct inet_addr *to)
{
	in->chosen = is_any(&in->local);
	in->local = inet_source(in, to);
	in->remote = *to;
}

void inet_disconnect(struct inet *in)
{
	in->remote = (struct inet_addr){0};
	if (!in->chosen)
		return;
	in->chosen = false;
	in->local = (struct inet_addr){.kind = in->s->family == AF_INET6 ? INET_V6_ANY : INET_V4, .port = in->local.port};
}

int inet_match(const struct inet *in, const struct inet_addr *to)
{
	const struct inet_addr *l = &in->local;
	if (l->port != to->port)
		return 0;
	if (to->kind == INET_V4) {
		if (l->kind == INET_V4)
			return l->ip == to->ip ? 3 : l->ip == 0 ? 2 : 0;
		return l->kind == INET_V6_ANY && !in->v6only;
	}
	return l->kind == INET_V6_LO ? 3 : l->kind == INET_V6_ANY ? 2 : 0;
}
