/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session - one open image with its name space and its cache: what every job works on, and the
 * public struct dafs.
 *
 * Two kinds. With the offline cache (DAFS_OPEN_CACHE) every begin .. end bracket is saved before it
 * returns, and the flush settles the cache with the image. In memory only (mkdafs -d, import
 * --flush, a program's own use) host files are referred to, other bytes go to an unnamed spool
 * file, and what is not flushed is dropped at close.
 *
 * Transition -> function:
 *   closed -> dafs_session_open -> idle
 *   idle   -> dafs_begin -> in a command -> dafs_end -> idle (saved) | dafs_cancel -> idle (as
 *          before dafs_begin)
 *   idle   -> dafs_session_flush -> idle (in the image)
 *   any    -> dafs_close -> closed
 *
 * Invariant: outside a bracket the name space holds nothing that the cache does not hold (cache
 * kind).
 */
#ifndef DAFS_JOB_SESSION_H
#define DAFS_JOB_SESSION_H

#include "dafs/dafs.h"
#include "ns/ns.h"
#include "store/store.h"

struct dafs_hostsrcs;	/* job/hostsrc.h */

struct dafs {
	struct dafs_ctx *ctx;
	struct dafs_image *img;
	struct dafs_store *store;
	struct dafs_ns *ns;
	struct dafs_reserve reserve;
	struct dafs_write write;
	struct dafs_hostsrcs
		*hosts; /* host files that pending ranges refer to; NULL until the first */
	bool cached;			/* the offline cache keeps what is pending */
	bool adopt; /* the flush comes in this process: refer to host files instead of spooling them */
	bool in_command;
	bool ignore_quota;		/* nobody is refused for a quota limit */
	bool no_xattrs;			/* imports leave extended attributes out */
};

enum dafs_session_flags {
	DAFS_SESSION_RW = 1,
	DAFS_SESSION_CACHE = 2,		/* use the offline cache (made when absent, with RW) */
	DAFS_SESSION_ADOPT = 4,		/* see struct dafs.adopt */
};

/* Open address. With CACHE and not RW: an absent cache is no error, there is just nothing pending.
 * Without CACHE: an image with a cache that holds something is refused (DAFS_ET_CACHE_PENDING), or,
 * read-only, announced by a notice. */
errcode_t dafs_session_open(struct dafs_ctx *ctx, const char *address, int flags,
			    const char *cache_dir, struct dafs **ret);

/* A session in memory over an image that is already open (mkfs -d). Takes img over, on failure
 * too. */
errcode_t dafs_session_adopt_image(struct dafs_ctx *ctx, struct dafs_image *img, struct dafs **ret);

/* What a flush is asked for beside struct dafs_flush_opts. */
struct dafs_flush_request {
	struct dafs_flush_opts opts;
	char *const *paths;		/* only these and what they need; NULL: everything */
	size_t npaths;
	bool dry_run;			/* stop after the plan */
	/* Sees the plan before anything is written (and with dry_run instead of it). NULL:
	 * nobody. */
	errcode_t (*plan_fn)(void *arg, struct dafs *fs, struct dafs_plan *plan);
	void *plan_arg;
};

/* Collect, plan, write, commit, settle. Outside a bracket. On failure image and cache are as they
 * were. */
errcode_t dafs_session_flush(struct dafs *fs, const struct dafs_flush_request *req,
			     struct dafs_flush_stats *stats);

/* Name a failure that has no detail yet: "path" (operations of lower layers may have said more
 * already). */
errcode_t dafs_session_fail(struct dafs *fs, errcode_t err, const char *path);

/* Choose blocks inside each write of this session from now on, as ext4 does without delayed
 * allocation, or, when_low, only while the kernel's rule for low room says so (dafs_reserve_low).
 * What was chosen is saved with the command. DAFS_ET_FEATURE with bigalloc. */
errcode_t dafs_session_direct(struct dafs *fs, bool when_low);

/* Refuse nobody for a quota limit in this session, as the kernel does not refuse who has
 * CAP_SYS_RESOURCE. Usage is counted. */
void dafs_session_ignore_quota(struct dafs *fs);

/* Between two operations of a bracket, when nobody holds an inode: what was changed so far goes
 * from memory into the cache's open transaction, and is read from there again when it is asked for.
 * Does nothing where the bracket is not saved, or with dafs_session_direct. On failure the bracket
 * can only be cancelled. */
errcode_t dafs_session_relieve(struct dafs *fs);

/* Drop what is pending for the image and remove its cache, whatever state the cache is in. ENOENT
 * is no error: nothing was pending. */
errcode_t dafs_session_discard(struct dafs_ctx *ctx, const char *address, const char *cache_dir);

#endif
