/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fc_read - the fast-commit area: blocks behind the log, each a row of records (tag, length,
 * value). A record does not cross a block; PAD or TAIL fill the rest of one. A fast commit ends
 * with a TAIL that carries the transaction and a checksum over all since the TAIL before; the first
 * one begins with a HEAD.
 *
 * What ends without a good TAIL was being written when the machine stopped, and does not count.
 * Layout: little endian (ext4's own, not jbd2's).
 */
#include "config.h"

#include "image/fc_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"

enum { TL_BYTES = 4, HEAD_BYTES = 8, TAIL_BYTES = 8, CRC_IN_TAIL = 4 };

struct fc_scan {
	struct dafs_journal *j;
	struct dafs_fc_log *log;
	uint32_t tid;
	uint32_t crc; /* running, since the last TAIL */
	size_t kept;  /* tags of complete fast commits */
	bool ended;
};

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Is the value long enough for its kind? */
static bool length_ok(const struct fc_scan *s, uint16_t kind, uint16_t len)
{
	switch (kind) {
	case DAFS_FC_ADD_RANGE:
		return len == 16;
	case DAFS_FC_DEL_RANGE:
		return len == 12;
	case DAFS_FC_CREAT:
	case DAFS_FC_LINK:
	case DAFS_FC_UNLINK:
		return len > 8 && len <= 8 + 255;
	case DAFS_FC_INODE:
		return len >= 4 + EXT2_GOOD_OLD_INODE_SIZE && len <= 4 + s->j->img->inode_size;
	case DAFS_FC_HEAD:
		return len >= HEAD_BYTES;
	case DAFS_FC_TAIL:
		return len >= TAIL_BYTES;
	default:
		return true;
	}
}

static errcode_t take_head(struct fc_scan *s, const uint8_t *tl, const uint8_t *val, uint16_t len)
{
	if (get32(val + 4) != s->tid) {
		s->ended = true;
		return 0;
	}
	if (get32(val))
		return dafs_fail(s->j->img->ctx, DAFS_ET_JOURNAL_FEATURE,
				 "%s: fast commit features %#x", s->j->img->dev->address,
				 get32(val));
	s->crc = dafs_crc32c(s->crc, tl, TL_BYTES + (size_t)len);
	return 0;
}

static void take_tail(struct fc_scan *s, const uint8_t *tl, const uint8_t *val)
{
	s->crc = dafs_crc32c(s->crc, tl, TL_BYTES + CRC_IN_TAIL);
	if (get32(val) != s->tid || get32(val + CRC_IN_TAIL) != s->crc) {
		s->ended = true;
		return;
	}
	s->kept = s->log->n;
	s->crc = 0;
}

static errcode_t take_record(struct fc_scan *s, const uint8_t *tl, uint16_t kind, uint16_t len)
{
	struct dafs_fc_log *log = s->log;

	if (kind == DAFS_FC_HEAD)
		return take_head(s, tl, tl + TL_BYTES, len);
	if (kind == DAFS_FC_TAIL) {
		take_tail(s, tl, tl + TL_BYTES);
		return 0;
	}
	s->crc = dafs_crc32c(s->crc, tl, TL_BYTES + (size_t)len);
	if (kind == DAFS_FC_PAD)
		return 0;
	if (dafs_array_grow(&log->tags, log->n, &log->room, sizeof(*log->tags)))
		return ENOMEM;
	log->tags[log->n++] = (struct dafs_fc_tag){ kind, len, tl + TL_BYTES };
	return 0;
}

static errcode_t scan_block(struct fc_scan *s, const uint8_t *block, size_t bytes)
{
	errcode_t err = 0;

	for (size_t at = 0; at + TL_BYTES <= bytes && !err && !s->ended;) {
		uint16_t kind = get16(block + at), len = get16(block + at + 2);

		if (kind < DAFS_FC_ADD_RANGE || kind > DAFS_FC_HEAD ||
		    len > bytes - at - TL_BYTES || !length_ok(s, kind, len)) {
			s->ended = true;
			break;
		}
		err = take_record(s, block + at, kind, len);
		at += TL_BYTES + (size_t)len;
	}
	return err;
}

/* The next block of the area; memory for it stays with the log, since tags point into it. */
static errcode_t read_block(struct fc_scan *s, uint32_t lblk, uint8_t **block)
{
	struct dafs_fc_log *log = s->log;

	if (dafs_array_grow(&log->blocks, log->n_blocks, &log->room_blocks, sizeof(*log->blocks)))
		return ENOMEM;
	*block = malloc(s->j->img->block_size);
	if (!*block)
		return ENOMEM;
	log->blocks[log->n_blocks++] = *block;
	return dafs_journal_read_blk(s->j, lblk, *block);
}

errcode_t dafs_fc_read(struct dafs_journal *j, uint32_t tid, struct dafs_fc_log *log)
{
	struct fc_scan s = { .j = j, .log = log, .tid = tid };
	uint32_t first;
	errcode_t err = 0;

	memset(log, 0, sizeof(*log));
	if (!(j->incompat & JBD2_INCOMPAT_FAST_COMMIT))
		return 0;
	/* The block between the log and the area is nobody's. */
	first = j->last + 1;
	for (uint32_t lblk = first; lblk < j->maxlen && !err && !s.ended; lblk++) {
		uint8_t *block;

		err = read_block(&s, lblk, &block);
		if (!err && lblk == first && get16(block) != DAFS_FC_HEAD)
			break;
		if (!err)
			err = scan_block(&s, block, j->img->block_size);
	}
	log->n = s.kept;
	if (err)
		dafs_fc_log_fini(log);
	return err;
}

void dafs_fc_log_fini(struct dafs_fc_log *log)
{
	for (size_t i = 0; i < log->n_blocks; i++)
		free(log->blocks[i]);
	free(log->blocks);
	free(log->tags);
	memset(log, 0, sizeof(*log));
}
