/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * charge - what an inode makes its owners take of their quota, while it is pending: counted for
 * those with limits when a change is accepted (write/qlimit.h has the rules).
 *
 * What an inode takes is a function of its pending state and of the image: so the same is given
 * back as was taken, in another process too, and the sum over all that is pending can be made anew.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <assert.h>
#include <string.h>

#include "image/icodec.h"
#include "image/xcodec.h"
#include "write/dareserve.h"
#include "write/quota.h"

enum {
	FAST_SYMLINK_BYTES = 60,
	INLINE_DIR_BYTES = 56, /* entries that a directory holds within its inode */
	DOTS_BYTES = 24,       /* entries of "." and ".." */
	TAIL_BYTES = 12,       /* checksum behind a block's entries */
	INDEX_BYTES = 8,       /* one entry of an index */
};

static uint64_t div_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

static uint64_t cluster_bytes(const struct dafs_image *img)
{
	return (uint64_t)img->block_size << img->cluster_bits;
}

/* Blocks that so many names of so many bytes fill, as if each were of their mean length. */
static uint64_t leaf_blks(const struct dafs_image *img, uint64_t names, uint64_t bytes)
{
	uint64_t room = img->block_size - (img->has_csum ? TAIL_BYTES : 0);

	return names ? div_up(names, room / div_up(bytes, names)) : 0;
}

/* Index blocks over so many leaves. */
static uint64_t index_blks(const struct dafs_image *img, uint64_t leaves)
{
	uint64_t per_node = img->block_size / INDEX_BYTES - 1;

	if (!img->has_dir_index)
		return 0;
	return leaves <= per_node ? 1 : 1 + div_up(leaves, per_node);
}

static uint64_t new_dir_blks(const struct dafs_image *img, uint64_t names, uint64_t bytes)
{
	uint64_t room = img->block_size - (img->has_csum ? TAIL_BYTES : 0), leaves;

	if (img->has_inline_data && bytes <= INLINE_DIR_BYTES)
		return 0;
	if (bytes + DOTS_BYTES <= room)
		return 1;
	leaves = leaf_blks(img, names, bytes);
	if (leaves < 2)
		leaves = 2;
	return leaves + index_blks(img, leaves);
}

/* A directory of the image is taken to have room for less than a block's worth of names. */
static uint64_t more_dir_blks(const struct dafs_image *img, const struct dafs_inode *inode,
			      uint64_t names, uint64_t bytes)
{
	uint64_t leaves = leaf_blks(img, names, bytes);

	if (leaves < 2)
		return 0;
	return leaves - 1 + (inode->size <= img->block_size ? index_blks(img, leaves) : 0);
}

/* What a directory's pending names add to it. */
static uint64_t dir_bytes(const struct dafs_image *img, const struct dafs_inode *inode)
{
	const struct dafs_dir *dir = inode->u.dir;
	uint64_t names = dir ? dir->add_names : 0, bytes = dir ? dir->add_bytes : 0, blks;

	if (inode->state & DAFS_I_NEW)
		blks = new_dir_blks(img, names, bytes);
	else
		blks = more_dir_blks(img, inode, names, bytes);
	return div_up(blks, UINT64_C(1) << img->cluster_bits) * cluster_bytes(img);
}

/* What the attributes of an inode of the image take: its block, and values with their own
 * inodes. */
static errcode_t image_xattrs(struct dafs_image *img, uint32_t ino,
			      const struct ext2_inode_large *raw, uint64_t *bytes, uint64_t *values)
{
	struct dafs_blklist inos = { 0 };
	union dafs_inode_buf buf;
	uint64_t pblk;
	bool shared;
	errcode_t err = dafs_xcodec_block(img, ino, raw, &pblk, &shared);

	*bytes = pblk ? cluster_bytes(img) : 0;
	*values = 0;
	if (err || !img->has_ea_inode)
		return err;
	err = dafs_xcodec_value_inos(img, ino, raw, &inos);
	for (size_t i = 0; i < inos.n && !err; i++) {
		err = dafs_icodec_read(img, (uint32_t)inos.v[i], &buf.raw, sizeof(buf));
		*bytes += err ? 0 : dafs_icodec_blocks512(img, &buf.raw) << 9;
	}
	*values = inos.n;
	dafs_blklist_fini(&inos);
	return err;
}

