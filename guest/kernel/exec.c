/*
 * exec.c: starts programs: the first, at boot, and with execve another in its place.
 * There is one process and one address space, so the old program's memory is given back
 * before the new one is placed. Up to there nothing is changed, and whatever is wrong
 * is the call's error; what goes wrong afterwards kills, as on Linux.
 */
#include "cred.h"
#include "exec.h"
#include "far.h"
#include "hold.h"
#include "inplace.h"
#include "map.h"
#include "region.h"
#include "thread_calls.h"

#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

enum { PATH_BYTES = 4096, SCRIPTS = 5 /* as many as Linux */ };

/* The files of a program and of its dynamic loader, open. */
struct program {
	struct file *file, *loader_file; /* the latter NULL: it needs none */
	struct object prog, loader;
	char interp[PATH_BYTES];
};
static struct program next; /* in use from the call to the program's first instruction */

static void close_files(struct program *p)
{
	if (p->file)
		file_put(p->file);
	if (p->loader_file)
		file_put(p->loader_file);
	p->file = p->loader_file = NULL;
}

/* Opens what may be executed; root, too, needs somebody to have the right. */
static long open_program(const char *path, struct file **out)
{
	struct stat st;
	long err = 0;
	struct file *f = vfs_open_program(path, &err);
	if (!f)
		return err == -EISDIR || err == -ENXIO ? -EACCES : err;
	err = file_stat(f, &st);
	if (!err && (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)))
		err = -EACCES;
	if (err)
		file_put(f);
	else
		*out = f;
	return err;
}

/* Reads the headers of p->file, and opens and reads its dynamic loader. */
static long read_program(struct program *p)
{
	long err = object_read(&p->prog, p->file, p->interp, sizeof p->interp);
	if (err || !p->interp[0])
		return err;
	if ((err = open_program(p->interp, &p->loader_file)))
		return err;
	return object_read(&p->loader, p->loader_file, NULL, 0) ? -ELIBBAD : 0;
}

static long place_program(struct program *p)
{
	long err = object_place(&p->prog, p->file);
	if (err)
		return err;
	mm_set_brk(p->prog.eh.e_type == ET_EXEC ? p->prog.end : MAX((u64)ABI_PROGRAM_GPA, placed_end()));
	return p->loader_file ? object_place(&p->loader, p->loader_file) : 0;
}

static bool secure; /* the program has other ids than who executes it: AT_SECURE */

static void set_ids(const struct program *p)
{
	struct stat st = {0};
	secure = file_stat(p->file, &st) == 0 && cred_exec(&st);
}

/* Fills the frame with which the program starts; false: no memory for its stack. */
static bool start(const struct program *p, struct abi_frame *frame, const char *path, u32 argc, u32 envc)
{
	const struct object *entry = p->loader_file ? &p->loader : &p->prog;
	const char *name = path;
	for (const char *c = path; *c; c++)
		if (*c == '/')
			name = c + 1;
	ksnprintf(current->name, sizeof current->name, "%s", name);
	memset(frame, 0, sizeof *frame);
	frame->vector = ABI_VEC_UPCALL;
	frame->rip = entry->bias + entry->eh.e_entry;
	frame->rsp = exec_stack(&p->prog, p->loader_file ? &p->loader : NULL, path, argc, envc, secure);
	frame->rflags = 2;
	return frame->rsp != 0;
}

/* The monitor names who runs the first program; what it opens first, root has opened. */
static void become(struct program *p, const char *path)
{
	struct file *again;
	long err = 0;
	cred_boot();
	if (cred_plain)
		return;
	if (!(again = vfs_open_program(path, &err)))
		panic("user %u, group %u cannot run %s: error %ld", cred.uid, cred.gid, path, -err);
	file_put(again);
	set_ids(p);
}

void exec_boot(struct abi_frame *frame)
{
	if (boot_info->argc == 0)
		panic("nothing to run: argc is 0");
	const char *path = (const char *)ABI_ARGS_GPA, *dir = path;
	u64 n = boot_info->argc + boot_info->envc, len = 0;
	for (u64 i = 0; i < n; i++) {
		len += strnlen(path + len, ABI_ARGS_SIZE - len) + 1;
		if (len > ABI_ARGS_SIZE)
			panic("arguments and environment exceed %u bytes", ABI_ARGS_SIZE);
	}
	dir += len;
	placed_init();
	long err = 0;
	if (!(next.file = vfs_open_program(path, &err)))
		panic("cannot open %s: error %ld", path, -err);
	if ((err = object_read(&next.prog, next.file, next.interp, sizeof next.interp)))
		panic("%s: %s", path, object_reason);
	if (next.interp[0] && !(next.loader_file = vfs_open_program(next.interp, &err)))
		panic("cannot open %s: error %ld", next.interp, -err);
	if (next.loader_file && object_read(&next.loader, next.loader_file, NULL, 0))
		panic("%s: %s", next.interp, object_reason);
	if (place_program(&next))
		panic("%s: %s", path, object_reason);
	proc_set_exe(next.file->path ? next.file->path : path); /* without the links on the way: loaders look beside it */
	if (boot_info->dirc)
		fs_start_in(dir);
	become(&next, path);
	if (!start(&next, frame, path, boot_info->argc, boot_info->envc))
		panic("no memory for the stack of %s", path);
	close_files(&next);
}

