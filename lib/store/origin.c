/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * origin - what the inodes of the image that have pending work looked like when it began, a
 * directory's names included.
 *
 * The fingerprint sees who allocates, mounts or writes the superblock. A tool that writes an
 * inode, or entries of a directory, and nothing else (debugfs) shows here: a flush is refused
 * when an inode that it is to change is not the one that the work was done on.
 *
 * A row is written when work on an inode begins, and goes with the flush that takes the inode;
 * what is still pending of it then has the image's new state for its beginning.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "image/etree.h"
#include "image/icodec.h"

enum {
	CHUNK_BYTES = 1 << 17,
	/* A directory's names, not what a damaged one maps: more of it is not looked at. */
	NAMES_BYTES_MOST = 256 << 20,
};

/* The blocks of one extent, up to *left bytes. */
static errcode_t sum_extent(struct dafs_store *st, const struct dafs_extent *e, uint8_t *buf,
			    uint64_t *left, uint32_t *sum)
{
	const uint64_t most = CHUNK_BYTES >> st->img->block_bits;
	errcode_t err = 0;

	for (uint64_t at = 0, n; at < e->len && *left && !err; at += n) {
		n = e->len - at < most ? e->len - at : most;
		if (n > *left >> st->img->block_bits)
			n = *left >> st->img->block_bits;
		err = dafs_image_read_blks(st->img, e->pblk + at, n, buf);
		if (!err)
			*sum = dafs_crc32c(*sum, buf, n << st->img->block_bits);
		*left -= n << st->img->block_bits;
	}
	return err;
}

/* A directory that cannot be read counts with as much of it as can: whoever works on it will say
 * so. */
static errcode_t sum_names(struct dafs_store *st, uint32_t ino, const struct ext2_inode_large *raw,
			   uint32_t *sum)
{
	struct dafs_extlist map = { 0 };
	struct dafs_blklist nodes = { 0 };
	uint64_t left = NAMES_BYTES_MOST;
	uint8_t *buf = malloc(CHUNK_BYTES);
	errcode_t err = buf ? dafs_etree_decode(st->img, ino, raw, &map, &nodes) : ENOMEM;

	for (size_t i = 0; i < map.n && !err; i++)
		err = sum_extent(st, &map.v[i], buf, &left, sum);
	dafs_extlist_fini(&map);
	dafs_blklist_fini(&nodes);
	free(buf);
	return err == ENOMEM ? err : 0;
}

static errcode_t sum_of(struct dafs_store *st, uint64_t id, uint32_t *sum)
{
	union dafs_inode_buf buf;
	errcode_t err = dafs_icodec_read(st->img, (uint32_t)id, &buf.raw, sizeof(buf));

	*sum = err ? 0 : dafs_crc32c(~0u, buf.bytes, st->img->inode_size);
	if (!err && S_ISDIR(buf.raw.i_mode) && dafs_icodec_has_map(st->img, &buf.raw))
		err = sum_names(st, (uint32_t)id, &buf.raw, sum);
	return err;
}

/* *there: the row's sum is in *sum. */
static errcode_t get(struct dafs_store *st, uint64_t id, bool *there, uint32_t *sum)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_ORIGIN_GET, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	err = dafs_db_step(&st->db, stmt, there);
	*sum = !err && *there ? (uint32_t)sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return err;
}

errcode_t dafs_origin_note(struct dafs_store *st, uint64_t id)
{
	sqlite3_stmt *stmt;
	uint32_t sum;
	bool there;
	errcode_t err = id < DAFS_ID_NEW ? get(st, id, &there, &sum) : 0;

	if (err || id >= DAFS_ID_NEW || there)
		return err;
	err = sum_of(st, id, &sum);
	if (!err)
		err = dafs_db_use(&st->db, DAFS_DB_ORIGIN_PUT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	sqlite3_bind_int64(stmt, 2, sum);
	return dafs_db_run(&st->db, stmt);
}

static errcode_t check_one(struct dafs_store *st, uint64_t id)
{
	uint32_t was, is;
	bool there;
	errcode_t err = get(st, id, &there, &was);

	if (err || !there)
		return err;
	err = sum_of(st, id, &is);
	if (!err && is != was)
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_STALE,
				"%s: inode %" PRIu64
				" is not as it was when work on it began (its cache: %s)",
				st->img->dev->address, id, st->place.path);
	return err;
}

errcode_t dafs_origin_check(struct dafs_store *st, const struct dafs_changeset *cs)
{
	size_t n;
	const struct dafs_ns_collected *set = dafs_ns_collected(cs, &n);
	errcode_t err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		if (set[i].id < DAFS_ID_NEW)
			err = check_one(st, set[i].id);
	}
	return err;
}

errcode_t dafs_origin_forget(struct dafs_store *st, uint64_t id)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_use(&st->db, DAFS_DB_ORIGIN_DEL, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (int64_t)id);
	return dafs_db_run(&st->db, stmt);
}
