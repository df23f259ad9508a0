/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr_fx - files of a scratch image with the sets of attributes that they must have, written as a
 * commit writes them, in small.
 */
#ifndef TESTS_UNIT_XATTR_FX_H
#define TESTS_UNIT_XATTR_FX_H

#include <errno.h>

#include "codec_fx.h"
#include "image/inline.h"
#include "image/xattr_int.h"
#include "image/xcodec.h"

#define FILES 6

/* A file with its set, as it must be in the image. */
struct file {
	struct dafs_inode inode;
	struct dafs_blklist value_inos;
};

struct xfx {
	struct fx fx;
	struct file files[FILES];
};

/* An ACL in the host's form: the user, a named user, the group, mask, others. */
static const uint8_t acl[] = { 2, 0,   0,   0,	 1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
			       0, 232, 3,   0,	 0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
			       4, 0,   255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255 };

static inline void random_set(struct rng *rng, struct dafs_xattr **set, uint32_t max_value,
			      uint32_t most)
{
	static const char *const prefixes[] = { "user.", "trusted.", "security." };

	dafs_xattr_free(set);
	for (uint32_t n = rng_below(rng, most + 1); n; n--) {
		char name[300];
		uint32_t len = rng_len(rng, max_value + 1) - 1, at;
		uint8_t *value = malloc(len + 1);

		assert_non_null(value);
		at = (uint32_t)snprintf(name, sizeof(name), "%s", prefixes[rng_below(rng, 3)]);
		for (uint32_t i = rng_len(rng, rng_below(rng, 8) ? 12 : 240); i; i--)
			name[at++] = (char)('a' + rng_below(rng, 26));
		name[at] = 0;
		for (uint32_t i = 0; i < len; i++)
			value[i] = (uint8_t)test_random(&rng->state);
		scratch_ok(dafs_xattr_put(set, name, value, len));
		free(value);
	}
	if (rng_below(rng, 3) == 0)
		scratch_ok(dafs_xattr_put(set, "system.posix_acl_access", acl, sizeof(acl)));
}

static inline size_t set_size(const struct dafs_xattr *set)
{
	size_t n = 0;

	for (; set; set = set->next)
		n++;
	return n;
}

static inline void assert_sets(const struct dafs_xattr *a, const struct dafs_xattr *b)
{
	assert_int_equal(set_size(a), set_size(b));
	for (; a; a = a->next) {
		const struct dafs_xattr *x = dafs_xattr_get(b, a->name);

		assert_non_null(x);
		assert_int_equal(x->value_len, a->value_len);
		assert_memory_equal(dafs_xattr_value(x), dafs_xattr_value(a), a->value_len);
	}
}

/* ---- writing: what a commit does, in small ---- */

/* One value into an inode of its own. Returns the clusters that its owner is charged with. */
static inline uint64_t write_value(struct xfx *x, struct file *file,
				   struct dafs_xattr_value_inode *value)
{
	struct dafs_image *img = x->fx.img;
	struct dafs_extlist xl = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf = { 0 };
	uint32_t len = value->attr->value_len,
		 blks = (len + img->block_size - 1) >> img->block_bits;
	uint8_t *bytes = calloc(blks, img->block_size);

	assert_non_null(bytes);
	memcpy(bytes, dafs_xattr_value(value->attr), len);
	value->ino = fx_take_inode(&x->fx, false);
	scratch_ok(dafs_blklist_add(&file->value_inos, value->ino));
	dafs_xcodec_value_raw(img, &file->inode, value->attr, &buf.raw);
	for (uint32_t i = 0; i < blks; i++) {
		uint64_t pblk = fx_take_block(&x->fx);

		scratch_ok(dafs_txn_put_new(img, pblk, 1, bytes + (size_t)i * img->block_size));
		scratch_ok(dafs_extlist_append(&xl, pblk, i, 1, false));
	}
	while (nodes.n < dafs_etree_blks(img->block_size, xl.n))
		scratch_ok(dafs_blklist_add(&nodes, fx_take_block(&x->fx)));
	scratch_ok(dafs_etree_encode(img, value->ino, 0, &xl, &nodes, 0, &buf.raw));
	buf.raw.i_blocks = (uint32_t)((blks + nodes.n) << (img->block_bits - 9));
	fx_write_inode(&x->fx, value->ino, &buf);
	dafs_extlist_fini(&xl);
	dafs_blklist_fini(&nodes);
	free(bytes);
	return blks;
}

