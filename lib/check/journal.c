/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal - is there a journal where the superblock says, and is its superblock one?
 *
 * Looks at the journal inode's mapping and at the journal superblock. It does not look into the
 * log: what a read-only check sees is the file system as it lies on the disk, and a note says when
 * a replay would change it.
 *
 * Layout: jbd2, big-endian.
 */
#include "config.h"

#include "check/check_int.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"

#define JBD2_MAGIC	      0xC03B3998u
#define JBD2_SUPER_V1	      3
#define JBD2_SUPER_V2	      4
#define JBD2_MIN_BLOCKS	      1024
#define JBD2_COMPAT_KNOWN     0x1u
#define JBD2_INCOMPAT_KNOWN   0x3fu
#define JBD2_INCOMPAT_CSUM_V2 0x8u
#define JBD2_INCOMPAT_CSUM_V3 0x10u

struct jbd2_super {
	uint32_t magic, type, seq;
	uint32_t blocksize, maxlen, first, sequence, start, error;
	uint32_t compat, incompat, ro_compat;
	uint8_t uuid[16];
	uint32_t nr_users, dynsuper, max_transaction, max_trans_data;
	uint8_t checksum_type, pad[3];
	uint32_t num_fc_blks, head, pad2[40];
	uint32_t checksum;
	uint8_t users[16 * 48];
};
_Static_assert(sizeof(struct jbd2_super) == 1024, "layout");

/* How far the journal's blocks are mapped without a gap. */
struct mapped {
	uint64_t next_lblk;
	uint64_t first_pblk;
};

static void count_mapped(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
			 uint64_t len, bool map)
{
	struct mapped *m = arg;

	(void)w;
	if (map || lblk != m->next_lblk)
		return;
	if (!lblk)
		m->first_pblk = pblk;
	m->next_lblk = lblk + len;
}

static const char *inode_wrong(struct dafs_ck *ck, const struct ext2_inode_large *raw,
			       struct mapped *m)
{
	uint64_t blks = dafs_ck_size(raw) >> ck->g.block_bits;

	if (!raw->i_links_count)
		return "not in use";
	if (!LINUX_S_ISREG(raw->i_mode))
		return "no regular file";
	if (blks < JBD2_MIN_BLOCKS)
		return "too small";
	dafs_ck_walk(ck->main, ck->sb.s_journal_inum, raw, count_mapped, m);
	return m->next_lblk < blks ? "not all of it is mapped" : NULL;
}

static uint32_t super_csum(const struct jbd2_super *js)
{
	struct jbd2_super copy = *js;

	copy.checksum = 0;
	return dafs_crc32c(~0u, &copy, sizeof(copy));
}

/* What is wrong with a journal superblock whose features are known. */
static const char *super_wrong(struct dafs_ck *ck, const struct jbd2_super *js, uint64_t blks)
{
	uint32_t type = be32toh(js->type), incompat = be32toh(js->incompat);
	bool v3 = incompat & JBD2_INCOMPAT_CSUM_V3, v2 = incompat & JBD2_INCOMPAT_CSUM_V2;

	if (be32toh(js->magic) != JBD2_MAGIC)
		return "no magic";
	if (type != JBD2_SUPER_V1 && type != JBD2_SUPER_V2)
		return "unknown type";
	if (type == JBD2_SUPER_V2 && be32toh(js->nr_users) > 1)
		return "several users";
	if (v2 && v3)
		return "two sorts of checksums";
	if ((v2 || v3) && js->checksum_type != 4)
		return "unknown checksum type";
	if ((v2 || v3) && be32toh(js->checksum) != super_csum(js))
		return "wrong checksum";
	if (be32toh(js->blocksize) != ck->g.block_size)
		return "wrong block size";
	if (be32toh(js->maxlen) > blks || be32toh(js->maxlen) < JBD2_MIN_BLOCKS)
		return "wrong length";
	if (be32toh(js->first) == 0 || be32toh(js->first) >= be32toh(js->maxlen) ||
	    be32toh(js->start) >= be32toh(js->maxlen))
		return "wrong start";
	return NULL;
}

