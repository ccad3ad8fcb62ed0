/*
 * fs.h: what the files of fs/ share: nodes, inodes, directories, path walks.
 *
 * The program sees one tree. Its root is the read-only root image with a
 * writable layer in memory above it; /proc and /sys are made up on demand and
 * /dev is a writable directory of devices. The layers, from the bottom:
 *
 *	imagefs.c           the root image's tables, every offset checked
 *	inode.c, data.c     inodes in memory and the content of their files
 *	shared.c            file memory that the program mapped MAP_SHARED
 *	dirent.c, dirfile.c names in directories in memory; reading any directory
 *	overlay.c           image and memory as one tree: look up, copy up, white out
 *	procfs.c, proctext.c, devfs.c, regionfs.c  made-up files
 *	permit.c            what the program may do to them
 *	walk.c              paths
 *	vfs.c, open.c       files of the tree, and opening them
 *	tree.c              create, remove, rename
 *	calls_*.c           system calls
 *
 * An image file is copied up at its inode number, not at its path: once it
 * has an inode in memory, every name that leads to the image inode leads
 * there, so copying up needs no directories and image hard links stay links.
 * Its content stays in the image until the first write.
 */
#ifndef SEUSS_FS_H
#define SEUSS_FS_H

#include "../cred.h"
#include "../filetype.h"
#include "../kernel.h"

#include <asm/stat.h>
#include <linux/fcntl.h>

#define NAME_LEN_MAX 255u
#define PATH_LEN_MAX 4096u /* with the NUL */
#define FILE_SIZE_MAX 0x7fffffffffffffffull
#define LINKS_MAX 40u      /* symbolic links in one walk: fs/namei.c's MAXSYMLINKS */

/* ---- nodes: anything that a path can name, in one word ---------------------- */

struct node { u64 v; };
enum node_kind { NODE_NONE, NODE_IMAGE, NODE_INODE, NODE_PROC };

struct inode;
struct place;
static inline enum node_kind node_kind(struct node n) { return (enum node_kind)(n.v & 3); }
static inline struct node node_image(u32 ino) { return (struct node){(u64)ino << 2 | NODE_IMAGE}; }
static inline struct node node_inode(struct inode *ip) { return (struct node){(u64)ip | NODE_INODE}; }
/* id: row of procfs.c's table; arg: thread or descriptor. */
static inline struct node node_proc(u32 id, u32 arg) { return (struct node){(u64)arg << 32 | id << 2 | NODE_PROC}; }
static inline u32 image_of(struct node n) { return (u32)(n.v >> 2); }
static inline struct inode *inode_of(struct node n) { return (struct inode *)(n.v & ~3ull); }
static inline u32 proc_id(struct node n) { return (u32)n.v >> 2; }
static inline u32 proc_arg(struct node n) { return (u32)(n.v >> 32); }
static inline bool same(struct node a, struct node b) { return a.v == b.v; }

/* st_dev of each file system, as mountinfo shows it (0:20 ...). */
enum { DEV_ROOT = 20, DEV_PROC, DEV_DEV, DEV_SHM, DEV_SYS, DEV_MEMFD, DEV_REGION };

/* ---- imagefs.c ------------------------------------------------------------------ */

struct img_name {
	const char *name; /* in the image, not terminated */
	u32 len, ino;
};
const char *img_init(const void *image, u64 bytes); /* NULL, or why the image is refused */
u32 img_count(void);                                /* inodes */
const struct abi_image_inode *img_inode(u32 ino);   /* NULL: no such inode */
s64 img_lookup(u32 dir, const char *name, u32 len); /* inode, -ENOENT, -EIO */
long img_dirent(u32 dir, u64 index, struct img_name *out); /* 1, 0 at the end, -EIO */
bool img_sound(u32 ino);                            /* does all of the content lie in the image? */
const u8 *img_content(u32 ino);                     /* size bytes, of an object those behind head; NULL: corrupt, or not mapped */
bool img_read(u32 ino, void *buf, u64 n, u64 pos);  /* of the content; false: corrupt, or not all within its size */
s64 img_parent(u32 dir, struct img_name *self);     /* directory that holds dir, and its name there */
void *img_direct(u32 ino, u64 off, u64 n);          /* as file_ops.map_direct */
bool img_loaded(u32 ino, struct file_layout *out);  /* as file_ops.map_loaded */
/* Is page-aligned content of this regular file in the range of memory, and how many pages of it? */
bool img_holds(u32 ino, u64 addr, u64 bytes, u64 *pages);
bool img_shows(u32 ino, u64 layout); /* is a part of this file's content in the layout that begins there? */

