/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pass1 - every inode of every group: read the tables, look at each inode, publish what is to be
 * known of it.
 *
 * Verifies: inodes, block maps, attributes. Leaves for the next: found and dup (blocks), inos
 * (types, links), dirs with their blocks, policies, quota sums, reference counts of attributes.
 *
 * An item is one group's inode table, read in large pieces up to the group's used mark.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "image/icodec.h"

/* ---- publishing ---- */

static void publish_stats(struct dafs_ck_worker *w, const struct dafs_ck_inode *in)
{
	struct dafs_ck_stats *s = &w->stats;
	const struct ext2_inode_large *raw = in->raw;

	s->fragmented += in->fragmented;
	if (in->has_tree)
		s->depth[in->depth < 7 ? in->depth : 7]++;
	if (in->is_reg && dafs_ck_size(raw) >= 0x80000000ULL)
		s->large_files++;
	if (in->ino < w->ck->g.first_ino && in->ino != EXT2_ROOT_INO)
		return;
	switch (in->cki & DAFS_CKI_TYPE) {
	case EXT2_FT_DIR:
		s->dirs++;
		break;
	case EXT2_FT_REG_FILE:
		s->regs++;
		break;
	case EXT2_FT_SYMLINK:
		s->links++;
		s->fast_links += dafs_ck_is_fast_symlink(raw);
		break;
	case EXT2_FT_CHRDEV:
		s->chars++;
		break;
	case EXT2_FT_BLKDEV:
		s->blocks++;
		break;
	case EXT2_FT_FIFO:
		s->fifos++;
		break;
	case EXT2_FT_SOCK:
		s->socks++;
		break;
	default:
		break;
	}
	if (raw->i_flags & (EXT4_EXTENTS_FL | EXT4_INLINE_DATA_FL) || !(in->is_dir || in->is_reg))
		return;
	s->ind += raw->i_block[EXT2_IND_BLOCK] != 0;
	s->dind += raw->i_block[EXT2_DIND_BLOCK] != 0;
	s->tind += raw->i_block[EXT2_TIND_BLOCK] != 0;
}

static bool publish_dir(struct dafs_ck_worker *w, const struct dafs_ck_inode *in)
{
	struct dafs_ck_dir *dir = dafs_ck_vec_add(&w->part->dirs, sizeof(*dir));
	const struct dafs_ck_dext *from = w->dexts.v;

	if (!dir)
		return false;
	*dir = (struct dafs_ck_dir){ .ino = in->ino,
				     .generation = in->raw->i_generation,
				     .iflags = in->raw->i_flags,
				     .size = dafs_ck_size(in->raw),
				     .ndext = (uint32_t)w->dexts.n,
				     .dext = w->part->dexts.n };
	for (size_t i = 0; i < w->dexts.n; i++) {
		struct dafs_ck_dext *to = dafs_ck_vec_add(&w->part->dexts, sizeof(*to));

		if (!to)
			return false;
		*to = from[i];
	}
	return true;
}

static errcode_t publish(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	struct dafs_ck *ck = w->ck;
	const struct dafs_ck_range *claims;

	if (in->cleared)
		return 0;
	if (in->cki && dafs_ck_ino_put(ck, in->ino, in->cki, in->links))
		return ENOMEM;
	dafs_ck_xattr_publish(w, in);
	claims = w->claims.v;
	for (size_t i = 0; i < w->claims.n; i++)
		dafs_ck_bits_set(&ck->found, claims[i].start, claims[i].len,
				 ck->g.shared_blocks ? NULL : &ck->dup);
	if (in->quota_inodes)
		dafs_ck_quota_charge(w, in);
	publish_stats(w, in);
	if ((in->cki & DAFS_CKI_TYPE) == EXT2_FT_DIR && in->ino >= EXT2_ROOT_INO &&
	    !publish_dir(w, in))
		return ENOMEM;
	return w->err;
}

/* ---- looking ---- */

