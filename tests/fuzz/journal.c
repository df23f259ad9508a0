/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal - logs that need a replay, fast commits behind them. The seeds are what a commit of ours
 * leaves when it stops before its checkpoint, in every kind of journal, and a fast commit made by
 * hand.
 */
#include "config.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/fc_int.h"
#include "image/icodec.h"
#include "image/journal_int.h"
#include "image/txn.h"
#include "tests/fuzz/fuzz.h"

static struct fuzz_mem dirty;

/* Give the journal other features, as tune2fs and the kernel would have done. */
static void set_features(const struct fuzz_base *base, uint32_t incompat, uint32_t compat)
{
	uint64_t off = fuzz_log_off(base, 0);
	struct jbd2_super sb;

	memcpy(&sb, dirty.bytes + off, sizeof(sb));
	sb.incompat = htobe32(incompat);
	sb.compat = htobe32(compat);
	if (incompat & JBD2_INCOMPAT_FAST_COMMIT && !sb.num_fc_blks)
		sb.num_fc_blks = htobe32(16);
	fuzz_mem_put(&dirty, off, &sb, sizeof(sb));
	fuzz_log_fix(base, &dirty);
}

/* A commit that stops when it is in the log. */
static void stop_half_way(void)
{
	struct dafs *fs;

	fuzz_mem_use(&dirty);
	if (dafs_session_open(&fuzz_ctx, fuzz_address(), DAFS_SESSION_RW, NULL, &fs))
		fuzz_die("journal seed", 0);
	if (dafs_begin(fs) || dafs_write(fs, "/lin/new", 0, "contents", 8) ||
	    dafs_remove(fs, "/big", true, false) || dafs_remove(fs, "/frag", false, false) ||
	    dafs_mkdir(fs, "/lin/dir", 0755, false) || dafs_end(fs))
		fuzz_die("journal seed", 0);
	dafs_txn_stop = DAFS_TXN_STOP_AFTER_COMMIT;
	dafs_flush(fs);
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_close(fs);
}

/* The superblock and the blocks of the log that are not as they were. */
static void add_log(struct fuzz_input *in, const struct fuzz_base *base)
{
	uint32_t bs = base->img->block_size;
	struct fuzz_record rec = { .kind = FUZZ_SUPER, .bytes = dirty.bytes + 1024, .len = 1024 };
	uint64_t off;

	fuzz_input_add(in, &rec);
	for (uint16_t lblk = 0; (off = fuzz_log_off(base, lblk)); lblk++) {
		rec = (struct fuzz_record){ .kind = FUZZ_LOG,
					    .where = lblk,
					    .bytes = dirty.bytes + off,
					    .len = lblk ? bs : 512 };
		if (memcmp(dirty.bytes + off, base->sound.bytes + off, bs))
			fuzz_input_add(in, &rec);
	}
}

struct fc {
	uint8_t bytes[4096];
	size_t len;
};

static void fc_add(struct fc *fc, uint16_t kind, const uint32_t *numbers, size_t n,
		   const void *tail, size_t tail_len)
{
	uint16_t len = (uint16_t)(n * 4 + tail_len);
	uint8_t *at = fc->bytes + fc->len;

	memcpy(at, &kind, 2);
	memcpy(at + 2, &len, 2);
	memcpy(at + 4, numbers, n * 4);
	if (tail_len)
		memcpy(at + 4 + n * 4, tail, tail_len);
	fc->len += 4 + (size_t)len;
}

