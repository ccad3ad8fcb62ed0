/*
 * loader.c: the driver that becomes another program. It waits for ABI_MSG_PROGRAM, writes
 * the files that are in it, looks at the command, and with ABI_MSG_START becomes it: its
 * stream to the monitor is closed then, and what is in memory is the program alone. What
 * is wrong with a program is an answer, and another may come.
 *
 * No C library: it is small, and everything in it is in every image. Nothing is allocated;
 * files go to their places as they come. records.h reads what the monitor sends.
 */
#include "records.h"
#include "sys.h"

#include <elf.h>

static int stream;

static bool read_all(void *buf, u64 n)
{
	for (char *p = buf; n;) {
		long r = sys_read(stream, p, n);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r, n -= (u64)r;
	}
	return true;
}

static bool write_all(int fd, const void *buf, u64 n)
{
	for (const char *p = buf; n;) {
		long r = sys_write(fd, p, n);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return false;
		p += r, n -= (u64)r;
	}
	return true;
}

static _Noreturn void die(const char *why)
{
	write_all(2, why, length(why));
	write_all(2, "\n", 1);
	sys_exit(126);
}

static void send(u8 type, const char *text)
{
	u8 head[ABI_FRAME_HEADER];
	u32 n = (u32)length(text);
	copy(head, &n, 4);
	head[4] = type;
	if (!write_all(stream, head, sizeof head) || !write_all(stream, text, n))
		die("loader: the monitor does not take an answer");
}

/* ---- what is wrong ------------------------------------------------------------------ */

static char problem[512]; /* JSON; "": nothing */

static u32 add(u32 at, const char *s, bool quoted)
{
	for (; *s && at < sizeof problem - 8; s++) {
		char c = *s;
		if (quoted && (c == '"' || c == '\\'))
			problem[at++] = '\\';
		problem[at++] = quoted && (c < ' ' || c == 0x7f) ? '?' : c; /* bytes of UTF-8 are negative */
	}
	return at;
}

/* The first problem is the answer. */
static void wrong(const char *what, const char *name, const char *why)
{
	if (problem[0])
		return;
	u32 at = add(0, "{\"errorType\":\"Runtime.InvalidEntrypoint\",\"errorMessage\":\"", false);
	at = add(at, what, true);
	at = add(at, name, true);
	at = add(at, why, true);
	at = add(at, "\",\"stackTrace\":[]}", false);
	problem[at] = 0;
}

static const char *because(long err)
{
	switch (-err) {
	case ENOENT: return ": no such file or directory";
	case EACCES: return ": permission denied";
	case ENOTDIR: return ": a part of the path is no directory";
	case EISDIR: return ": it is a directory";
	case ELOOP: return ": a part of the path is a symbolic link";
	case ENOSPC:
	case ENOMEM: return ": the guest has no memory for it";
	case ENOEXEC: return ": it is no program that this machine runs";
	case E2BIG: return ": its arguments and environment are too long";
	case ELIBBAD: return ": its dynamic loader is none";
	case ENAMETOOLONG: return ": the path is too long";
	}
	return ": it cannot be used";
}

/* ---- files -------------------------------------------------------------------------- */

/* Opens a file below /var/task to be written, and makes the directories on the way. No
 * symbolic link is followed: what an image has there leads nowhere else. */
