/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_log - right checksums in a patched journal: its superblock, every block that a scan would
 * take for a part of the log, and the fast commits behind it (whose transaction number is set,
 * too).
 */
#include "config.h"

#include <endian.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/fc_int.h"
#include "image/journal_int.h"
#include "tests/fuzz/fuzz.h"

struct walk {
	struct dafs_journal *j;
	struct fuzz_mem *mem;
	uint32_t at, tid, seen;
};

static const struct dafs_journal *journal(const struct fuzz_base *base)
{
	static struct dafs_journal *open[16];
	size_t i = (size_t)(base - fuzz_bases);

	errcode_t err = 0;

	if (base->journal && !open[i])
		err = dafs_journal_open(base->img, &open[i]);
	if (err)
		fuzz_die("journal of a base", err);
	return open[i];
}

static uint8_t *block(const struct walk *w, uint32_t lblk)
{
	return w->mem->bytes + (dafs_journal_pblk(w->j, lblk) << w->j->img->block_bits);
}

uint64_t fuzz_log_off(const struct fuzz_base *base, uint32_t lblk)
{
	const struct dafs_journal *j = journal(base);

	return j && lblk < j->maxlen ? dafs_journal_pblk(j, lblk) << base->img->block_bits : 0;
}

uint32_t fuzz_log_fc_first(const struct fuzz_base *base)
{
	const struct dafs_journal *j = journal(base);

	return j ? j->last + 1 : 0;
}

static uint32_t step(struct walk *w)
{
	uint32_t at = w->at++;

	if (w->at >= w->j->last)
		w->at = w->j->first;
	w->seen++;
	return at;
}

static bool goes_on(const struct walk *w)
{
	return w->seen < w->j->last - w->j->first;
}

/* Tags of a descriptor get the checksums of the blocks behind it. */
static void fix_tags(struct walk *w, uint8_t *desc)
{
	const struct dafs_journal *j = w->j;
	size_t end = j->img->block_size - 4, at = sizeof(struct jbd2_header);
	uint32_t flags = 0;

	while (!(flags & JBD2_TAG_LAST) && at + j->tag_bytes <= end && goes_on(w)) {
		uint32_t crc = dafs_journal_data_csum(j, w->tid, block(w, step(w)));
		uint8_t *tag = desc + at;

		flags = tag[7];
		if (j->csum_v3) {
			crc = htobe32(crc);
			memcpy(tag + 12, &crc, sizeof(crc));
		} else {
			tag[4] = (uint8_t)(crc >> 8);
			tag[5] = (uint8_t)crc;
		}
		at += j->tag_bytes + (flags & JBD2_TAG_SAME_UUID ? 0 : 16);
	}
}

static void fix_tail(const struct walk *w, uint8_t *at)
{
	uint32_t crc = htobe32(dafs_journal_tail_csum(w->j, at));

	memcpy(at + w->j->img->block_size - 4, &crc, sizeof(crc));
}

static void fix_commit(struct walk *w, uint8_t *at)
{
	struct jbd2_commit *commit = (struct jbd2_commit *)(void *)at;

	commit->chksum[0] = 0;
	commit->chksum[0] = htobe32(dafs_crc32c(w->j->seed, at, w->j->img->block_size));
	w->tid++;
}

static void fix_log(struct walk *w)
{
	while (goes_on(w)) {
		uint8_t *at = block(w, step(w));
		const struct jbd2_header *head = (const struct jbd2_header *)(void *)at;

		if (be32toh(head->magic) != JBD2_MAGIC || be32toh(head->sequence) != w->tid)
			return;
		switch (be32toh(head->blocktype)) {
		case JBD2_DESCRIPTOR:
			fix_tags(w, at);
			fix_tail(w, at);
			break;
		case JBD2_REVOKE:
			fix_tail(w, at);
			break;
		case JBD2_COMMIT:
			fix_commit(w, at);
			break;
		default:
			return;
		}
	}
}

/* One record of a fast commit; false: it ends the area. */
static bool fix_fc_record(const struct walk *w, uint8_t *tl, size_t room, uint32_t *crc)
{
	uint16_t kind, len;

	memcpy(&kind, tl, 2);
	memcpy(&len, tl + 2, 2);
	if (kind < DAFS_FC_ADD_RANGE || kind > DAFS_FC_HEAD || len > room - 4 ||
	    (kind >= DAFS_FC_TAIL && len < 8))
		return false;
	if (kind == DAFS_FC_HEAD)
		memcpy(tl + 8, &w->tid, 4);
	if (kind != DAFS_FC_TAIL) {
		*crc = dafs_crc32c(*crc, tl, 4 + (size_t)len);
		return true;
	}
	memcpy(tl + 4, &w->tid, 4);
	*crc = dafs_crc32c(*crc, tl, 8);
	memcpy(tl + 8, crc, 4);
	*crc = 0;
	return true;
}

static void fix_fc(const struct walk *w)
{
	size_t bytes = w->j->img->block_size;
	uint32_t crc = 0;

	for (uint32_t lblk = w->j->last + 1; lblk < w->j->maxlen; lblk++) {
		uint8_t *at = block(w, lblk);

		for (size_t off = 0; off + 4 <= bytes;) {
			uint16_t len;

			memcpy(&len, at + off + 2, 2);
			if (!fix_fc_record(w, at + off, bytes - off, &crc))
				return;
			off += 4 + (size_t)len;
		}
	}
}

void fuzz_log_fix(const struct fuzz_base *base, struct fuzz_mem *mem)
{
	const struct dafs_journal *sound = journal(base);
	struct dafs_journal j;
	struct walk w = { .j = &j, .mem = mem };
	uint8_t *super;

	if (!sound)
		return;
	j = *sound; /* the mapping is shared, and only read */
	super = block(&w, 0);
	memcpy(&j.sb, super, sizeof(j.sb));
	dafs_journal_set_features(&j);
	w.at = be32toh(j.sb.start);
	w.tid = be32toh(j.sb.sequence);
	if (!dafs_journal_has_csum(&j)) {
		if (j.incompat & JBD2_INCOMPAT_FAST_COMMIT)
			fix_fc(&w);
		return;
	}
	j.sb.checksum_type = JBD2_CRC32C_CHKSUM;
	j.sb.checksum = 0;
	j.sb.checksum = htobe32(dafs_crc32c(~0u, &j.sb, sizeof(j.sb)));
	memcpy(super, &j.sb, sizeof(j.sb));
	if (w.at < j.first || w.at >= j.last)
		return;
	fix_log(&w);
	fix_fc(&w);
}
