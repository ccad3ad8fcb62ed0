/*
 * ipc_host.h: what the tests of ipc/ share. Waiting is faithful to sched.c: a
 * blocked call goes on only if a wake-up reached its queue, so a test that
 * lets the other side act also proves that the wake-up is sent.
 */
#ifndef SEUSS_IPC_HOST_H
#define SEUSS_IPC_HOST_H

#include "host.h"

#include "../ipc/calls.h"
#include "../ipc/ipc.h"

/* What the other side does, in order, while calls under test block. With none
 * left a wait ends at its deadline (the clock moves there), else by a signal. */
void ipc_other(void (*step)(void));
extern int ipc_blocked; /* how often something blocked */

/* As the system calls on descriptors. */
long rd(int fd, void *buf, size_t n);
long wr(int fd, const void *buf, size_t n);
u32 mask(int fd); /* poll mask without RDNORM and WRNORM */
void set_nonblock(int fd, bool on);
void close_all(void); /* checks that every object and page came back */

extern u64 ipc_mask;    /* of sigmask_push; 0: popped */
extern int ipc_pushes;

#endif