static inline void free_value_inode(struct xfx *x, uint32_t ino)
{
	struct dafs_extlist xl = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf;

	scratch_ok(dafs_icodec_read(x->fx.img, ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_etree_decode(x->fx.img, ino, &buf.raw, &xl, &nodes));
	for (size_t i = 0; i < xl.n; i++)
		scratch_ok(dafs_group_give_blks(x->fx.img, xl.v[i].pblk, xl.v[i].len));
	for (size_t i = 0; i < nodes.n; i++)
		scratch_ok(dafs_group_give_blks(x->fx.img, nodes.v[i], 1));
	scratch_ok(dafs_group_give_inode(x->fx.img, ino, false));
	memset(&buf, 0, sizeof(buf));
	fx_write_inode(&x->fx, ino, &buf);
	dafs_extlist_fini(&xl);
	dafs_blklist_fini(&nodes);
}

/* The file's set over what it has; false when it does not fit, nothing done then. */
static inline bool write_set(struct xfx *x, struct file *file)
{
	struct dafs_image *img = x->fx.img;
	struct dafs_xattr_layout lay;
	struct dafs_xattr_value_inode *values;
	struct dafs_blklist dead = { 0 };
	union dafs_inode_buf buf;
	uint64_t pblk = 0, charge = 0;
	uint8_t *block = malloc(img->block_size);
	errcode_t err = dafs_xcodec_plan(img, &file->inode, "/some/file", &lay);

	assert_non_null(block);
	if (err) {
		assert_int_equal(err, DAFS_ET_XATTR_TOO_BIG);
		assert_non_null(strstr(scratch_ctx.detail, "/some/file: "));
		free(block);
		return false;
	}
	scratch_ok(dafs_icodec_read(img, file->inode.ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_xcodec_release(img, file->inode.ino, &buf.raw, &pblk, &dead));
	for (size_t i = 0; i < dead.n; i++)
		free_value_inode(x, (uint32_t)dead.v[i]);
	file->value_inos.n = 0;
	if (pblk && !lay.use_block) {
		scratch_ok(dafs_group_give_blks(img, pblk, 1));
		scratch_ok(dafs_txn_revoke(img, pblk));
	}
	values = calloc(lay.nvalues + 1, sizeof(*values));
	assert_non_null(values);
	scratch_ok(dafs_xcodec_values(img, &file->inode, values));
	for (uint32_t i = 0; i < lay.nvalues; i++)
		charge += write_value(x, file, &values[i]);
	assert_int_equal(charge, lay.value_blks);
	if (lay.use_block && pblk) {
		scratch_ok(dafs_xcodec_emit(img, &file->inode, values, pblk, block, &buf.raw));
		scratch_ok(dafs_txn_put(img, pblk, block));
	} else if (lay.use_block) {
		pblk = fx_take_block(&x->fx);
		scratch_ok(dafs_xcodec_emit(img, &file->inode, values, pblk, block, &buf.raw));
		scratch_ok(dafs_txn_put_new(img, pblk, 1, block));
	} else {
		scratch_ok(dafs_xcodec_emit(img, &file->inode, values, 0, NULL, &buf.raw));
	}
	buf.raw.i_blocks = (uint32_t)((charge + lay.use_block) << (img->block_bits - 9));
	fx_write_inode(&x->fx, file->inode.ino, &buf);
	dafs_blklist_fini(&dead);
	free(values);
	free(block);
	return true;
}

/* Files f0, f1, ... made by debugfs; their inodes read. */
static inline void xfx_open(struct xfx *x, const char *name, const char *options)
{
	const char *path = scratch_mke2fs(name, options, "64M");
	char cmd[1024] = "";

	memset(x, 0, sizeof(*x));
	for (int i = 0; i < FILES; i++)
		snprintf(cmd + strlen(cmd), sizeof(cmd) - strlen(cmd), "write /dev/null f%d\n", i);
	assert_int_equal(
		scratch_run("printf '%s' | debugfs -w -f - '%s' >/dev/null 2>&1", cmd, path), 0);
	fx_open(&x->fx, path, DAFS_IMAGE_RW);
	for (int i = 0; i < FILES; i++) {
		union dafs_inode_buf buf;

		scratch_ok(dafs_icodec_read(x->fx.img, 12 + (uint32_t)i, &buf.raw, sizeof(buf)));
		scratch_ok(dafs_icodec_decode(x->fx.img, 12 + (uint32_t)i, &buf.raw,
					      &x->files[i].inode));
	}
}

static inline void xfx_close(struct xfx *x)
{
	for (int i = 0; i < FILES; i++) {
		dafs_xattr_free(&x->files[i].inode.xattrs);
		dafs_blklist_fini(&x->files[i].value_inos);
	}
	fx_close(&x->fx);
}

#endif
