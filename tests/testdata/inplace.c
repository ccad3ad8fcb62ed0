/*
 * inplace.c: shared objects that are opened, changed, closed and opened again, and
 * files that are mapped to be read and then written. Prints what it sees; the same
 * as natively. Built with -DOBJECT=1 it is the object, with -DOBJECT=2 another version.
 */
#ifdef OBJECT
int number = OBJECT;
int zero[3000];
int array[2000] = {[0] = 7, [1999] = 9};
static int inner = 41;
int *const pointer = &inner;            /* relocated, then read-only */
int *changing = &array[1999];           /* relocated data */
int function(void) { return ++inner + number; }
int (*const table[])(void) = {function}; /* likewise */
__attribute__((constructor)) static void begin(void) { zero[2999]++; }
#else
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
#define LIBRARY "/lib/inplace/libobject.so"
#define SECOND "/lib/inplace/libsecond.so"
#define PAGE_OF(p) ((char *)((unsigned long)(p) & -PAGE))

static const char *root = "";
static const char *path(const char *p)
{
	static char out[4][300];
	static int n;
	char *to = out[n++ % 4];
	snprintf(to, sizeof out[0], "%s%s", root, p);
	return to;
}

static void *handle;
static char *base;

static void load(void)
{
	handle = dlopen(path(LIBRARY), RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		printf("%s\n", dlerror());
		exit(1);
	}
	base = (char *)((struct link_map *)handle)->l_addr;
}
static void *at(const char *name) { return dlsym(handle, name); }

static void show(const char *when)
{
	int *number = at("number"), *zero = at("zero"), *array = at("array");
	int *const *pointer = at("pointer"), **changing = at("changing");
	int (**table)(void) = at("table");
	int (*function)(void) = at("function");
	printf("%s: number %d zero %d %d %d array %d %d pointer %d changing %d table %d function %d %d\n", when, *number, zero[0], zero[1500],
	       zero[2999], array[0], array[1999], **pointer, *changing == &array[1999], table[0] == function, function(), function());
}

static void scribble(void)
{
	int *number = at("number"), *zero = at("zero"), *array = at("array"), **changing = at("changing");
	*number = 100;
	*changing = NULL;
	for (int i = 0; i < 3000; i++)
		zero[i] = -1;
	for (int i = 0; i < 2000; i++)
		array[i] = -1;
}

static void again(const char *what)
{
	if (dlclose(handle))
		printf("dlclose: %s\n", dlerror());
	handle = dlopen(path(LIBRARY), RTLD_NOW | RTLD_NOLOAD);
	printf("still loaded: %d\n", handle != NULL);
	load();
	show(what);
}

static void file_is(const char *when, const char *name, const char *want, size_t n)
{
	static char got[1 << 20];
	int fd = open(path(name), O_RDONLY);
	ssize_t r = read(fd, got, sizeof got);
	close(fd);
	printf("%s: %s %s\n", when, name, r == (ssize_t)n && !memcmp(got, want, n) ? "as it was" : "CHANGED");
}

static char original[1 << 20];
static ssize_t size;
static int fd;

static void closed(void)
{
	show("first");
	for (int i = 0; i < 20; i++) {
		scribble();
		again("reopened");
	}
}

/* What the loader made read-only is opened and written. */
static void constants(void)
{
	printf("mprotect %d\n", mprotect(PAGE_OF(at("table")), PAGE, PROT_READ | PROT_WRITE));
	*(void **)at("table") = NULL;
	again("after a change of relocated constants");
	again("and again");
}

static void text(void)
{
	char *function = at("function");
	printf("mprotect %d\n", mprotect(PAGE_OF(function), 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	memcpy(function, "\xb8\x05\x00\x00\x00\xc3", 6); /* return 5 */
	show("patched");
	again("after a patch");
	file_is("after a patch", LIBRARY, original, size);
	again("a copy, reopened");
}

static void part(void)
{
	printf("munmap %d\n", munmap(PAGE_OF((int *)at("zero") + 1500), PAGE));
	again("after a part was unmapped");
	again("and again");
}

static void fixed(void)
{
	char *middle = PAGE_OF((int *)at("zero") + 1500);
	scribble();
	printf("mmap %d\n", mmap(middle, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == middle);
	printf("zero: %d\n", middle[0] == 0 && !memcmp(middle, middle + 1, PAGE - 1));
	again("after anonymous memory over its bss");
}

static void fixed_text(void)
{
	char *page = PAGE_OF(at("function"));
	printf("mmap %d\n", mmap(page, PAGE, PROT_READ | PROT_EXEC, MAP_FIXED | MAP_PRIVATE, fd, page - base) == page);
	show("after a page of text was mapped once more");
	again("after a page of text was mapped once more, reopened");
}

static void advice(void)
{
	scribble();
	printf("madvise %d\n", madvise(PAGE_OF((int *)at("zero") + 1500), PAGE, MADV_DONTNEED));
	printf("zero: %d\n", ((int *)at("zero"))[1500]);
	printf("madvise %d\n", madvise(PAGE_OF((int *)at("array") + 1000), PAGE, MADV_DONTNEED));
	printf("array: %d\n", ((int *)at("array"))[1000]);
	again("after advice");
}

static void twice(void)
{
	void *one = handle;
	handle = dlmopen(LM_ID_NEWLM, path(LIBRARY), RTLD_NOW);
	show("a second time, in a namespace of its own");
	scribble();
	dlclose(handle);
	handle = one;
	again("both closed, opened again");
}

/* Reading a file through a mapping, whose pages are then written. */
static void reader(void)
{
	scribble();
	for (int round = 0; round < 2; round++) {
		char *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
		printf("mapped: %d\n", map != MAP_FAILED && !memcmp(map, original, size));
		unsigned char in[4];
		printf("mincore %d\n", mincore(map, 4 * PAGE, in));
		printf("mprotect %d\n", mprotect(map + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE));
		memset(map + PAGE, 'x', 2 * PAGE);
		file_is("after a private change", LIBRARY, original, size);
		printf("mmap %d\n", mmap(map, PAGE, PROT_READ, MAP_FIXED | MAP_PRIVATE, fd, PAGE) == map);
		printf("moved: %d, behind: %c\n", !memcmp(map, original + PAGE, PAGE), map[PAGE]);
		file_is("after a fixed mapping", LIBRARY, original, size);
		printf("munmap %d\n", munmap(map, size));
		again("after a mapping was written");
	}
}

/* The file is replaced by another version while it is open, and while it is not. */
static void replaced(void)
{
	int other = open(path(SECOND), O_RDONLY);
	ssize_t n = read(other, original, sizeof original);
	unlink(path(LIBRARY));
	int out = open(path(LIBRARY), O_CREAT | O_WRONLY, 0755);
	printf("written %d\n", write(out, original, n) == n);
	close(out);
	scribble();
	again("replaced");
	again("replaced and reopened");
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } cases[] = {
		{"closed", closed}, {"constants", constants}, {"text", text}, {"part", part}, {"fixed", fixed},
		{"fixed-text", fixed_text}, {"advice", advice}, {"twice", twice}, {"reader", reader}, {"replaced", replaced},
	};
	setvbuf(stdout, NULL, _IOLBF, 0);
	root = argc > 2 ? argv[2] : "";
	fd = open(path(LIBRARY), O_RDONLY);
	size = read(fd, original, sizeof original);
	load();
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (!strcmp(cases[i].name, argv[1]))
			cases[i].run();
	dlclose(handle);
	load();
	show("at the end");
	return 0;
}
#endif