static int create(const char *path)
{
	sys_mkdirat(AT_FDCWD, "/var", 0755);
	sys_mkdirat(AT_FDCWD, "/var/task", 0755);
	long dir = sys_openat(AT_FDCWD, "/var/task", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	char name[256];
	while (dir >= 0) {
		u32 n = 0;
		while (path[n] && path[n] != '/')
			n++;
		if (n >= sizeof name) {
			sys_close((int)dir);
			return -ENAMETOOLONG;
		}
		copy(name, path, n);
		name[n] = 0;
		long next;
		if (path[n]) {
			sys_mkdirat((int)dir, name, 0755);
			next = sys_openat((int)dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
		} else {
			next = sys_openat((int)dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0755);
			if (next >= 0)
				sys_fchmod((int)next, 0755);
		}
		sys_close((int)dir);
		if (!path[n])
			return (int)next;
		path += n + 1;
		dir = next;
	}
	return (int)dir;
}

/* Takes a file's content from the stream, to its place if it has one. */
static void take_file(const char *path, u32 bytes)
{
	static char block[1 << 16];
	long fd = problem[0] ? -1 : create(path);
	if (!problem[0] && fd < 0)
		wrong("file ", path, because(fd));
	for (u32 n; bytes; bytes -= n) {
		n = bytes < sizeof block ? bytes : (u32)sizeof block;
		if (!read_all(block, n))
			sys_exit(0); /* the monitor has gone */
		if (fd >= 0 && !problem[0] && !write_all((int)fd, block, n))
			wrong("file ", path, because(-ENOSPC));
	}
	if (fd >= 0)
		sys_close((int)fd);
}

/* ---- the program -------------------------------------------------------------------- */

static struct program program; /* the last that came without a problem in its records */
static char found[PATH_BYTES]; /* the file to execute, from its directory */

/* Looks at a file as execve would, as far as one can before. */
static long look(const char *path)
{
	u8 head[sizeof(Elf64_Ehdr)] = {0};
	long fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	long n = sys_read((int)fd, head, sizeof head), mode = sys_mode((int)fd);
	sys_close((int)fd);
	if (mode < 0 || (mode & S_IFMT) != S_IFREG || !(mode & 0111))
		return -EACCES;
	const Elf64_Ehdr *e = (const void *)head;
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		return 0;
	bool elf = n == sizeof head && same(head, ELFMAG, SELFMAG) && e->e_ident[EI_CLASS] == ELFCLASS64 && e->e_machine == EM_X86_64;
	return elf && (e->e_type == ET_EXEC || e->e_type == ET_DYN) ? 0 : -ENOEXEC;
}

/* Finds the command: a path, a file of its directory, or a name in PATH. */
static long find(void)
{
	const char *name = program.argv[0];
	bool path = false;
	for (const char *c = name; *c; c++)
		path |= *c == '/';
	if (length(name) >= sizeof found)
		return -ENAMETOOLONG;
	copy(found, name, length(name) + 1);
	long err = look(found);
	if (path || err != -ENOENT)
		return err;
	const char *dirs = program_env(&program, "PATH");
	long first = -ENOENT;
	for (const char *d = dirs ? dirs : "/usr/local/bin:/usr/bin:/bin"; *d;) {
		u32 n = 0;
		while (d[n] && d[n] != ':')
			n++;
		if (n && n + 1 + length(name) < sizeof found) {
			copy(found, d, n);
			found[n] = '/';
			copy(found + n + 1, name, length(name) + 1);
			if (!(err = look(found)))
				return 0;
			if (err != -ENOENT && err != -ENOTDIR)
				first = err;
		}
		d += n + (d[n] == ':');
	}
	return first;
}

static void check(void)
{
	const char *dir = program.dir ? program.dir : "/var/task";
	if (!program.argc)
		return wrong("there is no command", "", "");
	long err = sys_chdir(dir);
	if (err)
		return wrong("working directory ", dir, because(err));
	if ((err = find()))
		wrong(err == -ENOENT ? "command not found: " : "command ", program.argv[0], err == -ENOENT ? "" : because(err));
}

static bool take(void *buf, u32 n) { return read_all(buf, n); }

static void take_program(u32 bytes)
{
	problem[0] = 0;
	program_begin(&program);
	struct record r;
	while (bytes) {
		const char *why = record_next(&program, &r, &bytes, take);
		if (why)
			wrong("", why, "");
		if (r.gone)
			sys_exit(0);
		if (r.kind == ABI_PROGRAM_FILE && !why)
			take_file(r.name, r.bytes);
		else if (r.bytes)
			take_file("", r.bytes); /* there is a problem: read past it */
	}
	if (!problem[0])
		check();
	if (problem[0])
		program.argc = 0;
	send(problem[0] ? ABI_MSG_ERROR : ABI_MSG_DONE, problem[0] ? problem : "{}");
}

static void become(void)
{
	long err = program.argc ? sys_execve(found, program.argv, program.envp) : -ENOENT;
	write_all(2, program.argc ? found : "loader", length(program.argc ? found : "loader"));
	die(because(err));
}

_Noreturn void loader(char **argv)
{
	while (*argv)
		argv++;
	program_inherit(&program, argv + 1);
	if (program.protocol != ABI_DRIVER_VERSION)
		die("this driver speaks driver protocol " TEXT(ABI_DRIVER_VERSION) ", the monitor another: build the image anew");
	struct sockaddr_vm to = {.family = AF_VSOCK, .cid = VMADDR_CID_HOST, .port = ABI_DRIVER_PORT};
	stream = (int)sys_socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC);
	if (stream < 0 || sys_connect(stream, &to, sizeof to) || sys_setsockopt(stream, AF_VSOCK, ABI_SO_DRIVER, "", 0))
		die("loader: there is no monitor");
	send(ABI_MSG_READY, "{\"protocol\":" TEXT(ABI_DRIVER_VERSION) ",\"runtime\":\"loader\",\"version\":\"1\"}");
	for (;;) {
		u8 head[ABI_FRAME_HEADER];
		u32 n;
		if (!read_all(head, sizeof head))
			sys_exit(0);
		copy(&n, head, 4);
		if (head[4] == ABI_MSG_PROGRAM) {
			take_program(n);
			continue;
		}
		problem[0] = 0;
		wrong("this runtime loads programs and calls no handlers", "", "");
		take_file("", n);
		if (head[4] == ABI_MSG_START)
			become();
		send(ABI_MSG_ERROR, problem);
	}
}

__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tleaq 8(%rsp), %rdi\n\tandq $-16, %rsp\n\tcall loader\n\tud2");
