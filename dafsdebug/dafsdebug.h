/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dafsdebug - what the tool's files share: the request table and the state that requests work on.
 *
 * A request prints to standard output, with --json one JSON value. A problem that it can work
 * around goes through dafsdebug_note() and the request goes on; its status is a failure at the end
 * all the same.
 *
 * States of the image: none -> dafsdebug_open -> open -> dafsdebug_close -> none.
 */
#ifndef DAFSDEBUG_DAFSDEBUG_H
#define DAFSDEBUG_DAFSDEBUG_H

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/value.h"
#include "job/inspect.h"

/* Flags of a request's row. */
#define DAFSDEBUG_NO_IMAGE 0x1 /* works without an open image */
#define DAFSDEBUG_PAGED	   0x2 /* what it prints goes through the pager */
#define DAFSDEBUG_BITMAPS  0x4 /* looks at bitmaps: not with -c */
#define DAFSDEBUG_PENDING  0x8 /* looks at what is pending */

/* How to open an image. */
struct dafsdebug_how {
	bool catastrophic; /* -c: neither checksums nor bitmaps nor the journal are looked at */
	bool no_csum;	   /* -n */
	uint64_t sb;	   /* -s: a backup superblock's block; 0: the primary one */
	uint32_t bs;	   /* -b: its block size; 0: find out */
};

struct dafsdebug {
	struct dafs_cli cli;
	struct dafsdebug_how how;
	const char *request; /* -R */
	const char *script;  /* -f */
	bool keep_going;     /* -k */
	const char *cache_dir; /* --cache; NULL: the usual place */
	struct dafs_image *img; /* NULL: none is open */
	bool pending;		/* there is a cache, and nobody has been told yet */
	uint32_t cwd;		/* the directory that paths begin at */
	errcode_t noted;	/* first problem that the running request has told of */
	bool quit;		/* the shell is to end */
};

extern const struct dafs_cli_cmd dafsdebug_requests[];

/* Open address, closing what was open. */
errcode_t dafsdebug_open(struct dafsdebug *dd, const char *address,
			 const struct dafsdebug_how *how);
void dafsdebug_close(struct dafsdebug *dd);

/* Run one request. What goes wrong has been printed when it returns. */
errcode_t dafsdebug_run(struct dafsdebug *dd, int argc, char **argv);

/* Run a line (-R), a script (-f; "-": standard input), the shell on a terminal. What goes wrong has
 * been printed; returned is the first failure. */
errcode_t dafsdebug_run_line(struct dafsdebug *dd, const char *line);
errcode_t dafsdebug_run_script(struct dafsdebug *dd, const char *file);
errcode_t dafsdebug_shell(struct dafsdebug *dd);

/* Standard output goes through the pager, when it is a terminal and there is one, until
 * dafsdebug_pager_end(). */
void dafsdebug_pager_begin(void);
void dafsdebug_pager_end(void);

/* Print a problem and remember it: the request goes on and fails at its end. Returns 0, or err when
 * there is no going on (memory, cancelled). */
errcode_t dafsdebug_note(struct dafsdebug *dd, errcode_t err);

/* The inode that a path or "<N>" names; without follow a symlink at the end is it itself. */
errcode_t dafsdebug_inode(struct dafsdebug *dd, const char *path, bool follow,
			  struct dafs_inspect *in);

/* The same with its mapping. Damage (checksum, mapping) is noted; in->mapped tells whether the
 * mapping is there. in is to be finished, on failure too. */
errcode_t dafsdebug_load(struct dafsdebug *dd, const char *path, bool follow,
			 struct dafs_inspect *in);

/* A new JSON object with --json, else NULL; dafsdebug_json_put prints it (NULL: nothing). */
struct json_object *dafsdebug_json(struct dafsdebug *dd);
void dafsdebug_json_put(struct json_object *out);
/* A new object as the next element of array. Borrowed. */
struct json_object *dafsdebug_json_element(struct json_object *array);

/* A name of the image as text: a backslash and what is not printable ASCII become \xNN, as debugfs
 * shows them; a hostile name cannot play with the terminal. Returns buf. */
#define DAFSDEBUG_NAME_ROOM (4 * EXT2_NAME_LEN + 1)
const char *dafsdebug_name_text(const char *name, size_t len, char buf[DAFSDEBUG_NAME_ROOM]);

/* A list of numbers of blocks or inodes from a request's operands. */
errcode_t dafsdebug_number(struct dafsdebug *dd, const char *text, uint64_t min, uint64_t max,
			   uint64_t *number);

/* Handlers, by file. */
errcode_t dafsdebug_open_req(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_close_req(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_help(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_quit(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_cd(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_pwd(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_ls(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_htree_dump(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_stat(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_ea_list(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_imap(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_testi(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_testb(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_icheck(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_ncheck(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_cat(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_dump(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_rdump(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_ex(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_blocks(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_bmap(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_frag(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_stats(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_freefrag(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_es(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_cache(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_resv(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_logdump(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_buddy(void *arg, const struct dafs_cli_args *args);
errcode_t dafsdebug_trace(void *arg, const struct dafs_cli_args *args);

#endif
