/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fc_finish - what fc_apply worked out, encoded into the open transaction: blocks and inodes given
 * back and taken, directories, trees, inodes.
 *
 * Order: everything is given back before anything is taken, since a block may go from one file to
 * another; data is taken before blocks for trees and directories are chosen, so that no block of a
 * record is chosen.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/bits.h"
#include "image/dircodec.h"
#include "image/fc_int.h"
#include "image/group_int.h"
#include "image/txn.h"

/* --- blocks in use: cluster ranges of a mapping --- */

struct range {
	uint64_t start, end;
};

struct ranges {
	struct range *v;
	size_t n, room;
};

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* Clusters of a mapping, sorted and disjoint. */
static errcode_t ranges_of(const struct dafs_image *img, const struct dafs_extlist *map,
			   struct ranges *out)
{
	size_t kept = 0;

	for (size_t i = 0; i < map->n; i++) {
		const struct dafs_extent *ext = &map->v[i];

		if (dafs_array_grow(&out->v, out->n, &out->room, sizeof(*out->v)))
			return ENOMEM;
		out->v[out->n++] =
			(struct range){ ext->pblk >> img->cluster_bits,
					((ext->pblk + ext->len - 1) >> img->cluster_bits) + 1 };
	}
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), by_start);
	for (size_t i = 0; i < out->n; i++) {
		if (kept && out->v[i].start <= out->v[kept - 1].end) {
			if (out->v[i].end > out->v[kept - 1].end)
				out->v[kept - 1].end = out->v[i].end;
		} else {
			out->v[kept++] = out->v[i];
		}
	}
	out->n = kept;
	return 0;
}

static errcode_t flip(struct dafs_image *img, uint64_t start, uint64_t end, bool take)
{
	uint64_t pblk = start << img->cluster_bits, len = (end - start) << img->cluster_bits;

	if (len > img->blocks - pblk)
		len = img->blocks - pblk;
	return take ? dafs_group_take_blks(img, pblk, len) : dafs_group_give_blks(img, pblk, len);
}

/* Take, or give back, what is in one and not in two. */
static errcode_t flip_difference(struct dafs_image *img, const struct ranges *one,
				 const struct ranges *two, bool take)
{
	errcode_t err = 0;
	size_t j = 0;

	for (size_t i = 0; i < one->n && !err; i++) {
		uint64_t at = one->v[i].start, end = one->v[i].end;

		while (at < end && !err) {
			uint64_t stop = end;

			while (j < two->n && two->v[j].end <= at)
				j++;
			if (j < two->n && two->v[j].start <= at) {
				at = two->v[j].end;
				continue;
			}
			if (j < two->n && two->v[j].start < end)
				stop = two->v[j].start;
			err = flip(img, at, stop, take);
			at = stop;
		}
	}
	return err;
}

static errcode_t flip_data(struct dafs_fc *fc, struct dafs_fc_inode *fi, bool take)
{
	struct ranges was = { NULL, 0, 0 }, now = { NULL, 0, 0 };
	errcode_t err = ranges_of(fc->img, &fi->was, &was);

	if (!err)
		err = ranges_of(fc->img, &fi->map, &now);
	if (!err && take)
		err = flip_difference(fc->img, &now, &was, true);
	else if (!err)
		err = flip_difference(fc->img, &was, &now, false);
	free(was.v);
	free(now.v);
	return err;
}

/* --- blocks to choose --- */

/* A free cluster, free before, too (it may be written ahead of the commit): first fit. */
static errcode_t choose_block(struct dafs_fc *fc, uint64_t *pblk)
{
	struct dafs_image *img = fc->img;

	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
		uint32_t n = dafs_group_clusters(img, grp);
		struct dafs_grp *gp;
		errcode_t err;

		if (!dafs_group_free_clusters(img, grp))
			continue;
		err = dafs_grp_load(img, grp, DAFS_BLOCK_BITS, &gp);
		if (err)
			return err;
		for (uint32_t c = 0; c < n; c++) {
			c = dafs_bits_next(gp->bits[DAFS_BLOCK_BITS], n, c, false);
			if (c == n)
				break;
			if (gp->next[DAFS_BLOCK_BITS] &&
			    dafs_bits_are(gp->next[DAFS_BLOCK_BITS], c, 1, true))
				continue;
			*pblk = dafs_group_first_pblk(img, grp) +
				((uint64_t)c << img->cluster_bits);
			return dafs_group_take_blks(img, *pblk, 1);
		}
	}
	return dafs_fail(img->ctx, DAFS_ET_NOSPC_ALLOC, "%s: fast commit", img->dev->address);
}

/* The blocks of a tree for the mapping: those it had, then new ones; what is left over goes back.
 * */
