/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edit - making, linking and removing names.
 *
 * Every edit has the same shape: check everything, get all memory, make the change, then ask for
 * the promise it needs (the exact figure near a full image is found by planning what is pending,
 * this change included); if that is refused, undo.
 */
#include "config.h"

#include "ns/edit_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/trace.h"
#include "image/icodec.h"

void dafs_ns_undo_keep(struct dafs_ns_undo *undo, struct dafs_inode *inode)
{
	*undo = (struct dafs_ns_undo){
		.inode = inode,
		.mtime = inode->mtime,
		.ctime = inode->ctime,
		.parent = inode->parent,
		.nlink = inode->nlink,
		.state = inode->state,
	};
}

void dafs_ns_undo_apply(const struct dafs_ns_undo *undo)
{
	undo->inode->mtime = undo->mtime;
	undo->inode->ctime = undo->ctime;
	undo->inode->parent = undo->parent;
	undo->inode->nlink = undo->nlink;
	undo->inode->state = undo->state;
}

/* --- what is allowed --- */

/* Is this text a name that a directory entry may have? */
static errcode_t name_problem(const struct dafs_ns *ns, const struct dafs_inode *dir,
			      const char *name, size_t len)
{
	const struct dafs_dirhash *fold = dafs_ns_fold(ns, dir);

	if (!len)
		return ENOENT;
	if (len > EXT2_NAME_LEN)
		return DAFS_ET_NAME_TOO_LONG;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return EEXIST;
	if (memchr(name, '/', len) || memchr(name, '\0', len))
		return DAFS_ET_NAME_BAD;
	if (fold && !dafs_dirhash_valid(fold, name, len))
		return DAFS_ET_NAME_BAD;
	return 0;
}

static errcode_t dir_problem(struct dafs_ns *ns, const struct dafs_inode *dir, bool append_ok)
{
	if (!S_ISDIR(dir->mode))
		return ENOTDIR;
	if (dir->state & DAFS_I_GONE)
		return ENOENT;
	if (dir->iflags & EXT4_ENCRYPT_FL)
		return DAFS_ET_ENCRYPTED;
	return dafs_ns_inode_refuses(ns, dir, append_ok);
}

errcode_t dafs_ns_may_add(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len)
{
	errcode_t err = dafs_ns_may_change(ns);

	if (err)
		return err;
	err = dir_problem(ns, dir, true);
	if (!err)
		err = name_problem(ns, dir, name, name_len);
	return err ? dafs_ns_fail(ns, err, dir, name, name_len) : 0;
}

errcode_t dafs_ns_may_take(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			   size_t name_len)
{
	errcode_t err = dafs_ns_may_change(ns);

	if (err)
		return err;
	err = dir_problem(ns, dir, false);
	if (!err && name_len && name[0] == '.' &&
	    (name_len == 1 || (name_len == 2 && name[1] == '.')))
		err = EINVAL;
	return err ? dafs_ns_fail(ns, err, dir, name, name_len) : 0;
}

errcode_t dafs_ns_may_count(const struct dafs_ns *ns, const struct dafs_inode *dir)
{
	if (dir->nlink < DAFS_LINK_MAX || (ns->img->has_dir_nlink && ns->img->has_dir_index))
		return 0;
	return DAFS_ET_MLINK;
}

void dafs_ns_count_subdir(struct dafs_inode *dir, int change)
{
	if (dir->nlink == 1)
		return;
	dir->nlink += (uint32_t)change;
	if (dir->nlink > DAFS_LINK_MAX)
		dir->nlink = 1;
}

/* --- records --- */

errcode_t dafs_ns_prepare(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len, struct dafs_name **record)
{
	const struct dafs_dirhash *fold = dafs_ns_fold(ns, dir);
	struct dafs_name *old;
	struct dafs_ns_dead_row *dead;
	errcode_t err;

	err = dafs_ns_name(ns, dir, name, name_len, record);
	if (err)
		return err;
	if (!*record)
		return dafs_dir_get(dir->u.dir, &ns->pool, fold, name, (uint8_t)name_len, record);
	if ((*record)->id)
		return EEXIST;
	if ((*record)->len == name_len && !memcmp((*record)->name, name, name_len))
		return 0;
	dead = realloc(ns->dead, (ns->ndead + 1) * sizeof(*dead));
	if (!dead)
		return ENOMEM;
	ns->dead = dead;
	err = dafs_dir_respell(dir->u.dir, &ns->pool, record, name, (uint8_t)name_len, &old);
	if (err)
		return err;
	if (old->flags & DAFS_NAME_SAVED)
		dead[ns->ndead++] = (struct dafs_ns_dead_row){ dir->id, old };
	else
		dafs_name_free(&ns->pool, old);
	return 0;
}