/* Other attributes in place of the image's (those of a new inode: none). */
static errcode_t swap_xattrs(struct dafs_ns *ns, const struct dafs_inode *inode,
			     struct dafs_qlimit_use *use)
{
	struct dafs_image *img = ns->img;
	struct dafs_xattr_layout lay;
	union dafs_inode_buf buf;
	uint64_t bytes = 0, values = 0;
	errcode_t err = dafs_ns_plan_xattrs(ns, inode, &lay);

	if (!err && !(inode->state & DAFS_I_NEW)) {
		err = dafs_icodec_read(img, inode->ino, &buf.raw, sizeof(buf));
		if (!err)
			err = image_xattrs(img, inode->ino, &buf.raw, &bytes, &values);
	}
	if (err)
		return err;
	use->bytes -= bytes < use->bytes ? bytes : use->bytes;
	use->bytes += (lay.use_block ? cluster_bytes(img) : 0) + lay.value_blks * img->block_size;
	use->inodes += lay.nvalues;
	use->inodes -= values;
	return 0;
}

/* Attribute values of an inode of the image that have inodes of their own. */
static errcode_t count_values(struct dafs_ns *ns, const struct dafs_inode *inode, uint64_t *values)
{
	union dafs_inode_buf buf;
	uint64_t bytes;
	errcode_t err;

	*values = 0;
	if (!ns->img->has_ea_inode || (inode->state & DAFS_I_NEW))
		return 0;
	err = dafs_icodec_read(ns->img, inode->ino, &buf.raw, sizeof(buf));
	return err ? err : image_xattrs(ns->img, inode->ino, &buf.raw, &bytes, values);
}

/* What an inode takes as it is to become. */
static errcode_t use_of(struct dafs_ns *ns, const struct dafs_inode *inode,
			struct dafs_qlimit_use *use)
{
	uint64_t values = 0;
	errcode_t err;

	memset(use, 0, sizeof(*use));
	dafs_qlimit_ids(inode, use->ids);
	if (inode->state & DAFS_I_GONE)
		return 0;
	err = dafs_qlimit_held(ns->img, inode, &use->bytes);
	if (!err)
		err = count_values(ns, inode, &values);
	if (err)
		return err;
	use->inodes = 1 + values;
	if (S_ISREG(inode->mode))
		use->bytes += dafs_delalloc_held_clusters(ns->img, inode) * cluster_bytes(ns->img);
	else if (S_ISDIR(inode->mode))
		use->bytes += dir_bytes(ns->img, inode);
	else if (S_ISLNK(inode->mode) && (inode->state & DAFS_I_NEW) &&
		 inode->size >= FAST_SYMLINK_BYTES)
		use->bytes += cluster_bytes(ns->img);
	if ((inode->state & DAFS_I_XATTR) || (inode->xattrs && (inode->state & DAFS_I_NEW)))
		err = swap_xattrs(ns, inode, use);
	return err;
}

/* What it takes in the image; nothing of a new one. */
static errcode_t image_use(struct dafs_ns *ns, const struct dafs_inode *inode,
			   struct dafs_qlimit_use *use)
{
	struct dafs_quota_usage usage = { 0 };
	union dafs_inode_buf buf;
	uint64_t values = 0;
	errcode_t err = 0;

	memset(use, 0, sizeof(*use));
	if (inode->state & DAFS_I_NEW)
		return 0;
	err = dafs_icodec_read(ns->img, inode->ino, &buf.raw, sizeof(buf));
	if (!err)
		err = count_values(ns, inode, &values);
	if (err)
		return err;
	dafs_quota_usage(ns->img, inode->ino, &buf.raw, values, &usage);
	memcpy(use->ids, usage.ids, sizeof(use->ids));
	use->inodes = usage.inodes;
	use->bytes = usage.bytes;
	return 0;
}

/* --- one change --- */