static errcode_t choose_nodes(struct dafs_fc *fc, struct dafs_fc_inode *fi,
			      struct dafs_blklist *nodes)
{
	uint64_t need = dafs_etree_blks(fc->img->block_size, fi->map.n);
	errcode_t err = 0;

	for (size_t i = 0; i < fi->nodes.n && !err; i++) {
		if (i < need)
			err = dafs_blklist_add(nodes, fi->nodes.v[i]);
		else
			err = dafs_group_give_blks(fc->img, fi->nodes.v[i], 1);
	}
	while (!err && nodes->n < need) {
		uint64_t pblk;

		err = choose_block(fc, &pblk);
		if (!err)
			err = dafs_blklist_add(nodes, pblk);
	}
	return err;
}

/* --- directories --- */

struct dir_work {
	struct dafs_fc *fc;
	struct dafs_fc_inode *fi;
	struct dafs_dirent_add *add;
	struct dafs_dirent_del *del;
	struct dafs_inode *children; /* of add, in its order */
	struct dafs_inode self, parent;
	struct dafs_dirplan *plan;
};

/* What dircodec wants to know of an inode. */
static errcode_t describe(struct dafs_fc *fc, uint32_t ino, struct dafs_inode *out)
{
	struct dafs_fc_inode *fi;

	memset(out, 0, sizeof(*out));
	HASH_FIND(hh, fc->inodes, &ino, sizeof(ino), fi);
	if (!fi)
		return dafs_fail(fc->img->ctx, DAFS_ET_INTERNAL, "fast commit: inode %" PRIu32,
				 ino);
	dafs_icodec_attrs(fc->img, ino, dafs_fc_raw(fi), out);
	return 0;
}

static errcode_t list_changes(struct dir_work *w, struct dafs_dirplan_req *req)
{
	struct dafs_fc_name *name, *next;
	size_t n = HASH_COUNT(w->fi->names);
	errcode_t err = 0;

	w->add = calloc(n + 1, sizeof(*w->add));
	w->del = calloc(n + 1, sizeof(*w->del));
	w->children = calloc(n + 1, sizeof(*w->children));
	if (!w->add || !w->del || !w->children)
		return ENOMEM;
	HASH_ITER(hh, w->fi->names, name, next) {
		if (name->ino == name->was_ino)
			continue;
		if (name->was_ino)
			w->del[req->ndel++] = (struct dafs_dirent_del){ name->text, name->len };
		if (!name->ino)
			continue;
		err = describe(w->fc, name->ino, &w->children[req->nadd]);
		if (err)
			return err;
		w->add[req->nadd] =
			(struct dafs_dirent_add){ name->text, name->len, &w->children[req->nadd] };
		req->nadd++;
	}
	req->add = w->add;
	req->del = w->del;
	return 0;
}

/* With bigalloc, a block stands in its cluster where it stands in the file's, and the cluster may
 * be there already. */
static errcode_t choose_dir_block(struct dafs_fc *fc, const struct dafs_extlist *map, uint32_t lblk,
				  uint64_t *pblk)
{
	uint32_t in_cluster = lblk & ((1u << fc->img->cluster_bits) - 1);
	const struct dafs_extent *last = map->n ? &map->v[map->n - 1] : NULL;
	errcode_t err;

	if (in_cluster && last && dafs_extent_end(last) == lblk) {
		*pblk = last->pblk + last->len;
		return 0;
	}
	err = choose_block(fc, pblk);
	*pblk += in_cluster;
	return err;
}

/* Plan a directory's new shape and give it the blocks it grows by. */
static errcode_t open_dir(struct dir_work *w)
{
	struct dafs_image *img = w->fc->img;
	struct dafs_dirplan_req req = { .ino = w->fi->is_new_dir ? 0 : w->fi->ino,
					.raw = w->fi->is_new_dir ? NULL : dafs_fc_raw(w->fi),
					.iflags = dafs_fc_raw(w->fi)->i_flags };
	uint32_t blks, fresh;
	errcode_t err = describe(w->fc, w->fi->ino, &w->self);

	if (!err && w->fi->is_new_dir) {
		err = describe(w->fc, w->fi->parent, &w->parent);
		req.dotdot = &w->parent;
	}
	if (!err)
		err = list_changes(w, &req);
	if (!err)
		err = dafs_dirplan_new(img, &req, &w->plan);
	if (err)
		return err;
	blks = dafs_dirplan_blks(w->plan);
	fresh = dafs_dirplan_new_blks(w->plan);
	for (uint32_t lblk = blks - fresh; lblk < blks && !err; lblk++) {
		uint64_t pblk;

		err = choose_dir_block(w->fc, &w->fi->map, lblk, &pblk);
		if (!err)
			err = dafs_extlist_append(&w->fi->map, pblk, lblk, 1, false);
	}
	return err;
}

