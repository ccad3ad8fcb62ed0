/*
 * imagefs.c: reads the root image's tables (struct abi_image_* in image.h). The
 * host validated the image once, but nothing here relies on it: every offset,
 * count and name is checked where it is used, so a damaged image gives EIO
 * and never a stray access.
 */
#include "fs.h"

static const u8 *img;
static u64 img_bytes, img_mapped; /* all of the image, and what of it can be mapped */
static const struct abi_image_shown *shown; /* NULL: all of it, as it is */
static u64 shown_count;
static const struct abi_image_inode *inodes;
static const struct abi_image_dirent *dirents;
static const char *names;
static u64 dirent_count, names_bytes;
static u32 inode_count;

static bool within(u64 off, u64 n, u64 limit) { return n <= limit && off <= limit - n; }

/* A table of count elements: in the image and aligned for its integers. */
static bool table_ok(u64 off, u64 count, u64 size, u64 total)
{
	return off % 8 == 0 && count <= total / size && within(off, count * size, total);
}

static const char *version_refused(u32 version)
{
	static char why[120];
	ksnprintf(why, sizeof why, "it has image format version %u, this kernel library reads %u and %u: build the image anew", version, ABI_IMAGE_VERSION,
		  ABI_IMAGE_PARTS_VERSION);
	return why;
}

const char *img_init(const void *image, u64 bytes)
{
	const struct abi_image_header *h = image;
	img = NULL;
	shown = NULL;
	inode_count = 0;
	dirent_count = names_bytes = 0;
	if (bytes < PAGE_SIZE)
		return "shorter than its header";
	if (h->magic != ABI_IMAGE_MAGIC)
		return "wrong magic";
	if (h->version != ABI_IMAGE_VERSION && h->version != ABI_IMAGE_PARTS_VERSION)
		return version_refused(h->version);
	bool parts = h->version == ABI_IMAGE_PARTS_VERSION;
	u64 total = parts ? h->shown_bytes : h->total_bytes; /* all tables lie in the own file, which is mapped first */
	if (total > bytes || total < PAGE_SIZE || h->total_bytes < PAGE_SIZE || h->total_bytes > ABI_IMAGE_MAX_GIB * 1ull << 30)
		return "length in the header exceeds the image";
	if (parts && (h->shown_count == 0 || h->shown_count > ABI_IMAGE_SHOWN_MAX || !table_ok(h->shown_off, h->shown_count, sizeof *shown, total)))
		return "table of parts outside the image";
	if (h->inode_count == 0 || h->inode_count > 0x3fffffff ||
	    !table_ok(h->inodes_off, h->inode_count, sizeof *inodes, total))
		return "inode table outside the image";
	if (h->dirent_count > 0xffffffff || !table_ok(h->dirents_off, h->dirent_count, sizeof *dirents, total))
		return "directory table outside the image";
	if (!within(h->names_off, h->names_bytes, total))
		return "name table outside the image";
	const struct abi_image_inode *root = (const void *)((const u8 *)image + h->inodes_off);
	if ((root->mode & S_IFMT) != S_IFDIR)
		return "root inode is no directory";
	img = image;
	img_bytes = h->total_bytes;
	img_mapped = total;
	if (parts) {
		shown = (const void *)(img + h->shown_off);
		shown_count = h->shown_count;
	}
	inodes = root;
	inode_count = (u32)h->inode_count;
	dirents = (const void *)(img + h->dirents_off);
	dirent_count = h->dirent_count;
	names = (const char *)img + h->names_off;
	names_bytes = h->names_bytes;
	return NULL;
}

u32 img_count(void) { return inode_count; }
const struct abi_image_inode *img_inode(u32 ino) { return ino < inode_count ? &inodes[ino] : NULL; }

static const struct abi_image_inode *directory(u32 ino)
{
	const struct abi_image_inode *i = img_inode(ino);
	if (!i || (i->mode & S_IFMT) != S_IFDIR || !within(i->off, i->size, dirent_count))
		return NULL;
	return i;
}

static bool decode(const struct abi_image_dirent *d, struct img_name *out)
{
	if (d->name_len == 0 || d->name_len > ABI_IMAGE_NAME_MAX || !within(d->name_off, d->name_len, names_bytes) ||
	    d->inode >= inode_count)
		return false;
	*out = (struct img_name){names + d->name_off, d->name_len, d->inode};
	return true;
}

long img_dirent(u32 dir, u64 index, struct img_name *out)
{
	const struct abi_image_inode *i = directory(dir);
	if (!i)
		return -EIO;
	if (index >= i->size)
		return 0;
	return decode(&dirents[i->off + index], out) ? 1 : -EIO;
}

s64 img_lookup(u32 dir, const char *name, u32 len)
{
	const struct abi_image_inode *i = directory(dir);
	if (!i)
		return -EIO;
	u64 lo = 0, hi = i->size;
	while (lo < hi) {
		u64 mid = lo + (hi - lo) / 2;
		struct img_name e;
		if (!decode(&dirents[i->off + mid], &e))
			return -EIO;
		int c = memcmp(name, e.name, MIN(len, e.len));
		if (c == 0 && len == e.len)
			return e.ino;
		if (c < 0 || (c == 0 && len < e.len))
			hi = mid;
		else
			lo = mid + 1;
	}
	return -ENOENT;
}