/* Look at one inode; raw is a private copy. With scan: publish it or put it off. */
static errcode_t look(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	size_t policies = w->policies.n;
	uint32_t *later;

	w->claims.n = 0;
	w->dexts.n = 0;
	w->ea_refs.n = 0;
	w->put_off = false;
	dafs_ck_inode_look(w, in);
	if (w->err)
		return w->err;
	if (!w->put_off)
		return publish(w, in);
	w->policies.n = policies;
	later = dafs_ck_vec_add(&w->part->later, sizeof(*later));
	if (!later)
		return ENOMEM;
	*later = in->ino;
	return 0;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	const uint64_t *words = (const uint64_t *)bytes;
	uint64_t any = 0;

	for (size_t i = 0; i < len / 8; i += 8)
		for (size_t k = 0; k < 8; k++)
			any |= words[i + k];
	return !any;
}

/* One whose first half is zeros was never written, whatever is behind. */
static bool csum_bad(const struct dafs_ck *ck, uint32_t ino, const struct ext2_inode_large *raw)
{
	return ck->g.csum && !dafs_icodec_checksum_ok(&ck->img, ino, raw) &&
	       !all_zero((const uint8_t *)raw, EXT2_GOOD_OLD_INODE_SIZE);
}

/* An inode table block whose checksums mostly fail was overwritten by something else. */
static bool block_is_garbage(const struct dafs_ck *ck, uint32_t first_ino, const uint8_t *block)
{
	uint32_t bad = 0;

	for (uint32_t i = 0; i < ck->g.inodes_per_blk; i++)
		bad += !dafs_icodec_checksum_ok(
			&ck->img, first_ino + i,
			(const struct ext2_inode_large *)(block + i * ck->g.inode_size));
	return bad * 2 > ck->g.inodes_per_blk;
}

static errcode_t look_at_bytes(struct dafs_ck_worker *w, uint32_t ino, const uint8_t *bytes,
			       bool csum_bad, bool garbage)
{
	const struct dafs_ck *ck = w->ck;
	struct dafs_ck_inode in = { .ino = ino,
				    .raw = (struct ext2_inode_large *)w->raw,
				    .csum_bad = csum_bad,
				    .garbage = garbage };

	memcpy(w->raw, bytes, ck->g.inode_size);
	if (ck->g.inode_size < sizeof(struct ext2_inode_large))
		memset(w->raw + ck->g.inode_size, 0,
		       sizeof(struct ext2_inode_large) - ck->g.inode_size);
	return look(w, &in);
}

/* Bad blocks hold no inodes that could be looked at. */
static errcode_t mark_unreadable(struct dafs_ck_worker *w, uint32_t ino)
{
	for (uint32_t i = 0; i < w->ck->g.inodes_per_blk; i++) {
		errcode_t err = dafs_ck_ino_put(w->ck, ino + i, DAFS_CKI_BB | DAFS_CKI_USED, 0);

		if (err)
			return err;
	}
	return 0;
}

/* Inodes from ino on, in blks table blocks that begin at pblk; no further than end. */
static errcode_t scan_piece(struct dafs_ck_worker *w, uint32_t ino, uint32_t end, uint64_t pblk,
			    uint64_t blks)
{
	struct dafs_ck *ck = w->ck;
	errcode_t err;

	w->put_off = false;
	w->win_len = 0;
	err = dafs_ck_read(w, pblk, blks, w->window);
	for (uint64_t b = 0; b < blks && !err; b++) {
		const uint8_t *block = w->window + (b << ck->g.block_bits);
		int garbage = -1;

		if (ck->bad_blocks.n && dafs_ck_map_get(&ck->bad_blocks, pblk + b + 1)) {
			err = mark_unreadable(w, ino);
			ino += ck->g.inodes_per_blk;
			continue;
		}
		for (uint32_t i = 0; i < ck->g.inodes_per_blk && ino < end && !err; i++, ino++) {
			const uint8_t *bytes = block + i * ck->g.inode_size;
			const struct ext2_inode_large *raw = (const void *)bytes;
			bool bad;

			if (all_zero(bytes, ck->g.inode_size) && ino >= ck->g.first_ino)
				continue;
			bad = csum_bad(ck, ino, raw);
			if (bad && garbage < 0)
				garbage = block_is_garbage(ck, ino - i, block);
			err = look_at_bytes(w, ino, bytes, bad, bad && garbage > 0);
		}
	}
	return err;
}

