/*
 * inet.h: between the files of AF_INET and AF_INET6. The machine itself has
 * loopback: 127.0.0.0/8, ::1, the unspecified addresses that stand for them, and
 * IPv4 addresses mapped into IPv6. All others are beyond the monitor, which
 * decides what may be reached (outbound.c).
 */
#ifndef SEUSS_IPC_INET_H
#define SEUSS_IPC_INET_H

#include "ipc.h"

#include <linux/in.h>
#include <linux/in6.h>

enum inet_kind {
	INET_V4,      /* ip; 0: any. Of an AF_INET6 socket: mapped */
	INET_V6_ANY,  /* :: */
	INET_V6_LO,   /* ::1 */
	INET_FOREIGN, /* v6: beyond the machine */
};
struct inet_addr {
	enum inet_kind kind;
	u32 ip;   /* host order */
	u16 port; /* host order; 0: none yet */
	u8 v6[16]; /* INET_FOREIGN: IPv6, or IPv4 mapped into it */
};
#define LOOPBACK_IP 0x7f000001u

#define INET_TTL 64u /* net.ipv4.ip_default_ttl, net.ipv6.conf.all.hop_limit */

/* Of a packet's header. IPv6's names are traffic class and hop limit. */
struct inet_header { u8 tos, ttl; };

/* Bits of sock.ancillary: what recvmsg tells of a packet's header. */
enum { INET_RECV_TTL = 1, INET_RECV_TOS = 2, INET_RECV_HOPLIMIT = 4, INET_RECV_TCLASS = 8 };

struct inet { /* what TCP and UDP sockets share */
	struct sock *s;
	struct inet_addr local, remote; /* remote.port 0: not connected */
	struct list bound;              /* in its protocol's list of bound ports */
	struct inet_header v4, v6;      /* of what is sent by either protocol */
	bool v6only;
	bool chosen;                    /* connect chose local's address; the program bound any */
};

void inet_init(struct inet *in, struct sock *s);
/* Reads an address of the socket's family: 0, -EINVAL, -EAFNOSUPPORT. */
long inet_parse(const struct inet *in, const struct sockaddr_k *a, u32 len, struct inet_addr *out);
u32 inet_put(int family, const struct inet_addr *from, struct sockaddr_k *a); /* length */
/* Makes a parsed address a destination: unspecified means loopback. 0, -ENETUNREACH or -EINVAL. */
long inet_destination(const struct inet *in, struct inet_addr *to);
/* connect: fixes both addresses; the port is there. inet_disconnect: takes that back. */
void inet_connect(struct inet *in, const struct inet_addr *to);
void inet_disconnect(struct inet *in);
/* The address that packets to a destination come from. */
struct inet_addr inet_source(const struct inet *in, const struct inet_addr *to);
bool inet_same(const struct inet_addr *a, const struct inet_addr *b);
/* How well a bound address takes a destination of its port: 0 not at all; exact beats any. */
int inet_match(const struct inet *in, const struct inet_addr *to);

/* Whether a socket bound to x would share addresses and port with b. */
bool inet_overlap(const struct inet *a, const struct inet_addr *x, const struct inet *b);

/* One list of bound ports for each protocol. */
long inet_bind(struct list *ports, struct inet *in, const struct inet_addr *a, bool (*exclusive)(const struct inet *));
long inet_autobind(struct list *ports, struct inet *in); /* -EADDRNOTAVAIL: no port is left */
void inet_unbind(struct inet *in);
struct list *inet_ports(struct list *ports); /* initialises it at first use */

/* IPPROTO_IP and IPPROTO_IPV6, and what SOL_SOCKET asks; -ENOPROTOOPT: neither. */
/* inet_option.c. inet_control: changes the header as a message's control messages ask; 0 or -EINVAL. */
long inet_control(const struct msghdr_k *m, struct inet_header *h);
long inet_setsockopt(struct inet *in, int level, int opt, const void *v, u32 len);
long inet_getsockopt(struct inet *in, int level, int opt, bool listening, void *v, u32 *len);

/* Any address as IPv6, IPv4 mapped into it. */
void inet_bytes(const struct inet_addr *a, u8 out[16]);
bool inet_from_bytes(const u8 bytes[16], u16 port, int family, struct inet_addr *out); /* false: not of that family */

struct file *tcp_create(int family, u32 flags);
struct file *udp_create(int family, int protocol, u32 flags);

#endif