/* Where a range of the image is mapped, or NULL: not all of it is. */
static const u8 *mapped(u64 off, u64 n)
{
	u64 lo = 0, hi = shown_count;
	if (!shown)
		return within(off, n, img_mapped) ? img + off : NULL;
	while (lo < hi) { /* the last part that begins at or before it */
		u64 mid = lo + (hi - lo) / 2;
		if (shown[mid].off <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return NULL;
	const struct abi_image_shown *p = &shown[lo - 1];
	off -= p->off;
	return within(off, n, p->bytes) && within(p->at, p->bytes, img_mapped) ? img + p->at + off : NULL;
}

/* The inode, if it and its content lie in the image. */
static const struct abi_image_inode *with_content(u32 ino)
{
	const struct abi_image_inode *i = img_inode(ino);
	if (!i || (i->mode & S_IFMT) == S_IFDIR || i->head > i->size || i->head % PAGE_SIZE ||
	    !within(i->off, i->size - i->head, img_bytes) || (i->head && (i->head > i->load_bytes || !within(i->load_off, i->head, img_bytes))))
		return NULL;
	return i;
}

bool img_sound(u32 ino) { return with_content(ino) != NULL; }

const u8 *img_content(u32 ino)
{
	const struct abi_image_inode *i = with_content(ino);
	return i ? mapped(i->off, i->size - i->head) : NULL;
}

/* Copies what lies in the image. */
static void copy_from(u64 off, void *buf, u64 n)
{
	const u8 *p = mapped(off, n);
	if (p)
		memcpy(buf, p, n);
	else
		content_read(off, buf, n);
}

bool img_read(u32 ino, void *buf, u64 n, u64 pos)
{
	const struct abi_image_inode *i = with_content(ino);
	if (!i || !within(pos, n, i->size))
		return false;
	u64 first = pos < i->head ? MIN(n, i->head - pos) : 0;
	if (first)
		copy_from(i->load_off + pos, buf, first);
	if (first < n)
		copy_from(i->off + (pos + first - i->head), (u8 *)buf + first, n - first);
	return true;
}

/* Inodes do not name their parents: a scan over all names finds it. Needed
 * only for ".." out of a directory that the walk did not come through and for
 * the path of a working directory, and it costs no memory. */
s64 img_parent(u32 dir, struct img_name *self)
{
	u64 at = 0;
	for (; at < dirent_count; at++)
		if (dirents[at].inode == dir)
			break;
	if (at == dirent_count || !decode(&dirents[at], self))
		return -EIO;
	for (u32 i = 0; i < inode_count; i++)
		if (directory(i) && at >= inodes[i].off && at - inodes[i].off < inodes[i].size)
			return i;
	return -EIO;
}

void *img_direct(u32 ino, u64 off, u64 n)
{
	const struct abi_image_inode *i = with_content(ino);
	if (!i || n == 0 || off % PAGE_SIZE || i->off % PAGE_SIZE)
		return NULL;
	/* Of an object only what lies beside its layout: nobody else writes to that. */
	u64 size = i->size - i->head, end = PAGE_UP(size); /* below 2^63: they lie in the image */
	const u8 *content = mapped(i->off, end);
	if (!content || off < i->head || !within(off - i->head, n, end))
		return NULL;
	off -= i->head;
	for (u64 t = size; t < end && off + n > size; t++)
		if (content[t]) /* a mapping's bytes behind the end of the file read as zero */
			return NULL;
	return (void *)(content + off);
}

bool img_loaded(u32 ino, struct file_layout *out)
{
	const struct abi_image_inode *i = with_content(ino);
	if (!i || i->load_off == 0 || i->load_bytes == 0 || i->load_off % PAGE_SIZE || i->load_bytes % PAGE_SIZE)
		return false;
	const u8 *base = mapped(i->load_off, i->load_bytes), *content = mapped(i->off, i->size - i->head);
	if (i->size == i->head)
		content = base; /* nothing lies there */
	if (!base || !content)
		return false;
	*out = (struct file_layout){(u64)base, i->load_bytes, content, i->size, i->head};
	return true;
}

bool img_holds(u32 ino, u64 addr, u64 bytes, u64 *pages)
{
	u64 start = (u64)img_content(ino);
	const struct abi_image_inode *i = start ? img_inode(ino) : NULL;
	u64 end = start + (i ? PAGE_UP(i->size - i->head) : 0);
	if (!i || (i->mode & S_IFMT) != S_IFREG || i->off % PAGE_SIZE || end <= addr || addr + bytes <= start)
		return false;
	*pages = (MIN(end, addr + bytes) - MAX(start, addr)) / PAGE_SIZE;
	return true;
}

bool img_shows(u32 ino, u64 layout)
{
	const struct abi_image_inode *i = with_content(ino);
	return i && i->head && (u64)mapped(i->load_off, i->head) == layout;
}
