/*
 * sched.c: threads on one CPU: the run queue, wait queues, and the idle loop
 * that hands the CPU back to the monitor with one doorbell.
 */
#include "extended.h"
#include "hold.h"

struct thread *current;
struct thread *threads;
u32 thread_count;
static struct thread *run_head, *run_tail;
static u32 last_tid;

static void sleep_expired(struct timer *t)
{
	struct thread *th = container_of(t, struct thread, sleep_timer);
	if (th->state == THREAD_BLOCKED)
		thread_ready(th);
}

struct thread *thread_new(void)
{
	u8 *stack = page_alloc(KSTACK_BYTES / PAGE_SIZE);
	if (!stack)
		return NULL;
	struct thread *t = (void *)stack;
	t->kstack_top = (u64)stack + KSTACK_BYTES;
	t->tid = ++last_tid;
	t->state = THREAD_BLOCKED;
	t->sleep_timer.fire = sleep_expired;
	t->all_next = threads;
	threads = t;
	thread_count++;
	return t;
}

void sched_init(void)
{
	current = thread_new();
	if (!current)
		panic("no memory for the first thread");
	current->state = THREAD_RUNNING;
	kstack_top = current->kstack_top;
	control->tid = current->tid;
}

struct thread *thread_by_tid(u32 tid)
{
	for (struct thread *t = threads; t; t = t->all_next)
		if (t->tid == tid && t->state != THREAD_DEAD)
			return t;
	return NULL;
}

void thread_ready(struct thread *t)
{
	t->state = THREAD_READY;
	t->run_next = NULL;
	if (run_tail)
		run_tail->run_next = t;
	else
		run_head = t;
	run_tail = t;
	control->runnable = control->runnable + 1;
}

void thread_interrupt(struct thread *t)
{
	if (t->state == THREAD_BLOCKED)
		thread_ready(t);
}

/* A thread that exited cannot free the stack it runs on: the next one does. */
static struct thread *reap;

static void reap_dead(void)
{
	if (!reap || reap == current)
		return;
	for (struct thread **p = &threads; *p; p = &(*p)->all_next)
		if (*p == reap) {
			*p = reap->all_next;
			break;
		}
	extended_free(reap);
	page_free(reap, KSTACK_BYTES / PAGE_SIZE);
	reap = NULL;
}

/* ---- CPU time ------------------------------------------------------------------ */

static u64 idle_ns;     /* time in which no thread could run */
static u64 switched_at; /* cpu_ns() when current began to run */

u64 cpu_ns(void) { return mono_ns() - idle_ns; }

u64 thread_cpu_ns(struct thread *t) { return t->cpu_ns + (t == current ? cpu_ns() - switched_at : 0); }

static void switch_to(struct thread *next)
{
	struct thread *prev = current;
	u64 now = cpu_ns();
	prev->cpu_ns += now - switched_at;
	switched_at = now;
	vsock_flush();
	prev->fs_base = rdfsbase();
	prev->gs_base = rdgsbase();
	current = next;
	next->state = THREAD_RUNNING;
	kstack_top = next->kstack_top;
	control->tid = next->tid;
	wrfsbase(next->fs_base);
	if (next->gs_base != prev->gs_base)
		wrgsbase(next->gs_base);
	extended_switch(prev, next);
	switch_stacks(&prev->ksp, next->ksp);
	reap_dead(); /* on the new thread's stack */
}

void poll_devices(void)
{
	control->attention = 0;
	hold_look();
	vsock_poll();
	timers_run();
}

/* Whether somebody who may run can. */
static bool runnable(void)
{
	struct thread *only = hold_driver();
	return only ? only->state == THREAD_READY : run_head != NULL;
}

/* Takes who runs next off the queue. */
static struct thread *take_next(void)
{
	struct thread *only = hold_driver(), *before = NULL, *t = run_head;
	for (; only && t != only; t = t->run_next)
		before = t;
	*(before ? &before->run_next : &run_head) = t->run_next;
	if (run_tail == t)
		run_tail = before;
	control->runnable = control->runnable - 1;
	return t;
}

/* Asks for kicks while others wait or a timer is due. */
static void publish_deadline(u64 deadline) { control->deadline_ns = deadline == NO_DEADLINE ? 0 : deadline; }

static void idle(void)
{
	if (runnable())
		return;
	u64 since = mono_ns();
	while (!runnable()) {
		poll_devices();
		if (runnable())
			break;
		publish_deadline(hold_deadline(timers_next()));
		tcp_publish_listeners();
		stdin_publish();
		doorbell(ABI_DOORBELL_IDLE, 0);
	}
	u64 now = mono_ns();
	if (now > since)
		idle_ns += now - since;
}

