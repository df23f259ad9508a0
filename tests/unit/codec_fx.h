/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec_fx - what the tests of the codecs share: blocks of a scratch image handed out first fit,
 * a small commit of one inode, and bytes flipped in a block of the image.
 */
#ifndef TESTS_UNIT_CODEC_FX_H
#define TESTS_UNIT_CODEC_FX_H

#include "scratch.h"
#include "seeded.h"

#include "image/etree.h"
#include "image/group.h"
#include "image/icodec.h"
#include "image/txn.h"

struct fx {
	const char *path;
	struct dafs_image *img;
	uint64_t next_pblk;		/* blocks below it have been handed out or are in use */
};

static inline void fx_open(struct fx *fx, const char *path, int flags)
{
	fx->path = path;
	scratch_ctx.no_sync = true;
	scratch_ok(dafs_image_open(&scratch_ctx, path, flags, 0, 0, &fx->img));
	fx->next_pblk = fx->img->first_data_block;
}

/* A new image, open for writing. */
static inline void fx_make(struct fx *fx, const char *name, const char *options, const char *size)
{
	fx_open(fx, scratch_mke2fs(name, options, size), DAFS_IMAGE_RW);
}

static inline void fx_close(struct fx *fx)
{
	dafs_image_close(fx->img);
	fx->img = NULL;
}

/* The next free block; marked in use. */
static inline uint64_t fx_take_block(struct fx *fx)
{
	for (;; fx->next_pblk++) {
		uint32_t grp, bit;
		const uint8_t *bits;

		assert_true(fx->next_pblk < fx->img->blocks);
		grp = dafs_group_of_pblk(fx->img, fx->next_pblk);
		bit = (uint32_t)(fx->next_pblk - dafs_group_first_pblk(fx->img, grp));
		scratch_ok(dafs_group_block_bits(fx->img, grp, &bits));
		if (bits[bit / 8] & 1u << bit % 8)
			continue;
		scratch_ok(dafs_group_take_blks(fx->img, fx->next_pblk, 1));
		return fx->next_pblk++;
	}
}

/* A free inode number; marked in use. */
static inline uint32_t fx_take_inode(struct fx *fx, bool is_dir)
{
	uint32_t per_group = fx->img->fs->super->s_inodes_per_group;

	for (uint32_t grp = 0; grp < dafs_group_count(fx->img); grp++) {
		const uint8_t *bits;

		scratch_ok(dafs_group_inode_bits(fx->img, grp, &bits));
		for (uint32_t bit = 0; bit < per_group; bit++) {
			uint32_t ino = grp * per_group + bit + 1;

			if (bits[bit / 8] & 1u << bit % 8)
				continue;
			if (dafs_group_take_inode(fx->img, ino, is_dir) == 0)
				return ino;
		}
	}
	fail_msg("no free inode");
	return 0;
}

/* Put raw where its inode lies. */
static inline void fx_write_inode(struct fx *fx, uint32_t ino, union dafs_inode_buf *buf)
{
	uint64_t pblk;
	uint32_t off;
	uint8_t *block;

	dafs_icodec_checksum(fx->img, ino, &buf->raw);
	scratch_ok(dafs_icodec_locate(fx->img, ino, &pblk, &off, NULL));
	scratch_ok(dafs_txn_get(fx->img, pblk, true, &block));
	memcpy(block + off, buf->bytes, fx->img->inode_size);
}

/* Map raw (mapped by xl as far as that goes already, with tree blocks nodes) to xl; tree blocks
 * are taken as needed, those left over given back. Sets i_blocks. */
static inline void fx_map(struct fx *fx, uint32_t ino, const struct dafs_extlist *xl,
			  struct dafs_blklist *nodes, union dafs_inode_buf *buf)
{
	uint64_t need = dafs_etree_blks(fx->img->block_size, xl->n), blocks;
	size_t nold = nodes->n < need ? nodes->n : need;
	struct dafs_inode inode = { 0 };

	while (nodes->n > need) {
		scratch_ok(dafs_group_give_blks(fx->img, nodes->v[--nodes->n], 1));
		scratch_ok(dafs_txn_revoke(fx->img, nodes->v[nodes->n]));
	}
	while (nodes->n < need)
		scratch_ok(dafs_blklist_add(nodes, fx_take_block(fx)));
	scratch_ok(
		dafs_etree_encode(fx->img, ino, buf->raw.i_generation, xl, nodes, nold, &buf->raw));
	scratch_ok(dafs_icodec_decode(fx->img, ino, &buf->raw, &inode));
	blocks = dafs_extlist_blocks(xl) + nodes->n + (buf->raw.i_file_acl ? 1 : 0);
	scratch_ok(dafs_icodec_encode(fx->img, &inode, blocks << (fx->img->block_bits - 9),
				      &buf->raw, fx->img->inode_size));
}

static inline void fx_commit(struct fx *fx)
{
	scratch_ok(dafs_txn_commit(fx->img, NULL, 0));
}

/* Damage a block: one to four random changes in its first room bytes. */
static inline void fx_damage(struct rng *rng, uint8_t *buf, uint32_t room)
{
	for (uint32_t n = 1 + rng_below(rng, 4); n; n--) {
		uint32_t at = rng_below(rng, room);

		switch (rng_below(rng, 4)) {
		case 0:
			buf[at] = (uint8_t)rng_below(rng, 256);
			break;
		case 1:
			buf[at] ^= (uint8_t)(1u << rng_below(rng, 8));
			break;
		case 2:
			memset(buf + at, rng_below(rng, 2) ? 0xff : 0,
			       room - at < 4 ? room - at : 4);
			break;
		default:
			memmove(buf + at, buf + rng_below(rng, at + 1),
				room - at < 12 ? room - at : 12);
		}
	}
}

#endif
