/*
 * hold.c: after a restore nobody but the driver's thread runs until that has seeded the
 * runtime's generators. They lie in memory, which all copies of a snapshot share: what
 * another thread drew from them before, another copy's would draw as well.
 *
 * The driver's thread is the one that said so last, with ABI_SO_SEEDED on the driver's
 * stream. Where nobody ever has, nobody waits: programs that are no driver's.
 *
 * Until then no signal is delivered either, as its handler might draw. It all ends: a
 * driver that does not come to it in HOLD_NS ends the guest.
 */
#include "hold.h"

#define HOLD_NS (10 * NS_PER_SEC)
#define HOLD_STEP_NS (NS_PER_SEC / 10) /* a longer look away counts as this: the host had stopped the machine */

static struct thread *driver;
static u64 seeded;       /* the generation whose driver has */
static u64 held;         /* the generation whose driver has not; 0: nobody is held */
static u64 looked, took; /* at mono_ns(), so long by now */

struct thread *hold_driver(void) { return held ? driver : NULL; }

void hold_look(void)
{
	u64 generation = identity->generation;
	if (!driver || generation == seeded)
		return;
	u64 now = mono_ns();
	if (held != generation) {
		held = generation;
		took = 0;
		looked = now;
	}
	took += MIN(now - looked, HOLD_STEP_NS);
	looked = now;
	if (took > HOLD_NS)
		panic("the driver has not seeded the runtime's generators in %u s after a restore, and no other thread may run before: "
		      "its thread %u computes, or waits for what another one holds, such as the interpreter's lock",
		      (u32)(HOLD_NS / NS_PER_SEC), driver->tid);
}

u64 hold_deadline(u64 deadline) { return held ? MIN(deadline, looked + HOLD_STEP_NS) : deadline; }

void hold_seeded(void)
{
	driver = current;
	seeded = identity->generation;
	held = 0;
}

void hold_forget(const struct thread *t)
{
	if (t == driver) {
		driver = NULL;
		held = 0;
	}
}
