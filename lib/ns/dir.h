/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dir - a directory's names in memory: what is pending, and what was looked up in the image.
 *
 * Memory only: no loading here (overlay.c does that), so that the table can be tested by itself.
 * One record a name:
 *   id == image_ino                  as in the image (a remembered look-up)
 *   id, no image_ino                 added
 *   id and image_ino, different      replaced
 *   image_ino, no id                 taken away (a whiteout)
 *   neither                          nothing: nobody has the name (a remembered look-up), or its
 *   row is to be deleted
 *
 * Invariants (dafs_dir_verify): no two records have one name; the counters equal the records when
 * all pending ones are loaded.
 */
#ifndef DAFS_NS_DIR_H
#define DAFS_NS_DIR_H

#include "image/dirhash.h"
#include "ns/pool.h"
#include "ns/ptab.h"

enum dafs_name_flags {
	DAFS_NAME_SAVED = 1,   /* the backing has a row for it */
	DAFS_NAME_CHANGED = 2, /* the row is to be written or deleted */
	DAFS_NAME_RECASED =
		4, /* casefolded: the image spells it otherwise, so it is pending even with an equal id */
};

struct dafs_name {
	uint64_t id;
	uint32_t image_ino;
	uint32_t hash;
	uint8_t flags;
	uint8_t type; /* EXT2_FT_* of id, 0 when not known */
	uint8_t len;
	char name[]; /* len bytes */
};

enum dafs_dir_flags {
	DAFS_DIR_COMPLETE = 1,	  /* a new directory: the image has nothing */
	DAFS_DIR_IMAGE_ALL = 2,	  /* every name of the image is in the table */
	DAFS_DIR_PENDING_ALL = 4, /* every pending name is in the table */
	DAFS_DIR_CHANGED = 8,	  /* some name is CHANGED */
};

struct dafs_dir {
	struct dafs_ptab names;
	uint64_t add_bytes; /* directory entry bytes of the pending names that have a child */
	uint32_t add_names; /* how many those are */
	uint32_t del_names; /* pending names that the image has (replaced, taken away) */
	uint32_t
		held_nlink; /* change set that leaves subdirectories out: nlink as it was before; 0: not touched */
	uint32_t pending_asked,
		image_asked; /* names looked up in the backing, in the image, one by one */
	uint8_t flags;
	uint8_t *raw; /* the image's inode, for look-ups; NULL: not read yet */
};

/* How names compare is the caller's to say: fold is NULL for a directory whose names compare
 * bytewise, else its folded hash. */

/* An empty one. NULL: no memory. */
struct dafs_dir *dafs_dir_new(void);
/* Free it, its records to the pool. NULL is fine. */
void dafs_dir_free(struct dafs_dir *dir, struct dafs_pool *pool);

/* The record of a name; NULL: none. */
struct dafs_name *dafs_dir_find(const struct dafs_dir *dir, const struct dafs_dirhash *fold,
				const char *name, uint8_t len);

/* The record of a name, made (as "nothing") when absent. ENOMEM. */
errcode_t dafs_dir_get(struct dafs_dir *dir, struct dafs_pool *pool,
		       const struct dafs_dirhash *fold, const char *name, uint8_t len,
		       struct dafs_name **ret);

/* Casefolded: give a record that leads nowhere the spelling of an equal name, in a new record that
 * takes its place: *name becomes that one, CHANGED, and RECASED where the image has the name. The
 * old record leaves the table and is the caller's, to be given to dafs_name_free. ENOMEM leaves all
 * as it was. */
errcode_t dafs_dir_respell(struct dafs_dir *dir, struct dafs_pool *pool, struct dafs_name **name,
			   const char *text, uint8_t len, struct dafs_name **old);
void dafs_name_free(struct dafs_pool *pool, struct dafs_name *name);

/* Take a record out of the table and free it. It must not be pending. */
void dafs_dir_drop(struct dafs_dir *dir, struct dafs_pool *pool, struct dafs_name *name);

/* Let name lead to id (0: nothing) from now on, keeping the counters and marking it CHANGED. */
void dafs_dir_set(struct dafs_dir *dir, struct dafs_name *name, uint64_t id, uint8_t type);

/* Does it differ from the image? */
static inline bool dafs_name_pending(const struct dafs_name *name)
{
	return name->id != name->image_ino || (name->flags & DAFS_NAME_RECASED);
}

/* Bytes a directory entry of that name takes. */
static inline uint32_t dafs_name_entry_bytes(uint8_t len)
{
	return (8u + len + 3) & ~3u;
}

/* All pending names are in the table: counted anew. */
void dafs_dir_recount(struct dafs_dir *dir);

/* Do the counters fit, all pending names being in the table? */
bool dafs_dir_counted(const struct dafs_dir *dir);

bool dafs_dir_verify(const struct dafs_dir *dir);

#endif