/* ---- execve ---------------------------------------------------------------------- */

/* Adds a list of strings of the program. NULL is an empty list. */
static long add_strings(struct exec_strings *s, const char *const *list, u32 *count)
{
	for (*count = 0; list; ++*count, ++list) {
		if (!user_readable(list, sizeof *list))
			return -EFAULT;
		if (!*list)
			return 0;
		long len = user_strlen(*list, ABI_ARGS_SIZE - s->len);
		if (len < 0)
			return len == -ENAMETOOLONG ? -E2BIG : len;
		memcpy(s->text + s->len, *list, (u64)len + 1);
		s->len += (u64)len + 1;
	}
	return 0;
}

/* A program has a first argument, if an empty one. */
static long copy_strings(struct exec_strings *s, const char *const *argv, const char *const *envp)
{
	long err = add_strings(s, argv, &s->argc);
	if (!err && !s->argc) {
		s->text[s->len++] = 0;
		s->argc = 1;
	}
	return err ? err : add_strings(s, envp, &s->envc);
}

/* Opens the program that path leads to, through scripts. */
static long find_program(const char *path, struct exec_strings *s, struct program *p)
{
	char head[SCRIPT_HEAD], interp[SCRIPT_HEAD], script[SCRIPT_HEAD];
	const char *at = path;
	for (int scripts = 0;; scripts++) {
		long err = open_program(at, &p->file);
		if (err)
			return err;
		u64 pos = 0;
		memset(head, 0, sizeof head);
		if (p->file->ops->read && (err = p->file->ops->read(p->file, head, sizeof head, &pos)) < 0)
			return err;
		err = script_expand(head, at, s, interp);
		if (err <= 0)
			return err ? err : read_program(p);
		file_put(p->file);
		p->file = NULL;
		if (scripts == SCRIPTS)
			return -ELOOP;
		at = memcpy(script, interp, sizeof script);
	}
}

/* Will it find memory, once all that the present program has is given back? */
static long room_for(const struct program *p)
{
	const struct object *o = &p->prog;
	u64 need = exec_stack_pages() + (o->high - o->low + p->loader.high - p->loader.low) / PAGE_SIZE;
	if (need > ram_pages_total() - MIN(mm_own_pages(), ram_pages_total()))
		return -ENOMEM;
	if (o->eh.e_type != ET_EXEC || placed_holds(p->file))
		return 0;
	if (!mm_in_ram(o->low, o->high - o->low))
		return -ENOMEM;
	u64 above = MIN(MAX(o->low, PAGE_UP(placed_end())), o->high); /* what is held below gives way */
	return mm_owns(above, (o->high - above) / PAGE_SIZE) ? -ENOMEM : 0;
}

/* Ends the present program, and leaves the process: descriptors, directory, limits. */
static void end_program(void)
{
	hold_forget(current); /* or the others, which are to end, might not run */
	threads_end_others();
	signals_exec();
	timers_exec();
	fd_close_on_exec();
	fs_unmap_all();
	far_release_all();
	region_unmap_all();
	inplace_unload_all();
	mm_give_program();
	current->robust_list = NULL;
	current->clear_child_tid = NULL;
	wrfsbase(0);
	wrgsbase(0);
	extended_exec();
}

static void replace_program(struct program *p, struct exec_strings *s, const char *path)
{
	struct abi_frame *frame = current->frame;
	end_program();
	if (!placed_holds(p->file))
		placed_drop();
	proc_set_exe(p->file->path ? p->file->path : path);
	memcpy((void *)ABI_ARGS_GPA, s->text, s->len);
	proc_set_args(s->argc, s->envc);
	set_ids(p);
	if (place_program(p) || !start(p, frame, path, s->argc, s->envc)) {
		kprintf("execve of %s: no memory for it\n", path);
		die_by_signal(frame, SIGKILL, 0);
	}
}

long sys_execve(const char *path, const char *const *argv, const char *const *envp)
{
	long len = user_strlen(path, PATH_BYTES);
	if (len <= 0)
		return len ? len : -ENOENT;
	struct exec_strings s = {.text = kmalloc(ABI_ARGS_SIZE)};
	char *name = kmalloc((u64)len + 1);
	long err = -ENOMEM;
	if (s.text && name) {
		memcpy(name, path, (u64)len + 1);
		memset(&next.loader, 0, sizeof next.loader);
		if (!(err = copy_strings(&s, argv, envp)) && !(err = find_program(name, &s, &next)) && !(err = room_for(&next)))
			replace_program(&next, &s, name);
	}
	close_files(&next);
	kfree(name);
	kfree(s.text);
	return err;
}
