/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal - is there a journal where the superblock says, and is its superblock one?
 *
 * Looks at the journal inode's mapping and at the journal superblock. It does not look into the
 * log: what a read-only check sees is the file system as it lies on the disk, and a note says when
 * a replay would change it.
 *
 * Leaves for the next: a journal inode that can be read; pass 1 judges its blocks as any file's.
 *
 * Repairs: an inode that is damaged comes back from its copy in the superblock; a journal
 * superblock that is damaged is made anew in its place (an empty journal: what it held is lost);
 * without either the journal is removed, and relocate.c makes another.
 *
 * Layout: jbd2, big-endian.
 */
#include "config.h"

#include "check/check_int.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "image/journal_int.h"

#define JBD2_MIN_BLOCKS 1024

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
	if (raw->i_flags & EXT4_ENCRYPT_FL)
		return "encrypted";
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
	uint32_t type = be32toh(js->header.blocktype), incompat = be32toh(js->incompat);
	bool v3 = incompat & JBD2_INCOMPAT_CSUM_V3, v2 = incompat & JBD2_INCOMPAT_CSUM_V2;

	if (be32toh(js->header.magic) != JBD2_MAGIC)
		return "no magic";
	if (type != JBD2_SUPER_V1 && type != JBD2_SUPER_V2)
		return "unknown type";
	if (type == JBD2_SUPER_V2 && be32toh(js->nr_users) > 1)
		return "several users";
	if (v2 && v3)
		return "two sorts of checksums";
	if ((v2 || v3) && js->checksum_type != JBD2_CRC32C_CHKSUM)
		return "unknown checksum type";
	if ((v2 || v3) && be32toh(js->checksum) != super_csum(js))
		return "wrong checksum";
	if (be32toh(js->blocksize) != ck->g.block_size)
		return "wrong block size";
	if (be32toh(js->maxlen) > blks)
		return "wrong length";
	return NULL;
}

/* What e2fsck does not ask for, but a kernel that is to mount the file system does. */
static const char *log_wrong(const struct jbd2_super *js)
{
	uint32_t len_blks = be32toh(js->maxlen), first = be32toh(js->first);

	if (len_blks < JBD2_MIN_BLOCKS)
		return "too short";
	if (!first || first >= len_blks)
		return "wrong first block";
	return be32toh(js->start) >= len_blks ? "wrong start" : NULL;
}

/* ---- repairs ---- */

/* The number in the superblock may be what is wrong: is there a journal where all file systems have
 * it? The next round takes that one then. */
static bool is_elsewhere(struct dafs_ck *ck)
{
	struct ext2_inode_large *raw;
	struct mapped m = { 0 };
	bool there;

	if (ck->sb.s_journal_inum == EXT2_JOURNAL_INO)
		return false;
	raw = dafs_ck_raw_alloc(ck);
	if (!raw) {
		ck->main->err = ENOMEM;
		return true;
	}
	there = ck->sb.s_journal_inum > ck->g.inodes ||
		(dafs_ck_read_inode(ck->main, EXT2_JOURNAL_INO, raw) && !inode_wrong(ck, raw, &m));
	free(raw);
	if (there) {
		ck->sb.s_journal_inum = EXT2_JOURNAL_INO;
		ck->again = true;
	}
	return there;
}

static errcode_t write_super(struct dafs_ck *ck, struct jbd2_super *js, uint64_t pblk,
			     uint8_t *block)
{
	uint32_t incompat =
		js->header.blocktype == htobe32(JBD2_SUPER_V2) ? be32toh(js->incompat) : 0;

	js->checksum = 0;
	if (incompat & (JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3))
		js->checksum = htobe32(super_csum(js));
	memcpy(block, js, sizeof(*js));
	return dafs_ck_write(ck->main, pblk, block);
}

/* An empty journal. The sequence begins where no block of the old log can go on from. */
void dafs_ck_journal_super(const struct dafs_ck *ck, uint64_t blks, void *block)
{
	struct jbd2_super *js = block;

	memset(block, 0, ck->g.block_size);
	js->header.magic = htobe32(JBD2_MAGIC);
	js->header.blocktype = htobe32(JBD2_SUPER_V2);
	js->blocksize = htobe32(ck->g.block_size);
	js->maxlen = htobe32((uint32_t)blks);
	js->first = htobe32(1);
	js->sequence = htobe32((uint32_t)ck->ctx->now_sec | 1);
	js->nr_users = htobe32(1);
	memcpy(js->uuid, ck->sb.s_uuid, sizeof(js->uuid));
}

static void drop_journal(struct dafs_ck *ck)
{
	struct ext2_super_block *sb = &ck->sb;

	/* One in a file of its own becomes an ordinary file. */
	sb->s_journal_inum = 0;
	sb->s_journal_dev = 0;
	memset(sb->s_journal_uuid, 0, sizeof(sb->s_journal_uuid));
	memset(sb->s_jnl_blocks, 0, sizeof(sb->s_jnl_blocks));
	sb->s_jnl_backup_type = 0;
	ext2fs_clear_feature_journal_needs_recovery(sb);
}

