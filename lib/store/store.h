/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store - the offline cache on disk: pending metadata in an SQLite database, pending data in a
 * block-aligned spool.
 *
 * Place: IMAGE.dacache/ beside an image file (IMAGE@START.dacache/ for one that begins inside
 * the file), $XDG_STATE_HOME/dafs/UUID.dacache/ for a block device, or where the caller says.
 * The folder is 0700, its files 0600, all the caller's own; symlinks, other owners and wider
 * modes are refused (DAFS_ET_CACHE_PLACE). doc/FORMAT.md says what is in them.
 *
 * Rules:
 *  1. spool bytes are durable before the row that names them; a slot is reused only after the
 *     transaction that dropped it;
 *  2. a command is one SQLite transaction (begin .. commit), a script too;
 *  3. the cache is bound to the image's UUID (DAFS_ET_CACHE_FOREIGN) and fingerprint
 *     (DAFS_ET_CACHE_STALE);
 *  4. a cache exists on disk only while something is pending: a flush of everything removes it.
 *
 * Exactly once: dafs_store_flush_begin makes a flush tag durable, the tag travels with the
 * image's transaction (txn.h), dafs_store_flush_end drops what was flushed. Opening a cache with
 * a tag in it asks the image whether that commit happened: then the flushed rows go, else they
 * are pending again.
 */
#ifndef DAFS_STORE_STORE_H
#define DAFS_STORE_STORE_H

#include "ns/ns.h"

struct dafs_store;

enum dafs_store_flags {
	DAFS_STORE_CREATE = 1,
	DAFS_STORE_RDONLY = 2,
	DAFS_STORE_EPHEMERAL =
		4, /* one process: no database, an unnamed spool file made at the first put */
};

/* Does the image have a cache in its usual place (or in cache_dir)? Only looks. */
errcode_t dafs_store_exists(struct dafs_image *img, const char *cache_dir, bool *exists);

/* Open the cache of img; settles an interrupted flush first (needs a writable image then).
 * ENOENT without CREATE where there is none; DAFS_ET_CACHE_* say what is wrong with one. With
 * CREATE the cache appears on disk with the first dafs_store_begin. */
errcode_t dafs_store_open(struct dafs_image *img, const char *cache_dir, int flags,
			  struct dafs_store **ret);

/* Close; what was not committed is dropped. NULL is fine. */
void dafs_store_close(struct dafs_store *st);

/* The parts that others plug in; their arg is the store. */
const struct dafs_ns_backing *dafs_store_backing(void);
const struct dafs_stash_ops *dafs_store_stash(void);

/* Add what is promised in the cache to counters that describe the image alone
 * (dafs_ns_reserve_init). */
errcode_t dafs_store_load_reserve(struct dafs_store *st, struct dafs_reserve *rs);

/* What owners with quota limits take by what is pending, into limits as the image has them;
 * commits save it (from ns' writer). */
struct dafs_qlimit;
errcode_t dafs_store_load_limits(struct dafs_store *st, struct dafs_qlimit *limits);

/* One command: everything between begin and commit is saved, or (rollback) nothing. commit saves
 * ns' changes and the reserve; an ephemeral store has nothing to save. A failed commit is to be
 * followed by rollback.
 * save, in between: ns' changes so far become rows that this process can read and nobody else,
 * and that rollback takes back. A failed one is to be followed by rollback too. */
errcode_t dafs_store_begin(struct dafs_store *st);
errcode_t dafs_store_save(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs);
errcode_t dafs_store_commit(struct dafs_store *st, struct dafs_ns *ns,
			    const struct dafs_reserve *rs);
void dafs_store_rollback(struct dafs_store *st);

/* Flush bracket. begin: *tag is the store's until end. end, after dafs_ns_settled and before
 * dafs_ns_uncollect: drops what cs held, saves what ns still has pending, and removes the cache
 * when that is nothing. abort: the flush did not happen. */
errcode_t dafs_store_flush_begin(struct dafs_store *st, const struct dafs_changeset *cs,
				 struct dafs_plan *plan, const void **tag, size_t *tag_len);
errcode_t dafs_store_flush_end(struct dafs_store *st, const struct dafs_changeset *cs,
			       struct dafs_ns *ns, const struct dafs_reserve *rs);
void dafs_store_flush_abort(struct dafs_store *st);

/* Remove the cache of img, whatever state it is in, without opening it. ENOENT: there is none. */
errcode_t dafs_store_remove(struct dafs_image *img, const char *cache_dir);

struct dafs_store_status {
	size_t size;		/* sizeof(struct dafs_store_status) */
	uint64_t inodes, names; /* pending */
	uint64_t spool_bytes;	/* of the spool file */
	uint64_t free_bytes;	/* of that reusable */
	uint64_t commands;	/* brackets committed since the cache was made */
	char place[4096];	/* the folder; "" for none */
};
errcode_t dafs_store_status(struct dafs_store *st, struct dafs_store_status *out);

/* What was done in the database since it was opened: for tests that a command costs what it
 * changes. Zero without one. */
struct dafs_store_effort {
	uint64_t rows;	/* read */
	uint64_t steps; /* of SQLite's machine, over the statements that are kept */
	uint64_t pages; /* read from the file */
};
void dafs_store_effort(struct dafs_store *st, struct dafs_store_effort *out);

/* Check the database and every block of the spool that is pending against its checksum. Problems
 * go to report, one line each; *problems counts them. */
errcode_t dafs_store_verify(struct dafs_store *st, void (*report)(void *arg, const char *line),
			    void *arg, uint64_t *problems);

#endif
