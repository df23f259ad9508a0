/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify - a pending cache by itself: the database's own structure, every inode's blob, every pending block of the spool
 * against its checksum, slots claimed once, and the counters against the sum of what they count (DESIGN.md section 4).
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ns/dir.h"

#define READ_BLKS 64u

struct verify {
	struct dafs_store *st;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint64_t problems;
	uint64_t dirty, promised, promised_inodes;
	uint8_t *slots;		/* a bit a slot: claimed */
};

static void say(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct verify *v, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	v->problems++;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (v->report)
		v->report(v->arg, line);
}

static errcode_t check_database(struct verify *v)
{
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(v->st->db, "PRAGMA integrity_check(20)", -1, &stmt, NULL) != SQLITE_OK)
		return dafs_db_fail(v->st);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		if (text && strcmp(text, "ok"))
			say(v, "database: %s", text);
	}
	sqlite3_finalize(stmt);
	return 0;
}

static void claim_slots(struct verify *v, uint64_t id, uint64_t slot, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++, slot++) {
		if (v->slots[slot / 8] & (1u << (slot % 8))) {
			say(v, "inode %" PRIu64 ": spool slot %" PRIu64 " is claimed twice", id, slot);
			return;
		}
		v->slots[slot / 8] |= (uint8_t)(1u << (slot % 8));
	}
}

static void check_runs(struct verify *v, const struct dafs_inode *inode)
{
	struct dafs_spool *sp = &v->st->spool;
	uint8_t *buf = malloc((size_t)READ_BLKS * sp->block_size);
	struct dafs_page_run run;

	for (uint32_t at = 0; buf && dafs_pagecache_find(&inode->u.file->pages, at, UINT32_MAX, &run); at = run.lblk + run.len) {
		if (!run.src)
			continue;
		claim_slots(v, inode->id, run.src_off_bytes / sp->block_size, run.len);
		for (uint32_t i = 0; i < run.len; i += READ_BLKS) {
			uint32_t n = run.len - i < READ_BLKS ? run.len - i : READ_BLKS;

			if (run.src->ops->read(run.src, v->st->ctx, buf, (size_t)n * sp->block_size,
					       run.src_off_bytes + (uint64_t)i * sp->block_size))
				say(v, "inode %" PRIu64 ": pending data at block %u cannot be read or fails its checksum", inode->id,
				    run.lblk + i);
		}
	}
	free(buf);
}

static void check_file(struct verify *v, const struct dafs_inode *inode)
{
	const struct dafs_file *file = inode->u.file;
	uint64_t clusters = (file->es.delayed_blks + (1u << v->st->img->cluster_bits) - 1) >> v->st->img->cluster_bits;

	v->dirty += file->reserved_clusters;
	v->promised += file->promised_clusters;
	if (!v->st->img->cluster_bits ? file->reserved_clusters != file->es.delayed_blks + dafs_extlist_blocks(&file->placed) : file->reserved_clusters + file->npend < clusters)
		say(v, "inode %" PRIu64 ": %" PRIu64 " clusters reserved for %" PRIu64 " delayed blocks", inode->id,
		    file->reserved_clusters, file->es.delayed_blks);
	if (!dafs_es_verify(&file->es) || !dafs_pagecache_verify(&file->pages))
		say(v, "inode %" PRIu64 ": its pending ranges are out of order", inode->id);
	check_runs(v, inode);
}

static errcode_t check_inode(void *arg, uint64_t id)
{
	struct verify *v = arg;
	struct dafs_inode inode = { .id = id };
	struct dafs_ns_promise promise;
	errcode_t err = dafs_names_backing.load_inode(v->st, &inode);

	if (err == DAFS_ET_CACHE_DAMAGED) {
		say(v, "inode %" PRIu64 ": its row is damaged", id);
		err = 0;
	} else if (!err) {
		promise = dafs_ns_promised(v->st->img, &inode);
		v->promised += promise.clusters;
		v->promised_inodes += promise.inodes;
		if (S_ISREG(inode.mode) && inode.u.file)
			check_file(v, &inode);
	}
	dafs_store_free_inode(&inode);
	return err;
}

static void check_counters(struct verify *v)
{
	struct dafs_reserve rs = { .free_clusters = UINT64_MAX / 4, .free_inodes = UINT64_MAX / 4 };

	if (dafs_store_load_reserve(v->st, &rs))
		return;
	if (rs.dirty_clusters != v->dirty)
		say(v, "%" PRIu64 " clusters reserved in sum, the inodes say %" PRIu64, rs.dirty_clusters, v->dirty);
	if (rs.bound_clusters != v->promised)
		say(v, "%" PRIu64 " clusters promised in sum, the inodes say %" PRIu64, rs.bound_clusters, v->promised);
	if (rs.promised_inodes != v->promised_inodes)
		say(v, "%" PRIu64 " inodes promised in sum, the inodes say %" PRIu64, rs.promised_inodes, v->promised_inodes);
}

errcode_t dafs_store_verify(struct dafs_store *st, void (*report)(void *arg, const char *line), void *arg, uint64_t *problems)
{
	struct verify v = { .st = st, .report = report, .arg = arg };
	errcode_t err;

	*problems = 0;
	if (!st->db)
		return 0;
	v.slots = calloc(1, st->spool.end_slot / 8 + 1);
	err = v.slots ? check_database(&v) : ENOMEM;
	if (!err)
		err = dafs_names_backing.load_all(st, check_inode, &v);
	if (!err)
		check_counters(&v);
	free(v.slots);
	*problems = v.problems;
	return err;
}
