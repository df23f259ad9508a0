/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal_int - what the files behind journal.h share: jbd2's layout (big endian), and an open
 * journal.
 */
#ifndef DAFS_IMAGE_JOURNAL_INT_H
#define DAFS_IMAGE_JOURNAL_INT_H

#include "image/journal.h"
#include "model/extlist.h"

enum {
	JBD2_SUPER_BYTES = 1024,
	JBD2_MAX_BLKS = 10240000, /* mke2fs makes none larger */
	JBD2_CRC32_CHKSUM = 1,
	JBD2_CRC32C_CHKSUM = 4,
};
#define JBD2_MAGIC 0xC03B3998u

enum jbd2_blocktype {
	JBD2_DESCRIPTOR = 1,
	JBD2_COMMIT = 2,
	JBD2_SUPER_V1 = 3,
	JBD2_SUPER_V2 = 4,
	JBD2_REVOKE = 5,
};

enum jbd2_features {
	JBD2_COMPAT_CHECKSUM = 1,
	JBD2_INCOMPAT_REVOKE = 1,
	JBD2_INCOMPAT_64BIT = 2,
	JBD2_INCOMPAT_ASYNC_COMMIT = 4,
	JBD2_INCOMPAT_CSUM_V2 = 8,
	JBD2_INCOMPAT_CSUM_V3 = 0x10,
	JBD2_INCOMPAT_FAST_COMMIT = 0x20,
	JBD2_INCOMPAT_KNOWN = 0x3f,
};

enum jbd2_tag_flags {
	JBD2_TAG_ESCAPE = 1,
	JBD2_TAG_SAME_UUID = 2,
	JBD2_TAG_DELETED = 4,
	JBD2_TAG_LAST = 8,
};

struct jbd2_header {
	uint32_t magic, blocktype, sequence;
};

struct jbd2_super {
	struct jbd2_header header;
	uint32_t blocksize, maxlen, first;
	uint32_t sequence, start, error;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16];
	uint32_t nr_users, dynsuper, max_transaction, max_trans_data;
	uint8_t checksum_type, padding2[3];
	uint32_t num_fc_blks, head;
	uint32_t padding[40];
	uint32_t checksum;
	uint8_t users[768];
};
_Static_assert(sizeof(struct jbd2_super) == JBD2_SUPER_BYTES, "the layout of a journal superblock");

struct jbd2_commit {
	struct jbd2_header header;
	uint8_t chksum_type, chksum_size, padding[2];
	uint32_t chksum[8];
	uint64_t sec;
	uint32_t nsec;
} __attribute__((packed));

struct jbd2_revoke {
	struct jbd2_header header;
	uint32_t count; /* bytes used, this header included */
};

struct dafs_journal {
	struct dafs_image *img;
	struct jbd2_super sb; /* as on disk */
	uint32_t ino;
	struct dafs_extlist map; /* lblk of the journal to pblk, without holes up to maxlen */
	/* The log is [first, last); fast commits are in [last, maxlen). */
	uint32_t first, last, maxlen;
	uint32_t incompat, compat;
	uint32_t seed; /* of checksums v2 and v3 */
	/* Of a dirty log, when it was read or written: where it ends; when read, how many blocks it
	 * takes. */
	uint32_t head, used;
	/* What s_sequence will be when the log is emptied; 0: not worked out yet. */
	uint32_t next_tid;
	bool csum_v2, csum_v3, csum_v1, wide;
	bool torn;	  /* salvaging left something out */
	size_t tag_bytes; /* of a tag, without a UUID behind it */
};

/* Has a checksum v2 or v3 (tails in descriptor and revoke blocks). */
static inline bool dafs_journal_has_csum(const struct dafs_journal *j)
{
	return j->csum_v2 || j->csum_v3;
}

/* Derive the fields that follow from the superblock's features; call after they changed. */
void dafs_journal_set_features(struct dafs_journal *j);
/* Derive where the log ends, from the superblock and maxlen. Fast commits have the end of the
 * journal: of a log that holds something where its own flag says so, as who replays it takes it
 * (without the flag it goes on to the end of the journal, whatever the file system has); of an
 * empty one where the file system has them, too. */
void dafs_journal_set_last(struct dafs_journal *j);

/* The pblk of a block of the journal. */
uint64_t dafs_journal_pblk(const struct dafs_journal *j, uint32_t lblk);
/* Read one block of the journal past any overlay. */
errcode_t dafs_journal_read_blk(struct dafs_journal *j, uint32_t lblk, void *buf);

/* Write the journal superblock (its checksum anew). Not synced. */
errcode_t dafs_journal_write_super(struct dafs_journal *j);

/* Checksum of a descriptor or revoke block, with its tail taken as zero; of a data block in
 * transaction tid. */
uint32_t dafs_journal_tail_csum(const struct dafs_journal *j, const uint8_t *block);
uint32_t dafs_journal_data_csum(const struct dafs_journal *j, uint32_t tid, const uint8_t *data);

/* What a scan of the log found (journal_scan.c). */
struct dafs_log_tag {
	uint64_t pblk;
	uint32_t log_lblk;
	uint32_t tid;
	uint32_t order; /* place in the log: of two of a block, the later one counts */
	uint32_t csum;
	bool escaped, deleted;
};
struct dafs_log_revoke {
	uint64_t pblk;
	uint32_t tid;
	uint32_t order;
};
struct dafs_log {
	struct dafs_log_tag *tags; /* of complete transactions, in log order */
	size_t n_tags, room_tags;
	struct dafs_log_revoke *revokes;
	size_t n_revokes, room_revokes;
	uint32_t end_tid;    /* the first transaction that is not complete */
	uint32_t head, used; /* where it would begin; blocks of the log before it */
};
/* Write a transaction (number tid, not the one that would continue the log) into the free part of a
 * log that was replayed to disk, durable, then let the journal superblock begin there, without fast
 * commits: one write that replaces what was in the journal. Blocks sorted. DAFS_ET_JOURNAL_FULL: no
 * room, nothing written. */
errcode_t dafs_journal_replace(struct dafs_journal *j, uint32_t tid,
			       const struct dafs_journal_block *blocks, size_t n);

/* Read the log from s_start to its end. */
errcode_t dafs_journal_scan(struct dafs_journal *j, struct dafs_log *log);
void dafs_log_fini(struct dafs_log *log);

#endif