void dafs_ns_put(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_name *record,
		 const struct dafs_inode *child)
{
	dafs_dir_set(dir->u.dir, record, child ? child->id : 0,
		     child ? dafs_icodec_file_type(child->mode) : 0);
	dafs_ns_stamp(ns, dir, true);
	dafs_ns_mark(ns, dir, DAFS_I_NAMES | DAFS_I_ATTR);
}

void dafs_ns_tidy(struct dafs_ns *ns, struct dafs_inode *dir, struct dafs_name *record)
{
	if (!record->id && !record->image_ino && !(record->flags & DAFS_NAME_SAVED))
		dafs_dir_drop(dir->u.dir, &ns->pool, record);
}

/* --- making --- */

/* Differs from inode to inode, and between inodes that get one number at different times; the same
 * for the same work. */
static uint32_t choose_generation(const struct dafs_ns *ns)
{
	return dafs_crc32c(ns->generation_seed, &ns->next_serial, sizeof(ns->next_serial));
}

struct creation {
	struct dafs_inode *dir;
	const char *name;
	size_t name_len;
	uint16_t mode;
	const char *target; /* of a symlink */
};

static errcode_t new_inode(struct dafs_ns *ns, const struct creation *c, struct dafs_inode **ret)
{
	struct dafs_inode *inode = dafs_ns_new_inode(ns, DAFS_ID_NEW + ns->next_serial);
	errcode_t err;

	*ret = inode;
	if (!inode)
		return ENOMEM;
	inode->mode = c->mode;
	inode->state = DAFS_I_NEW | DAFS_I_XLOADED;
	inode->nlink = S_ISDIR(c->mode) ? 2 : 1;
	inode->size = S_ISDIR(c->mode) ? ns->img->block_size : 0;
	inode->generation = choose_generation(ns);
	inode->parent = c->dir->id;
	dafs_ns_stamp(ns, inode, true);
	inode->atime = inode->crtime = inode->mtime;
	if (c->target) {
		inode->size = strlen(c->target);
		inode->u.target = strdup(c->target);
		if (!inode->u.target) {
			dafs_ns_free_inode(ns, inode);
			return ENOMEM;
		}
	}
	err = dafs_ns_inherit(ns, c->dir, inode);
	if (err)
		dafs_ns_free_inode(ns, inode);
	return err;
}

/* The new inode gets its name: the change itself, which cannot fail, and its promise, which may. */
static errcode_t attach_new(struct dafs_ns *ns, const struct creation *c, struct dafs_name *record,
			    struct dafs_inode *inode)
{
	struct dafs_ns_promise before = dafs_ns_promised(ns->img, c->dir);
	struct dafs_ns_charge charge = { .ns = ns };
	struct dafs_ns_undo undo;
	errcode_t err;

	dafs_ns_charge_new(&charge, inode);
	err = dafs_ns_charge_add(&charge, c->dir);
	if (err)
		return err;
	dafs_ns_undo_keep(&undo, c->dir);
	dafs_ns_put(ns, c->dir, record, inode);
	if (S_ISDIR(inode->mode))
		dafs_ns_count_subdir(c->dir, 1);
	err = dafs_ns_charge_take(&charge);
	if (!err)
		err = dafs_ns_repromise(ns, inode, before,
					dafs_ns_promise_add(dafs_ns_promised(ns->img, c->dir),
							    dafs_ns_promised(ns->img, inode)));
	if (err) {
		dafs_ns_charge_undo(&charge);
		dafs_dir_set(c->dir->u.dir, record, 0, 0);
		dafs_ns_undo_apply(&undo);
	}
	return err;
}

