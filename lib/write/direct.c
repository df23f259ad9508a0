/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * direct - see direct.h.
 *
 * Goal of a block: behind the nearest block to the left that is mapped at all, shifted by the
 * distance (as ext4_ext_find_goal does: the file is assumed to become dense); else the allocator's
 * own choice.
 */
#include "config.h"

#include "write/direct.h"

#include <stdlib.h>

#include "alloc/mballoc.h"
#include "write/dareserve.h"
#include "write/datrace.h"

struct dafs_direct {
	struct dafs_mballoc *ma;
	struct dafs_space space;
	uint64_t placed_blks; /* of all files: chosen, and not in the image yet */
};

void dafs_direct_decide(struct dafs_write *w)
{
	w->at_once = w->direct &&
		     (!w->low_switch || dafs_reserve_low(w->reserve, w->direct->placed_blks));
}

errcode_t dafs_direct_open(struct dafs_write *w)
{
	struct dafs_direct *d;
	errcode_t err;

	if (w->img->has_bigalloc)
		return dafs_fail(w->img->ctx, DAFS_ET_FEATURE,
				 "%s: bigalloc (without delayed allocation)", w->img->dev->address);
	d = calloc(1, sizeof(*d));
	if (!d)
		return ENOMEM;
	dafs_space_of_image(w->img, &d->space);
	err = dafs_mballoc_new(w->img->ctx, &d->space, &d->ma);
	if (err) {
		free(d);
		return err;
	}
	w->direct = d;
	return 0;
}

void dafs_direct_close(struct dafs_write *w)
{
	if (!w->direct)
		return;
	dafs_mballoc_free(w->direct->ma);
	free(w->direct);
	w->direct = NULL;
	w->at_once = false;
}

void dafs_direct_settled(struct dafs_write *w, const struct dafs_file *file)
{
	if (w->direct)
		w->direct->placed_blks -= dafs_extlist_blocks(&file->placed);
}

errcode_t dafs_direct_adopt(struct dafs_write *w, const struct dafs_file *file)
{
	errcode_t err = 0;

	if (!w->direct)
		return 0;
	for (size_t i = 0; i < file->placed.n && !err; i++) {
		err = dafs_mballoc_take(w->direct->ma, file->placed.v[i].pblk,
					file->placed.v[i].len);
		w->direct->placed_blks += err ? 0 : file->placed.v[i].len;
	}
	return err;
}

static uint64_t goal_of(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk)
{
	struct dafs_es_extent left;

	if (!lblk || dafs_delalloc_map(w, inode, lblk - 1, &left))
		return 0;
	if (left.type == DAFS_ES_WRITTEN || left.type == DAFS_ES_UNWRITTEN)
		return left.pblk + (lblk - left.lblk);
	return 0;
}

/* The nearest mapped blocks to both sides, for the trace: as far as the es tree knows. */
static void name_neighbours(const struct dafs_file *file, struct dafs_alloc_req *req)
{
	const unsigned mapped = DAFS_ES_WRITTEN | DAFS_ES_UNWRITTEN;
	struct dafs_es_extent ext;

	for (uint32_t at = 0; dafs_es_find(&file->es, mapped, at, DAFS_LBLK_END, &ext);
	     at = ext.lblk + ext.len) {
		if (ext.lblk > req->lblk) {
			req->lright = ext.lblk;
			req->pright = ext.pblk;
			break;
		}
		req->lleft = ext.lblk + ext.len - 1;
		req->pleft = ext.pblk + ext.len - 1;
	}
}

static errcode_t place_one(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk)
{
	struct dafs_file *file = inode->u.file;
	struct dafs_alloc_req req = { .goal = goal_of(w, inode, lblk),
				      .lblk = lblk,
				      .len = 1,
				      .flags = DAFS_ALLOC_DATA | DAFS_ALLOC_AT_ONCE,
				      .ino = inode->id };
	struct dafs_extlist out = { 0 };
	struct dafs_es_extent ext = { .lblk = lblk, .len = 1, .type = DAFS_ES_WRITTEN };
	errcode_t err;

	DAFS_TRACE(w->img->ctx, "ext4_ext_map_blocks_enter", inode->id,
		   "lblk %u len 1 flags CREATE", lblk);
	if (w->img->ctx->trace)
		name_neighbours(file, &req);
	err = dafs_mballoc_place(w->direct->ma, &req, &out);
	if (err)
		return err;
	ext.pblk = out.v[0].pblk;
	dafs_extlist_fini(&out);
	err = dafs_extlist_set(&file->placed, ext.pblk, lblk, 1, false, NULL);
	if (!err)
		err = dafs_es_insert(&file->es, &ext, NULL);
	if (err) {
		dafs_extlist_clear(&file->placed, lblk, lblk + 1, NULL);
		dafs_mballoc_return(w->direct->ma, ext.pblk, 1);
		return err;
	}
	w->direct->placed_blks++;
	DAFS_TRACE(w->img->ctx, "ext4_ext_map_blocks_exit", inode->id,
		   "flags CREATE lblk %u pblk %llu len 1 mflags NM ret 1", lblk,
		   (unsigned long long)ext.pblk);
	dafs_datrace_insert(w, inode, &ext);
	return 0;
}

errcode_t dafs_direct_place(struct dafs_write *w, struct dafs_inode *inode, uint32_t lblk,
			    uint32_t end)
{
	errcode_t err = 0;

	for (; lblk < end && !err; lblk++)
		err = place_one(w, inode, lblk);
	return err;
}

errcode_t dafs_direct_drop(struct dafs_write *w, struct dafs_file *file, uint32_t lblk,
			   uint32_t end, uint64_t *nblks)
{
	struct dafs_extlist gone = { 0 };
	errcode_t err;

	*nblks = 0;
	if (!file->placed.n)
		return 0;
	err = dafs_extlist_clear(&file->placed, lblk, end, &gone);
	for (size_t i = 0; i < gone.n && !err; i++) {
		*nblks += gone.v[i].len;
		if (w->direct) {
			dafs_mballoc_return(w->direct->ma, gone.v[i].pblk, gone.v[i].len);
			w->direct->placed_blks -= gone.v[i].len;
		}
	}
	dafs_extlist_fini(&gone);
	return err;
}
