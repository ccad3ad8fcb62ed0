/* tcp.h: between the files of TCP. */
#ifndef SEUSS_IPC_TCP_H
#define SEUSS_IPC_TCP_H

#include "inet.h"

struct tcp {
	struct stream st;
	struct inet in;
	u32 keep_idle, keep_interval, keep_count; /* what was set; there is nothing to probe */
	bool nodelay, cork;
	struct vsock *out; /* not NULL: the peer is another machine (outbound.c), and not st.peer */
	bool autobound;    /* connect chose the port */
	bool asked;        /* the monitor knows which */
	u32 served;        /* not 0: the monitor itself is the peer, at this port of its own */
	bool unreported; /* a connect that answered EINPROGRESS, and nobody has asked for its end */
};

static inline struct tcp *tcp_of(struct file *f) { return f->priv; }

/* tcp.c. Who listens at an address; NULL: nobody. */
struct tcp *tcp_listener(const struct inet_addr *to);
/* A socket that l's accept will return, between two addresses; not yet connected to anything. */
struct tcp *tcp_child(const struct tcp *l, const struct inet_addr *local, const struct inet_addr *remote);

long tcp_setsockopt(struct file *f, int level, int opt, const void *v, u32 len);
long tcp_getsockopt(struct file *f, int level, int opt, void *v, u32 *len);

#endif
