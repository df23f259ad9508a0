/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * part - see part.h. Both halves are made before anything happens, so that settling needs no
 * memory.
 */
#include "config.h"

#include "write/part.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/etree.h"
#include "image/group.h"
#include "image/icodec.h"
#include "write/dareserve.h"
#include "write/writeback.h"

static uint64_t over_blks(const struct dafs_file *file)
{
	uint64_t waiting = dafs_extlist_blocks(&file->falloc);
	uint64_t fresh = file->es.delayed_blks > waiting ? file->es.delayed_blks - waiting : 0;

	return file->pages.dirty_blks > fresh ? file->pages.dirty_blks - fresh : 0;
}

uint64_t dafs_part_pending_blks(const struct dafs_image *img, const struct dafs_inode *inode)
{
	if (!S_ISREG(inode->mode) || !(inode->state & DAFS_I_DATA))
		return 0;
	if (inode->state & DAFS_I_WHOLE)
		return (inode->size + img->block_size - 1) >> img->block_bits;
	return inode->u.file ? inode->u.file->es.delayed_blks + over_blks(inode->u.file) : 0;
}

/* A cut at lblk, moved to the end of its cluster; none where nothing would be behind it. */
static uint32_t cut_at(const struct dafs_image *img, uint64_t lblk, uint64_t end)
{
	uint64_t mask = (UINT64_C(1) << img->cluster_bits) - 1;

	lblk = (lblk + mask) & ~mask;
	return lblk < end ? (uint32_t)lblk : DAFS_RANGE_END;
}

errcode_t dafs_part_cut(const struct dafs_image *img, const struct dafs_inode *inode,
			uint64_t max_blks, uint32_t *cut_lblk)
{
	struct dafs_wb_runs runs = { 0 };
	uint64_t end = dafs_part_pending_blks(img, inode), left = max_blks;
	errcode_t err;

	*cut_lblk = DAFS_RANGE_END;
	if (end <= max_blks)
		return 0;
	if (inode->state & DAFS_I_WHOLE) {
		*cut_lblk = cut_at(img, max_blks, end);
		return 0;
	}
	if (inode->u.file->placed.n)
		return 0;
	err = dafs_writeback_collect(inode->u.file, 0, &runs);
	for (size_t i = 0; i < runs.n && !err; i++) {
		const struct dafs_wb_run *run = &runs.v[i];

		if (left > run->len) {
			left -= run->len;
			continue;
		}
		end = (uint64_t)runs.v[runs.n - 1].lblk + runs.v[runs.n - 1].len;
		*cut_lblk = cut_at(img, run->lblk + left, end);
		break;
	}
	dafs_writeback_fini(&runs);
	return err;
}

static errcode_t copy_list(const struct dafs_extlist *from, uint32_t lblk, uint32_t end,
			   struct dafs_extlist *to)
{
	errcode_t err = 0;

	for (size_t i = 0; i < from->n && !err; i++) {
		const struct dafs_extent *e = &from->v[i];
		uint32_t start = e->lblk > lblk ? e->lblk : lblk;
		uint32_t stop = dafs_extent_end(e) < end ? dafs_extent_end(e) : end;

		if (start < stop)
			err = dafs_extlist_append(to, e->pblk + (start - e->lblk), start,
						  stop - start, e->unwritten);
	}
	return err;
}

static errcode_t copy_delayed(const struct dafs_file *from, uint32_t lblk, uint32_t end,
			      struct dafs_file *to)
{
	struct dafs_es_extent ext;
	errcode_t err = 0;

	for (uint32_t at = lblk; at < end && !err; at = ext.lblk + ext.len) {
		if (!dafs_es_find(&from->es, DAFS_ES_DELAYED, at, end, &ext))
			break;
		if (ext.lblk < at) {
			ext.len -= at - ext.lblk;
			ext.lblk = at;
		}
		if (ext.len > end - ext.lblk)
			ext.len = end - ext.lblk;
		err = dafs_es_insert(&to->es, &ext, NULL);
	}
	return err;
}

static errcode_t copy_pages(const struct dafs_file *from, uint32_t lblk, uint32_t end,
			    struct dafs_file *to)
{
	struct dafs_page_run run;
	errcode_t err = 0;

	for (uint32_t at = lblk; at < end && !err; at = run.lblk + run.len) {
		if (!dafs_pagecache_find(&from->pages, at, end, &run))
			break;
		err = dafs_pagecache_insert(&to->pages, &run, NULL, NULL);
	}
	return err;
}