static errcode_t create(struct dafs_ns *ns, const struct creation *c, struct dafs_inode **ret)
{
	struct dafs_inode *inode = NULL;
	struct dafs_name *record = NULL;
	errcode_t err;

	*ret = NULL;
	err = dafs_ns_may_add(ns, c->dir, c->name, c->name_len);
	if (err)
		return err;
	err = dafs_ns_prepare(ns, c->dir, c->name, c->name_len, &record);
	if (err)
		return dafs_ns_fail(ns, err, c->dir, c->name, c->name_len);
	if (S_ISDIR(c->mode))
		err = dafs_ns_may_count(ns, c->dir);
	if (!err)
		err = dafs_ns_reserve_changed(ns, 2);
	if (!err)
		err = new_inode(ns, c, &inode);
	if (!err) {
		err = attach_new(ns, c, record, inode);
		if (err)
			dafs_ns_free_inode(ns, inode);
	}
	if (err) {
		dafs_ns_tidy(ns, c->dir, record);
		return dafs_ns_fail(ns, err, c->dir, c->name, c->name_len);
	}
	dafs_ns_mark(ns, inode, 0);
	ns->next_serial++;
	*ret = inode;
	return 0;
}

errcode_t dafs_ns_create(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			 size_t name_len, uint16_t mode, struct dafs_inode **ret)
{
	const struct creation c = { dir, name, name_len, mode, NULL };

	*ret = NULL;
	if (S_ISLNK(mode) || !dafs_icodec_file_type(mode))
		return dafs_ns_fail(ns, EINVAL, dir, name, name_len);
	return create(ns, &c, ret);
}

errcode_t dafs_ns_symlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			  size_t name_len, const char *target, struct dafs_inode **ret)
{
	const struct creation c = { dir, name, name_len, S_IFLNK | 0777, target };

	*ret = NULL;
	if (!*target)
		return dafs_ns_fail(ns, ENOENT, dir, name, name_len);
	if (strlen(target) >= ns->img->block_size)
		return dafs_ns_fail(ns, DAFS_ET_NAME_TOO_LONG, dir, name, name_len);
	return create(ns, &c, ret);
}

static errcode_t link_problem(struct dafs_ns *ns, const struct dafs_inode *dir,
			      const struct dafs_inode *inode)
{
	if (S_ISDIR(inode->mode))
		return EPERM;
	if (inode->state & DAFS_I_GONE)
		return ENOENT;
	if (inode->nlink >= DAFS_LINK_MAX)
		return DAFS_ET_MLINK;
	if ((dir->iflags & EXT4_PROJINHERIT_FL) && dir->projid != inode->projid)
		return EXDEV;
	return dafs_ns_inode_refuses(ns, inode, false);
}

errcode_t dafs_ns_link(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
		       size_t name_len, struct dafs_inode *inode)
{
	struct dafs_ns_charge charge = { .ns = ns };
	struct dafs_ns_undo undo_dir, undo_inode;
	struct dafs_ns_promise before;
	struct dafs_name *record = NULL;
	errcode_t err;

	err = dafs_ns_may_add(ns, dir, name, name_len);
	if (err)
		return err;
	err = dafs_ns_prepare(ns, dir, name, name_len, &record);
	if (err)
		return dafs_ns_fail(ns, err, dir, name, name_len);
	err = link_problem(ns, dir, inode);
	if (!err)
		err = dafs_ns_reserve_changed(ns, 2);
	if (!err)
		err = dafs_ns_charge_add(&charge, dir);
	if (err) {
		dafs_ns_tidy(ns, dir, record);
		return dafs_ns_fail(ns, err, dir, name, name_len);
	}
	before = dafs_ns_promised(ns->img, dir);
	dafs_ns_undo_keep(&undo_dir, dir);
	dafs_ns_undo_keep(&undo_inode, inode);
	dafs_ns_put(ns, dir, record, inode);
	inode->nlink++;
	dafs_ns_stamp(ns, inode, false);
	dafs_ns_mark(ns, inode, DAFS_I_ATTR);
	err = dafs_ns_charge_take(&charge);
	if (!err)
		err = dafs_ns_repromise(ns, dir, before, dafs_ns_promised(ns->img, dir));
	if (err) {
		dafs_ns_charge_undo(&charge);
		dafs_dir_set(dir->u.dir, record, 0, 0);
		dafs_ns_undo_apply(&undo_inode);
		dafs_ns_undo_apply(&undo_dir);
		dafs_ns_tidy(ns, dir, record);
		return dafs_ns_fail(ns, err, dir, name, name_len);
	}
	return 0;
}

