/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal_write - one transaction into the empty log, and the log empty again.
 *
 * Layout: descriptors, each followed by its blocks; revoke blocks; the commit block. All from where
 * the last transaction ended (s_head), round the end of the log, in writes of up to a megabyte.
 * Nothing points there until the journal superblock does.
 *
 * Where the journal's end is kept for fast commits, a transaction does not go round: it is left
 * without their flag, and so who replays it takes the log to be as long as the journal.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/journal_int.h"
#include "image/txn_int.h"

enum { BATCH_BYTES = 1 << 20 };

struct writer {
	struct dafs_journal *j;
	uint8_t *
		batch; /* blocks for [from, at) of the log, counted from its first block on and round */
	uint32_t from, at, room;
	uint32_t tid;
	uint32_t crc32; /* checksum v1, running */
};

/* --- how much fits --- */

static size_t tail_bytes(const struct dafs_journal *j)
{
	return dafs_journal_has_csum(j) ? 4 : 0;
}

/* The features a transaction of ours is written with: those the kernel sets when it mounts. */
static void prepare_features(struct dafs_journal *j)
{
	uint32_t incompat = j->incompat | JBD2_INCOMPAT_REVOKE;

	if (be32toh(j->sb.header.blocktype) != JBD2_SUPER_V2)
		memset(&j->sb.compat, 0, sizeof(j->sb) - offsetof(struct jbd2_super, compat));
	if (j->img->has_64bit)
		incompat |= JBD2_INCOMPAT_64BIT;
	if (j->img->has_csum && !dafs_journal_has_csum(j)) {
		incompat |= JBD2_INCOMPAT_CSUM_V3;
		j->sb.checksum_type = JBD2_CRC32C_CHKSUM;
		j->sb.compat = htobe32(j->compat & ~(uint32_t)JBD2_COMPAT_CHECKSUM);
	}
	j->sb.header.blocktype = htobe32(JBD2_SUPER_V2);
	j->sb.incompat = htobe32(incompat);
	dafs_journal_set_features(j);
}

static uint32_t tags_per_descriptor(const struct dafs_journal *j)
{
	/* The first tag of a descriptor has the UUID behind it. */
	return (uint32_t)((j->img->block_size - sizeof(struct jbd2_header) - 16 - tail_bytes(j)) /
			  j->tag_bytes);
}

static uint32_t revokes_per_block(const struct dafs_journal *j)
{
	return (uint32_t)((j->img->block_size - sizeof(struct jbd2_revoke) - tail_bytes(j)) /
			  (j->wide ? 8 : 4));
}

uint64_t dafs_journal_capacity_blks(const struct dafs_journal *j, uint64_t revokes)
{
	/* As if tags and revokes had their largest form, which they may get with the first
	 * transaction; one block stays free, so that a full log does not begin where it ends. */
	uint64_t tags = (j->img->block_size - sizeof(struct jbd2_header) - 20) / 16;
	uint64_t per_revoke_blk = (j->img->block_size - sizeof(struct jbd2_revoke) - 4) / 8;
	uint64_t revoke_blks = (revokes + per_revoke_blk - 1) / per_revoke_blk;
	uint64_t log = j->last - j->first, rest;

	if (log < revoke_blks + 3)
		return 0;
	rest = log - revoke_blks - 2;
	return rest - (rest + tags) / (tags + 1);
}

/* --- the log --- */

static uint64_t log_pblk(const struct dafs_journal *j, uint32_t at)
{
	return dafs_journal_pblk(j, j->first + at % (j->last - j->first));
}

/* Write the batch: its blocks are in a row in the journal, in few runs on disk. */
static errcode_t flush_batch(struct writer *w)
{
	struct dafs_journal *j = w->j;
	const uint8_t *data = w->batch;
	errcode_t err = 0;

	while (w->from < w->at && !err) {
		uint64_t pblk = log_pblk(j, w->from);
		uint32_t run = 1;
		size_t len;

		while (w->from + run < w->at && log_pblk(j, w->from + run) == pblk + run)
			run++;
		len = (size_t)run << j->img->block_bits;
		err = dafs_dev_write(j->img->dev, data, len, pblk << j->img->block_bits);
		data += len;
		w->from += run;
	}
	return err;
}

