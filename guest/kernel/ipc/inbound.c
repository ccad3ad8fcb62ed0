/*
 * inbound.c: connections that the monitor opens to TCP ports of the guest. A listener
 * gets them as connections from 127.0.0.1, or from ::1 if it takes no others; from
 * then on they are carried as those to other machines are (outbound.c).
 */
#include "inbound.h"
#include "outbound.h"

/* Who gets a connection to a port, and which of its addresses that is. */
static struct tcp *receiver(u16 port, struct inet_addr *to)
{
	*to = (struct inet_addr){.kind = INET_V4, .ip = LOOPBACK_IP, .port = port};
	struct tcp *l = tcp_listener(to);
	if (l)
		return l;
	*to = (struct inet_addr){.kind = INET_V6_LO, .port = port};
	return tcp_listener(to);
}

bool inbound_reaches(const struct tcp *l)
{
	struct inet_addr to;
	return receiver(l->in.local.port, &to) == l;
}

struct file *host_stream_incoming(u16 port, u16 from, struct vsock *s, void (**changed)(struct file *f))
{
	struct inet_addr to, remote;
	struct tcp *l = receiver(port, &to);
	if (!l || listener_full(l->st.listener))
		return NULL;
	remote = to;
	remote.port = from ? from : 1;
	struct tcp *t = tcp_child(l, &to, &remote);
	if (!t)
		return NULL;
	t->out = s;
	t->st.state = STREAM_CONNECTED;
	*changed = outbound_changed;
	listener_add(&l->st, &t->st);
	return t->st.s.file;
}