/* --- removing --- */

/* The image's inode will be freed at the flush; what was pending of it is no more. */
static void become_gone(struct dafs_ns *ns, struct dafs_inode *inode)
{
	dafs_xattr_free(&inode->xattrs);
	inode->nlink = 0;
	inode->state = DAFS_I_GONE;
	dafs_ns_mark(ns, inode, 0);
}

bool dafs_ns_is_last_name(const struct dafs_inode *inode)
{
	return S_ISDIR(inode->mode) || inode->nlink <= 1;
}

void dafs_ns_lose_name(struct dafs_ns *ns, struct dafs_inode *inode)
{
	struct dafs_ns_promise none = { 0 }, had;

	dafs_ns_stamp(ns, inode, false);
	if (!dafs_ns_is_last_name(inode)) {
		inode->nlink--;
		dafs_ns_mark(ns, inode, DAFS_I_ATTR);
		return;
	}
	had = dafs_ns_promised(ns->img, inode);
	if (S_ISREG(inode->mode))
		dafs_delalloc_forget(ns->w, inode);
	dafs_ns_unpromise(ns, had, none);
	if (!(inode->state & DAFS_I_NEW)) {
		become_gone(ns, inode);
		return;
	}
	if (!(inode->marks & (DAFS_NS_CHANGED | DAFS_NS_SAVED))) {
		dafs_ns_free_inode(ns, inode);
		return;
	}
	/* The backing has to be told; until then the number is remembered as one not in use. */
	dafs_ns_mark(ns, inode, 0);
	dafs_ns_fini_inode(ns, inode);
	inode->state = 0;
	inode->marks |= DAFS_NS_FREED;
}

static errcode_t removal_problem(struct dafs_ns *ns, struct dafs_inode *inode, bool dir_ok)
{
	bool empty;
	errcode_t err;

	if (inode->id == DAFS_ID_ROOT)
		return EBUSY;
	err = dafs_ns_inode_refuses(ns, inode, false);
	if (err || !S_ISDIR(inode->mode))
		return err;
	if (!dir_ok)
		return EISDIR;
	err = dafs_ns_is_empty(ns, inode, &empty);
	return err || empty ? err : ENOTEMPTY;
}

errcode_t dafs_ns_unlink(struct dafs_ns *ns, struct dafs_inode *dir, const char *name,
			 size_t name_len, bool dir_ok)
{
	struct dafs_ns_charge charge = { .ns = ns };
	struct dafs_ns_promise before;
	struct dafs_name *record;
	struct dafs_inode *inode;
	errcode_t err;

	err = dafs_ns_may_take(ns, dir, name, name_len);
	if (err)
		return err;
	err = dafs_ns_child(ns, dir, name, name_len, &inode);
	if (!err)
		err = removal_problem(ns, inode, dir_ok);
	if (!err)
		err = dafs_ns_reserve_changed(ns, 2);
	if (!err && dafs_ns_is_last_name(inode))
		err = dafs_ns_charge_last(&charge, inode);
	if (!err)
		err = dafs_ns_charge_add(&charge, dir);
	if (!err)
		err = dafs_ns_name(ns, dir, name, name_len, &record);
	if (err)
		return dafs_ns_fail(ns, err, dir, name, name_len);
	DAFS_TRACE(ns->ctx, "ext4_unlink_enter", inode->id, "size %llu parent %llu",
		   (unsigned long long)inode->size, (unsigned long long)dir->id);
	before = dafs_ns_promised(ns->img, dir);
	dafs_ns_put(ns, dir, record, NULL);
	dafs_ns_tidy(ns, dir, record);
	if (S_ISDIR(inode->mode))
		dafs_ns_count_subdir(dir, -1);
	/* Fewer names never need more. */
	dafs_ns_unpromise(ns, before, dafs_ns_promised(ns->img, dir));
	dafs_ns_charge_give(&charge);
	DAFS_TRACE(ns->ctx, "ext4_unlink_exit", inode->id, "ret 0");
	dafs_ns_lose_name(ns, inode);
	return 0;
}