/* The next block of the log, zeros, to be filled before the next call. */
static errcode_t next_block(struct writer *w, uint8_t **block)
{
	errcode_t err;

	if (w->at - w->from == w->room) {
		err = flush_batch(w);
		if (err)
			return err;
	}
	*block = w->batch + ((size_t)(w->at - w->from) << w->j->img->block_bits);
	memset(*block, 0, w->j->img->block_size);
	w->at++;
	return 0;
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void put16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
}

static void set_header(const struct writer *w, uint8_t *block, enum jbd2_blocktype type)
{
	put32(block, JBD2_MAGIC);
	put32(block + 4, type);
	put32(block + 8, w->tid);
}

static void set_tail(const struct dafs_journal *j, uint8_t *block)
{
	if (dafs_journal_has_csum(j))
		put32(block + j->img->block_size - 4, dafs_journal_tail_csum(j, block));
}

/* One tag; data is the block as it stands in the log. */
static void set_tag(const struct writer *w, uint8_t *at, uint64_t pblk, uint32_t flags,
		    const uint8_t *data)
{
	const struct dafs_journal *j = w->j;
	uint32_t crc = dafs_journal_has_csum(j) ? dafs_journal_data_csum(j, w->tid, data) : 0;

	put32(at, (uint32_t)pblk);
	if (j->csum_v3) {
		put32(at + 4, flags);
		put32(at + 12, crc);
	} else {
		put16(at + 4, (uint16_t)crc);
		put16(at + 6, (uint16_t)flags);
	}
	if (j->wide)
		put32(at + 8, (uint32_t)(pblk >> 32));
}

static bool starts_with_magic(const uint8_t *data)
{
	uint32_t magic = htobe32(JBD2_MAGIC);

	return memcmp(data, &magic, sizeof(magic)) == 0;
}

/* The descriptor of n blocks. Checksums want the blocks as the log has them: escaped ones begin
 * with zeros. */
static errcode_t put_descriptor(struct writer *w, const struct dafs_journal_block *blocks, size_t n,
				uint8_t *scratch)
{
	const struct dafs_journal *j = w->j;
	uint8_t *block, *at;
	errcode_t err = next_block(w, &block);

	if (err)
		return err;
	set_header(w, block, JBD2_DESCRIPTOR);
	at = block + sizeof(struct jbd2_header);
	for (size_t i = 0; i < n; i++) {
		bool escape = starts_with_magic(blocks[i].data);
		uint32_t flags = (escape ? JBD2_TAG_ESCAPE : 0) | (i ? JBD2_TAG_SAME_UUID : 0) |
				 (i == n - 1 ? JBD2_TAG_LAST : 0);
		const uint8_t *data = blocks[i].data;

		if (escape) {
			memcpy(scratch, data, j->img->block_size);
			memset(scratch, 0, 4);
			data = scratch;
		}
		set_tag(w, at, blocks[i].pblk, flags, data);
		at += j->tag_bytes;
		if (!i) {
			memcpy(at, j->sb.uuid, sizeof(j->sb.uuid));
			at += sizeof(j->sb.uuid);
		}
	}
	set_tail(j, block);
	if (j->csum_v1)
		w->crc32 = ext2fs_crc32_be(w->crc32, block, j->img->block_size);
	return 0;
}

static errcode_t put_data(struct writer *w, const uint8_t *data)
{
	uint8_t *block;
	errcode_t err = next_block(w, &block);

	if (err)
		return err;
	memcpy(block, data, w->j->img->block_size);
	if (starts_with_magic(block))
		memset(block, 0, 4);
	if (w->j->csum_v1)
		w->crc32 = ext2fs_crc32_be(w->crc32, block, w->j->img->block_size);
	return 0;
}

static errcode_t put_blocks(struct writer *w, const struct dafs_journal_block *blocks, size_t n)
{
	size_t per_desc = tags_per_descriptor(w->j);
	uint8_t *scratch = malloc(w->j->img->block_size);
	errcode_t err = scratch ? 0 : ENOMEM;

	for (size_t at = 0; at < n && !err; at += per_desc) {
		size_t take = n - at < per_desc ? n - at : per_desc;

		err = put_descriptor(w, blocks + at, take, scratch);
		for (size_t i = 0; i < take && !err; i++)
			err = put_data(w, blocks[at + i].data);
	}
	free(scratch);
	return err;
}

