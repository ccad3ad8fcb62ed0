/*
 * records.h: what ABI_MSG_PROGRAM is made of, and the strings of the program that come
 * with it. Nothing here calls the system: a fuzzer reads records from memory.
 */
#ifndef LOADER_RECORDS_H
#define LOADER_RECORDS_H

#include "../../../../guest/abi/driver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

enum {
	PATH_BYTES = 4096,
	TEXT_BYTES = ABI_PROGRAM_TEXT_BYTES, /* of arguments, environment and directory */
	STRINGS = 4096,                      /* of either list */
};

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

static inline u64 length(const char *s)
{
	u64 n = 0;
	while (s[n])
		n++;
	return n;
}

static inline void copy(void *to, const void *from, u64 n)
{
	for (u64 i = 0; i < n; i++)
		((u8 *)to)[i] = ((const u8 *)from)[i];
}

static inline bool same(const void *a, const void *b, u64 n)
{
	for (u64 i = 0; i < n; i++)
		if (((const u8 *)a)[i] != ((const u8 *)b)[i])
			return false;
	return true;
}

struct program {
	char text[TEXT_BYTES];
	u32 used, argc, envc;
	u32 inherited; /* of envp: the loader's own, which stay for the next program */
	u32 protocol;  /* SEUSS_DRIVER_PROTOCOL, which no program sees; 0: not said */
	char *argv[STRINGS + 1], *envp[STRINGS + 1];
	const char *dir; /* NULL: the default */
};

struct record {
	u8 kind;
	char name[PATH_BYTES]; /* of a file */
	u32 bytes; /* of its content, which follow, or of what has to be read past */
	bool gone; /* the stream has ended */
};

/* How long the name of a variable is, with its "="; 0: it has none. */
static inline u32 name_length(const char *v)
{
	for (u32 n = 0; v[n]; n++)
		if (v[n] == '=')
			return n ? n + 1 : 0;
	return 0;
}

static inline const char *program_env(const struct program *p, const char *name)
{
	u64 n = length(name);
	for (u32 i = 0; i < p->envc; i++)
		if (same(p->envp[i], name, n < length(p->envp[i]) ? n : length(p->envp[i])) && p->envp[i][n] == '=')
			return p->envp[i] + n + 1;
	return NULL;
}

static inline bool set_env(struct program *p, char *v)
{
	u32 n = name_length(v), i = 0;
	while (i < p->envc && !(name_length(p->envp[i]) == n && same(p->envp[i], v, n)))
		i++;
	if (i == STRINGS)
		return false;
	p->envp[i] = v;
	p->envc += i == p->envc;
	p->envp[p->envc] = NULL;
	return true;
}

static inline void program_begin(struct program *p)
{
	p->used = p->argc = 0;
	p->envc = p->inherited;
	p->argv[0] = p->envp[p->envc] = NULL;
	p->dir = NULL;
}

/* The environment that the image gives its programs. */
static inline void program_inherit(struct program *p, char **envp)
{
	static const char own[] = "SEUSS_DRIVER_PROTOCOL=";
	for (; *envp && p->inherited < STRINGS / 2; envp++) {
		if (length(*envp) > sizeof own - 1 && same(*envp, own, sizeof own - 1)) {
			for (const char *c = *envp + sizeof own - 1; *c >= '0' && *c <= '9' && p->protocol < 100000; c++)
				p->protocol = p->protocol * 10 + (u32)(*c - '0');
			continue;
		}
		p->envp[p->inherited++] = *envp;
	}
	program_begin(p);
}

/* Is this a path below a directory: no part is empty, "." or ".."? */
static inline bool path_below(const char *p)
{
	while (*p) {
		u32 n = 0;
		while (p[n] && p[n] != '/')
			n++;
		if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += n;
		if (*p && !*++p)
			return false;
		if (!*p)
			return true;
	}
	return false;
}

/* Takes a string behind those that there are; NULL: there is no room, and nothing is taken. */
static inline char *take_text(struct program *p, u32 n, bool (*take)(void *, u32), bool *gone)
{
	if (n >= sizeof p->text - p->used)
		return NULL;
	char *s = p->text + p->used;
	*gone = !take(s, n);
	s[n] = 0;
	p->used += n + 1;
	return s;
}

/* Takes the next of the records, of which *left bytes are to come. Of a file it leaves the
 * content to the caller, and of what it refuses the rest, r->bytes in either case. What is
 * wrong, or NULL. */
static inline const char *record_next(struct program *p, struct record *r, u32 *left, bool (*take)(void *, u32))
{
	struct { u8 kind, name[4], bytes[4]; } head;
	_Static_assert(sizeof head == ABI_PROGRAM_RECORD, "a record's head");
	u32 name = 0;
	*r = (struct record){0};
	r->bytes = *left;
	if (*left < sizeof head) {
		*left = 0;
		return "the program's records end in the middle of one";
	}
	if ((r->gone = !take(&head, sizeof head)))
		return "the stream has ended";
	*left -= sizeof head;
	r->kind = head.kind;
	copy(&name, head.name, 4);
	copy(&r->bytes, head.bytes, 4);
	if (name > *left || r->bytes > *left - name) {
		r->bytes = *left;
		*left = 0;
		return "a record is longer than the program";
	}
	*left -= name + r->bytes;
	if (name >= sizeof r->name || (name && r->kind != ABI_PROGRAM_FILE)) {
		r->bytes += name;
		return "a record's name is too long";
	}
	if ((r->gone = !take(r->name, name)))
		return "the stream has ended";
	r->name[name] = 0;
	if (r->kind == ABI_PROGRAM_FILE)
		return length(r->name) == name && path_below(r->name) ? NULL : "a file's path leads out of its directory";
	if (r->kind != ABI_PROGRAM_ARGUMENT && r->kind != ABI_PROGRAM_VARIABLE && r->kind != ABI_PROGRAM_DIRECTORY)
		return "a record is of no known kind";
	u32 n = r->bytes;
	char *s = take_text(p, n, take, &r->gone);
	if (!s)
		return "arguments and environment are too long";
	r->bytes = 0;
	if (r->gone)
		return "the stream has ended";
	if (length(s) != n)
		return "a string holds a NUL byte";
	if (r->kind == ABI_PROGRAM_DIRECTORY) {
		p->dir = s;
	} else if (r->kind == ABI_PROGRAM_VARIABLE) {
		if (!name_length(s))
			return "a variable has no name";
		if (!set_env(p, s))
			return "there are too many variables";
	} else {
		if (p->argc == STRINGS)
			return "there are too many arguments";
		p->argv[p->argc++] = s;
		p->argv[p->argc] = NULL;
	}
	return NULL;
}

#endif