static void check_super(struct dafs_ck *ck, const struct jbd2_super *js, uint64_t blks)
{
	uint32_t incompat = be32toh(js->incompat), ro = be32toh(js->ro_compat);
	bool v1 = be32toh(js->type) == JBD2_SUPER_V1;
	bool recover = ext2fs_has_feature_journal_needs_recovery(&ck->sb);
	const char *why = super_wrong(ck, js, blks);
	struct dafs_ck_worker *w = ck->main;
	uint32_t jino = ck->sb.s_journal_inum;

	if (why) {
		DAFS_CK_FIND(w, JNL_SUPER, .ino = jino, .text = why);
		return;
	}
	if (v1 && (js->compat || js->incompat || js->ro_compat || js->nr_users))
		DAFS_CK_FIND(w, JNL_V2_FIELDS, .ino = jino);
	else if (!v1 && (incompat & ~JBD2_INCOMPAT_KNOWN || ro))
		DAFS_CK_FIND(w, JNL_FEATURE, .ino = jino, .found = ro ? ro : incompat,
			     .text = ro ? "ro_compat" : "incompat");
	if (!ext2fs_has_feature_journal(&ck->sb))
		DAFS_CK_FIND(w, JNL_NO_FLAG, .ino = jino);
	else if (js->start && !recover)
		DAFS_CK_FIND(w, JNL_DATA, .ino = jino);
	else if (js->start) {
		ck->rep->result.needs_recovery = true;
		DAFS_CK_FIND(w, JNL_NEEDS, .ino = jino);
	}
}

/* The superblock's copy of the journal inode's block map. */
static void check_backup(struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	const struct ext2_super_block *sb = &ck->sb;

	if (sb->s_jnl_backup_type != EXT3_JNL_BACKUP_BLOCKS ||
	    memcmp(sb->s_jnl_blocks, raw->i_block, sizeof(raw->i_block)))
		DAFS_CK_FIND(ck->main, JNL_BACKUP, .ino = sb->s_journal_inum);
}

static errcode_t check_inode_journal(struct dafs_ck *ck)
{
	struct ext2_inode_large *raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	uint8_t *block = malloc(ck->g.block_size);
	struct mapped m = { 0 };
	uint32_t jino = ck->sb.s_journal_inum;
	const char *why = "no such inode";
	errcode_t err = 0;

	if (!raw || !block) {
		err = ENOMEM;
		goto out;
	}
	if (dafs_ck_read_inode(ck->main, jino, raw))
		why = inode_wrong(ck, raw, &m);
	if (why) {
		DAFS_CK_FIND(ck->main, JNL_INODE, .ino = jino, .text = why);
		goto out;
	}
	err = dafs_ck_read(ck->main, m.first_pblk, 1, block);
	if (err)
		goto out;
	check_super(ck, (const struct jbd2_super *)block, dafs_ck_size(raw) >> ck->g.block_bits);
	if (ext2fs_has_feature_journal(&ck->sb))
		check_backup(ck, raw);
out:
	free(raw);
	free(block);
	return err ? err : ck->main->err;
}

errcode_t dafs_ck_journal(struct dafs_ck *ck)
{
	static const uint8_t no_uuid[16];
	struct ext2_super_block *sb = &ck->sb;
	bool external = sb->s_journal_dev || memcmp(sb->s_journal_uuid, no_uuid, sizeof(no_uuid));

	if (sb->s_journal_inum)
		return check_inode_journal(ck);
	if (ext2fs_has_feature_journal(sb)) {
		if (external)
			DAFS_CK_FIND(ck->main, JNL_EXTERNAL, .text = "not looked at");
		else
			DAFS_CK_FIND(ck->main, JNL_INODE, .text = "none is named");
	} else if (ext2fs_has_feature_journal_needs_recovery(sb)) {
		DAFS_CK_FIND(ck->main, JNL_RECOVER_FLAG);
	}
	return 0;
}
