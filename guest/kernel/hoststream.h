/*
 * hoststream.h: byte streams to the monitor, for the sockets of ipc/ that leave
 * the machine. Nothing here blocks.
 */
#ifndef SEUSS_HOSTSTREAM_H
#define SEUSS_HOSTSTREAM_H

#include "kernel.h"

struct vsock;

/* changed(f) is called after every packet of the monitor; it may close the
 * stream. NULL: no memory, or a machine without the device. */
struct vsock *host_stream_open(struct file *f, u32 port, void (*changed)(struct file *f));
/* inbound.c: the monitor opens a stream to a TCP port of the guest. Its file, not yet
 * accepted, which owns the stream; NULL: nobody takes it. from: a port of the monitor. */
struct file *host_stream_incoming(u16 port, u16 from, struct vsock *s, void (**changed)(struct file *f));
bool host_stream_accepted(const struct vsock *s);
bool host_stream_reset(const struct vsock *s); /* by the monitor */
bool host_stream_ended(const struct vsock *s); /* the monitor sends no more; what came before is still there */
u32 host_stream_waiting(const struct vsock *s); /* bytes to take */
u32 host_stream_room(const struct vsock *s);    /* bytes that put would take */
u32 host_stream_sending(const struct vsock *s); /* bytes that the monitor has not taken */
u32 host_stream_take(struct vsock *s, void *buf, u32 n, bool peek);
u32 host_stream_put(struct vsock *s, const void *buf, u32 n);
void host_stream_shutdown(struct vsock *s);          /* nothing more will be put */
void host_stream_close(struct vsock *s, bool reset); /* in order, or with a reset; s is freed */
void host_stream_announce(void); /* the monitor looks at what was put */
void host_stream_kick(void);     /* and what it answers at once has arrived; changed may be called */

#endif
