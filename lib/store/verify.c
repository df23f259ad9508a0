/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * verify - a pending cache by itself: the database's own structure, every row, every pending
 * block against its checksum, every slot of the spool used once or free, and through the name
 * space names, links and space (DESIGN.md, section 4).
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verify {
	struct dafs_store *st;
	struct dafs_ns *ns;
	void (*report)(void *arg, const char *line);
	void *arg;
	uint64_t problems;
	uint8_t *claimed; /* a bit a slot: in use or free */
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

/* Each row of sql is a problem (a row "ok" is none). */
static errcode_t check_query(struct verify *v, const char *what, const char *sql)
{
	struct dafs_db *db = &v->st->db;
	sqlite3_stmt *stmt = NULL;
	bool row = false;
	errcode_t err = 0;

	if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK)
		err = dafs_db_error(db, sqlite3_errcode(db->handle));
	while (!err && !(err = dafs_db_step(db, stmt, &row)) && row) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		if (text && strcmp(text, "ok"))
			say(v, "%s %s", what, text);
	}
	sqlite3_finalize(stmt);
	/* What is too broken to be read is a finding, not a failure to check. */
	if (err == DAFS_ET_CACHE_DAMAGED) {
		say(v, "%s", v->st->ctx->detail);
		err = 0;
	}
	return err;
}

static errcode_t check_database(struct verify *v)
{
	errcode_t err = check_query(v, "database:", "PRAGMA integrity_check(20)");

	/* Of pages that lead to one another in a circle a query would not come to an end. */
	if (err || v->problems)
		return err;
	err = check_query(v, "data without its inode",
			  "SELECT DISTINCT id FROM run WHERE id NOT IN (SELECT id FROM inode)");
	if (!err)
		err = check_query(
			v, "names without their directory",
			"SELECT DISTINCT dir FROM name WHERE dir NOT IN (SELECT id FROM inode)");
	return err;
}

/* --- slots --- */

static void claim(struct verify *v, const char *what, uint64_t id, uint64_t first, uint64_t n)
{
	uint64_t end = v->st->spool.end_blks;

	if (first > end || n > end - first) {
		say(v, "%s %" PRIu64 ": spool slots %" PRIu64 " to %" PRIu64 " of %" PRIu64, what,
		    id, first, first + n, end);
		return;
	}
	for (uint64_t slot = first; slot < first + n; slot++) {
		if (v->claimed[slot / 8] & (1u << slot % 8)) {
			say(v, "%s %" PRIu64 ": spool slot %" PRIu64 " has another use", what, id,
			    slot);
			return;
		}
		v->claimed[slot / 8] |= (uint8_t)(1u << slot % 8);
	}
}

static void check_runs(struct verify *v, const struct dafs_inode *inode)
{
	struct dafs_spool *sp = &v->st->spool;
	struct dafs_page_run run;

	for (uint32_t at = 0; dafs_pagecache_find(&inode->u.file->pages, at, UINT32_MAX, &run);
	     at = run.lblk + run.len) {
		uint64_t first = run.src_off_bytes / sp->block_size;

		if (!run.src)
			continue;
		claim(v, "inode", inode->id, first, run.len);
		if (dafs_spool_check(sp, first, run.len))
			say(v, "inode %" PRIu64 ", blocks %u to %u: %s", inode->id, run.lblk,
			    run.lblk + run.len, v->st->ctx->detail);
	}
}

static errcode_t check_free(struct verify *v)
{
	sqlite3_stmt *stmt;
	bool row;
	errcode_t err = dafs_db_use(&v->st->db, DAFS_DB_SLOT_ALL, &stmt);

	while (!err && !(err = dafs_db_step(&v->st->db, stmt, &row)) && row) {
		uint64_t first = (uint64_t)sqlite3_column_int64(stmt, 0);

		claim(v, "free run", first, first, (uint64_t)sqlite3_column_int64(stmt, 1));
	}
	return err;
}

static void check_unclaimed(struct verify *v)
{
	uint64_t lost = 0;

	for (uint64_t slot = 0; slot < v->st->spool.end_blks; slot++)
		lost += !(v->claimed[slot / 8] & (1u << slot % 8));
	if (lost)
		say(v, "%" PRIu64 " spool slots are neither in use nor free", lost);
}

/* --- inodes --- */

static errcode_t check_inode(void *arg, uint64_t id)
{
	struct verify *v = arg;
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_inode(v->ns, id, &inode);

	if (err == ENOMEM)
		return err;
	if (err)
		say(v, "%s", v->st->ctx->detail);
	else if (S_ISREG(inode->mode) && inode->u.file)
		check_runs(v, inode);
	return 0;
}

static errcode_t check_pending(struct verify *v)
{
	struct dafs_store *st = v->st;
	struct dafs_reserve rs;
	struct dafs_write w = {
		.img = st->img, .reserve = &rs, .stash = dafs_store_stash(), .stash_arg = st
	};
	errcode_t err;

	dafs_ns_reserve_init(st->img, &rs);
	err = dafs_store_load_reserve(st, &rs);
	if (err == DAFS_ET_CACHE_DAMAGED) {
		say(v, "%s", st->ctx->detail);
		err = 0;
	}
	if (!err)
		err = dafs_ns_new(st->img, &w, &dafs_load_backing, st, &v->ns);
	if (!err)
		err = dafs_load_backing.load_all(st, check_inode, v);
	if (err == DAFS_ET_CACHE_DAMAGED) {
		say(v, "%s", st->ctx->detail);
		err = 0;
	}
	if (!err)
		v->problems += dafs_ns_check(v->ns, DAFS_NS_VERIFY_ALL, v->report, v->arg);
	dafs_ns_free(v->ns);
	return err;
}

errcode_t dafs_store_verify(struct dafs_store *st, void (*report)(void *arg, const char *line),
			    void *arg, uint64_t *problems)
{
	struct verify v = { .st = st, .report = report, .arg = arg };
	errcode_t err;

	*problems = 0;
	if (!st->db.handle)
		return 0;
	v.claimed = calloc(1, st->spool.end_blks / 8 + 1);
	err = v.claimed ? check_database(&v) : ENOMEM;
	if (!err)
		err = check_pending(&v);
	if (!err)
		err = check_free(&v);
	if (!err)
		check_unclaimed(&v);
	free(v.claimed);
	*problems = v.problems;
	return err;
}
