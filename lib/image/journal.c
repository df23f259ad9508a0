/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal - see journal.h. The journal superblock and the mapping of the journal's inode. The log
 * is read in journal_scan.c, replayed in journal_replay.c, written in journal_write.c.
 *
 * Invariants: the mapping covers [0, maxlen) without holes and maps no block twice; first < last <=
 * maxlen.
 */
#include "config.h"

#include "image/journal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/etree.h"
#include "image/icodec.h"
#include "image/journal_int.h"

enum { MIN_LOG_BLKS = 8 };

static errcode_t corrupt(const struct dafs_journal *j, const char *why)
{
	return dafs_fail(j->img->ctx, DAFS_ET_CORRUPT_JOURNAL, "%s: journal superblock: %s",
			 j->img->dev->address, why);
}

/* --- places --- */

uint64_t dafs_journal_pblk(const struct dafs_journal *j, uint32_t lblk)
{
	const struct dafs_extent *ext = &j->map.v[dafs_extlist_search(&j->map, lblk)];

	return ext->pblk + (lblk - ext->lblk);
}

errcode_t dafs_journal_read_blk(struct dafs_journal *j, uint32_t lblk, void *buf)
{
	return dafs_dev_read(j->img->dev, buf, j->img->block_size,
			     dafs_journal_pblk(j, lblk) << j->img->block_bits);
}

static int by_place(const void *a, const void *b)
{
	const struct dafs_extent *x = a, *y = b;

	return x->pblk < y->pblk ? -1 : x->pblk > y->pblk;
}

/* The log must not run in circles over the same blocks, nor over anything that others own. */
static errcode_t check_map(struct dafs_journal *j)
{
	struct dafs_extent *sorted = NULL;
	uint64_t lblk = 0, end = 0;
	errcode_t err = 0;

	for (size_t i = 0; i < j->map.n; i++) {
		const struct dafs_extent *ext = &j->map.v[i];

		if (ext->lblk != lblk || ext->unwritten ||
		    !dafs_image_data_range_ok(j->img, ext->pblk, ext->len))
			break;
		lblk += ext->len;
	}
	if (lblk < MIN_LOG_BLKS || (j->maxlen && lblk < j->maxlen))
		return corrupt(j, "its inode has holes or ends before the journal does");
	sorted = malloc(j->map.n * sizeof(*sorted));
	if (!sorted)
		return ENOMEM;
	memcpy(sorted, j->map.v, j->map.n * sizeof(*sorted));
	qsort(sorted, j->map.n, sizeof(*sorted), by_place);
	for (size_t i = 0; i < j->map.n && !err; i++) {
		if (sorted[i].pblk < end)
			err = corrupt(j, "its inode maps a block twice");
		end = sorted[i].pblk + sorted[i].len;
	}
	free(sorted);
	return err;
}

/* The inode that the superblock keeps a copy of, for when the real one is damaged. */
static bool backup_inode(const struct dafs_image *img, struct ext2_inode_large *raw)
{
	const struct ext2_super_block *sb = img->fs->super;

	if (sb->s_jnl_backup_type != EXT3_JNL_BACKUP_BLOCKS || !sb->s_jnl_blocks[16])
		return false;
	memset(raw, 0, sizeof(*raw));
	memcpy(raw->i_block, sb->s_jnl_blocks, sizeof(raw->i_block));
	raw->i_size_high = sb->s_jnl_blocks[15];
	raw->i_size = sb->s_jnl_blocks[16];
	raw->i_mode = LINUX_S_IFREG | 0600;
	raw->i_links_count = 1;
	/* An extent root begins with its magic; a first indirect pointer of that value would be far
	 * outside small images, and is checked like any other if it is one. */
	if ((raw->i_block[0] & 0xffff) == 0xf30a)
		raw->i_flags = EXT4_EXTENTS_FL;
	return true;
}

