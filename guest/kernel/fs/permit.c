/*
 * permit.c: what the program's credentials let it do to a node. Root may everything here;
 * that only files which somebody may execute are executed is for exec.c and access() to say.
 */
#include "fs.h"

bool permitted(struct node n, u32 want)
{
	if (cred.fsuid == 0)
		return true;
	u32 uid, gid;
	node_owner(n, &uid, &gid);
	u32 shift = uid == cred.fsuid ? 6 : cred_in_group(gid) ? 3 : 0;
	return (node_mode(n) >> shift & want) == want;
}

bool permit_owner(struct node n)
{
	u32 uid, gid;
	if (cred.fsuid == 0)
		return true;
	node_owner(n, &uid, &gid);
	return uid == cred.fsuid;
}

long permit_names(struct node dir) { return node_may(dir, MAY_WRITE | MAY_EXEC) ? 0 : -EACCES; }

long permit_unlink(struct node dir, struct node n)
{
	if (cred_plain)
		return 0;
	if (!node_may(dir, MAY_WRITE | MAY_EXEC))
		return -EACCES;
	return node_mode(dir) & S_ISVTX && !permit_owner(n) && !permit_owner(dir) ? -EPERM : 0;
}

struct inode *inode_in(struct node dir, u32 mode)
{
	struct inode *ip = inode_new(mode, DEV_ROOT);
	u32 mine, uid, gid;
	if (!ip || !(node_mode(dir) & S_ISGID) || node_kind(dir) == NODE_PROC)
		return ip;
	inode_owner(ip, &mine, &gid);
	node_owner(dir, &uid, &gid);
	if (inode_set_owner(ip, mine, gid)) {
		kfree(ip);
		return NULL;
	}
	if (inode_is_dir(ip))
		ip->mode |= S_ISGID;
	return ip;
}

void permit_written(struct inode *ip)
{
	if (cred.fsuid)
		ip->mode &= (u16)~(S_ISUID | (ip->mode & S_IXGRP ? S_ISGID : 0));
}