/* A fast commit with every kind of record: inode 12 changed, inode 60 made, names of inode 2. */
static void add_fc(struct fuzz_input *in, const struct fuzz_base *base)
{
	enum { OLD = 12, NEW = 60, FREE_BLK = 2900 };
	static struct fc fc;
	struct fuzz_record rec = { .kind = FUZZ_FC, .bytes = fc.bytes };
	union dafs_inode_buf buf;
	struct ext3_extent ext = { .ee_block = 0, .ee_len = 2, .ee_start = FREE_BLK };
	uint32_t old = OLD, new = NEW;

	fc.len = 0;
	fc_add(&fc, DAFS_FC_HEAD, (uint32_t[]){ 0, 0 }, 2, NULL, 0);
	if (dafs_icodec_read(base->img, OLD, &buf.raw, sizeof(buf)))
		fuzz_die("journal seed", 0);
	fc_add(&fc, DAFS_FC_INODE, &old, 1, buf.bytes, base->img->inode_size);
	fc_add(&fc, DAFS_FC_DEL_RANGE, (uint32_t[]){ OLD, 0, 1 }, 3, NULL, 0);
	buf.raw.i_mode = LINUX_S_IFREG | 0644;
	fc_add(&fc, DAFS_FC_INODE, &new, 1, buf.bytes, base->img->inode_size);
	fc_add(&fc, DAFS_FC_ADD_RANGE, &new, 1, &ext, sizeof(ext));
	fc_add(&fc, DAFS_FC_CREAT, (uint32_t[]){ 2, NEW }, 2, "made", 4);
	fc_add(&fc, DAFS_FC_LINK, (uint32_t[]){ 2, NEW }, 2, "linked", 6);
	fc_add(&fc, DAFS_FC_UNLINK, (uint32_t[]){ 2, NEW }, 2, "linked", 6);
	fc_add(&fc, DAFS_FC_TAIL, (uint32_t[]){ 0, 0 }, 2, NULL, 0);
	for (size_t at = 0; at < fc.len; at += base->img->block_size, rec.where++) {
		rec.bytes = fc.bytes + at;
		rec.len = fc.len - at < base->img->block_size ? fc.len - at : base->img->block_size;
		fuzz_input_add(in, &rec);
	}
}

static void write_seeds_of(size_t number)
{
	static const uint32_t kinds[][2] = {
		{ JBD2_INCOMPAT_REVOKE, 0 },
		{ JBD2_INCOMPAT_REVOKE, JBD2_COMPAT_CHECKSUM },
		{ JBD2_INCOMPAT_REVOKE | JBD2_INCOMPAT_64BIT, 0 },
		{ JBD2_INCOMPAT_REVOKE | JBD2_INCOMPAT_CSUM_V2, 0 },
		{ JBD2_INCOMPAT_REVOKE | JBD2_INCOMPAT_CSUM_V3 | JBD2_INCOMPAT_64BIT, 0 },
		{ JBD2_INCOMPAT_REVOKE | JBD2_INCOMPAT_CSUM_V3 | JBD2_INCOMPAT_FAST_COMMIT, 0 },
		{ JBD2_INCOMPAT_REVOKE | JBD2_INCOMPAT_FAST_COMMIT, 0 },
	};
	static const uint8_t flag_sets[] = { FUZZ_FIX | FUZZ_LOOK, FUZZ_FIX | FUZZ_REPAIR,
					     FUZZ_FIX | FUZZ_EDIT | FUZZ_CHECK, FUZZ_REPAIR };
	struct fuzz_base *base = fuzz_base(number);
	static struct fuzz_input in;
	char name[64];

	fuzz_mem_init(&dirty, base->sound.size_bytes);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memcpy(dirty.bytes, base->sound.bytes, base->sound.size_bytes);
		set_features(base, kinds[i][0], kinds[i][1]);
		stop_half_way();
		for (size_t k = 0; k < sizeof(flag_sets); k++) {
			fuzz_input_begin(&in, number, flag_sets[k]);
			add_log(&in, base);
			if (kinds[i][0] & JBD2_INCOMPAT_FAST_COMMIT)
				add_fc(&in, base);
			snprintf(name, sizeof(name), "%s-%zu-%zu", base->name, i, k);
			fuzz_seed_input(name, &in);
		}
	}
	free(dirty.bytes);
	free(dirty.dirty);
}

static void write_seeds(void)
{
	for (size_t i = 0; i < fuzz_nbases; i++)
		if (fuzz_bases[i].journal)
			write_seeds_of(i);
}

FUZZ_IMAGE_TARGET(write_seeds)
