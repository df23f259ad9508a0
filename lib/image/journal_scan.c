/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal_scan - reads a log from its start to its end: the blocks and the revokes of every
 * complete transaction.
 *
 * A transaction is complete when its commit block is there and, with checksums, right. The log ends
 * at the first block that does not carry the magic and the expected sequence number. A log that
 * goes round once without an end is damaged; so the work is bounded by the length of the journal,
 * and memory by one entry a block of it.
 *
 * To salvage what a damaged log holds (DAFS_IMAGE_SALVAGE), it ends in front of the first
 * transaction that is damaged.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "image/journal_int.h"

struct scan {
	struct dafs_journal *j;
	struct dafs_log *log;
	uint8_t *block, *data;
	uint32_t tid;  /* expected */
	uint32_t at;   /* next block of the log */
	uint32_t seen; /* blocks gone through */
	/* Of complete transactions; what is behind belongs to the one being read. */
	size_t kept_tags, kept_revokes;
	uint32_t crc32;	   /* checksum v1, running */
	uint64_t last_sec; /* time of the last good commit */
	bool at_commit;
	bool damaged; /* a descriptor or revoke block of this transaction failed its checksum */
	bool ended;
	const struct dafs_log_watch *watch; /* NULL: nobody */
	void *watch_arg;
	errcode_t seen_damage; /* with a watcher, who sees what is behind it too */
};

static errcode_t corrupt(const struct scan *s, const char *why)
{
	return dafs_fail(s->j->img->ctx, DAFS_ET_CORRUPT_JOURNAL,
			 "%s: journal: transaction %" PRIu32 ": %s", s->j->img->dev->address,
			 s->tid, why);
}

/* The next block of the log, round its end. */
static uint32_t advance(struct scan *s)
{
	uint32_t at = s->at++;

	if (s->at >= s->j->last)
		s->at = s->j->first;
	s->seen++;
	return at;
}

static bool room_left(const struct scan *s)
{
	return s->seen < s->j->last - s->j->first;
}

static errcode_t add_tag(struct dafs_log *log, const struct dafs_log_tag *tag)
{
	if (dafs_array_grow(&log->tags, log->n_tags, &log->room_tags, sizeof(*tag)))
		return ENOMEM;
	log->tags[log->n_tags] = *tag;
	log->tags[log->n_tags].order = (uint32_t)log->n_tags;
	log->n_tags++;
	return 0;
}

