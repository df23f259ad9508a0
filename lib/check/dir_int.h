/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dir_int - one directory while it is looked at: what dir.c (blocks, chains of entries) and
 * dirent.c (single entries) share.
 */
#ifndef DAFS_CHECK_DIR_INT_H
#define DAFS_CHECK_DIR_INT_H

#include "check/check_int.h"

#include "image/dirblock.h"

#define DAFS_CK_ENTRY_MIN 12u

struct dafs_ck_look {
	struct dafs_ck_worker *w;
	struct dafs_ck_dir *dir;
	struct dafs_ck_dx *dx; /* NULL: not indexed, or given up */
	uint32_t seed;
	uint32_t policy;    /* encryption policy of the directory; 0: none */
	bool in_entry_hash; /* entries carry their hash */
	bool strict;	    /* names must be UTF-8 */
	/* the block at hand */
	uint64_t pblk;
	uint32_t lblk;
	uint8_t *buf;
	uint32_t room;	    /* bytes that entries fill */
	unsigned dot_state; /* 0: . comes next, 1: .., 2: neither */
	enum dafs_ck_dx_kind kind;
	bool changed;
	struct dafs_ck_vec renames; /* struct dafs_ck_renamed */
};

/* A name that stood twice, to be added anew. */
struct dafs_ck_renamed {
	uint32_t ino;
	uint8_t type, len;
	char name[256];
};
static inline struct dafs_dirent_disk *dafs_ck_entry(const struct dafs_ck_look *l, uint32_t off)
{
	return (struct dafs_dirent_disk *)(l->buf + off);
}

static inline uint32_t dafs_ck_entry_len(const struct dafs_ck_look *l,
					 const struct dafs_dirent_disk *de)
{
	return dafs_dirblock_len(l->w->ck->g.block_size, de->rec_len);
}

static inline void dafs_ck_entry_set_len(const struct dafs_ck_look *l, struct dafs_dirent_disk *de,
					 uint32_t len)
{
	de->rec_len = dafs_dirblock_store_len(l->w->ck->g.block_size, len);
}

/* . and .., which stand first. */
void dafs_ck_look_dot(struct dafs_ck_look *l, uint32_t off);
void dafs_ck_look_dotdot(struct dafs_ck_look *l, uint32_t off);
/* Any entry. True: it is to be cleared. */
bool dafs_ck_look_entry(struct dafs_ck_look *l, uint32_t off);
/* A finding about the entry at off, with its name. */
bool dafs_ck_find_entry(struct dafs_ck_look *l, unsigned code, uint32_t off, struct dafs_finding f);
#define DAFS_CK_FIND_ENTRY(l, name, off, ...)                                                      \
	dafs_ck_find_entry(l, DAFS_CK_##name, off, (struct dafs_finding){ __VA_ARGS__ })
/* Names that stood twice are added anew, under others. */
void dafs_ck_add_renamed(struct dafs_ck_look *l);

#endif
