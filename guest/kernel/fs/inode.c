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
	if (!cred_plain && inode_set_owner(ip, cred.fsuid, cred.fsgid)) {
		kfree(ip);
		return NULL;
	}
	return ip;
}

static struct owner { u32 uid, gid; } *owners; /* row 0, which is not there until another is, is root */
static u32 owner_count, owner_room;

void inode_owner(const struct inode *ip, u32 *uid, u32 *gid)
{
	const struct abi_image_inode *i = ip->owner == OWNER_LOWER ? img_inode(ip->lower - 1) : NULL;
	*uid = i ? i->uid : ip->owner && ip->owner < owner_count ? owners[ip->owner].uid : 0;
	*gid = i ? i->gid : ip->owner && ip->owner < owner_count ? owners[ip->owner].gid : 0;
}

static long owner_add(u32 uid, u32 gid)
{
	if (owner_count == OWNER_LOWER)
		return -ENOSPC;
	if (owner_count == owner_room) {
		u32 room = owner_room ? owner_room * 2 : 8;
		struct owner *more = krealloc(owners, owner_room * sizeof *more, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		owners = more;
		owner_room = room;
	}
	owners[owner_count++] = (struct owner){uid, gid};
	return 0;
}

long inode_set_owner(struct inode *ip, u32 uid, u32 gid)
{
	u32 i = 0;
	long err = owner_count ? 0 : owner_add(0, 0);
	while (i < owner_count && (owners[i].uid != uid || owners[i].gid != gid))
		i++;
	if (!err && i == owner_count)
		err = owner_add(uid, gid);
	if (!err)
		ip->owner = (u16)i;
	return err;
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