static struct dafs_ns_charged *next_charged(struct dafs_ns_charge *c)
{
	assert(c->n < DAFS_NS_CHARGE_MOST);
	return &c->v[c->n++];
}

errcode_t dafs_ns_charge_add(struct dafs_ns_charge *c, const struct dafs_inode *inode)
{
	struct dafs_ns_charged *at;

	if (!c->ns->w->limits)
		return 0;
	at = next_charged(c);
	at->inode = inode;
	return use_of(c->ns, inode, &at->before);
}

void dafs_ns_charge_new(struct dafs_ns_charge *c, const struct dafs_inode *inode)
{
	struct dafs_ns_charged *at;

	if (!c->ns->w->limits)
		return;
	at = next_charged(c);
	at->inode = inode;
	dafs_qlimit_ids(inode, at->before.ids);
}

errcode_t dafs_ns_charge_last(struct dafs_ns_charge *c, const struct dafs_inode *inode)
{
	errcode_t err = dafs_ns_charge_add(c, inode);

	if (!err && c->n)
		c->v[c->n - 1].inode = NULL;
	return err;
}

static errcode_t find_after(struct dafs_ns_charge *c, struct dafs_ns_charged *at)
{
	if (at->inode)
		return use_of(c->ns, at->inode, &at->after);
	memcpy(at->after.ids, at->before.ids, sizeof(at->after.ids));
	return 0;
}

errcode_t dafs_ns_charge_take(struct dafs_ns_charge *c)
{
	errcode_t err = 0;

	while (c->taken < c->n && !err) {
		struct dafs_ns_charged *at = &c->v[c->taken];

		err = find_after(c, at);
		if (!err)
			err = dafs_qlimit_change(c->ns->w->limits, &at->before, &at->after);
		c->taken += !err;
	}
	if (err)
		dafs_ns_charge_undo(c);
	return err;
}

void dafs_ns_charge_undo(struct dafs_ns_charge *c)
{
	for (; c->taken; c->taken--)
		dafs_qlimit_move(c->ns->w->limits, &c->v[c->taken - 1].after,
				 &c->v[c->taken - 1].before);
}

void dafs_ns_charge_give(struct dafs_ns_charge *c)
{
	for (; c->taken < c->n; c->taken++) {
		struct dafs_ns_charged *at = &c->v[c->taken];

		if (!find_after(c, at))
			dafs_qlimit_move(c->ns->w->limits, &at->before, &at->after);
	}
}

errcode_t dafs_ns_chown(struct dafs_ns *ns, struct dafs_inode *inode, uint32_t uid, uint32_t gid)
{
	const uint32_t old_uid = inode->uid, old_gid = inode->gid;
	struct dafs_ns_charge charge = { .ns = ns };
	char path[1024];
	errcode_t err;

	if (uid == old_uid && gid == old_gid)
		return 0;
	err = dafs_ns_charge_add(&charge, inode);
	inode->uid = uid;
	inode->gid = gid;
	if (!err)
		err = dafs_ns_charge_take(&charge);
	/* A new owner is an entry more in the quota files. */
	if (!err && ns->img->has_quota) {
		err = dafs_dareserve_recheck(ns->w);
		if (err)
			dafs_ns_charge_undo(&charge);
	}
	if (!err)
		return 0;
	inode->uid = old_uid;
	inode->gid = old_gid;
	return dafs_qlimit_fail(ns->ctx, ns->w->limits, err,
				dafs_ns_path(ns, inode, path, sizeof(path)));
}

/* --- all that is pending --- */

errcode_t dafs_ns_recharge(struct dafs_ns *ns)
{
	struct dafs_inode *inode;
	errcode_t err;
	uint32_t i;

	if (!ns->w->limits)
		return 0;
	err = dafs_qlimit_reload(ns->w->limits);
	if (err)
		return err;
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		struct dafs_qlimit_use before, now;

		if (!(inode->state & DAFS_I_DIRTY) || (inode->marks & DAFS_NS_FREED))
			continue;
		err = image_use(ns, inode, &before);
		if (!err)
			err = use_of(ns, inode, &now);
		if (err)
			return err;
		dafs_qlimit_move(ns->w->limits, &before, &now);
	}
	return 0;
}