static errcode_t put_revokes(struct writer *w, const uint64_t *revokes, size_t n)
{
	const struct dafs_journal *j = w->j;
	size_t per_blk = revokes_per_block(j), number = j->wide ? 8 : 4;

	for (size_t at = 0; at < n; at += per_blk) {
		size_t take = n - at < per_blk ? n - at : per_blk;
		uint8_t *block, *to;
		errcode_t err = next_block(w, &block);

		if (err)
			return err;
		set_header(w, block, JBD2_REVOKE);
		put32(block + offsetof(struct jbd2_revoke, count),
		      (uint32_t)(sizeof(struct jbd2_revoke) + take * number));
		to = block + sizeof(struct jbd2_revoke);
		for (size_t i = 0; i < take; i++, to += number) {
			if (j->wide)
				put32(to, (uint32_t)(revokes[at + i] >> 32));
			put32(to + number - 4, (uint32_t)revokes[at + i]);
		}
		set_tail(j, block);
	}
	return 0;
}

static errcode_t put_commit(struct writer *w)
{
	const struct dafs_journal *j = w->j;
	struct jbd2_commit *commit;
	uint8_t *block;
	errcode_t err = next_block(w, &block);

	if (err)
		return err;
	set_header(w, block, JBD2_COMMIT);
	commit = (struct jbd2_commit *)block;
	commit->sec = htobe64((uint64_t)j->img->ctx->now_sec);
	commit->nsec = htobe32(j->img->ctx->now_nsec);
	if (j->csum_v1) {
		commit->chksum_type = JBD2_CRC32_CHKSUM;
		commit->chksum_size = 4;
		commit->chksum[0] = htobe32(w->crc32);
	}
	if (dafs_journal_has_csum(j))
		commit->chksum[0] = htobe32(dafs_crc32c(j->seed, block, j->img->block_size));
	return 0;
}

/* --- the flag in the file system's superblock --- */

