/*
 * filetype.h: types of files in a mode. linux/stat.h keeps them to itself where
 * glibc's headers are about, as in host tests.
 */
#ifndef SEUSS_FILETYPE_H
#define SEUSS_FILETYPE_H

#include <linux/stat.h>

#ifndef S_IFMT
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
#endif

#endif