static errcode_t emit_dir(struct dir_work *w)
{
	struct ext2_inode_large *raw = dafs_fc_raw(w->fi);
	uint64_t size = dafs_icodec_size(w->fc->img, raw);
	errcode_t err = dafs_dirplan_emit(w->plan, &w->self, &w->fi->map, raw, &size);

	raw->i_size = (uint32_t)size;
	if (w->fc->img->has_large_dir)
		raw->i_size_high = (uint32_t)(size >> 32);
	return err;
}

static void close_dir(struct dir_work *w)
{
	dafs_dirplan_free(w->plan);
	free(w->add);
	free(w->del);
	free(w->children);
}

/* --- inodes --- */

/* i_blocks from what the inode has now: data, tree, attribute block. */
static void count_blocks(const struct dafs_image *img, struct dafs_fc_inode *fi, size_t nodes)
{
	struct ext2_inode_large *raw = dafs_fc_raw(fi);
	uint64_t clusters = dafs_etree_clusters(img, &fi->map) + nodes;
	uint64_t units;

	clusters += raw->i_file_acl || raw->osd2.linux2.l_i_file_acl_high;
	units = clusters << (img->cluster_bits + img->block_bits - 9);
	raw->i_flags &= ~(uint32_t)EXT4_HUGE_FILE_FL;
	raw->i_blocks = (uint32_t)units;
	raw->osd2.linux2.l_i_blocks_hi = (uint16_t)(units >> 32);
}

static bool is_zeroed(const struct dafs_fc *fc, uint64_t pblk)
{
	for (size_t i = 0; i < fc->zeroed.n; i++) {
		if (fc->zeroed.v[i] == pblk)
			return true;
	}
	return false;
}

/* A block of an inode table past its group's used mark may hold anything; once the mark rises over
 * it, and over those before it, it is looked at. */
static errcode_t zero_table(struct dafs_fc *fc, uint32_t ino, uint64_t pblk)
{
	struct dafs_image *img = fc->img;
	uint32_t grp = (ino - 1) / img->fs->super->s_inodes_per_group;
	uint32_t per_blk = img->block_size / img->inode_size;
	uint64_t at = dafs_group_itable_pblk(img, grp) +
		      ((uint64_t)dafs_group_itable_mark(img, grp) + per_blk - 1) / per_blk;
	uint8_t *zeros = calloc(1, img->block_size);
	errcode_t err = zeros ? 0 : ENOMEM;

	for (; at <= pblk && !err; at++) {
		if (is_zeroed(fc, at))
			continue;
		err = dafs_txn_put(img, at, zeros);
		if (!err)
			err = dafs_blklist_add(&fc->zeroed, at);
	}
	free(zeros);
	return err;
}

/* Put the inode's bytes into its table. */
static errcode_t write_inode(struct dafs_fc *fc, struct dafs_fc_inode *fi)
{
	uint32_t off;
	uint64_t pblk;
	uint8_t *block;
	bool live;
	errcode_t err = dafs_icodec_locate(fc->img, fi->ino, &pblk, &off, &live);

	if (!err && !live)
		err = zero_table(fc, fi->ino, pblk);
	if (!err)
		err = dafs_txn_get(fc->img, pblk, true, &block);
	if (err)
		return err;
	dafs_icodec_checksum(fc->img, fi->ino, dafs_fc_raw(fi));
	memcpy(block + off, fi->raw, fc->img->inode_size);
	return 0;
}

static errcode_t corrupt_xattr(struct dafs_fc *fc, const struct dafs_fc_inode *fi)
{
	return dafs_fail(fc->img->ctx, DAFS_ET_CORRUPT_JOURNAL,
			 "%s: fast commit: inode %" PRIu32 ": attribute block",
			 fc->img->dev->address, fi->ino);
}

/* The attribute block of an inode that goes loses an owner, or goes too. */
static errcode_t drop_xattr_block(struct dafs_fc *fc, struct dafs_fc_inode *fi)
{
	const struct ext2_inode_large *raw = dafs_fc_raw(fi);
	uint64_t pblk = raw->i_file_acl | (uint64_t)raw->osd2.linux2.l_i_file_acl_high << 32;
	struct ext2_ext_attr_header *head;
	uint8_t *block;
	errcode_t err;

	if (!pblk)
		return 0;
	if (fc->img->has_ea_inode)
		return dafs_fail(
			fc->img->ctx, DAFS_ET_JOURNAL_FEATURE,
			"%s: fast commit that removes a file with attributes, with ea_inode",
			fc->img->dev->address);
	if (!dafs_image_data_range_ok(fc->img, pblk, 1))
		return corrupt_xattr(fc, fi);
	err = dafs_txn_get(fc->img, pblk, false, &block);
	if (err)
		return err;
	head = (struct ext2_ext_attr_header *)block;
	if (head->h_magic != EXT2_EXT_ATTR_MAGIC || head->h_blocks != 1)
		return corrupt_xattr(fc, fi);
	if (head->h_refcount <= 1)
		return dafs_group_give_blks(fc->img, pblk, 1);
	err = dafs_txn_get(fc->img, pblk, true, &block);
	if (err)
		return err;
	head->h_refcount--;
	return ext2fs_ext_attr_block_csum_set(fc->img->fs, fi->ino, pblk, head);
}