static errcode_t scan_group(struct dafs_ck_worker *w, uint64_t item)
{
	struct dafs_ck *ck = w->ck;
	uint32_t grp = (uint32_t)item, ino = grp * ck->g.ipg + 1;
	uint32_t n = dafs_ck_grp_scan_inodes(ck, grp), end = ino + n;
	uint64_t blks = (n + ck->g.inodes_per_blk - 1) / ck->g.inodes_per_blk;
	uint64_t most = DAFS_CK_WINDOW_BYTES >> ck->g.block_bits, at = dafs_ck_gd_itable(ck, grp);
	errcode_t err = 0;

	if (!n)
		return 0;
	w->part = ck->parts[grp] = calloc(1, sizeof(*w->part));
	if (!w->part)
		return ENOMEM;
	while (blks && !err) {
		uint64_t count = blks < most ? blks : most;

		err = scan_piece(w, ino, end, at, count);
		ino += (uint32_t)(count * ck->g.inodes_per_blk);
		at += count;
		blks -= count;
	}
	dafs_progress(ck->ctx, "inodes", atomic_fetch_add(&ck->progress, 1) + 1, ck->g.groups);
	return err;
}

static void ahead_group(struct dafs_ck_worker *w, uint64_t item)
{
	struct dafs_ck *ck = w->ck;
	uint32_t n = dafs_ck_grp_scan_inodes(ck, (uint32_t)item);

	dafs_ck_ahead(w, dafs_ck_gd_itable(ck, (uint32_t)item),
		      (n + ck->g.inodes_per_blk - 1) / ck->g.inodes_per_blk);
}

/* ---- what was put off ---- */

static errcode_t look_again(struct dafs_ck_worker *w, uint32_t ino)
{
	struct dafs_ck *ck = w->ck;
	struct dafs_ck_inode in = { .ino = ino, .raw = (struct ext2_inode_large *)w->raw };
	errcode_t err;

	if (!dafs_ck_read_inode(w, ino, in.raw))
		return w->err;
	in.csum_bad = csum_bad(ck, ino, in.raw);
	if (in.csum_bad)
		in.garbage = block_is_garbage(
			ck, ino - (ino - 1) % ck->g.ipg % ck->g.inodes_per_blk, w->tmp);
	err = look(w, &in);
	if (!err && in.dirty)
		err = dafs_ck_write_inode(w, ino, in.raw);
	if (!err && in.rebuild && !in.cleared)
		dafs_ck_want_remap(w, ino, in.convert ? DAFS_CKR_CONVERT : 0);
	return err ? err : w->err;
}