static errcode_t try_map(struct dafs_journal *j, const struct ext2_inode_large *raw)
{
	uint64_t size = raw->i_size | (uint64_t)raw->i_size_high << 32;
	errcode_t err;

	dafs_extlist_fini(&j->map);
	if (!LINUX_S_ISREG(raw->i_mode) || !raw->i_links_count ||
	    size >> j->img->block_bits < MIN_LOG_BLKS)
		return corrupt(j, "its inode is not one of a journal");
	err = dafs_etree_decode(j->img, j->ino, raw, &j->map, NULL);
	return err ? err : check_map(j);
}

static errcode_t open_map(struct dafs_journal *j)
{
	union dafs_inode_buf buf;
	errcode_t err = dafs_icodec_read(j->img, j->ino, &buf.raw, sizeof(buf));

	if (!err)
		err = try_map(j, &buf.raw);
	if (err && backup_inode(j->img, &buf.raw) && try_map(j, &buf.raw) == 0)
		err = 0;
	return err;
}

/* --- the superblock --- */

void dafs_journal_set_features(struct dafs_journal *j)
{
	static const size_t tag3_bytes = 16, tag_bytes = 8, high_bytes = 4, csum_bytes = 2;
	bool v2 = be32toh(j->sb.header.blocktype) == JBD2_SUPER_V2;

	j->compat = v2 ? be32toh(j->sb.compat) : 0;
	j->incompat = v2 ? be32toh(j->sb.incompat) : 0;
	j->csum_v1 = j->compat & JBD2_COMPAT_CHECKSUM;
	j->csum_v2 = j->incompat & JBD2_INCOMPAT_CSUM_V2;
	j->csum_v3 = j->incompat & JBD2_INCOMPAT_CSUM_V3;
	j->wide = j->incompat & JBD2_INCOMPAT_64BIT;
	j->seed = dafs_crc32c(~0u, j->sb.uuid, sizeof(j->sb.uuid));
	if (j->csum_v3)
		j->tag_bytes = tag3_bytes;
	else
		j->tag_bytes =
			tag_bytes + (j->csum_v2 ? csum_bytes : 0) + (j->wide ? high_bytes : 0);
}

static uint32_t super_csum(const struct jbd2_super *sb)
{
	struct jbd2_super copy = *sb;

	copy.checksum = 0;
	return dafs_crc32c(~0u, &copy, sizeof(copy));
}

static errcode_t check_features(struct dafs_journal *j)
{
	uint32_t unknown = j->incompat & ~(uint32_t)JBD2_INCOMPAT_KNOWN;
	const char *address = j->img->dev->address;

	if (unknown)
		return dafs_fail(j->img->ctx, DAFS_ET_JOURNAL_FEATURE,
				 "%s: journal incompat features %#x", address, unknown);
	if (be32toh(j->sb.header.blocktype) == JBD2_SUPER_V2 && j->sb.ro_compat)
		return dafs_fail(j->img->ctx, DAFS_ET_JOURNAL_FEATURE,
				 "%s: journal ro_compat features %#x", address,
				 be32toh(j->sb.ro_compat));
	if (j->csum_v2 && j->csum_v3)
		return corrupt(j, "checksums of two kinds");
	if (!dafs_journal_has_csum(j) || (j->img->flags & DAFS_IMAGE_IGNORE_CSUM))
		return 0;
	if (j->sb.checksum_type != JBD2_CRC32C_CHKSUM)
		return corrupt(j, "unknown kind of checksum");
	if (be32toh(j->sb.checksum) != super_csum(&j->sb))
		return corrupt(j, "checksum");
	return 0;
}

void dafs_journal_set_last(struct dafs_journal *j)
{
	bool fast = j->incompat & JBD2_INCOMPAT_FAST_COMMIT;
	uint32_t fc_blks = 0;

	if (!j->sb.start)
		fast |= ext2fs_has_feature_fast_commit(j->img->fs->super);
	if (fast)
		fc_blks = be32toh(j->sb.num_fc_blks) ? be32toh(j->sb.num_fc_blks) : 256;
	j->last = fc_blks < j->maxlen ? j->maxlen - fc_blks : 0;
}

