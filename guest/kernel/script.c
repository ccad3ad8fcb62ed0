/*
 * script.c: `#!` lines, read as Linux reads them: the line ends
 * within the first 256 bytes, or the interpreter's path does; behind the path there is
 * one argument, to the end of the line.
 */
#include "exec.h"

static bool blank(char c) { return c == ' ' || c == '\t'; }

/* The first place in [p, end) that is blank or NUL; end: there is none. */
static const char *word_end(const char *p, const char *end)
{
	while (p < end && *p && !blank(*p))
		p++;
	return p;
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && blank(*p))
		p++;
	return p;
}

/* Puts words before the strings, in place of the first argument. */
static long put_first(struct exec_strings *s, const char *const *words, const u64 *lens, u32 n)
{
	u64 old = s->argc ? strlen(s->text) + 1 : 0, new = 0;
	for (u32 i = 0; i < n; i++)
		new += lens[i] + 1;
	if (s->len - old + new > ABI_ARGS_SIZE)
		return -E2BIG;
	memmove(s->text + new, s->text + old, s->len - old);
	for (u64 i = 0, at = 0; i < n; i++) {
		memcpy(s->text + at, words[i], lens[i]);
		at += lens[i];
		s->text[at++] = 0;
	}
	s->len += new - old;
	s->argc += n - (s->argc ? 1 : 0);
	return 0;
}

long script_expand(const char head[SCRIPT_HEAD], const char *path, struct exec_strings *s, char interp[SCRIPT_HEAD])
{
	if (head[0] != '#' || head[1] != '!')
		return 0;
	const char *from = head + 2, *most = head + SCRIPT_HEAD - 1;
	const char *end = memchr(head, '\n', strnlen(head, SCRIPT_HEAD));
	if (!end) {
		const char *name = skip_blank(from, most);
		if (name == most || word_end(name, most) == most)
			return -ENOEXEC; /* the path may go on */
		end = most;
	}
	while (end > from && blank(end[-1]))
		end--;
	const char *name = skip_blank(from, end), *name_end = word_end(name, end);
	if (name == name_end)
		return -ENOEXEC;
	memcpy(interp, name, (u64)(name_end - name));
	interp[name_end - name] = 0;
	const char *words[3] = {interp};
	u64 lens[3] = {(u64)(name_end - name)};
	u32 n = 1;
	if (name_end < end && *name_end) {
		const char *arg = skip_blank(name_end, end);
		u64 len = strnlen(arg, (u64)(end - arg));
		if (len) {
			words[n] = arg;
			lens[n++] = len;
		}
	}
	words[n] = path;
	lens[n++] = strlen(path);
	long err = put_first(s, words, lens, n);
	return err ? err : 1;
}
