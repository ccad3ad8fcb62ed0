/* hold.h: who may run after a restore (hold.c). */
#ifndef SEUSS_HOLD_H
#define SEUSS_HOLD_H

#include "core.h"

struct thread *hold_driver(void); /* the only thread that may run; NULL: every one may */
void hold_look(void);             /* looks whether there was a restore; panics where the driver takes too long */
u64 hold_deadline(u64 deadline);  /* when the idle loop has to look again, no later than at deadline */
void hold_seeded(void);           /* the current thread is the driver's, and has seeded */
void hold_forget(const struct thread *t); /* it ends, or becomes another program */

#endif
