/*
 * loader_fuzz.c: records that are anything: the loader's strings stay in their memory, its
 * lists end, and it reads exactly as many bytes as were announced.
 */
#include "fuzz.h"

#include "../../../images/runtimes/loader/driver/records.h"

static const u8 *at;
static u64 left_in;

static bool take(void *buf, u32 n)
{
	if (n > left_in)
		return false;
	memcpy(buf, at, n);
	at += n, left_in -= n;
	return true;
}

static void add(u8 kind, const char *name, const char *value)
{
	u32 n = (u32)strlen(name), v = (u32)strlen(value);
	fputc(kind, stdout);
	fwrite(&n, 4, 1, stdout);
	fwrite(&v, 4, 1, stdout);
	fputs(name, stdout);
	fputs(value, stdout);
}

void fuzz_seed(void)
{
	add(ABI_PROGRAM_FILE, "a/b", "content");
	add(ABI_PROGRAM_ARGUMENT, "", "a/b");
	add(ABI_PROGRAM_VARIABLE, "", "PATH=/bin");
	add(ABI_PROGRAM_DIRECTORY, "", "/tmp");
}

static void check_list(const struct program *p, char *const *list, u32 n)
{
	CHECK(n <= STRINGS && !list[n]);
	for (u32 i = 0; i < n; i++)
		CHECK(list[i] && strlen(list[i]) < sizeof p->text);
}

void fuzz_one(u8 *data, u64 n)
{
	static struct program p;
	char *image_env[] = {"PATH=/usr/bin", "SEUSS_DRIVER_PROTOCOL=1", "HOME=/root", NULL};
	memset(&p, 0, sizeof p);
	program_inherit(&p, image_env);
	CHECK(p.protocol == 1 && p.envc == 2);
	struct record r;
	at = data;
	left_in = n;
	for (u32 left = (u32)n; left;) {
		const char *why = record_next(&p, &r, &left, take);
		CHECK(!r.gone);
		CHECK(r.bytes <= left_in && (why || r.kind != ABI_PROGRAM_FILE || path_below(r.name)));
		at += r.bytes, left_in -= r.bytes; /* the content, or what has to be read past */
	}
	CHECK(left_in == 0 && p.used <= sizeof p.text);
	check_list(&p, p.argv, p.argc);
	check_list(&p, p.envp, p.envc);
	const char *path = program_env(&p, "PATH");
	CHECK(path && strlen(path) < sizeof p.text);
	CHECK(!p.dir || strlen(p.dir) < sizeof p.text);
}
