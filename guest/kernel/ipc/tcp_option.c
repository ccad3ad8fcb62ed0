/*
 * tcp_option.c: getsockopt and setsockopt of TCP sockets. What is set can be
 * read back; most of it steers a wire that a loopback in memory does not have.
 */
#include "tcp.h"

#include <linux/tcp.h>

long tcp_setsockopt(struct file *f, int level, int opt, const void *v, u32 len)
{
	struct tcp *t = tcp_of(f);
	if (level != IPPROTO_TCP)
		return inet_setsockopt(&t->in, level, opt, v, len);
	int value;
	long r = opt_get_int(v, len, &value);
	if (r)
		return r;
	switch (opt) {
	case TCP_NODELAY:
		t->nodelay = value != 0;
		return 0;
	case TCP_CORK:
		t->cork = value != 0;
		return 0;
	case TCP_KEEPIDLE:
	case TCP_KEEPINTVL:
		if (value < 1 || value > 32767)
			return -EINVAL;
		*(opt == TCP_KEEPIDLE ? &t->keep_idle : &t->keep_interval) = (u32)value;
		return 0;
	case TCP_KEEPCNT:
		if (value < 1 || value > 127)
			return -EINVAL;
		t->keep_count = (u32)value;
		return 0;
	case TCP_QUICKACK: /* acknowledgements, retransmission: nothing is ever on a wire */
	case TCP_USER_TIMEOUT:
	case TCP_DEFER_ACCEPT:
	case TCP_SYNCNT:
	case TCP_LINGER2:
	case TCP_NOTSENT_LOWAT:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

long tcp_getsockopt(struct file *f, int level, int opt, void *v, u32 *len)
{
	struct tcp *t = tcp_of(f);
	if (level != IPPROTO_TCP)
		return inet_getsockopt(&t->in, level, opt, t->st.state == STREAM_LISTENING, v, len);
	u32 value;
	switch (opt) {
	case TCP_NODELAY: value = t->nodelay; break;
	case TCP_CORK: value = t->cork; break;
	case TCP_KEEPIDLE: value = t->keep_idle; break;
	case TCP_KEEPINTVL: value = t->keep_interval; break;
	case TCP_KEEPCNT: value = t->keep_count; break;
	case TCP_MAXSEG: value = 65483; break; /* of Linux's loopback, MTU 65536 */
	default: return -ENOPROTOOPT;
	}
	return opt_put(v, len, &value, sizeof value);
}