/* The journal inode as the superblock remembers it, if that is one. */
static bool inode_from_backup(struct dafs_ck *ck, struct ext2_inode_large *raw, struct mapped *m)
{
	const struct ext2_super_block *sb = &ck->sb;

	if (sb->s_jnl_backup_type != EXT3_JNL_BACKUP_BLOCKS || !sb->s_jnl_blocks[0])
		return false;
	memset(raw, 0, ck->g.inode_size);
	memcpy(raw->i_block, sb->s_jnl_blocks, sizeof(raw->i_block));
	raw->i_size_high = sb->s_jnl_blocks[15];
	raw->i_size = sb->s_jnl_blocks[16];
	raw->i_mode = LINUX_S_IFREG | 0600;
	raw->i_links_count = 1;
	if (ck->g.extents && dafs_ck_extent_header_ok(raw->i_block, sizeof(raw->i_block)))
		raw->i_flags = EXT4_EXTENTS_FL;
	memset(m, 0, sizeof(*m));
	return !inode_wrong(ck, raw, m);
}

/* ---- the checks ---- */

static errcode_t check_features(struct dafs_ck *ck, struct jbd2_super *js, uint64_t pblk,
				uint8_t *block)
{
	uint32_t incompat = be32toh(js->incompat), ro = be32toh(js->ro_compat);
	bool v1 = be32toh(js->header.blocktype) == JBD2_SUPER_V1;
	uint32_t jino = ck->sb.s_journal_inum;
	struct dafs_ck_worker *w = ck->main;

	if (v1 && (js->compat || js->incompat || js->ro_compat || js->nr_users) &&
	    DAFS_CK_FIND(w, JNL_V2_FIELDS, .ino = jino)) {
		memset(&js->compat, 0, sizeof(*js) - offsetof(struct jbd2_super, compat));
		return write_super(ck, js, pblk, block);
	}
	if (!v1 && (incompat & ~(uint32_t)JBD2_INCOMPAT_KNOWN || ro))
		DAFS_CK_FIND(w, JNL_FEATURE, .ino = jino, .found = ro ? ro : incompat,
			     .text = ro ? "ro_compat" : "incompat");
	return 0;
}

static errcode_t check_super(struct dafs_ck *ck, struct jbd2_super *js, uint64_t pblk,
			     uint64_t blks, uint8_t *block)
{
	bool recover = ext2fs_has_feature_journal_needs_recovery(&ck->sb);
	const char *why = super_wrong(ck, js, blks), *log = why ? NULL : log_wrong(js);
	struct dafs_ck_worker *w = ck->main;
	uint32_t jino = ck->sb.s_journal_inum;
	errcode_t err;

	if (why || log) {
		if (log	      ? !DAFS_CK_FIND(w, JNL_LOG, .ino = jino, .text = log)
		    : recover ? !DAFS_CK_FIND(w, JNL_SUPER, .ino = jino, .text = why)
			      : !DAFS_CK_FIND(w, JNL_SUPER_IDLE, .ino = jino, .text = why))
			return 0;
		if (why && is_elsewhere(ck))
			return ck->main->err;
		ext2fs_clear_feature_journal_needs_recovery(&ck->sb);
		dafs_ck_journal_super(ck, blks, block);
		return dafs_ck_write(w, pblk, block);
	}
	err = check_features(ck, js, pblk, block);
	if (err)
		return err;
	if (js->error) {
		ck->jnl_error = true;
		if (DAFS_CK_FIND(w, JNL_ERROR, .ino = jino, .found = 0u - be32toh(js->error))) {
			js->error = 0;
			err = write_super(ck, js, pblk, block);
		}
	}
	if (err)
		return err;
	if (!ext2fs_has_feature_journal(&ck->sb)) {
		if (DAFS_CK_FIND(w, JNL_NO_FLAG, .ino = jino))
			drop_journal(ck);
	} else if (js->start && !recover) {
		/* (What was to be replayed was replayed before the run.) */
		if (DAFS_CK_FIND(w, JNL_DATA, .ino = jino)) {
			js->start = 0;
			err = write_super(ck, js, pblk, block);
		}
	} else if (js->start && !ck->fixing) {
		ck->rep->result.needs_recovery = true;
		DAFS_CK_FIND(w, JNL_NEEDS, .ino = jino);
		if (dafs_image_journal_torn(&ck->img))
			DAFS_CK_FIND(w, JNL_TORN, .ino = jino);
	} else if (ck->rep->result.torn && !ck->round) {
		DAFS_CK_FIND(w, JNL_TORN, .ino = jino);
	} else if (js->start && DAFS_CK_FIND(w, JNL_TORN, .ino = jino)) {
		js->start = 0;
		ext2fs_clear_feature_journal_needs_recovery(&ck->sb);
		err = write_super(ck, js, pblk, block);
	}
	return err;
}