static int dir_cmp(const void *a, const void *b)
{
	const struct dafs_ck_dir *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static errcode_t look_again_all(struct dafs_ck *ck)
{
	struct dafs_ck_worker *w = ck->main;
	errcode_t err = 0;

	for (uint32_t grp = 0; grp < ck->g.groups && !err; grp++) {
		struct dafs_ck_part *part = ck->parts[grp];
		const uint32_t *later;

		if (!part || !part->later.n)
			continue;
		w->part = part;
		later = part->later.v;
		for (size_t i = 0; i < part->later.n && !err; i++)
			err = look_again(w, later[i]);
		if (part->dirs.n)
			qsort(part->dirs.v, part->dirs.n, sizeof(struct dafs_ck_dir), dir_cmp);
	}
	return err;
}

/* One list of all directories, in order of inode number. */
static errcode_t gather_dirs(struct dafs_ck *ck)
{
	size_t ndirs = 0, ndexts = 0;

	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		ndirs += ck->parts[grp] ? ck->parts[grp]->dirs.n : 0;
		ndexts += ck->parts[grp] ? ck->parts[grp]->dexts.n : 0;
	}
	/* Room for a root and a lost+found that may have to be made. */
	ck->dirs = calloc(ndirs + 2, sizeof(*ck->dirs));
	ck->dexts = calloc(ndexts + 1, sizeof(*ck->dexts));
	if (!ck->dirs || !ck->dexts)
		return ENOMEM;
	for (uint32_t grp = 0; grp < ck->g.groups; grp++) {
		struct dafs_ck_part *part = ck->parts[grp];

		if (!part)
			continue;
		for (size_t i = 0; i < part->dirs.n; i++) {
			ck->dirs[ck->ndirs] = ((struct dafs_ck_dir *)part->dirs.v)[i];
			ck->dirs[ck->ndirs++].dext += ck->ndexts;
		}
		if (part->dexts.n)
			memcpy(ck->dexts + ck->ndexts, part->dexts.v,
			       part->dexts.n * sizeof(*ck->dexts));
		ck->ndexts += part->dexts.n;
		dafs_ck_vec_fini(&part->dirs);
		dafs_ck_vec_fini(&part->dexts);
		dafs_ck_vec_fini(&part->later);
		free(part);
		ck->parts[grp] = NULL;
	}
	return 0;
}

struct dafs_ck_dir *dafs_ck_dir(const struct dafs_ck *ck, uint32_t ino)
{
	struct dafs_ck_dir key = { .ino = ino };

	return ck->ndirs ? bsearch(&key, ck->dirs, ck->ndirs, sizeof(key), dir_cmp) : NULL;
}

/* Metadata is in use whatever else is. */
static void claim_metadata(struct dafs_ck *ck)
{
	for (size_t i = 0; i < ck->nmeta; i++) {
		uint64_t first = dafs_ck_cluster(ck, ck->meta[i].start);

		dafs_ck_bits_set(&ck->found, first,
				 dafs_ck_cluster(ck, ck->meta[i].start + ck->meta[i].len - 1) + 1 -
					 first,
				 NULL);
	}
	if (ext2fs_has_feature_mmp(&ck->sb) && ck->sb.s_mmp_block > ck->g.first &&
	    ck->sb.s_mmp_block < ck->g.blocks)
		dafs_ck_bits_set(&ck->found, dafs_ck_cluster(ck, ck->sb.s_mmp_block), 1, NULL);
}

/* Inodes that are in use although their group's table was not looked at. */
static errcode_t mark_reserved(struct dafs_ck *ck)
{
	errcode_t err = 0;

	for (uint32_t ino = 1; ino < ck->g.first_ino && !err; ino++)
		if (ino != EXT2_ROOT_INO)
			err = dafs_ck_ino_change(ck, ino, DAFS_CKI_USED, 0);
	return err;
}

errcode_t dafs_ck_pass1(struct dafs_ck *ck)
{
	errcode_t err = dafs_ck_bad_blocks_load(ck);

	for (unsigned i = 0; i < ck->nworkers && !err; i++) {
		ck->workers[i].raw = malloc(ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
		if (!ck->workers[i].raw)
			err = ENOMEM;
	}
	claim_metadata(ck);
	if (!err)
		err = dafs_ck_parallel_ahead(ck, ck->g.groups, scan_group, ahead_group);
	if (!err)
		err = look_again_all(ck);
	if (!err)
		err = mark_reserved(ck);
	for (unsigned i = 0; i < ck->nworkers; i++) {
		free(ck->workers[i].raw);
		ck->workers[i].raw = NULL;
	}
	if (!err)
		err = dafs_ck_xattr_finish(ck);
	if (!err)
		err = dafs_ck_policies_finish(ck);
	return err ? err : gather_dirs(ck);
}
