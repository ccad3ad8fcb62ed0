/*
 * image.h: the contract of a root image between who builds it (host, Go), the
 * monitor that maps it, and the kernel library that reads files from it.
 *
 * It is mapped read-only behind RAM in its entirety; every offset below is in bytes
 * from its start. First comes the image's own file. Behind it come the layers that it is
 * made of: of each the content, which lies in a file of its own that other images have
 * too. Only the tables say which bytes are where, and they are all in the own file; the
 * kernel library knows nothing of layers. What lies between them reads as zero. An image
 * that is too large for that is mapped in parts (struct abi_image_shown), and the kernel
 * library asks the monitor for the content of the others (ABI_DOORBELL_CONTENT). Pages, and
 * their alignment, are those of kernel.h: what a program may map is aligned to them, which
 * lets mmap answer with a pointer into the image itself. All fields are IN (the host
 * writes, the guest reads), and nobody trusts them: both readers check every offset.
 *
 * Each side refuses another version, which is in the header beside that of the
 * kernel library inside.
 */
#ifndef SEUSS_ABI_IMAGE_H
#define SEUSS_ABI_IMAGE_H

#define ABI_IMAGE_MAGIC 0x31474d4953535553 /* "SUSSIMG1" */
#define ABI_IMAGE_VERSION 2
#define ABI_IMAGE_PARTS_VERSION 3 /* the same, mapped in parts */
#define ABI_IMAGE_ALIGN 0x200000
#define ABI_IMAGE_NAME_MAX 255
#define ABI_IMAGE_LAYERS_MAX 256   /* container images have at most 127 */
#define ABI_IMAGE_EXTENTS_MAX 4096
#define ABI_IMAGE_SHOWN_MAX 512
#define ABI_IMAGE_MAX_GIB 64 /* of own file and layers */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct abi_image_header { /* first page of the image */
	uint64_t magic;        /* ABI_IMAGE_MAGIC */
	uint32_t version;      /* ABI_IMAGE_VERSION */
	uint32_t abi_version;  /* ABI_KERNEL_VERSION of the kernel library inside (kernel.h) */
	uint64_t total_bytes;  /* own file and layers, a multiple of ABI_PAGE_SIZE */
	uint8_t digest[32];    /* SHA-256 of the own file with this field zero */
	uint64_t inodes_off;   /* struct abi_image_inode[inode_count]; inode 0 is the root directory */
	uint64_t inode_count;
	uint64_t dirents_off;  /* struct abi_image_dirent[dirent_count] */
	uint64_t dirent_count;
	uint64_t names_off;    /* names, not terminated */
	uint64_t names_bytes;
	uint64_t extents_off;  /* struct abi_image_extent[extent_count], sorted by gpa */
	uint64_t extent_count;
	uint64_t entry;        /* kernel library's entry point */
	uint64_t kernel_end;   /* kernel library is [ABI_KERNEL_GPA, kernel_end) */
	uint32_t program;      /* inode of the program whose segments the extents place; 0 = none */
	uint32_t reserved;
	uint64_t config_off;   /* JSON for the host: name, argv, env, memory, driver, packages */
	uint64_t config_bytes;
	uint64_t own_bytes;    /* length of the own file, a multiple of ABI_PAGE_SIZE */
	uint64_t layers_off;   /* struct abi_image_layer[layer_count], by off */
	uint64_t layer_count;
	/* Zero before ABI_IMAGE_PARTS_VERSION: then all of the image is mapped, as it is. */
	uint64_t shown_off;   /* struct abi_image_shown[shown_count], by off and by at */
	uint64_t shown_count;
	uint64_t shown_bytes; /* behind the last of them: a page multiple */
};

/* A part of the image that is mapped, at so many bytes behind where the image is. The
 * first is the own file, at 0. */
struct abi_image_shown {
	uint64_t off;   /* page aligned */
	uint64_t at;    /* at the same place in its stretch of ABI_IMAGE_ALIGN as off */
	uint64_t bytes; /* page multiple */
};

/* The content of a layer: its file from the second page on. */
struct abi_image_layer {
	uint64_t off;       /* page aligned; at the same place in its stretch of ABI_IMAGE_ALIGN as in its file */
	uint64_t bytes;     /* page multiple */
	uint8_t digest[32]; /* that names the file */
};

/* What the host puts at fixed addresses before the guest starts: the kernel
 * library, and the segments of an ET_EXEC program at their link addresses. */
struct abi_image_extent {
	uint64_t gpa;   /* page aligned */
	uint64_t off;   /* page aligned */
	uint64_t bytes; /* page multiple; the tail of the last page is zero */
};

struct abi_image_inode {
	uint32_t mode;       /* st_mode: S_IFREG, S_IFDIR or S_IFLNK and permissions */
	uint32_t nlink;
	uint32_t uid, gid;
	uint64_t size;       /* bytes; entries for a directory */
	uint64_t off;        /* content; link target; for a directory index of its first dirent */
	uint64_t mtime;      /* seconds since 1970 */
	uint64_t load_off;   /* ET_DYN: its PT_LOAD segments laid out as loaded; 0 = none */
	uint64_t load_bytes; /* page multiple, bss included and zero */
	uint64_t head;       /* page multiple: so much of the content lies at load_off, where it is never
	                      * written, and only what follows at off */
};

struct abi_image_dirent { /* a directory's entries lie together, sorted by name bytes */
	uint64_t name_off; /* from names_off */
	uint32_t name_len;
	uint32_t inode;
};

/* ---- Layout that must not move ------------------------------------------ */

_Static_assert(offsetof(struct abi_image_header, version) == 8, "version");
_Static_assert(offsetof(struct abi_image_header, abi_version) == 12, "abi_version");
_Static_assert(offsetof(struct abi_image_header, digest) == 24, "digest");
_Static_assert(offsetof(struct abi_image_header, config_off) == 144, "config_off");
_Static_assert(sizeof(struct abi_image_header) == 208, "abi_image_header");
_Static_assert(sizeof(struct abi_image_shown) == 24, "abi_image_shown");
_Static_assert(sizeof(struct abi_image_layer) == 48, "abi_image_layer");
_Static_assert(sizeof(struct abi_image_inode) == 64, "abi_image_inode");
_Static_assert(sizeof(struct abi_image_dirent) == 16, "abi_image_dirent");
_Static_assert(sizeof(struct abi_image_extent) == 24, "abi_image_extent");

#endif /* !__ASSEMBLER__ */
#endif
