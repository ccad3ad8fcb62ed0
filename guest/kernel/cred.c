/*
 * cred.c: ids of user and groups, and the system calls that show and change them, by the
 * rules of setresuid(2). Who is root in the effective id may take any; nobody has
 * capabilities apart from that.
 */
#include "cred.h"
#include "filetype.h"

enum { GROUPS_MAX = 65536 }; /* NGROUPS_MAX of linux/limits.h */
#define KEEP (~0u)

struct cred cred;
bool cred_plain = true;
bool cred_no_new_privs;
static u32 *groups, group_count;

static bool privileged(void) { return cred.euid == 0; }

static long changed(void)
{
	cred_plain = !cred.fsuid && !cred.fsgid;
	return 0;
}

bool cred_in_group(u32 gid)
{
	if (gid == cred.fsgid)
		return true;
	for (u32 i = 0; i < group_count; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

u32 cred_groups(const u32 **list)
{
	*list = groups;
	return group_count;
}

/* Takes over a list that was allocated, and sorts it as the kernel does (Shell's sort). */
static void take_groups(u32 *list, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++)
			for (u32 k = i; k >= gap && list[k - gap] > list[k]; k -= gap) {
				u32 t = list[k];
				list[k] = list[k - gap];
				list[k - gap] = t;
			}
	kfree(groups);
	groups = list;
	group_count = n;
}

void cred_boot(void)
{
	const struct abi_boot *b = (const void *)boot_info; /* it was written before the first instruction */
	cred = (struct cred){b->uid, b->uid, b->uid, b->uid, b->gid, b->gid, b->gid, b->gid};
	u32 n = MIN(b->groupc, (u32)ABI_GROUPS_MAX), *list = n ? kmalloc(n * sizeof *list) : NULL;
	if (n && !list)
		panic("no memory for %u groups", n);
	if (n)
		memcpy(list, b->groups, n * sizeof *list);
	take_groups(list, n);
	changed();
}

bool cred_exec(const struct stat *st)
{
	if (!cred_no_new_privs && st->st_mode & S_ISUID)
		cred.euid = st->st_uid;
	if (!cred_no_new_privs && (st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		cred.egid = st->st_gid;
	cred.suid = cred.fsuid = cred.euid;
	cred.sgid = cred.fsgid = cred.egid;
	changed();
	return cred.uid != cred.euid || cred.gid != cred.egid;
}

struct cred cred_as_real(void)
{
	struct cred old = cred;
	cred.fsuid = cred.uid;
	cred.fsgid = cred.gid;
	changed();
	return old;
}

void cred_restore(const struct cred *old)
{
	cred = *old;
	changed();
}

/* ---- users ---------------------------------------------------------------------- */

long sys_getuid(void) { return cred.uid; }
long sys_geteuid(void) { return cred.euid; }

long sys_setuid(u32 uid)
{
	if (uid == KEEP)
		return -EINVAL;
	if (privileged())
		cred.uid = cred.suid = uid;
	else if (uid != cred.uid && uid != cred.suid)
		return -EPERM;
	cred.euid = cred.fsuid = uid;
	return changed();
}

long sys_setreuid(u32 real, u32 effective)
{
	struct cred c = cred;
	bool any = privileged();
	if (real != KEEP && !any && real != c.uid && real != c.euid)
		return -EPERM;
	if (effective != KEEP && !any && effective != c.uid && effective != c.euid && effective != c.suid)
		return -EPERM;
	if (real != KEEP)
		cred.uid = real;
	if (effective != KEEP)
		cred.euid = effective;
	if (real != KEEP || (effective != KEEP && effective != c.uid))
		cred.suid = cred.euid;
	cred.fsuid = cred.euid;
	return changed();
}

static bool one_of_users(u32 id) { return id == KEEP || id == cred.uid || id == cred.euid || id == cred.suid; }

long sys_setresuid(u32 real, u32 effective, u32 saved)
{
	if (!privileged() && !(one_of_users(real) && one_of_users(effective) && one_of_users(saved)))
		return -EPERM;
	cred.uid = real == KEEP ? cred.uid : real;
	cred.euid = effective == KEEP ? cred.euid : effective;
	cred.suid = saved == KEEP ? cred.suid : saved;
	cred.fsuid = cred.euid;
	return changed();
}

static long put(u32 *r, u32 *e, u32 *s, u32 real, u32 effective, u32 saved)
{
	if (!user_writable(r, 4) || !user_writable(e, 4) || !user_writable(s, 4))
		return -EFAULT;
	*r = real;
	*e = effective;
	*s = saved;
	return 0;
}

long sys_getresuid(u32 *r, u32 *e, u32 *s) { return put(r, e, s, cred.uid, cred.euid, cred.suid); }

/* The answer is the old id, whether or not it is the new one. */
long sys_setfsuid(u32 uid)
{
	u32 old = cred.fsuid;
	if (uid != KEEP && (privileged() || one_of_users(uid) || uid == old))
		cred.fsuid = uid;
	changed();
	return old;
}

/* ---- groups ------------------------------------------------------------------------ */

long sys_getgid(void) { return cred.gid; }
long sys_getegid(void) { return cred.egid; }

long sys_setgid(u32 gid)
{
	if (gid == KEEP)
		return -EINVAL;
	if (privileged())
		cred.gid = cred.sgid = gid;
	else if (gid != cred.gid && gid != cred.sgid)
		return -EPERM;
	cred.egid = cred.fsgid = gid;
	return changed();
}

long sys_setregid(u32 real, u32 effective)
{
	struct cred c = cred;
	bool any = privileged();
	if (real != KEEP && !any && real != c.gid && real != c.egid)
		return -EPERM;
	if (effective != KEEP && !any && effective != c.gid && effective != c.egid && effective != c.sgid)
		return -EPERM;
	if (real != KEEP)
		cred.gid = real;
	if (effective != KEEP)
		cred.egid = effective;
	if (real != KEEP || (effective != KEEP && effective != c.gid))
		cred.sgid = cred.egid;
	cred.fsgid = cred.egid;
	return changed();
}

static bool one_of_groups(u32 id) { return id == KEEP || id == cred.gid || id == cred.egid || id == cred.sgid; }

long sys_setresgid(u32 real, u32 effective, u32 saved)
{
	if (!privileged() && !(one_of_groups(real) && one_of_groups(effective) && one_of_groups(saved)))
		return -EPERM;
	cred.gid = real == KEEP ? cred.gid : real;
	cred.egid = effective == KEEP ? cred.egid : effective;
	cred.sgid = saved == KEEP ? cred.sgid : saved;
	cred.fsgid = cred.egid;
	return changed();
}

long sys_getresgid(u32 *r, u32 *e, u32 *s) { return put(r, e, s, cred.gid, cred.egid, cred.sgid); }

long sys_setfsgid(u32 gid)
{
	u32 old = cred.fsgid;
	if (gid != KEEP && (privileged() || one_of_groups(gid) || gid == old))
		cred.fsgid = gid;
	changed();
	return old;
}

long sys_getgroups(int n, u32 *list)
{
	if (n < 0 || (n && (u32)n < group_count))
		return -EINVAL;
	if (!n || !group_count)
		return group_count;
	if (!user_writable(list, group_count * sizeof *list))
		return -EFAULT;
	memcpy(list, groups, group_count * sizeof *list);
	return group_count;
}

long sys_setgroups(u64 n, const u32 *list)
{
	if (!privileged())
		return -EPERM;
	if (n > GROUPS_MAX)
		return -EINVAL;
	if (n && !user_readable(list, n * sizeof *list))
		return -EFAULT;
	u32 *copy = n ? kmalloc(n * sizeof *copy) : NULL;
	if (n && !copy)
		return -ENOMEM;
	if (n)
		memcpy(copy, list, n * sizeof *copy);
	take_groups(copy, (u32)n);
	return 0;
}
