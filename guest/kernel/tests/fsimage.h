/*
 * fsimage.h: builds small root images (struct abi_image_*) in memory for the
 * file system's tests.
 */
#ifndef SEUSS_FSIMAGE_H
#define SEUSS_FSIMAGE_H

#include "host.h"
#include "../fs/fs.h"

struct image_file {
	const char *path;    /* "/a/b"; parents before children; the root is implied */
	u32 mode;            /* with S_IFMT */
	const char *content; /* or link target; NULL: size bytes of a pattern */
	u64 size;            /* if content is NULL */
	const char *link_to; /* hard link to this earlier path */
	bool loaded;         /* has a loaded layout of two pages, filled with 'L' */
};

enum { IMAGE_MAX_FILES = 256, IMAGE_MTIME = 1600000000 };

/* Byte i of a file without given content. */
static inline u8 image_pattern(u64 i) { return (u8)(i * 31 + i / 4096 + 1); }

struct image {
	u8 *bytes;
	u64 size;
};

static inline u32 image_find(const struct image_file *files, u32 n, const char *path, u64 len, const u32 *inode)
{
	if (len == 0)
		return 0;
	for (u32 i = 0; i < n; i++)
		if (strlen(files[i].path) == len && memcmp(files[i].path, path, len) == 0)
			return inode[i];
	fprintf(stderr, "image: no parent for %s\n", path);
	exit(1);
}

static inline struct image image_build(const struct image_file *files, u32 n)
{
	struct child { u32 dir, inode; const char *name; } child[IMAGE_MAX_FILES], tmp;
	u32 inode[IMAGE_MAX_FILES], inodes = 1;
	CHECK(n < IMAGE_MAX_FILES);
	for (u32 i = 0; i < n; i++) {
		const char *slash = strrchr(files[i].path, '/');
		inode[i] = files[i].link_to ? image_find(files, i, files[i].link_to, strlen(files[i].link_to), inode) : inodes++;
		child[i] = (struct child){image_find(files, i, files[i].path, (u64)(slash - files[i].path), inode), inode[i], slash + 1};
	}
	for (u32 i = 1; i < n; i++) /* by directory, then name */
		for (u32 j = i; j > 0 && (child[j - 1].dir > child[j].dir ||
					  (child[j - 1].dir == child[j].dir && strcmp(child[j - 1].name, child[j].name) > 0));
		     j--) {
			tmp = child[j];
			child[j] = child[j - 1];
			child[j - 1] = tmp;
		}
	u64 size = 64 * PAGE_SIZE;
	for (u32 i = 0; i < n; i++)
		size += PAGE_UP(files[i].content ? strlen(files[i].content) : files[i].size) + (files[i].loaded ? 3 : 1) * PAGE_SIZE;
	u8 *b = aligned_alloc(PAGE_SIZE, size);
	memset(b, 0, size);
	struct abi_image_header *h = (void *)b;
	*h = (struct abi_image_header){
		.magic = ABI_IMAGE_MAGIC, .version = ABI_IMAGE_VERSION, .abi_version = ABI_KERNEL_VERSION, .inodes_off = PAGE_SIZE,
		.inode_count = inodes, .dirent_count = n};
	struct abi_image_inode *ino = (void *)(b + h->inodes_off);
	h->dirents_off = h->inodes_off + inodes * sizeof *ino;
	struct abi_image_dirent *d = (void *)(b + h->dirents_off);
	h->names_off = h->dirents_off + n * sizeof *d;
	ino[0] = (struct abi_image_inode){.mode = S_IFDIR | 0755, .nlink = 2, .mtime = IMAGE_MTIME};
	for (u32 i = 0; i < n; i++)
		if (!files[i].link_to)
			ino[inode[i]] = (struct abi_image_inode){.mode = files[i].mode, .mtime = IMAGE_MTIME,
								 .nlink = (files[i].mode & S_IFMT) == S_IFDIR};
	for (u32 i = 0; i < n; i++) {
		u32 len = (u32)strlen(child[i].name);
		d[i] = (struct abi_image_dirent){h->names_bytes, len, child[i].inode};
		memcpy(b + h->names_off + h->names_bytes, child[i].name, len);
		h->names_bytes += len;
		if (ino[child[i].dir].size++ == 0)
			ino[child[i].dir].off = i;
		ino[child[i].inode].nlink++;
		if ((ino[child[i].inode].mode & S_IFMT) == S_IFDIR)
			ino[child[i].dir].nlink++;
	}
	u64 at = h->names_off + h->names_bytes;
	for (u32 i = 0; i < n; i++) {
		if (files[i].link_to || (files[i].mode & S_IFMT) == S_IFDIR)
			continue;
		struct abi_image_inode *f = &ino[inode[i]];
		f->size = files[i].content ? strlen(files[i].content) : files[i].size;
		at = f->size >= PAGE_SIZE ? PAGE_UP(at) : (at + 15) & ~15ull;
		f->off = at;
		for (u64 k = 0; k < f->size; k++)
			b[at + k] = files[i].content ? (u8)files[i].content[k] : image_pattern(k);
		at += f->size >= PAGE_SIZE ? PAGE_UP(f->size) : f->size;
		if (files[i].loaded) {
			f->load_off = PAGE_UP(at);
			f->load_bytes = 2 * PAGE_SIZE;
			memset(b + f->load_off, 'L', f->load_bytes);
			at = f->load_off + f->load_bytes;
		}
	}
	h->total_bytes = PAGE_UP(at);
	CHECK(h->total_bytes <= size);
	return (struct image){b, h->total_bytes};
}

#define DIRECTORY(path) {path, S_IFDIR | 0755, NULL, 0, NULL, false}
#define TEXT(path, text) {path, S_IFREG | 0644, text, 0, NULL, false}
#define BLOB(path, size) {path, S_IFREG | 0644, NULL, size, NULL, false}
#define SYMLINK(path, to) {path, S_IFLNK | 0777, to, 0, NULL, false}
#define HARDLINK(path, to) {path, S_IFREG, NULL, 0, to, false}

#endif