static bool first_ok(const struct dafs_journal *j)
{
	return j->first && j->last >= MIN_LOG_BLKS && j->first <= j->last - MIN_LOG_BLKS;
}

static errcode_t open_super(struct dafs_journal *j)
{
	uint32_t type, start;
	errcode_t err;

	err = dafs_dev_read(j->img->dev, &j->sb, sizeof(j->sb),
			    dafs_journal_pblk(j, 0) << j->img->block_bits);
	if (err)
		return err;
	type = be32toh(j->sb.header.blocktype);
	if (be32toh(j->sb.header.magic) != JBD2_MAGIC ||
	    (type != JBD2_SUPER_V1 && type != JBD2_SUPER_V2))
		return corrupt(j, "bad magic");
	dafs_journal_set_features(j);
	err = check_features(j);
	if (err)
		return err;
	j->maxlen = be32toh(j->sb.maxlen);
	j->first = be32toh(j->sb.first);
	start = be32toh(j->sb.start);
	dafs_journal_set_last(j);
	if (be32toh(j->sb.blocksize) != j->img->block_size)
		return corrupt(j, "block size");
	if (j->maxlen > JBD2_MAX_BLKS)
		return corrupt(j, "too long");
	if (!first_ok(j) && j->img->flags & DAFS_IMAGE_SALVAGE) {
		/* In an inode nothing but the superblock comes before the log. */
		j->first = 1;
		j->sb.first = htobe32(j->first);
	}
	if (!first_ok(j))
		return corrupt(j, "first block");
	if (start && (start < j->first || start >= j->last))
		return corrupt(j, "start of the log");
	return check_map(j);
}

errcode_t dafs_journal_open(struct dafs_image *img, struct dafs_journal **ret)
{
	struct dafs_journal *j = calloc(1, sizeof(*j));
	errcode_t err;

	*ret = NULL;
	if (!j)
		return ENOMEM;
	j->img = img;
	j->ino = img->fs->super->s_journal_inum;
	if (j->ino)
		err = open_map(j);
	else
		err = dafs_fail(img->ctx, DAFS_ET_JOURNAL_EXTERNAL, "%s", img->dev->address);
	if (!err)
		err = open_super(j);
	if (err)
		dafs_journal_close(j);
	else
		*ret = j;
	return err;
}

void dafs_journal_close(struct dafs_journal *j)
{
	if (!j)
		return;
	dafs_extlist_fini(&j->map);
	free(j);
}

errcode_t dafs_journal_write_super(struct dafs_journal *j)
{
	j->sb.checksum = 0;
	if (dafs_journal_has_csum(j))
		j->sb.checksum = htobe32(super_csum(&j->sb));
	return dafs_dev_write(j->img->dev, &j->sb, sizeof(j->sb),
			      dafs_journal_pblk(j, 0) << j->img->block_bits);
}

bool dafs_journal_needs_recovery(const struct dafs_journal *j)
{
	return j->sb.start != 0;
}

int32_t dafs_journal_errno(const struct dafs_journal *j)
{
	return (int32_t)be32toh(j->sb.error);
}

/* --- checksums --- */

uint32_t dafs_journal_tail_csum(const struct dafs_journal *j, const uint8_t *block)
{
	static const uint8_t zero[4];
	size_t body = j->img->block_size - sizeof(zero);

	return dafs_crc32c(dafs_crc32c(j->seed, block, body), zero, sizeof(zero));
}

uint32_t dafs_journal_data_csum(const struct dafs_journal *j, uint32_t tid, const uint8_t *data)
{
	uint32_t tid_be = htobe32(tid);

	return dafs_crc32c(dafs_crc32c(j->seed, &tid_be, sizeof(tid_be)), data, j->img->block_size);
}
