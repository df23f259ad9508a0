/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store - the offline cache on disk: pending metadata in an SQLite database, pending data in a block-aligned spool.
 *
 * Place: IMAGE.dacache/ beside an image file, $XDG_STATE_HOME/dafs/<uuid>.dacache/ for a device, or where the caller says. Directory 0700, files 0600,
 * owned by the caller; symlinks and foreign owners are refused (DAFS_ET_CACHE_PLACE). Files: cache.db, spool, spool.sum (crc32c a block).
 *
 * Rules: spool bytes are durable before the row that names them; a slot is reused only after the transaction that dropped it is durable; a
 * command is one SQLite transaction (begin .. commit), a script too. Bound to UUID and fingerprint of the image (DAFS_ET_CACHE_FOREIGN, _STALE).
 *
 * Flush protocol, exactly once: dafs_store_flush_begin writes a flush id row (durable) with the fingerprint the image has and the one it
 * will have is unknown; the id travels with the journal transaction as its tag; after the commit dafs_store_flush_end drops the flushed
 * rows and binds the cache to the image's new fingerprint in one transaction. On open with a flush row present, the image tells whether the tag was
 * committed: then the rows are dropped, else they are pending again.
 */
#ifndef DAFS_STORE_STORE_H
#define DAFS_STORE_STORE_H

#include "ns/ns.h"

struct dafs_store;

enum dafs_store_flags {
	DAFS_STORE_CREATE = 1,
	DAFS_STORE_RDONLY = 2,
	DAFS_STORE_EPHEMERAL = 4,	/* one process: no database, an unnamed spool file made at the first put */
};

/* Does the image (by address) have a cache with something pending? Cheap: looks for the place. */
errcode_t dafs_store_exists(struct dafs_ctx *ctx, struct dafs_image *img, const char *cache_dir, bool *exists);

/* Open the cache of img; settles an interrupted flush first (needs a writable image then). ENOENT without CREATE. */
errcode_t dafs_store_open(struct dafs_ctx *ctx, struct dafs_image *img, const char *cache_dir, int flags, struct dafs_store **ret);
void dafs_store_close(struct dafs_store *st);

/* The parts that others plug in. */
const struct dafs_ns_backing *dafs_store_backing(void);		/* arg: the store */
const struct dafs_stash_ops *dafs_store_stash(void);		/* arg: the store */
errcode_t dafs_store_load_reserve(struct dafs_store *st, struct dafs_reserve *rs);

/* One command: everything between begin and commit is saved, or (rollback) nothing. commit saves ns' changes and the reserve. */
errcode_t dafs_store_begin(struct dafs_store *st);
errcode_t dafs_store_commit(struct dafs_store *st, struct dafs_ns *ns, const struct dafs_reserve *rs);
void dafs_store_rollback(struct dafs_store *st);

/* Flush bracket (see above). tag is the store's, 16 bytes, valid until flush_end. */
errcode_t dafs_store_flush_begin(struct dafs_store *st, const void **tag, size_t *tag_len);
errcode_t dafs_store_flush_end(struct dafs_store *st, const struct dafs_changeset *cs, bool everything);

/* Drop everything pending and remove the cache. */
errcode_t dafs_store_discard(struct dafs_store *st);

struct dafs_store_status {
	size_t size;
	uint64_t inodes, names, data_bytes, spool_bytes, reserved_clusters, promised_clusters;
	uint64_t commands;
	char place[4096];
};
errcode_t dafs_store_status(struct dafs_store *st, struct dafs_store_status *out);

#endif