/* ---- inode.c ---------------------------------------------------------------------- */

struct run { /* contiguous file memory */
	struct run *next;
	u8 *mem;
	u64 bytes; /* below a page: from kmalloc, else whole pages */
};

enum { /* struct inode.flags */
	INODE_DEAD = 1,     /* directory that was removed */
	INODE_MOUNT = 2,    /* root of a file system: cannot be moved or removed */
	INODE_BORROWED = 4, /* content still in the image */
	INODE_LINKABLE = 8, /* O_TMPFILE: may get its first name */
	INODE_MAPPED = 16,  /* was mapped: what lies behind size may not be zero */
};

struct inode {
	struct inode *map_next;    /* overlay.c */
	u32 ino;
	u32 lower;                 /* image inode + 1 that this one stands for; 0: none */
	u16 mode;
	u16 owner;                 /* row of inode.c's table; 0: root; OWNER_LOWER: as in the image */
	u32 nlink;
	u32 refs;                  /* open files, mappings, cwd, subdirectories; names count in nlink */
	u8 dev, flags, seals, device; /* DEV_*, INODE_*, F_SEAL_*, devfs.c's device */
	u64 size;
	u64 atime, mtime, ctime;   /* ns; atime is only ever set by the program */
	union {
		struct {
			struct run run; /* first of the runs */
			u64 cap;        /* bytes of all runs */
			u32 maps;       /* shared mappings: memory must not move */
		} file;
		struct {
			struct entry **table, *first, *last; /* first..last in order of seq */
			struct inode *parent; /* NULL: where the image has it */
			u32 buckets, entries, live, seq; /* live: entries that are no whiteouts */
		} dir;
		char *target; /* symbolic link; NULL: in the image */
	};
};
_Static_assert(sizeof(struct inode) <= 112, "an inode fits a 128-byte object");

struct inode *inode_new(u32 mode, u32 dev); /* the program's, no name, no reference; NULL: no memory */
/* Owners are pairs in a table: an inode has no room for them, and they are few. */
#define OWNER_LOWER 0xffffu
void inode_owner(const struct inode *ip, u32 *uid, u32 *gid);
long inode_set_owner(struct inode *ip, u32 uid, u32 gid); /* -ENOSPC: the table is full; -ENOMEM */
void inode_get(struct inode *ip);
void inode_put(struct inode *ip);
void inode_unlinked(struct inode *ip);      /* one name less */
static inline void inode_changed(struct inode *ip) { ip->ctime = wall_ns(); }
static inline void inode_modified(struct inode *ip) { ip->mtime = ip->ctime = wall_ns(); }
static inline bool inode_is_dir(const struct inode *ip) { return (ip->mode & S_IFMT) == S_IFDIR; }

/* ---- data.c: content of a regular file ------------------------------------------- */

long data_read(struct inode *ip, void *buf, u64 n, u64 pos);
long data_write(struct inode *ip, const void *buf, u64 n, u64 pos); /* -EFBIG, -ENOSPC, -EPERM (sealed) */
long data_resize(struct inode *ip, u64 size);
long data_reserve(struct inode *ip, u64 bytes); /* memory up to there */
void data_zero(struct inode *ip, u64 off, u64 n); /* within the size */
long data_own(struct inode *ip, u64 keep);      /* first keep bytes of the borrowed content */
void data_free(struct inode *ip);
u8 *data_map(struct inode *ip, u64 off, u64 n); /* pages that hold the content; NULL: cannot */