static errcode_t copy_pend(const struct dafs_image *img, const struct dafs_file *from,
			   uint32_t lblk, uint32_t end, struct dafs_file *to)
{
	if (!from->npend)
		return 0;
	to->pend = malloc(from->npend * sizeof(*to->pend));
	if (!to->pend)
		return ENOMEM;
	for (uint32_t i = 0; i < from->npend; i++) {
		uint64_t start = (uint64_t)from->pend[i] << img->cluster_bits;

		if (start >= lblk && start < end)
			to->pend[to->npend++] = from->pend[i];
	}
	return 0;
}

/* What is pending of [lblk, end), as a file part of its own. */
static errcode_t copy_range(const struct dafs_image *img, const struct dafs_file *from,
			    uint32_t lblk, uint32_t end, struct dafs_file **ret)
{
	struct dafs_file *to = calloc(1, sizeof(*to));
	errcode_t err;

	*ret = NULL;
	if (!to)
		return ENOMEM;
	dafs_es_init(&to->es);
	dafs_pagecache_init(&to->pages, img->block_size);
	to->image_end_lblk = DAFS_RANGE_END;
	to->dirtied_seq = from->dirtied_seq;
	err = copy_delayed(from, lblk, end, to);
	if (!err)
		err = copy_pages(from, lblk, end, to);
	if (!err)
		err = copy_list(&from->falloc, lblk, end, &to->falloc);
	if (!err)
		err = copy_pend(img, from, lblk, end, to);
	if (err) {
		dafs_file_free(to);
		return err;
	}
	to->reserved_clusters = dafs_dareserve_count(img, to, 0, DAFS_LBLK_END);
	*ret = to;
	return 0;
}

/* What the file's size in the image is to be: never past what is written by now. */
static errcode_t disk_size(struct dafs_image *img, const struct dafs_inode *inode,
			   uint32_t cut_lblk, uint64_t *size)
{
	uint64_t written = (uint64_t)cut_lblk << img->block_bits, old = 0, kept;
	union dafs_inode_buf buf;
	errcode_t err = 0;

	if (!(inode->state & (DAFS_I_NEW | DAFS_I_TRUNC0))) {
		err = dafs_icodec_read(img, inode->ino, &buf.raw, sizeof(buf));
		if (!err)
			old = EXT2_I_SIZE(&buf.raw);
		kept = (uint64_t)inode->u.file->image_end_lblk << img->block_bits;
		if (old > kept)
			old = kept;
	}
	*size = written > old ? written : old;
	if (*size > inode->size)
		*size = inode->size;
	return err;
}

/* How far the run goes on behind the cut. */
static uint32_t more_behind(const struct dafs_file *part, const struct dafs_file *later,
			    uint32_t cut_lblk)
{
	struct dafs_es_extent ext;

	if (!dafs_es_delayed_in(&part->es, cut_lblk - 1, cut_lblk) ||
	    !dafs_es_find(&later->es, DAFS_ES_DELAYED, cut_lblk, cut_lblk + 1, &ext))
		return 0;
	return ext.len;
}

errcode_t dafs_part_begin(struct dafs_write *w, struct dafs_inode *inode, uint32_t cut_lblk,
			  struct dafs_part *part)
{
	struct dafs_file *whole, *now = NULL, *later = NULL;
	uint64_t size;
	errcode_t err = dafs_delalloc_file(w, inode, &whole);

	memset(part, 0, sizeof(*part));
	if (!err)
		err = disk_size(w->img, inode, cut_lblk, &size);
	if (!err)
		err = copy_range(w->img, whole, 0, cut_lblk, &now);
	if (!err)
		err = copy_range(w->img, whole, cut_lblk, DAFS_LBLK_END, &later);
	if (!err)
		err = copy_list(&whole->punched, 0, DAFS_LBLK_END, &now->punched);
	if (err) {
		dafs_file_free(now);
		dafs_file_free(later);
		return err;
	}
	assert(now->reserved_clusters + later->reserved_clusters == whole->reserved_clusters);
	now->promised_clusters = whole->promised_clusters;
	now->image_end_lblk = whole->image_end_lblk;
	*part = (struct dafs_part){ .inode = inode,
				    .cut_lblk = cut_lblk,
				    .more_blks = more_behind(now, later, cut_lblk),
				    .whole = whole,
				    .later = later,
				    .size = inode->size };
	inode->u.file = now;
	inode->size = size;
	return 0;
}

void dafs_part_cancel(struct dafs_part *part)
{
	if (!part->inode)
		return;
	dafs_file_free(part->inode->u.file);
	dafs_file_free(part->later);
	part->inode->u.file = part->whole;
	part->inode->size = part->size;
	memset(part, 0, sizeof(*part));
}

