/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ialloc - see ialloc.h. Numbers of a group are given in rising order, so a cursor a group says
 * what was taken; groups without a free number are skipped by a forest of links that get shorter as
 * they are walked.
 */
#include "config.h"

#include "alloc/ialloc.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

struct group {
	const uint8_t *bits; /* NULL: not read, or all free */
	uint32_t cursor;     /* numbers below are in use */
	uint32_t next; /* itself, or where to look instead: nothing is free from here to there */
	bool looked;
};

struct dafs_ialloc {
	struct dafs_ctx *ctx;
	struct dafs_ispace space;
	struct group *groups; /* one more than there are: the end */
};

errcode_t dafs_ialloc_new(struct dafs_ctx *ctx, const struct dafs_ispace *space,
			  struct dafs_ialloc **ret)
{
	struct dafs_ialloc *ia = calloc(1, sizeof(*ia));

	*ret = NULL;
	if (!ia)
		return ENOMEM;
	ia->ctx = ctx;
	ia->space = *space;
	ia->groups = calloc((size_t)space->groups + 1, sizeof(*ia->groups));
	if (!ia->groups) {
		free(ia);
		return ENOMEM;
	}
	for (uint32_t g = 0; g <= space->groups; g++)
		ia->groups[g].next = g;
	*ret = ia;
	return 0;
}

void dafs_ialloc_free(struct dafs_ialloc *ia)
{
	if (!ia)
		return;
	free(ia->groups);
	free(ia);
}

/* The first group from g on that may have a free number. */
static uint32_t first_with_room(struct dafs_ialloc *ia, uint32_t g)
{
	struct group *groups = ia->groups;

	while (groups[g].next != g) {
		groups[g].next = groups[groups[g].next].next;
		g = groups[g].next;
	}
	return g;
}

/* Numbers up to the first that is not reserved count as in use. */
static uint32_t first_cursor(const struct dafs_ialloc *ia, uint32_t g)
{
	uint64_t before = (uint64_t)g * ia->space.inodes_per_group,
		 reserved = ia->space.first_ino - 1;

	if (reserved <= before)
		return 0;
	return reserved - before < ia->space.inodes_per_group ? (uint32_t)(reserved - before)
							      : ia->space.inodes_per_group;
}

/* Take the lowest free number of group g; *ino 0 when there is none. */
static errcode_t pick_in(struct dafs_ialloc *ia, uint32_t g, uint32_t *ino)
{
	struct group *grp = &ia->groups[g];
	uint32_t per_group = ia->space.inodes_per_group;

	*ino = 0;
	if (!grp->looked) {
		errcode_t err;

		if (!ia->space.free(ia->space.arg, g))
			return 0;
		err = ia->space.bits(ia->space.arg, g, &grp->bits);
		if (err)
			return err;
		grp->looked = true;
		grp->cursor = first_cursor(ia, g);
	}
	if (grp->bits)
		grp->cursor = dafs_bits_next(grp->bits, per_group, grp->cursor, false);
	if (grp->cursor < per_group)
		*ino = g * per_group + ++grp->cursor;
	return 0;
}

errcode_t dafs_ialloc_pick(struct dafs_ialloc *ia, uint32_t parent_ino, uint32_t *ino)
{
	uint32_t start = parent_ino ? (parent_ino - 1) / ia->space.inodes_per_group : 0, g;
	errcode_t err = 0;

	*ino = 0;
	if (start >= ia->space.groups)
		start = 0;
	g = first_with_room(ia, start);
	while (!err && !*ino) {
		if (g == ia->space.groups && start) {
			start = 0;
			g = first_with_room(ia, 0);
		}
		if (g == ia->space.groups)
			return dafs_fail(ia->ctx, DAFS_ET_NOINODES, "directory inode %u",
					 parent_ino);
		err = pick_in(ia, g, ino);
		if (!err && !*ino) {
			ia->groups[g].next = g + 1;
			g = first_with_room(ia, g);
		}
	}
	return err;
}
