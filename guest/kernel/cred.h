/*
 * cred.h: who the program is, as credentials(7) has it. There is one process, and its
 * threads have the same ids: C libraries see to that on Linux, by asking in every thread.
 */
#ifndef SEUSS_CRED_H
#define SEUSS_CRED_H

#include "kernel.h"

#include <asm/stat.h>

struct cred {
	u32 uid, euid, suid, fsuid;
	u32 gid, egid, sgid, fsgid;
};
extern struct cred cred;
/* Files are root's and root may everything: what a walk asks first, and a program that
 * never leaves root pays. */
extern bool cred_plain;
extern bool cred_no_new_privs; /* PR_SET_NO_NEW_PRIVS */

bool cred_in_group(u32 gid);        /* as which files are accessed, or one of the others */
u32 cred_groups(const u32 **list);  /* the others: how many */
void cred_boot(void);               /* becomes whom the monitor names */
/* What a program that is executed makes of them; true: they are not those of who executes it. */
bool cred_exec(const struct stat *program);
/* Files are accessed as the real ids say until cred_restore(). */
struct cred cred_as_real(void);
void cred_restore(const struct cred *old);

/* cred.c: system calls */
long sys_getuid(void);
long sys_geteuid(void);
long sys_getgid(void);
long sys_getegid(void);
long sys_setuid(u32 uid);
long sys_setgid(u32 gid);
long sys_setreuid(u32 real, u32 effective);
long sys_setregid(u32 real, u32 effective);
long sys_setresuid(u32 real, u32 effective, u32 saved);
long sys_setresgid(u32 real, u32 effective, u32 saved);
long sys_getresuid(u32 *real, u32 *effective, u32 *saved);
long sys_getresgid(u32 *real, u32 *effective, u32 *saved);
long sys_setfsuid(u32 uid);
long sys_setfsgid(u32 gid);
long sys_getgroups(int n, u32 *list);
long sys_setgroups(u64 n, const u32 *list);

#endif
