/*
 * inode.c: inodes in memory: life, and the times and numbers that stat shows.
 * An inode lives while it has a name (nlink) or somebody holds it (refs).
 */
#include "fs.h"

static u32 last_ino; /* counts on from the image's */

struct inode *inode_new(u32 mode, u32 dev)
{
	struct inode *ip = kzalloc(sizeof *ip);
	if (!ip)
		return NULL;
	if (last_ino < img_count())
		last_ino = img_count();
	ip->ino = ++last_ino + 1; /* image inode i shows as i + 1 */
	ip->mode = (u16)mode;
	ip->dev = (u8)dev;
	ip->atime = ip->mtime = ip->ctime = wall_ns();
	return ip;
}

enum { OWNERS = 256 };
static struct { u32 uid, gid; } owners[OWNERS]; /* row 0 is root */
static u32 owner_count = 1;

void inode_owner(const struct inode *ip, u32 *uid, u32 *gid)
{
	*uid = owners[ip->owner].uid;
	*gid = owners[ip->owner].gid;
}

long inode_set_owner(struct inode *ip, u32 uid, u32 gid)
{
	u32 i = 0;
	while (i < owner_count && (owners[i].uid != uid || owners[i].gid != gid))
		i++;
	if (i == OWNERS)
		return -ENOSPC;
	if (i == owner_count) {
		owners[i].uid = uid;
		owners[i].gid = gid;
		owner_count++;
	}
	ip->owner = (u16)i;
	return 0;
}

static void inode_free(struct inode *ip)
{
	switch (ip->mode & S_IFMT) {
	case S_IFREG:
		data_free(ip);
		break;
	case S_IFLNK:
		kfree(ip->target);
		break;
	case S_IFDIR: {
		struct inode *parent = ip->dir.parent;
		entries_free(ip);
		if (parent)
			inode_put(parent); /* as deep as removed directories nest while held */
		break;
	}
	default:
		break;
	}
	if (ip->lower)
		copy_up_forget(ip);
	kfree(ip);
}

static void inode_check(struct inode *ip)
{
	if (ip->nlink == 0 && ip->refs == 0)
		inode_free(ip);
}

void inode_get(struct inode *ip) { ip->refs++; }

void inode_put(struct inode *ip)
{
	ip->refs--;
	inode_check(ip);
}

void inode_unlinked(struct inode *ip)
{
	inode_changed(ip);
	if (inode_is_dir(ip)) {
		ip->flags |= INODE_DEAD;
		ip->nlink = 0;
	} else if (ip->nlink) {
		ip->nlink--;
	}
	inode_check(ip);
}
