/* unix.h: between the files of AF_UNIX. */
#ifndef SEUSS_IPC_UNIX_H
#define SEUSS_IPC_UNIX_H

#include "ipc.h"

#include <linux/un.h>

#define NAME_OFFSET ((u32)offsetof(struct sockaddr_un, sun_path))

struct unix_sock {
	struct stream st;        /* SOCK_STREAM's data; every type's struct sock */
	/* SOCK_DGRAM and SOCK_SEQPACKET */
	struct msgq q;
	struct waitq space;      /* senders; woken when q ceases to be full */
	struct unix_sock *peer;  /* where sends go without an address; NULL: nowhere */
	struct waiter peer_wait; /* on peer->space: room there is room for our poll */
	bool peer_died;          /* a datagram peer was closed: the next send says so */
	/* name */
	struct list bound;       /* in unix_name.c's list */
	u32 namelen;             /* whole address; 0: none */
	u64 ino;                 /* of a path's node; 0: abstract */
	u8 *name;                /* namelen - NAME_OFFSET bytes */
};

static inline struct unix_sock *unix_of(struct file *f) { return f->priv; }
static inline bool unix_is_stream(const struct unix_sock *u) { return u->st.s.type == SOCK_STREAM; }
static inline bool unix_is_dgram(const struct unix_sock *u) { return u->st.s.type == SOCK_DGRAM; }

/* unix_name.c */
long unix_bind(struct file *f, const struct sockaddr_k *a, u32 len);
void unix_unbind(struct unix_sock *u);
long unix_copy_name(struct unix_sock *to, const struct unix_sock *from);
u32 unix_put_name(const struct unix_sock *u, struct sockaddr_k *a); /* length; the family alone if unnamed */
/* The socket of this type bound to an address: NULL and *err = -ECONNREFUSED, -EPROTOTYPE, -ENOENT, ... */
struct unix_sock *unix_find(const struct sockaddr_k *a, u32 len, int type, long *err);

/* unix_packet.c: datagrams and packets */
void packet_join(struct unix_sock *u, struct unix_sock *peer); /* one way: u sends to peer */
void packet_part(struct unix_sock *u);
long packet_send(struct unix_sock *u, const struct msghdr_k *m, int flags);
void packet_close(struct unix_sock *u);
bool packet_writable(const struct unix_sock *u);

#endif