/* The superblock's copy of the journal inode's block map. */
static void check_backup(struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	struct ext2_super_block *sb = &ck->sb;

	if (sb->s_jnl_backup_type == EXT3_JNL_BACKUP_BLOCKS &&
	    !memcmp(sb->s_jnl_blocks, raw->i_block, sizeof(raw->i_block)))
		return;
	if (DAFS_CK_FIND(ck->main, JNL_BACKUP, .ino = sb->s_journal_inum))
		dafs_ck_journal_backup(ck, raw);
}

void dafs_ck_journal_backup(struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	struct ext2_super_block *sb = &ck->sb;

	memcpy(sb->s_jnl_blocks, raw->i_block, sizeof(raw->i_block));
	sb->s_jnl_blocks[15] = raw->i_size_high;
	sb->s_jnl_blocks[16] = raw->i_size;
	sb->s_jnl_backup_type = EXT3_JNL_BACKUP_BLOCKS;
}

static errcode_t repair_inode(struct dafs_ck *ck, struct ext2_inode_large *raw, struct mapped *m)
{
	uint32_t jino = ck->sb.s_journal_inum;

	if (is_elsewhere(ck))
		return 0;
	/* Its table is made first; the next round comes back to this. */
	if (jino && ck->gd_flags[(jino - 1) / ck->g.ipg] & DAFS_CKG_IT_BAD)
		return 0;
	if (jino && inode_from_backup(ck, raw, m))
		return dafs_ck_write_inode(ck->main, jino, raw);
	drop_journal(ck);
	ext2fs_clear_feature_journal(&ck->sb);
	ck->want |= DAFS_CKW_JOURNAL;
	return 0;
}

static errcode_t check_inode_journal(struct dafs_ck *ck)
{
	struct ext2_inode_large *raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	uint8_t *block = malloc(ck->g.block_size);
	struct mapped m = { 0 };
	uint32_t jino = ck->sb.s_journal_inum;
	const char *why = "no such inode";
	struct jbd2_super js;
	errcode_t err = 0;

	if (!raw || !block) {
		err = ENOMEM;
		goto out;
	}
	if (dafs_ck_read_inode(ck->main, jino, raw))
		why = inode_wrong(ck, raw, &m);
	if (why) {
		if (DAFS_CK_FIND(ck->main, JNL_INODE, .ino = jino, .text = why))
			err = repair_inode(ck, raw, &m);
		goto out;
	}
	err = dafs_ck_read(ck->main, m.first_pblk, 1, block);
	if (err)
		goto out;
	memcpy(&js, block, sizeof(js));
	err = check_super(ck, &js, m.first_pblk, dafs_ck_size(raw) >> ck->g.block_bits, block);
	if (!err && ext2fs_has_feature_journal(&ck->sb))
		check_backup(ck, raw);
out:
	free(raw);
	free(block);
	return err ? err : ck->main->err;
}

/* What names an external journal beside one in the file system, or where there is to be none.
 * False: it is left as it is. */
static bool check_other(struct dafs_ck *ck, bool uuid)
{
	struct ext2_super_block *sb = &ck->sb;
	bool drop;

	if (!sb->s_journal_inum)
		drop = DAFS_CK_FIND(ck->main, JNL_STRAY);
	else if (uuid)
		drop = DAFS_CK_FIND(ck->main, JNL_BOTH, .ino = sb->s_journal_inum);
	else
		drop = DAFS_CK_FIND(ck->main, JNL_DEVICE, .ino = sb->s_journal_inum,
				    .found = sb->s_journal_dev);
	if (drop) {
		sb->s_journal_dev = 0;
		memset(sb->s_journal_uuid, 0, sizeof(sb->s_journal_uuid));
	}
	return drop;
}

errcode_t dafs_ck_journal(struct dafs_ck *ck)
{
	static const uint8_t no_uuid[16];
	struct ext2_super_block *sb = &ck->sb;
	bool uuid = memcmp(sb->s_journal_uuid, no_uuid, sizeof(no_uuid)) != 0;
	bool external = sb->s_journal_dev || uuid, feature = ext2fs_has_feature_journal(sb);

	if (external && (sb->s_journal_inum || !feature) && check_other(ck, uuid))
		external = false;
	if (sb->s_journal_inum)
		return check_inode_journal(ck);
	if (feature) {
		if (external)
			DAFS_CK_FIND(ck->main, JNL_EXTERNAL, .text = "not looked at");
		else if (DAFS_CK_FIND(ck->main, JNL_INODE, .text = "none is named"))
			return repair_inode(ck, NULL, NULL);
	} else if (ext2fs_has_feature_journal_needs_recovery(sb) &&
		   DAFS_CK_FIND(ck->main, JNL_RECOVER_FLAG)) {
		ext2fs_clear_feature_journal_needs_recovery(sb);
	}
	return 0;
}
