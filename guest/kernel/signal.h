/* signal.h: what the three files of signals share: delivery, frames, calls. */
#ifndef SEUSS_SIGNAL_H
#define SEUSS_SIGNAL_H

#include "thread_calls.h"

#include <asm/signal.h>

#define UNBLOCKABLE (SIGBIT(SIGKILL) | SIGBIT(SIGSTOP))

/* sigaltstack(2), whose header needs a C library. */
#define SS_ONSTACK 1
#define SS_DISABLE 2
#define SS_AUTODISARM (1u << 31)

extern struct sigaction_k signal_actions[SIGNALS + 1];

/* Puts a handler's frame onto the program's stack and has f return into the handler;
 * false: there is no room. */
bool signal_frame_build(struct abi_frame *f, const struct sigaction_k *sa, const struct siginfo_k *info, u64 oldmask);

#endif