static errcode_t add_revoke(struct dafs_log *log, uint64_t pblk, uint32_t tid)
{
	if (dafs_array_grow(&log->revokes, log->n_revokes, &log->room_revokes,
			    sizeof(*log->revokes)))
		return ENOMEM;
	log->revokes[log->n_revokes] =
		(struct dafs_log_revoke){ pblk, tid, (uint32_t)log->n_revokes };
	log->n_revokes++;
	return 0;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

/* Decode one tag; returns its flags. */
static uint32_t read_tag(const struct dafs_journal *j, const uint8_t *at, struct dafs_log_tag *tag)
{
	enum { FLAGS3 = 4, HIGH = 8, CSUM3 = 12, CSUM = 4, FLAGS = 6 };
	uint32_t flags = j->csum_v3 ? get32(at + FLAGS3) : get16(at + FLAGS);

	memset(tag, 0, sizeof(*tag));
	tag->pblk = get32(at);
	if (j->wide)
		tag->pblk |= (uint64_t)get32(at + HIGH) << 32;
	tag->csum = j->csum_v3 ? get32(at + CSUM3) : get16(at + CSUM);
	tag->escaped = flags & JBD2_TAG_ESCAPE;
	tag->deleted = flags & JBD2_TAG_DELETED;
	return flags;
}

static bool tail_ok(const struct scan *s)
{
	const struct dafs_journal *j = s->j;

	return !dafs_journal_has_csum(j) ||
	       get32(s->block + j->img->block_size - 4) == dafs_journal_tail_csum(j, s->block);
}

/* A descriptor: its data blocks follow it in the log. */
static errcode_t scan_descriptor(struct scan *s)
{
	const struct dafs_journal *j = s->j;
	size_t end = j->img->block_size - (dafs_journal_has_csum(j) ? 4 : 0);
	size_t at = sizeof(struct jbd2_header);
	uint32_t flags = 0;
	errcode_t err = 0;

	s->damaged |= !tail_ok(s);
	if (j->csum_v1)
		s->crc32 = ext2fs_crc32_be(s->crc32, s->block, j->img->block_size);
	while (!err && !(flags & JBD2_TAG_LAST) && at + j->tag_bytes <= end) {
		struct dafs_log_tag tag;

		flags = read_tag(j, s->block + at, &tag);
		at += j->tag_bytes + (flags & JBD2_TAG_SAME_UUID ? 0 : 16);
		if (!room_left(s))
			return corrupt(s, "longer than the journal");
		tag.log_lblk = advance(s);
		tag.tid = s->tid;
		if (s->watch && s->watch->tag)
			err = s->watch->tag(s->watch_arg, s->tid, tag.pblk, tag.log_lblk, flags);
		if (!err && j->csum_v1) {
			err = dafs_journal_read_blk(s->j, tag.log_lblk, s->data);
			if (!err)
				s->crc32 = ext2fs_crc32_be(s->crc32, s->data, j->img->block_size);
		}
		if (!err)
			err = add_tag(s->log, &tag);
	}
	return err;
}

static errcode_t scan_revoke(struct scan *s, uint32_t lblk)
{
	const struct jbd2_revoke *head = (const struct jbd2_revoke *)s->block;
	size_t number = s->j->wide ? 8 : 4, end = be32toh(head->count);
	size_t limit = s->j->img->block_size - (dafs_journal_has_csum(s->j) ? 4 : 0);
	errcode_t err = 0;

	s->damaged |= !tail_ok(s);
	if (s->damaged && !s->watch)
		return 0;
	if (end > limit)
		return corrupt(s, "revoke block too long");
	for (size_t at = sizeof(*head); at + number <= end && !err; at += number) {
		uint64_t pblk = get32(s->block + at);

		if (s->j->wide)
			pblk = pblk << 32 | get32(s->block + at + 4);
		if (s->watch && s->watch->revoke)
			err = s->watch->revoke(s->watch_arg, s->tid, pblk, lblk);
		if (!err)
			err = add_revoke(s->log, pblk, s->tid);
	}
	return err;
}

static bool commit_ok(struct scan *s)
{
	struct jbd2_commit *commit = (struct jbd2_commit *)s->block;
	uint32_t stored = be32toh(commit->chksum[0]);

	if (dafs_journal_has_csum(s->j)) {
		uint32_t crc;

		commit->chksum[0] = 0;
		crc = dafs_crc32c(s->j->seed, s->block, s->j->img->block_size);
		commit->chksum[0] = htobe32(stored);
		return crc == stored;
	}
	/* Version 1 counts only where the block says so: a commit of an older kernel has zeros. */
	if (s->j->csum_v1 && commit->chksum_type == JBD2_CRC32_CHKSUM && commit->chksum_size == 4)
		return stored == s->crc32;
	return true;
}

/* The transaction is complete: what was collected stays, the next one begins. A block that is not
 * right is what an earlier round of the log left there if its time lies before the last good
 * commit, else damage. */
static errcode_t scan_commit(struct scan *s)
{
	uint64_t sec = be64toh(((struct jbd2_commit *)s->block)->sec);

	s->at_commit = true;
	if (!commit_ok(s) || s->damaged) {
		if (sec < s->last_sec || (s->j->img->flags & DAFS_IMAGE_IGNORE_CSUM)) {
			s->ended = true;
			return 0;
		}
		if (!s->watch)
			return corrupt(s, "checksum");
		if (!s->seen_damage)
			s->seen_damage = corrupt(s, "checksum");
		s->damaged = false;
	}
	s->kept_tags = s->log->n_tags;
	s->kept_revokes = s->log->n_revokes;
	s->log->head = s->at;
	s->log->used = s->seen;
	s->crc32 = ~0u;
	s->last_sec = sec;
	s->at_commit = false;
	s->tid++;
	return 0;
}

/* A block that belongs to the log. */
static errcode_t scan_block(struct scan *s, uint32_t lblk, uint32_t type)
{
	errcode_t err = 0;

	if (s->watch && s->watch->block)
		err = s->watch->block(s->watch_arg, lblk, type, s->tid);
	if (err)
		return err;
	switch (type) {
	case JBD2_DESCRIPTOR:
		return scan_descriptor(s);
	case JBD2_REVOKE:
		return scan_revoke(s, lblk);
	default:
		return scan_commit(s);
	}
}

/* Go through the log until it ends. */
static errcode_t scan_log(struct scan *s)
{
	const struct jbd2_header *head = (const struct jbd2_header *)s->block;
	uint32_t lblk = s->at;
	errcode_t err = 0;

	while (!err && !s->ended && room_left(s)) {
		uint32_t type;

		lblk = advance(s);
		err = dafs_journal_read_blk(s->j, lblk, s->block);
		if (err)
			return err;
		type = be32toh(head->blocktype);
		if (be32toh(head->magic) != JBD2_MAGIC || be32toh(head->sequence) != s->tid ||
		    (type != JBD2_DESCRIPTOR && type != JBD2_REVOKE && type != JBD2_COMMIT))
			break;
		err = scan_block(s, lblk, type);
	}
	if (!err && s->watch && s->watch->end)
		err = s->watch->end(s->watch_arg, lblk);
	return err ? err : s->seen_damage;
}

static errcode_t scan(struct dafs_journal *j, struct dafs_log *log,
		      const struct dafs_log_watch *watch, void *arg)
{
	struct scan s = { .j = j, .log = log, .crc32 = ~0u, .watch = watch, .watch_arg = arg };
	bool salvage = j->img->flags & DAFS_IMAGE_SALVAGE;
	errcode_t err;

	memset(log, 0, sizeof(*log));
	s.tid = be32toh(j->sb.sequence);
	s.at = log->head = be32toh(j->sb.start);
	s.block = malloc(2 * (size_t)j->img->block_size);
	if (!s.block)
		return ENOMEM;
	s.data = s.block + j->img->block_size;
	err = s.at ? scan_log(&s) : 0;
	free(s.block);
	if (err == DAFS_ET_CORRUPT_JOURNAL && salvage) {
		/* A last transaction whose commit block alone is wrong was not complete yet. */
		j->torn = s.damaged || !s.at_commit;
		err = 0;
	}
	if (err) {
		dafs_log_fini(log);
		return err;
	}
	log->n_tags = s.kept_tags;
	log->n_revokes = s.kept_revokes;
	log->end_tid = s.tid;
	return 0;
}

errcode_t dafs_journal_scan(struct dafs_journal *j, struct dafs_log *log)
{
	return scan(j, log, NULL, NULL);
}

errcode_t dafs_journal_watch(struct dafs_journal *j, const struct dafs_log_watch *watch, void *arg)
{
	struct dafs_log log;
	errcode_t err = scan(j, &log, watch, arg);

	dafs_log_fini(&log);
	return err;
}

const void *dafs_journal_super(const struct dafs_journal *j)
{
	return &j->sb;
}

void dafs_log_fini(struct dafs_log *log)
{
	free(log->tags);
	free(log->revokes);
	memset(log, 0, sizeof(*log));
}
