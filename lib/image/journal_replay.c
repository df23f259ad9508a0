/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal_replay - from what the log holds to what is written: the last version of every block,
 * unless it was revoked at or after it.
 */
#include "config.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "image/journal_int.h"

/* tids wrap around: a is at or after b. */
static bool tid_geq(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) >= 0;
}

/* By block, and the latest first. */
static int tag_order(const void *a, const void *b)
{
	const struct dafs_log_tag *x = a, *y = b;

	if (x->pblk != y->pblk)
		return x->pblk < y->pblk ? -1 : 1;
	return x->order > y->order ? -1 : 1;
}

static int revoke_order(const void *a, const void *b)
{
	const struct dafs_log_revoke *x = a, *y = b;

	if (x->pblk != y->pblk)
		return x->pblk < y->pblk ? -1 : 1;
	return x->order > y->order ? -1 : 1;
}

/* The latest revoke of a block, NULL when it has none. */
static const struct dafs_log_revoke *find_revoke(const struct dafs_log *log, uint64_t pblk)
{
	size_t at = dafs_array_search(log->revokes, log->n_revokes, sizeof(*log->revokes), pblk);

	return at < log->n_revokes && log->revokes[at].pblk == pblk ? &log->revokes[at] : NULL;
}

/* A block that will be written must be what was committed, and inside the file system. */
static errcode_t check_tag(struct dafs_journal *j, const struct dafs_log_tag *tag, uint8_t *buf)
{
	const char *why = NULL;
	errcode_t err;

	if (tag->pblk >= j->img->blocks) {
		why = "outside the file system";
	} else if (dafs_journal_has_csum(j) && !(j->img->flags & DAFS_IMAGE_IGNORE_CSUM)) {
		uint32_t crc;

		err = dafs_journal_read_blk(j, tag->log_lblk, buf);
		if (err)
			return err;
		crc = dafs_journal_data_csum(j, tag->tid, buf);
		if (tag->csum != (j->csum_v3 ? crc : crc & 0xffff))
			why = "checksum";
	}
	if (!why)
		return 0;
	return dafs_fail(j->img->ctx, DAFS_ET_CORRUPT_JOURNAL,
			 "%s: journal: transaction %" PRIu32 ": block %" PRIu64 ": %s",
			 j->img->dev->address, tag->tid, tag->pblk, why);
}

/* Is the tag's block still to be written at the end of the log? */
static bool counts(const struct dafs_log *log, const struct dafs_log_tag *tag)
{
	const struct dafs_log_revoke *rev = find_revoke(log, tag->pblk);

	return !tag->deleted && !(rev && tid_geq(rev->tid, tag->tid));
}

/* Fill entries from the sorted log. To salvage, a damaged block gives way to an earlier version. */
static errcode_t reduce(struct dafs_journal *j, const struct dafs_log *log,
			struct dafs_replay_entry *entries, size_t *n)
{
	uint8_t *buf = malloc(j->img->block_size);
	bool settled = false; /* the block of the tag before */
	errcode_t err = buf ? 0 : ENOMEM;

	for (size_t i = 0; i < log->n_tags && !err; i++) {
		const struct dafs_log_tag *tag = &log->tags[i];

		if (settled && i && log->tags[i - 1].pblk == tag->pblk)
			continue;
		settled = true;
		if (!counts(log, tag))
			continue;
		err = check_tag(j, tag, buf);
		if (err == DAFS_ET_CORRUPT_JOURNAL && j->img->flags & DAFS_IMAGE_SALVAGE) {
			j->torn = true;
			settled = false;
			err = 0;
			continue;
		}
		entries[(*n)++] = (struct dafs_replay_entry){
			.pblk = tag->pblk,
			.log_pblk = dafs_journal_pblk(j, tag->log_lblk),
			.escaped = tag->escaped,
		};
	}
	free(buf);
	return err;
}

errcode_t dafs_journal_replay_map(struct dafs_journal *j, struct dafs_replay_entry **entries,
				  size_t *n)
{
	struct dafs_log log;
	errcode_t err;

	*entries = NULL;
	*n = 0;
	err = dafs_journal_scan(j, &log);
	if (err)
		return err;
	j->next_tid = log.end_tid + 1;
	j->head = log.head;
	j->used = log.used;
	*entries = calloc(log.n_tags ? log.n_tags : 1, sizeof(**entries));
	if (!*entries)
		err = ENOMEM;
	if (!err && log.n_tags) {
		qsort(log.tags, log.n_tags, sizeof(*log.tags), tag_order);
		if (log.n_revokes)
			qsort(log.revokes, log.n_revokes, sizeof(*log.revokes), revoke_order);
		err = reduce(j, &log, *entries, n);
	}
	dafs_log_fini(&log);
	if (err) {
		free(*entries);
		*entries = NULL;
		*n = 0;
	}
	return err;
}

errcode_t dafs_journal_sequence(struct dafs_journal *j, uint32_t *sequence)
{
	struct dafs_log log;
	errcode_t err;

	*sequence = j->sb.start ? j->next_tid : be32toh(j->sb.sequence);
	if (!j->sb.start || j->next_tid)
		return 0;
	err = dafs_journal_scan(j, &log);
	if (!err) {
		*sequence = j->next_tid = log.end_tid + 1;
		j->head = log.head;
	}
	dafs_log_fini(&log);
	return err;
}

errcode_t dafs_journal_commits_after(struct dafs_journal *j, uint32_t tid, bool *later)
{
	struct jbd2_header head;
	errcode_t err = 0;

	*later = false;
	for (uint32_t lblk = j->first; lblk < j->last && !err && !*later; lblk++) {
		err = dafs_dev_read(j->img->dev, &head, sizeof(head),
				    dafs_journal_pblk(j, lblk) << j->img->block_bits);
		*later = !err && be32toh(head.magic) == JBD2_MAGIC &&
			 be32toh(head.blocktype) == JBD2_COMMIT &&
			 !tid_geq(tid, be32toh(head.sequence));
	}
	return err;
}

errcode_t dafs_journal_read_entry(struct dafs_image *img, const struct dafs_replay_entry *entry,
				  void *buf)
{
	uint32_t magic = htobe32(JBD2_MAGIC);
	errcode_t err = dafs_dev_read(img->dev, buf, img->block_size,
				      (uint64_t)entry->log_pblk << img->block_bits);

	if (!err && entry->escaped)
		memcpy(buf, &magic, sizeof(magic));
	return err;
}

errcode_t dafs_journal_replay(struct dafs_journal *j,
			      errcode_t (*apply)(void *arg, uint64_t pblk, const uint8_t *data),
			      void *arg)
{
	struct dafs_replay_entry *entries;
	uint8_t *buf = malloc(j->img->block_size);
	size_t n = 0;
	errcode_t err;

	if (!buf)
		return ENOMEM;
	err = dafs_journal_replay_map(j, &entries, &n);
	for (size_t i = 0; i < n && !err; i++) {
		err = dafs_journal_read_entry(j->img, &entries[i], buf);
		if (!err)
			err = apply(arg, entries[i].pblk, buf);
	}
	free(entries);
	free(buf);
	return err;
}