/* current is READY (queued), BLOCKED or DEAD. */
void schedule(void)
{
	idle();
	struct thread *next = take_next();
	if (next == current)
		next->state = THREAD_RUNNING;
	else
		switch_to(next);
	publish_deadline(timers_next());
}

void yield(void)
{
	if (!run_head)
		return;
	thread_ready(current);
	schedule();
}

void thread_exit(void)
{
	thread_count--;
	hold_forget(current);
	current->state = THREAD_DEAD;
	reap = current;
	timer_cancel(&current->sleep_timer);
	schedule();
	__builtin_unreachable();
}

/* ---- execve --------------------------------------------------------------------- */

void threads_end_others(void)
{
	for (struct thread *t = threads; t; t = t->all_next)
		if (t != current && t->state != THREAD_DEAD) {
			t->doomed = true;
			thread_interrupt(t);
		}
	for (int turns = 0; thread_count > 1; turns++) {
		if (turns == 1 << 20)
			panic("execve: %u threads do not end", thread_count - 1);
		yield();
	}
	current->tid = KERNEL_PID;
	control->tid = KERNEL_PID;
}

void thread_end_doomed(void)
{
	if (!current->doomed)
		return;
	futex_thread_exit(current);
	thread_exit();
}

/* Called on a new thread's stack, first thing (start.S). */
void thread_enter(struct abi_frame *frame);
void thread_enter(struct abi_frame *frame)
{
	(void)frame;
	reap_dead();
	thread_end_doomed();
	publish_deadline(timers_next());
}

/* ---- wait queues -------------------------------------------------------------- */

void waitq_add(struct waitq *q, struct waiter *w)
{
	w->q = q;
	w->woken = false;
	if (!w->notify)
		w->thread = current;
	if (!q->head) {
		q->head = w->next = w->prev = w;
		return;
	}
	w->next = q->head;
	w->prev = q->head->prev;
	w->prev->next = w;
	q->head->prev = w;
}

void waitq_remove(struct waiter *w)
{
	struct waitq *q = w->q;
	if (!q)
		return;
	if (w->next == w) {
		q->head = NULL;
	} else {
		w->next->prev = w->prev;
		w->prev->next = w->next;
		if (q->head == w)
			q->head = w->next;
	}
	w->q = NULL;
}

static void wake(struct waiter *w)
{
	w->woken = true;
	w->thread->wake_pending = true;
	if (w->thread->state == THREAD_BLOCKED)
		thread_ready(w->thread);
}

static void wake_some(struct waitq *q, bool all)
{
	if (!q->head)
		return;
	struct waiter *w = q->head, *last = w->prev;
	for (bool done = false; !done;) {
		struct waiter *next = w->next;
		done = w == last;
		if (w->notify) {
			w->notify(w);
		} else if (!w->woken) {
			wake(w);
			if (!all)
				return;
		}
		w = next;
	}
}

void wake_all(struct waitq *q) { wake_some(q, true); }
void wake_one(struct waitq *q) { wake_some(q, false); }

long wait_queued(u64 deadline)
{
	struct thread *t = current;
	long result = 0;
	if (deadline != NO_DEADLINE)
		timer_arm(&t->sleep_timer, deadline);
	for (;;) {
		if (t->wake_pending)
			break;
		if (signal_pending(t)) {
			result = -ERESTARTSYS;
			break;
		}
		if (deadline != NO_DEADLINE && mono_ns() >= deadline) {
			result = -ETIMEDOUT;
			break;
		}
		t->state = THREAD_BLOCKED;
		schedule();
	}
	t->wake_pending = false;
	timer_cancel(&t->sleep_timer);
	return result;
}

long wait_on(struct waitq *q, u64 deadline)
{
	struct waiter w = {0};
	current->wake_pending = false;
	waitq_add(q, &w);
	long r = wait_queued(deadline);
	waitq_remove(&w);
	return r;
}

/* ---- for /proc (kernel.h) ------------------------------------------------------- */

u32 thread_self(void) { return current->tid; }

u32 thread_tids(u32 *tids, u32 max)
{
	u32 n = 0;
	for (struct thread *t = threads; t; t = t->all_next) {
		if (t->state == THREAD_DEAD)
			continue;
		if (n < max)
			tids[n] = t->tid;
		n++;
	}
	return n;
}

const char *thread_name(u32 tid)
{
	struct thread *t = thread_by_tid(tid);
	return t ? t->name : NULL;
}