/* ---- shared.c ------------------------------------------------------------------------ */

void *shared_map(struct inode *ip, u64 off, u64 n);

/* ---- dirent.c ------------------------------------------------------------------------- */

struct entry {
	struct entry *hash_next, *next, *prev;
	struct node node; /* v 0: whiteout */
	u32 seq;
	u8 len;
	char name[];
};
struct entry *entry_find(struct inode *dir, const char *name, u32 len);
long entry_set(struct inode *dir, const char *name, u32 len, struct node n); /* adds or replaces */
void entry_del(struct inode *dir, struct entry *e);
void entries_free(struct inode *dir);

/* ---- overlay.c --------------------------------------------------------------------------- */

extern struct inode *root_inode;
struct node canon(struct node n);          /* the inode in memory that an image node was copied up to */
struct inode *copy_up(struct node n);      /* of an image or memory node; NULL: no memory */
void copy_up_forget(struct inode *ip);     /* an inode with a lower one is going away */
u32 node_mode(struct node n);
u32 node_dev(struct node n);
void node_owner(struct node n, u32 *uid, u32 *gid);
static inline bool node_is_dir(struct node n) { return (node_mode(n) & S_IFMT) == S_IFDIR; }
void node_stat(struct node n, struct stat *st);
void node_get(struct node n);
void node_put(struct node n);
bool node_is_mount(struct node n);
long node_link(struct node n, const char **text, u64 *len); /* of an image or memory symbolic link */
long dir_lookup(struct node dir, const char *name, u32 len, struct node *out);
bool dir_is_dead(struct node dir);
bool dir_is_empty(struct node dir);
bool dir_lower_has(struct inode *dir, const char *name, u32 len);
struct node dir_parent(struct node dir);
/* Makes name lead nowhere. -ENOMEM only if a whiteout is needed and there is no entry yet. */
long dir_hide(struct inode *dir, const char *name, u32 len);
void overlay_init(void);
/* /a/b of a directory, written to the end of buf: its start, or NULL (removed, or longer than size). */
char *dir_path(struct node dir, char *buf, u64 size);
long dir_getdents(struct file *f, void *buf, size_t n); /* dirfile.c */

/* ---- procfs.c, devfs.c --------------------------------------------------------------------- */

extern const struct file_ops proc_file_ops;
struct node proc_root(void), sys_root(void);
bool proc_is_root(struct node n);
u32 proc_mode(struct node n);
u32 proc_dev(struct node n);
bool proc_of_process(struct node n); /* below /proc/1 */
long proc_lookup(struct node dir, const char *name, u32 len, struct node *out);
struct node proc_parent(struct node n);
enum { PROC_NAME_MAX = 32 };
const char *proc_name(struct node n, char tmp[16]);
/* The first name of a directory whose key is at least *key, which becomes its key; false: none. */
bool proc_dirent(struct node dir, u64 *key, struct node *out, char name[PROC_NAME_MAX]);
/* Where a symbolic link leads: to a text (valid until the next call), or to
 * the node of an open file or directory, or only to an open file. */
long proc_link(struct node n, const char **text, u64 *len, struct node *target, struct file **file);
long proc_readlink(struct node n, char *buf, u64 size); /* what readlink shows: length, or error */
struct file *proc_open(struct node n, u32 flags, long *err);
struct node proc_file_node(struct file *f);

long dev_init(struct inode *dir); /* fills /dev */
u32 dev_rdev(const struct inode *ip);
struct file *dev_open(struct inode *ip, u32 flags, long *err); /* takes a reference of ip */

/* ---- permit.c ------------------------------------------------------------------------------ */

