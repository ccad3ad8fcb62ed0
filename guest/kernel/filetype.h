/*
 * filetype.h: types of files in a mode, and its bits. linux/stat.h keeps them to itself where
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
#ifndef S_ISUID
#define S_ISUID 0004000
#define S_ISGID 0002000
#define S_ISVTX 0001000
#define S_IXGRP 00010
#endif

#endif
