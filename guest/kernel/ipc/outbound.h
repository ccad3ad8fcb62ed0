/*
 * outbound.h: connections and datagrams to other machines. The monitor carries
 * them (hoststream.h) and decides what may be reached; to it goes a stream for
 * each TCP connection, and one for each UDP socket that asks a name server.
 */
#ifndef SEUSS_IPC_OUTBOUND_H
#define SEUSS_IPC_OUTBOUND_H

#include "../hoststream.h"
#include "tcp.h"

/* outbound.c: TCP. tcp.out is the stream, from connect until the end. */
long outbound_connect(struct tcp *t, const struct inet_addr *to); /* 0: under way, or decided already */
long outbound_send(struct tcp *t, const struct msghdr_k *m, int flags);
long outbound_recv(struct tcp *t, struct msghdr_k *m, int flags);
u32 outbound_poll(const struct tcp *t);
void outbound_changed(struct file *f); /* after every packet of the monitor */
void outbound_close(struct tcp *t); /* in order, or with a reset as TCP would */

/* outbound_dns.c: datagrams. */
struct dns_way { /* of a UDP socket; all zero: not used yet */
	struct vsock *out;
	struct ring pending; /* put before the monitor had accepted */
	u32 unanswered;
};
struct udp;
struct dns_way *udp_dns_way(struct file *f);
/* An answer for the socket. */
void udp_deliver(struct file *f, const struct inet_addr *from, const struct msghdr_k *m, u64 len);
void udp_unreachable(struct file *f); /* nobody answers: reaches connected sockets */
/* Sends one question; 0 or -errno. */
long dns_send(struct file *f, const struct inet_addr *to, const struct msghdr_k *m, u64 len);
void dns_close(struct dns_way *w);

#endif