void dafs_part_settled(struct dafs_write *w, struct dafs_part *part)
{
	struct dafs_inode *inode = part->inode;
	struct dafs_reserve *rs = w->reserve;
	uint64_t used, room;

	if (!inode)
		return;
	dafs_file_free(part->whole);
	inode->u.file = part->later;
	inode->size = part->size;
	inode->state |= DAFS_I_DATA | DAFS_I_PART;
	/* As it was encoded. */
	inode->iflags |= EXT4_EXTENTS_FL;
	used = rs->dirty_clusters + rs->promised_clusters;
	room = used < rs->free_clusters ? rs->free_clusters - used : 0;
	part->later->promised_clusters = dafs_dareserve_bound(w, inode, part->later);
	rs->bound_clusters += part->later->promised_clusters;
	rs->promised_clusters += part->later->promised_clusters < room
					 ? part->later->promised_clusters
					 : room;
	memset(part, 0, sizeof(*part));
	assert(dafs_delalloc_verify(w, inode));
}

/* Groups that an extent adds to those counted, met from its end; *last: the one that was met
 * last. */
static uint64_t groups_of(const struct dafs_image *img, const struct dafs_extent *e, uint32_t *last)
{
	uint32_t first = dafs_group_of_pblk(img, e->pblk);
	uint32_t end = dafs_group_of_pblk(img, e->pblk + e->len - 1);
	uint64_t n = (uint64_t)(end - first) + (end != *last);

	*last = first;
	return n;
}

/* Where in e to cut, so that the blocks behind the cut lie in left groups more than before. */
static uint32_t cut_extent(const struct dafs_image *img, const struct dafs_extent *e, uint32_t last,
			   uint64_t left)
{
	uint32_t end = dafs_group_of_pblk(img, e->pblk + e->len - 1);
	uint64_t start;

	if (!left && end != last)
		return dafs_extent_end(e);
	start = dafs_group_first_pblk(img, (uint32_t)(end - left + (end != last)));
	return e->lblk + (uint32_t)(start - e->pblk);
}

static uint32_t shrink_to(const struct dafs_image *img, const struct dafs_extlist *freed,
			  uint64_t max_groups)
{
	uint64_t mask = (UINT64_C(1) << img->cluster_bits) - 1, groups = 0, cut = DAFS_RANGE_END;
	uint32_t last = UINT32_MAX;

	for (size_t i = freed->n; i-- && cut == DAFS_RANGE_END;) {
		const struct dafs_extent *e = &freed->v[i];
		uint32_t met = last;
		uint64_t n = groups_of(img, e, &last);

		if (groups + n > max_groups)
			cut = cut_extent(img, e, met, max_groups - groups);
		groups += n;
	}
	if (cut != DAFS_RANGE_END)
		cut = (cut + mask) & ~mask;
	return freed->n && cut < dafs_extent_end(&freed->v[freed->n - 1]) ? (uint32_t)cut
									  : DAFS_RANGE_END;
}

errcode_t dafs_part_shrink(struct dafs_image *img, uint32_t ino, const struct dafs_part_freed *what,
			   uint64_t max_groups, uint32_t *cut_lblk)
{
	struct dafs_extlist map = { 0 }, freed = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf;
	errcode_t err = dafs_icodec_read(img, ino, &buf.raw, sizeof(buf));

	*cut_lblk = DAFS_RANGE_END;
	if (!err && (buf.raw.i_flags & EXT4_EXTENTS_FL))
		err = dafs_etree_decode(img, ino, &buf.raw, &map, &nodes);
	/* Nothing is punched behind the end: freed comes out in the order of lblk. */
	if (!err && what->punched)
		err = dafs_extlist_cut(&map, what->punched, &freed);
	if (!err)
		err = dafs_extlist_clear(&map, what->end_lblk, DAFS_RANGE_END, &freed);
	if (!err)
		*cut_lblk = shrink_to(img, &freed, max_groups ? max_groups : 1);
	dafs_extlist_fini(&map);
	dafs_extlist_fini(&freed);
	dafs_blklist_fini(&nodes);
	return err;
}

errcode_t dafs_part_piece(const struct dafs_part_freed *what, uint32_t cut_lblk,
			  struct dafs_file *piece)
{
	piece->image_end_lblk = what->end_lblk > cut_lblk ? what->end_lblk : cut_lblk;
	return what->punched ? copy_list(what->punched, cut_lblk, DAFS_LBLK_END, &piece->punched)
			     : 0;
}
