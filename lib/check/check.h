/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check - find what is wrong with an ext2/ext3/ext4 file system, and say it as values.
 *
 * The checker trusts nothing: it reads the superblock and the descriptors by itself, goes on after
 * every error, and never needs libext2fs to open the image. What it finds are findings (code,
 * where, found, expected); who runs it prints them.
 *
 * Repairs. A run that repairs looks, repairs in memory what it may, and looks again as long as that
 * changed anything: what it leaves is what another run would find. Then all of it is committed at
 * once (image/txn.h), so that an interrupted run leaves the image as it was or repaired. Before
 * anything is looked at, the journal is replayed.
 *
 * Order of passes, each a row of the table in check.c:
 *   0 superblock, descriptors, journal, resize inode 1 inodes and block maps 1b blocks claimed more
 *   than once 2 directories 3 connectivity 4 link counts 5 bitmaps and summaries 6 orphans and
 *   quota
 *
 * Verdict (e2fsck's, by default): what e2fsck tells without counting it against the file system
 * (free counts of the superblock, missing lost+found, notes about the superblock) is of class
 * SUMMARY and counts with opts.strict only.
 */
#ifndef DAFS_CHECK_CHECK_H
#define DAFS_CHECK_CHECK_H

#include "image/dev.h"

enum dafs_check_class {
	DAFS_CHECK_NOTE,    /* worth saying; never counts */
	DAFS_CHECK_SUMMARY, /* counts with opts.strict only */
	DAFS_CHECK_DAMAGE,  /* the file system is not as it should be */
	DAFS_CHECK_FATAL,   /* and the check cannot go on */
};

enum dafs_check_done {
	DAFS_CHECK_LEFT, /* found, nothing done */
	DAFS_CHECK_FIXED,
};

enum dafs_check_mode {
	DAFS_CHECK_NO,	  /* change nothing */
	DAFS_CHECK_PREEN, /* repair when all that is wrong can be repaired safely, else nothing */
	DAFS_CHECK_ASK,	  /* report->ask decides */
	DAFS_CHECK_YES,	  /* repair everything */
};

/* One thing found. Numbers that do not apply are 0. Strings are the checker's, valid during the
 * callback. */
struct dafs_finding {
	uint16_t code;	      /* enum dafs_ck_code (problem.h) */
	uint8_t done;	      /* enum dafs_check_done */
	uint8_t name_len;     /* of name */
	uint32_t ino;	      /* the inode it is about */
	uint32_t dir;	      /* the directory that holds the entry it is about */
	uint32_t grp;	      /* block group, where the message has %g */
	uint32_t ref;	      /* an inode that an entry or attribute refers to */
	uint64_t blk;	      /* physical block */
	uint64_t lblk;	      /* logical block of ino or dir */
	uint64_t len;	      /* how many (blocks, inodes) */
	uint64_t off;	      /* byte offset in a directory block */
	uint64_t found, want; /* the value on disk, and what it should be */
	const char *name;     /* name of a directory entry (bytes, not terminated) or NULL */
	const char *text;     /* a field's name or another word of the message, or NULL */
};

/* What a code means: rows of the problem table. */
struct dafs_check_info {
	const char *id; /* stable name for scripts: "inode.dtime" */
	uint8_t class;	/* enum dafs_check_class */
	/* 0 none, 1 safe enough for preen, 2 on request only, 3 on request only, and preen goes on
	 * without */
	uint8_t repair;
	const char *ask; /* what the repair is called: "clear", "fix", ...; NULL without a repair */
	const char *message; /* template, see dafs_check_format */
	const char *help;    /* one line for the manual: what it means */
};
/* Row of a code; NULL past the last one. */
const struct dafs_check_info *dafs_check_info(unsigned code);

/* The message of a finding as one line without newline into buf (always terminated, cut when it
 * does not fit). */
void dafs_check_format(const struct dafs_finding *f, char *buf, size_t len);

struct dafs_check_opts {
	size_t size;
	enum dafs_check_mode mode;
	bool force;  /* check although it is marked clean */
	bool strict; /* summary findings count */
	uint64_t
		backup_sb; /* -b: superblock at this block; 0: the primary, copies when it is bad */
	uint32_t backup_bs; /* -B: block size for finding it */
	/* -z: what is changed is saved here first (image/undo.h); NULL: nowhere. Not with mode
	 * NO. */
	const char *undo_path;
	bool journal_only;   /* replay the journal and look no further */
	bool fixes_only;     /* not a word of what could only be better */
	bool to_extents;     /* block maps become extents */
	bool check_encoding; /* of names in all casefolded directories, not in strict ones only */
	bool leave_sound;    /* nothing wrong: nothing is written, not even when it was checked */
	bool tidy_dirs;	     /* directories that become smaller or get an index are written anew */
	/* Blocks to be added to the list of bad blocks, or (bad_replace) to be all of it; with
	 * modes ASK and YES. The array stays the caller's. */
	const uint64_t *bad_blks;
	size_t nbad;
	bool bad_replace;
	/* Every file gets blocks of its own, and the feature shared_blocks goes; mode YES. Without
	 * room for that the run ends with ENOSPC and nothing is changed. */
	bool unshare;
	bool discard;	   /* give free blocks back to the host, if nothing is left wrong */
	bool forget_cache; /* what the host has of the image in memory, first */
};

struct dafs_check_result {
	uint64_t found[DAFS_CHECK_FATAL + 1]; /* findings by class */
	uint64_t left[DAFS_CHECK_FATAL + 1];  /* of them, not repaired */
	uint64_t fixed[DAFS_CHECK_FATAL + 1]; /* of them, repaired */
	uint64_t repairs;    /* but for notes and the copy of the journal's block map */
	bool replayed;	     /* the journal held transactions, which were replayed */
	bool torn;	     /* ... but for some that were damaged */
	bool committed;	     /* the repairs are in the image */
	bool refused;	     /* mode PREEN: a person has to decide, nothing was repaired */
	bool made_valid;     /* it was not marked as cleanly unmounted and is now */
	bool clean_skipped;  /* marked clean and not forced: nothing was looked at */
	bool needs_recovery; /* the journal holds transactions that were not looked at */
	bool opened;	     /* the numbers below are known */
	uint64_t inodes, inodes_used, blocks, blocks_used;
	uint64_t dirs, regs, links, fast_links, chars, block_devs, fifos, socks, bad_blocks;
	uint64_t ind_blks, dind_blks, tind_blks; /* inodes that have such blocks */
	uint64_t depth[8];			 /* inodes by depth of their extent tree */
	uint64_t fragmented;			 /* files and directories not in one piece */
	double seconds[8];			 /* wall time of each pass */
	unsigned rounds;
	uint64_t reads, read_bytes, writes, written_bytes, syncs; /* of the device */
	uint64_t discarded_bytes;
	bool bad_list;	 /* the list of bad blocks was changed, as was asked for */
	bool unshared;	 /* no block is shared any more, as was asked for */
	uint64_t tidied; /* directories written anew because it was asked for */
};

struct dafs_check_report {
	void *arg;
	void (*pass)(void *arg, unsigned pass, const char *title); /* a pass begins; may be NULL */
	void (*finding)(void *arg,
			const struct dafs_finding *f); /* in a stable order; may be NULL */
	/* Mode ASK: may this be repaired? Called before finding. NULL: no. */
	bool (*ask)(void *arg, const struct dafs_finding *f);
	struct dafs_check_result result;
};

/* Check the image at address. Returns 0 when the check ran to its end, whatever it found
 * (report->result says); an error when it could not (not a file system of ours, I/O, memory):
 * result then holds what was found until then. The verdict and the order of the findings do not
 * depend on ctx->threads. */
errcode_t dafs_check_run(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_check_opts *opts, struct dafs_check_report *report);

/* e2fsck's exit status for a result: 1 when something was repaired (notes do not count), 4
 * when damage is left (with strict: also summaries) or preen refused. A check that could not be
 * done is the error's matter (8). */
int dafs_check_status(const struct dafs_check_opts *opts, const struct dafs_check_result *result);

#endif
