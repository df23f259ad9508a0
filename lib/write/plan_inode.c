/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_inode - the steps before placement: inode numbers in change-set order, directories' sizes,
 * files that stand in their inodes, attributes' layouts.
 *
 * Directories are found by id through a table of their own: they are few beside files, and every
 * new inode asks for its parent.
 */
#include "config.h"

#include "write/plan_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "image/inline.h"
#include "write/writeback.h"

/* Directory plans (their name arrays with them) are kept from sizing to emitting while they are
 * small in sum. */
enum { NAMES_HELD_MOST = 1 << 15 };

static size_t dir_slot(const struct dafs_plan *plan, uint64_t id)
{
	return (size_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (plan->dirs_slots - 1);
}

static errcode_t dirs_index(struct dafs_plan *plan)
{
	const struct dafs_changeset *cs = plan->cs;
	size_t n = 0;

	for (size_t i = 0; i < cs->n; i++)
		n += S_ISDIR(cs->inodes[i]->mode);
	for (plan->dirs_slots = 16; plan->dirs_slots < n * 2; plan->dirs_slots *= 2)
		;
	plan->dirs = calloc(plan->dirs_slots, sizeof(*plan->dirs));
	if (!plan->dirs)
		return ENOMEM;
	for (size_t i = 0; i < cs->n; i++) {
		size_t at = dir_slot(plan, cs->inodes[i]->id);

		if (!S_ISDIR(cs->inodes[i]->mode))
			continue;
		while (plan->dirs[at].id)
			at = (at + 1) & (plan->dirs_slots - 1);
		plan->dirs[at] =
			(struct dafs_plan_dir){ .id = cs->inodes[i]->id, .item = (uint32_t)i };
	}
	return 0;
}

bool dafs_plan_find_dir(const struct dafs_plan *plan, uint64_t id, size_t *item)
{
	for (size_t at = dir_slot(plan, id); plan->dirs[at].id;
	     at = (at + 1) & (plan->dirs_slots - 1)) {
		if (plan->dirs[at].id == id) {
			*item = plan->dirs[at].item;
			return true;
		}
	}
	return false;
}

uint32_t dafs_plan_dir_ino(const struct dafs_plan *plan, uint64_t id)
{
	size_t item;

	if (dafs_plan_find_dir(plan, id, &item))
		return plan->items[item].ino;
	return id < DAFS_ID_NEW ? (uint32_t)id : 0;
}

errcode_t dafs_plan_number(struct dafs_plan *plan)
{
	const struct dafs_changeset *cs = plan->cs;
	uint64_t parent_id = 0;
	uint32_t parent = 0;
	errcode_t err = dirs_index(plan);

	for (size_t i = 0; i < cs->n && !err; i++) {
		const struct dafs_inode *inode = cs->inodes[i];

		if (!(inode->state & DAFS_I_NEW)) {
			plan->items[i].ino = inode->ino;
			continue;
		}
		if (inode->parent != parent_id || !parent) {
			parent_id = inode->parent;
			parent = dafs_plan_dir_ino(plan, parent_id);
		}
		err = dafs_ialloc_pick(plan->ia, parent, &plan->items[i].ino);
		if (err)
			dafs_plan_fail(plan, inode, err, NULL);
	}
	return err;
}

static errcode_t make_dirplan(struct dafs_plan *plan, size_t item, struct dafs_plan_extra *extra)
{
	struct dafs_inode *inode = plan->cs->inodes[item];
	struct ext2_inode_large *raw = NULL;
	bool fresh = inode->state & DAFS_I_NEW;
	errcode_t err = fresh ? 0 : dafs_plan_raw(plan, item, &raw);

	if (!err && !extra->req) {
		extra->req = calloc(1, sizeof(*extra->req));
		err = extra->req ? plan->cs->dir_begin(plan->cs->arg, inode, extra->req) : ENOMEM;
		if (err) {
			free(extra->req);
			extra->req = NULL;
		}
	}
	if (err)
		return err;
	extra->req->ino = fresh ? 0 : inode->ino;
	extra->req->raw = raw;
	extra->req->iflags = inode->iflags;
	return dafs_dirplan_new(plan->img, extra->req, &extra->dirplan);
}

errcode_t dafs_plan_open_dir(struct dafs_plan *plan, size_t item)
{
	struct dafs_plan_extra *extra;
	errcode_t err = dafs_plan_extra(plan, item, &extra);

	if (err || extra->dirplan)
		return err;
	err = make_dirplan(plan, item, extra);
	if (err) {
		dafs_plan_close_dir(plan, item);
		return err;
	}
	plan->names_held += extra->req->nadd + extra->req->ndel;
	return 0;
}

void dafs_plan_close_dir(struct dafs_plan *plan, size_t item)
{
	struct dafs_plan_extra *extra = dafs_plan_extra_of(plan, item);

	if (!extra)
		return;
	if (extra->dirplan) {
		dafs_dirplan_free(extra->dirplan);
		plan->names_held -= extra->req->nadd + extra->req->ndel;
	}
	if (extra->req)
		plan->cs->dir_done(plan->cs->arg, plan->cs->inodes[item], extra->req);
	free(extra->req);
	extra->dirplan = NULL;
	extra->req = NULL;
}

/* How many blocks a directory will have; one that fits into its inode has none. */
static errcode_t shape_dir(struct dafs_plan *plan, size_t item)
{
	struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_plan_extra *extra;
	errcode_t err = dafs_plan_open_dir(plan, item);

	if (err)
		return err;
	extra = dafs_plan_extra_of(plan, item);
	extra->names = true;
	extra->size_before = inode->size;
	extra->dir_blks = dafs_dirplan_blks(extra->dirplan);
	extra->dir_new_blks = dafs_dirplan_new_blks(extra->dirplan);
	/* Attributes share the inode's room with an inline body: their layout asks for the flag. */
	if (!extra->dir_blks)
		inode->iflags |= EXT4_INLINE_DATA_FL;
	else
		inode->iflags &= ~(uint32_t)EXT4_INLINE_DATA_FL;
	if (plan->names_held > NAMES_HELD_MOST)
		dafs_plan_close_dir(plan, item);
	return 0;
}

static errcode_t shape_xattrs(struct dafs_plan *plan, size_t item)
{
	struct dafs_inode *inode = plan->cs->inodes[item];
	struct dafs_plan_xattrs *xattrs;
	struct dafs_plan_extra *extra;
	struct dafs_xattr_layout lay;
	char path[4096];
	errcode_t err = dafs_xcodec_plan(plan->img, inode, NULL, &lay);

	/* The path is for the message only: it is made when there is one. */
	if ((err == DAFS_ET_XATTR_TOO_BIG || err == DAFS_ET_XATTR_NAME) && plan->cs->path_of)
		err = dafs_xcodec_plan(plan->img, inode,
				       plan->cs->path_of(plan->cs->arg, inode, path), &lay);
	if (err)
		return err;
	/* In the inode alone, of a new one: nothing to plan. */
	if ((inode->state & DAFS_I_NEW) && !lay.use_block && !lay.nvalues)
		return 0;
	err = dafs_plan_extra(plan, item, &extra);
	if (err)
		return err;
	xattrs = calloc(1, sizeof(*xattrs));
	if (!xattrs)
		return ENOMEM;
	extra->xattrs = xattrs;
	xattrs->lay = lay;
	if (!lay.nvalues)
		return 0;
	xattrs->values = calloc(lay.nvalues, sizeof(*xattrs->values));
	xattrs->bodies = calloc(lay.nvalues, sizeof(*xattrs->bodies));
	if (!xattrs->values || !xattrs->bodies)
		return ENOMEM;
	err = dafs_xcodec_values(plan->img, inode, xattrs->values);
	for (uint32_t v = 0; v < lay.nvalues && !err; v++)
		err = dafs_ialloc_pick(plan->ia, plan->items[item].ino, &xattrs->values[v].ino);
	return err;
}

/* Would the inode of the image keep size bytes where its bytes were before? */
static errcode_t fits_again(struct dafs_plan *plan, size_t item, bool *fits)
{
	static const uint8_t zeros[4096];
	const struct dafs_inode *inode = plan->cs->inodes[item];
	struct ext2_inode_large *raw;
	union dafs_inode_buf trial;
	errcode_t err = dafs_plan_raw(plan, item, &raw);

	*fits = false;
	if (err || !(raw->i_flags & EXT4_INLINE_DATA_FL) || (inode->state & DAFS_I_XATTR) ||
	    inode->size > plan->img->inode_size || inode->size > sizeof(zeros))
		return err;
	memcpy(&trial, raw, plan->img->inode_size);
	*fits = !dafs_inline_put(plan->img, inode->ino, &trial.raw, zeros, inode->size);
	return 0;
}

/* All of the file's bytes are pending in its first block, none has a place already. */
static errcode_t only_first_block(struct dafs_plan *plan, const struct dafs_inode *inode, bool *yes)
{
	const struct dafs_file *file = inode->u.file;
	errcode_t err;

	*yes = true;
	if (inode->state & DAFS_I_WHOLE)
		return 0;
	err = file ? dafs_writeback_collect(file, 0, &plan->wb) : 0;
	*yes = !err && file && !file->placed.n && plan->wb.n == 1 &&
	       plan->wb.v[0].kind == DAFS_WB_NEW && !plan->wb.v[0].lblk && plan->wb.v[0].len == 1;
	return err;
}

/* A small file of an image with inline_data stands in its inode, as the kernel would have it: a new
 * one, or one that stands there now. */
static errcode_t shape_file(struct dafs_plan *plan, size_t item)
{
	struct dafs_inode *inode = plan->cs->inodes[item];
	bool fits = false;
	errcode_t err = 0;

	if (dafs_inline_stays(inode))
		return 0;
	inode->iflags &= ~(uint32_t)EXT4_INLINE_DATA_FL;
	if (!plan->img->has_inline_data || !inode->size || inode->size > plan->img->inode_size)
		return 0;
	err = only_first_block(plan, inode, &fits);
	if (err || !fits)
		return err;
	if (inode->state & DAFS_I_NEW)
		fits = inode->size <= dafs_inline_room(plan->img, inode);
	else
		err = fits_again(plan, item, &fits);
	if (!err && fits)
		inode->iflags |= EXT4_INLINE_DATA_FL;
	return err;
}

errcode_t dafs_plan_shape(struct dafs_plan *plan)
{
	errcode_t err = 0;

	for (size_t i = 0; i < plan->cs->n && !err; i++) {
		struct dafs_inode *inode = plan->cs->inodes[i];

		if (!(i & 1023))
			err = dafs_cancelled(plan->img->ctx);
		if (err || (inode->state & DAFS_I_GONE))
			continue;
		if (S_ISDIR(inode->mode) && (inode->state & (DAFS_I_NEW | DAFS_I_NAMES)))
			err = shape_dir(plan, i);
		else if (S_ISREG(inode->mode) && (inode->state & DAFS_I_DATA))
			err = shape_file(plan, i);
		if (!err && ((inode->state & DAFS_I_XATTR) ||
			     ((inode->state & DAFS_I_NEW) && inode->xattrs)))
			err = shape_xattrs(plan, i);
	}
	return err;
}