enum { MAY_EXEC = 1, MAY_WRITE = 2, MAY_READ = 4 }; /* bits of a mode */
bool permitted(struct node n, u32 want);
static inline bool node_may(struct node n, u32 want) { return cred_plain || permitted(n, want); }
bool permit_owner(struct node n);                       /* may it be changed as only its owner may? */
long permit_names(struct node dir);                     /* may it get names? 0, -EACCES */
long permit_unlink(struct node dir, struct node n);     /* may n lose its name there? 0, -EACCES, -EPERM (sticky) */
struct inode *inode_in(struct node dir, u32 mode);      /* inode_new() of what gets its name there */
void permit_written(struct inode *ip);                  /* by others than root it loses its set-id bits */

/* ---- regionfs.c: /dev/seuss/region ---------------------------------------------------------- */

enum { DEVICE_REGIONS = 64, DEVICE_REGION, DEVICE_API }; /* struct inode.device: the directory, a file in it, /dev/seuss/api */
bool regionfs_dir(struct node n);
bool regionfs_is(struct node n);
long regionfs_lookup(struct inode *dir, const char *name, u32 len, struct node *out);
long regionfs_unlink(struct place *at); /* removes the region */
/* path ends in its name; kept: the flags that stay the file's. */
struct file *regionfs_open(struct inode *ip, const char *path, u32 flags, u32 kept, long *err);

/* ---- walk.c -------------------------------------------------------------------------------- */

enum { WALK_FOLLOW = 1, WALK_CREATE = 2, WALK_EMPTY = 4 };
enum place_last { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT, LAST_JUMP };

struct place {
	struct node dir;   /* directory of the last component */
	const char *name;  /* last component, if last == LAST_NAME; not terminated */
	u32 len;
	enum place_last last;
	bool slash;        /* the path ends in a slash */
	struct node node;  /* v 0 (with WALK_CREATE): not there */
	struct file *file; /* the path leads to an open object that has no node; borrowed */
};

struct path_text { /* collects the absolute path that a walk took; "" is the root */
	char *buf;  /* PATH_LEN_MAX bytes */
	u32 len;
	bool lost;  /* longer than that */
};

long walk(struct node start, const char *path, u64 len, u32 flags, struct place *at, struct path_text *text);
/* As the program names it: checks path, takes dirfd or the working directory. */
long walk_at(int dirfd, const char *path, u32 flags, struct place *at, struct path_text *text);
extern struct node cwd;
long cwd_set(struct node dir, const char *path); /* path is copied */
const char *cwd_text(void); /* NULL: longer than PATH_LEN_MAX, or unknown */
bool path_leads_to(const char *path, struct node n);

/* ---- vfs.c, open.c, tree.c ---------------------------------------------------------------------------- */

extern const struct file_ops image_ops, inode_ops, dir_ops, path_ops;
extern u32 file_umask;
long vfs_stat_op(struct file *f, struct stat *st);
void vfs_release_op(struct file *f);
long vfs_seek_op(struct file *f, s64 off, int whence); /* of anything with a size */
struct node file_node(struct file *f); /* v 0: not a file of the tree */
void files_copied_up(u32 image, struct inode *ip); /* open files move to the inode in memory */
struct file *open_at(int dirfd, const char *path, u32 flags, u32 mode, long *err);
struct file *open_node(struct node n, u32 flags, char *path, long *err); /* takes path over; asks nobody */
struct file *open_inode(struct inode *ip, u32 flags);

long tree_create(struct place *at, struct inode *ip); /* gives ip, or nothing, the place's name */
long tree_mkdir(struct place *at, u32 mode);
long tree_unlink(struct place *at, bool dir);
long tree_rename(struct place *from, struct place *to);

/* ---- file.c -------------------------------------------------------------------------------------- */

struct file *fd_io(int fd);                  /* as fd_get, but an O_PATH descriptor is EBADF too */
struct file *fd_next(int *fd);               /* first open descriptor at or above *fd; NULL: none */
long fd_reserve(void);                       /* 0 if fd_install() will find room */
long fd_dup_to(struct file *f, int fd, bool cloexec); /* takes a new reference; closes what was there */
bool fd_cloexec(int fd);
void fd_set_cloexec(int fd, bool on);
u32 fd_table_size(void);
u32 fd_limit(void);

#endif
