/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place - where an image's cache lies, and that it is safe to use: a directory 0700 and regular
 * files 0600 of the caller's, no symlinks at the last step, nobody else's anything.
 * DAFS_ET_CACHE_PLACE names what is wrong.
 *
 * Everything is opened relative to the directory once it was checked. The directory is locked
 * (flock) while the cache is open.
 */
#ifndef DAFS_STORE_PLACE_H
#define DAFS_STORE_PLACE_H

#include "image/image.h"

struct dafs_place {
	struct dafs_ctx *ctx;
	char *path; /* absolute, without symlinks once opened */
	int fd;	    /* of the directory; -1: closed */
	bool made;  /* the directory was made by this open */
};

/* The path of img's cache: cache_dir, or IMAGE.dacache beside an image file
 * (IMAGE@OFFSET.dacache for a part of a file), or $XDG_STATE_HOME/dafs/UUID.dacache for a block
 * device. malloc'ed. ENOENT: no home to put it into. */
errcode_t dafs_place_path(struct dafs_image *img, const char *cache_dir, char **ret);

/* Open (with create: make) the directory and lock it, for writing alone or for reading with
 * others, waiting as ctx says. ENOENT when it is not there; DAFS_ET_LOCKED. Takes path over in
 * every case. */
errcode_t dafs_place_open(struct dafs_ctx *ctx, char *path, bool create, bool exclusive,
			  struct dafs_place *place);
/* Close; with remove (and nothing of others in it) the directory goes too. Safe on a zeroed
 * struct that was never opened. */
void dafs_place_close(struct dafs_place *place, bool remove);

/* Open a file in it: flags as open(2); with O_CREAT made 0600. ENOENT, DAFS_ET_CACHE_PLACE. */
errcode_t dafs_place_file(struct dafs_place *place, const char *name, int flags, int *fd);

/* Remove a file; one that is not there is fine. */
errcode_t dafs_place_unlink(struct dafs_place *place, const char *name);

/* Names of the directory are durable. Nothing with ctx->no_sync. */
errcode_t dafs_place_sync(struct dafs_place *place);

#endif
