/*
 * vsock_stream.h: between AF_VSOCK's streams (vsock_stream.c) and the socket
 * operations on them (vsock_socket.c).
 */
#ifndef SEUSS_VSOCK_STREAM_H
#define SEUSS_VSOCK_STREAM_H

#include "core.h"
#include "vsock.h"

/* recvmsg(2) and sendmsg(2) flags; their header needs a C library. */
#define MSG_PEEK_FLAG 0x02
#define MSG_WAITALL_FLAG 0x100
#define MSG_DONTWAIT_FLAG 0x40
#define MSG_NOSIGNAL_FLAG 0x4000

enum vsock_state { UNCONNECTED, CONNECTING, CONNECTED, LISTENING, CLOSED };

struct chunk {
	struct chunk *next;
	const u8 *data;
	u32 len, off;
	u16 id;
	bool held; /* data lies in receive buffer id; else in the chunk itself */
};

struct vsock {
	struct vsock *next;
	struct file *file; /* NULL until accepted */
	void (*changed)(struct file *f); /* not NULL: called instead of waking the file's queue; may free the stream */
	enum vsock_state state;
	u32 local_port, peer_port;
	u64 peer_cid;
	struct chunk *rx_head, *rx_tail;
	u32 rx_bytes, fwd_cnt, told_fwd_cnt;
	u32 tx_cnt, peer_alloc, peer_fwd_cnt;
	bool peer_no_send, peer_no_receive, no_send, no_receive;
	int error; /* errno of the connection, reported once */
	struct vsock *backlog; /* of a listener: connected, not yet accepted */
	int backlog_max, backlog_len;
};

struct vsock *vsock_new(struct file *f); /* NULL: no memory */
void vsock_free(struct vsock *s);
u32 vsock_free_port(void);
bool vsock_port_taken(u32 port);
void vsock_send_packet(struct vsock *s, u16 op, u32 flags, const void *payload, u32 len);
long vsock_take_error(struct vsock *s); /* the connection's pending error, negative; it is then gone */
u32 vsock_stream_poll(struct file *f);
u32 vsock_credit(const struct vsock *s); /* bytes that the peer has room for */
u32 vsock_stream_take(struct vsock *s, void *buf, u32 n, bool peek);  /* bytes of what has arrived */
u32 vsock_stream_put(struct vsock *s, const void *buf, u32 n);        /* bytes sent, as far as there is credit */
long vsock_stream_receive(struct file *f, void *buf, size_t n, int flags);
long vsock_stream_transmit(struct file *f, const void *buf, size_t n, int flags);

#endif