/* Set or clear needs_recovery in place, in the superblock as it is on disk. Not synced. */
static errcode_t mark_recovery(struct dafs_image *img, bool needed)
{
	struct ext2_super_block sb;
	errcode_t err = dafs_dev_read(img->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);

	if (err || needed == !!(sb.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER))
		return err;
	if (needed)
		sb.s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
	else
		sb.s_feature_incompat &= ~(uint32_t)EXT3_FEATURE_INCOMPAT_RECOVER;
	dafs_super_seal(img, &sb);
	return dafs_dev_write(img->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
}

/* Where the log goes on: behind the last transaction, so that each begins where the one before it
 * ended and goes round. 0 in a journal that never held one, or that somebody emptied who does not
 * say. */
static uint32_t head_of(const struct dafs_journal *j)
{
	uint32_t head = be32toh(j->sb.head);

	return head >= j->first && head < j->last ? head : j->first;
}

static bool has_fc_area(const struct dafs_journal *j)
{
	return j->last < j->maxlen;
}

/* Blocks of the log that a transaction takes. */
static uint64_t log_blks(const struct dafs_journal *j, uint64_t blks, uint64_t revokes)
{
	uint64_t tags = tags_per_descriptor(j), per_blk = revokes_per_block(j);

	return blks + (blks + tags - 1) / tags + (revokes + per_blk - 1) / per_blk + 1;
}

/* The commit itself: the journal superblock points to a transaction that is durable. */
static errcode_t begin_log(struct dafs_journal *j, uint32_t lblk, uint32_t tid)
{
	errcode_t err;

	j->sb.sequence = htobe32(tid);
	j->sb.start = htobe32(lblk);
	/* Fast commits of an older transaction may lie behind the log; e2fsck trips over them. */
	j->sb.incompat &= htobe32(~(uint32_t)JBD2_INCOMPAT_FAST_COMMIT);
	j->next_tid = tid + 1;
	err = dafs_journal_write_super(j);
	return err ? err : dafs_dev_sync(j->img->dev);
}

errcode_t dafs_journal_write(struct dafs_journal *j, const struct dafs_journal_block *blocks,
			     size_t nblocks, const uint64_t *revokes, size_t nrevokes)
{
	struct dafs_image *img = j->img;
	struct writer w = { .j = j, .crc32 = ~0u };
	uint32_t start;
	errcode_t err;

	if (j->sb.start)
		return dafs_fail(img->ctx, DAFS_ET_SEQUENCE, "%s: the journal is not empty",
				 img->dev->address);
	if (nblocks > dafs_journal_capacity_blks(j, nrevokes))
		return dafs_fail(img->ctx, DAFS_ET_JOURNAL_FULL, "%s: %zu blocks",
				 img->dev->address, nblocks);
	w.room = BATCH_BYTES >> img->block_bits;
	w.batch = malloc(BATCH_BYTES);
	if (!w.batch)
		return ENOMEM;
	prepare_features(j);
	start = head_of(j);
	if (has_fc_area(j) && start + log_blks(j, nblocks, nrevokes) > j->last)
		start = j->first;
	w.from = w.at = start - j->first;
	w.tid = be32toh(j->sb.sequence) + 1;
	if (!w.tid)
		w.tid = 1;
	err = mark_recovery(img, true);
	if (!err)
		err = put_blocks(&w, blocks, nblocks);
	if (!err)
		err = put_revokes(&w, revokes, nrevokes);
	if (!err)
		err = put_commit(&w);
	if (!err)
		err = flush_batch(&w);
	free(w.batch);
	if (!err)
		err = dafs_dev_sync(img->dev);
	if (err)
		return err;
	j->head = j->first + w.at % (j->last - j->first);
	return begin_log(j, start, w.tid);
}

/* Where a transaction fits beside the one log there is, without going round; 0: nowhere. */
static uint32_t place_beside(const struct dafs_journal *j, uint64_t need)
{
	uint32_t start = be32toh(j->sb.start);
	bool round = j->used && j->head <= start;

	if (j->head + need < (round ? start : j->last))
		return j->head;
	return !round && j->first + need < start ? j->first : 0;
}

errcode_t dafs_journal_replace(struct dafs_journal *j, uint32_t tid,
			       const struct dafs_journal_block *blocks, size_t n)
{
	struct writer w = { .j = j, .tid = tid, .crc32 = ~0u };
	uint32_t start = place_beside(j, log_blks(j, n, 0));
	errcode_t err;

	if (!start)
		return dafs_fail(j->img->ctx, DAFS_ET_JOURNAL_FULL, "%s: %zu blocks behind the log",
				 j->img->dev->address, n);
	w.from = w.at = start - j->first;
	w.room = BATCH_BYTES >> j->img->block_bits;
	w.batch = malloc(BATCH_BYTES);
	if (!w.batch)
		return ENOMEM;
	err = put_blocks(&w, blocks, n);
	if (!err)
		err = put_commit(&w);
	if (!err)
		err = flush_batch(&w);
	free(w.batch);
	if (!err)
		err = dafs_dev_sync(j->img->dev);
	if (err)
		return err;
	j->head = j->first + w.at % (j->last - j->first);
	return begin_log(j, start, tid);
}

errcode_t dafs_journal_empty(struct dafs_journal *j)
{
	struct dafs_image *img = j->img;
	errcode_t err = 0;

	if (j->sb.start) {
		if (!j->next_tid) {
			err = dafs_journal_sequence(j, &j->next_tid);
			if (err)
				return err;
		}
		j->sb.sequence = htobe32(j->next_tid);
		j->sb.start = 0;
		j->sb.head = htobe32(j->head);
		/* Fast commits belong to a transaction that is gone now; the kernel clears the
		 * flag, too. */
		j->sb.incompat &= htobe32(~(uint32_t)JBD2_INCOMPAT_FAST_COMMIT);
		dafs_journal_set_last(j);
		err = dafs_journal_write_super(j);
		if (!err)
			err = dafs_dev_sync(img->dev);
	}
	if (!err)
		err = mark_recovery(img, false);
	return err ? err : dafs_dev_sync(img->dev);
}