static errcode_t finish_absent(struct dafs_fc *fc, struct dafs_fc_inode *fi)
{
	errcode_t err;

	if (!fi->was_used)
		return 0;
	err = drop_xattr_block(fc, fi);
	for (size_t i = 0; i < fi->nodes.n && !err; i++)
		err = dafs_group_give_blks(fc->img, fi->nodes.v[i], 1);
	if (!err)
		err = dafs_group_give_inode(fc->img, fi->ino, LINUX_S_ISDIR(fi->was_mode));
	if (err)
		return err;
	memset(fi->raw, 0, fc->img->inode_size);
	dafs_fc_raw(fi)->i_dtime = (uint32_t)fc->img->ctx->now_sec;
	return write_inode(fc, fi);
}

/* Mark the inode used; one that was another one's before may have been a directory then, or be one
 * now. */
static errcode_t take_inode(struct dafs_fc *fc, const struct dafs_fc_inode *fi)
{
	bool was_dir = LINUX_S_ISDIR(fi->was_mode), is_dir = LINUX_S_ISDIR(dafs_fc_raw(fi)->i_mode);
	errcode_t err = 0;

	if (fi->was_used && was_dir == is_dir)
		return 0;
	if (fi->was_used)
		err = dafs_group_give_inode(fc->img, fi->ino, was_dir);
	return err ? err : dafs_group_take_inode(fc->img, fi->ino, is_dir);
}

static errcode_t finish_present(struct dafs_fc *fc, struct dafs_fc_inode *fi)
{
	struct ext2_inode_large *raw = dafs_fc_raw(fi);
	struct dir_work w = { .fc = fc, .fi = fi };
	struct dafs_blklist nodes = { NULL, 0, 0 };
	bool dir = fi->is_new_dir || fi->names;
	errcode_t err = 0;

	err = take_inode(fc, fi);
	if (!err && dir)
		err = open_dir(&w);
	/* It may have left the inode with this. */
	if (!err && dir && dafs_dirplan_blks(w.plan))
		raw->i_flags |= EXT4_EXTENTS_FL;
	if (!err)
		err = choose_nodes(fc, fi, &nodes);
	if (!err && (raw->i_flags & EXT4_EXTENTS_FL))
		err = dafs_etree_encode(fc->img, fi->ino, raw->i_generation, &fi->map, &nodes,
					fi->nodes.n < nodes.n ? fi->nodes.n : nodes.n, raw);
	if (!err && dir)
		err = emit_dir(&w);
	if (!err) {
		count_blocks(fc->img, fi, nodes.n);
		err = write_inode(fc, fi);
	}
	close_dir(&w);
	dafs_blklist_fini(&nodes);
	return err;
}

errcode_t dafs_fc_finish(struct dafs_fc *fc)
{
	struct dafs_fc_inode *fi, *next;
	errcode_t err = 0;

	for (int take = 0; take < 2 && !err; take++) {
		HASH_ITER(hh, fc->inodes, fi, next) {
			if (dafs_fc_absent(fi) || (dafs_fc_raw(fi)->i_flags & EXT4_INLINE_DATA_FL))
				dafs_extlist_fini(&fi->map);
			if (fi->changed && !err)
				err = flip_data(fc, fi, take);
		}
	}
	HASH_ITER(hh, fc->inodes, fi, next) {
		if (fi->changed && !err)
			err = dafs_fc_absent(fi) ? finish_absent(fc, fi) : finish_present(fc, fi);
	}
	return err;
}

errcode_t dafs_fc_replay(struct dafs_image *img, struct dafs_journal *j, uint32_t tid, bool *found)
{
	struct dafs_fc fc = { .img = img };
	struct dafs_fc_log log;
	errcode_t err = dafs_fc_read(j, tid, &log);

	*found = !err && log.n;
	if (*found && img->has_quota)
		err = dafs_fail(img->ctx, DAFS_ET_JOURNAL_FEATURE, "%s: fast commits with quota",
				img->dev->address);
	if (!err && *found)
		err = dafs_fc_apply(&fc, &log);
	if (!err && *found)
		err = dafs_fc_finish(&fc);
	dafs_fc_fini(&fc);
	dafs_fc_log_fini(&log);
	return err;
}
