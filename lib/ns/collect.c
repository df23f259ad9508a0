/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * collect - change sets: which inodes, in which order, with which names of their directories.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/icodec.h"

/* --- the names of one directory, asked for by the planner --- */

static int add_order(const void *a, const void *b)
{
	const struct dafs_dirent_add *x = a, *y = b;
	int diff = memcmp(x->name, y->name, x->name_len < y->name_len ? x->name_len : y->name_len);

	return diff ? diff : (int)x->name_len - (int)y->name_len;
}

static int del_order(const void *a, const void *b)
{
	const struct dafs_dirent_del *x = a, *y = b;
	int diff = memcmp(x->name, y->name, x->name_len < y->name_len ? x->name_len : y->name_len);

	return diff ? diff : (int)x->name_len - (int)y->name_len;
}

static errcode_t fill_names(struct dafs_ns_collection *col, const struct dafs_dir *dir,
			    struct dafs_dirplan_req *req)
{
	struct dafs_dirent_add *add = malloc((dir->add_names + 1u) * sizeof(*add));
	struct dafs_dirent_del *del = malloc((dir->del_names + 1u) * sizeof(*del));
	const struct dafs_name *record;
	struct dafs_inode *child;
	errcode_t err = 0;
	uint32_t i;

	req->add = add;
	req->del = del;
	if (!add || !del)
		return ENOMEM;
	DAFS_PTAB_EACH(&dir->names, i, record) {
		if (!dafs_name_pending(record) ||
		    (!col->all && !dafs_ns_name_taken(col->ns, record)))
			continue;
		if (record->image_ino)
			del[req->ndel++] = (struct dafs_dirent_del){ record->name, record->len };
		if (!record->id)
			continue;
		child = dafs_ns_find(col->ns, record->id);
		if (!child) {
			err = dafs_fail(col->ns->ctx, DAFS_ET_CACHE_DAMAGED,
					"name \"%.*s\" leads to inode %llu, which is missing",
					record->len, record->name, (unsigned long long)record->id);
			break;
		}
		add[req->nadd++] = (struct dafs_dirent_add){ record->name, record->len, child };
	}
	if (!err) {
		qsort(add, req->nadd, sizeof(*add), add_order);
		qsort(del, req->ndel, sizeof(*del), del_order);
	}
	return err;
}

static void dir_done(void *arg, struct dafs_inode *inode, struct dafs_dirplan_req *req)
{
	(void)arg, (void)inode;
	free((void *)req->add);
	free((void *)req->del);
	memset(req, 0, sizeof(*req));
}

/* What ".." is to lead to; NULL: as in the image. A removed directory stays where the image has
 * it. */
static errcode_t new_dotdot(struct dafs_ns *ns, struct dafs_inode *inode,
			    const struct dafs_inode **ret)
{
	struct dafs_inode *parent;
	uint32_t dotdot;
	errcode_t err;

	*ret = NULL;
	if (inode->marks & DAFS_NS_LOSING)
		return 0;
	err = dafs_ns_image_dotdot(ns, inode, &dotdot);
	if (!err)
		err = dafs_ns_dotdot(ns, inode, &parent);
	if (!err && dotdot != parent->id)
		*ret = parent;
	return err;
}

static errcode_t dir_begin(void *arg, struct dafs_inode *inode, struct dafs_dirplan_req *req)
{
	struct dafs_ns_collection *col = arg;
	struct dafs_dir *dir;
	errcode_t err;

	memset(req, 0, sizeof(*req));
	err = dafs_ns_dir(col->ns, inode, &dir);
	if (!err)
		err = new_dotdot(col->ns, inode, &req->dotdot);
	if (err)
		return err;
	req->iflags = inode->iflags;
	if (!(inode->state & DAFS_I_NEW)) {
		req->ino = inode->ino;
		req->raw = (const struct ext2_inode_large *)dir->raw;
	}
	err = fill_names(col, dir, req);
	if (err)
		dir_done(arg, inode, req);
	return err;
}

static struct dafs_inode *inode_of(void *arg, uint64_t id)
{
	struct dafs_ns_collection *col = arg;
	struct dafs_inode *inode;

	return dafs_ns_inode(col->ns, id, &inode) ? NULL : inode;
}

static const char *path_of(void *arg, const struct dafs_inode *inode, char *buf)
{
	struct dafs_ns_collection *col = arg;

	return dafs_ns_path(col->ns, inode, buf, 4096);
}

/* --- link counts --- */

struct subdirs {
	uint32_t n;
};

static errcode_t count_subdir(void *arg, const char *name, uint8_t name_len, uint64_t id,
			      uint8_t file_type)
{
	(void)name, (void)name_len, (void)id;
	if (file_type == EXT2_FT_DIR)
		((struct subdirs *)arg)->n++;
	return 0;
}

static bool is_dir(const struct dafs_ns *ns, uint64_t id)
{
	const struct dafs_inode *inode = id ? dafs_ns_find(ns, id) : NULL;

	return inode && S_ISDIR(inode->mode);
}

/* Once past the limit a count is not kept any more: count anew, it may have come below. Without
 * file types in the directory entries that would mean reading every inode; then it stays as the
 * kernel leaves it. */
static errcode_t recount(struct dafs_ns *ns, struct dafs_inode *inode)
{
	struct subdirs subdirs = { 0 };
	errcode_t err;

	if (inode->nlink != 1 || !ns->img->has_filetype)
		return 0;
	err = dafs_ns_readdir(ns, inode, count_subdir, &subdirs);
	if (!err && subdirs.n + 2 <= DAFS_LINK_MAX)
		inode->nlink = subdirs.n + 2;
	return err;
}

/* Subdirectories that the set leaves behind do not count yet. */
static void hold_links(struct dafs_ns *ns, struct dafs_inode *inode)
{
	const struct dafs_name *record;
	uint32_t links = inode->nlink, i;

	DAFS_PTAB_EACH(&inode->u.dir->names, i, record) {
		if (!dafs_name_pending(record) || dafs_ns_name_taken(ns, record))
			continue;
		links -= is_dir(ns, record->id);
		links += is_dir(ns, record->image_ino);
	}
	if (links == inode->nlink || inode->nlink == 1)
		return;
	inode->u.dir->held_nlink = inode->nlink;
	inode->nlink = links > DAFS_LINK_MAX ? 1 : links;
}

/* A removed directory that stays is, for the length of the flush, one that loses names. All that
 * the image has in it is pending, so what is left can be counted. */
static void begin_losing(struct dafs_ns *ns, struct dafs_inode *inode)
{
	const struct dafs_name *record;
	uint32_t links = 2, i;

	DAFS_PTAB_EACH(&inode->u.dir->names, i, record) {
		if (dafs_name_pending(record) && !dafs_ns_name_taken(ns, record))
			links += is_dir(ns, record->image_ino);
	}
	inode->nlink = links > DAFS_LINK_MAX ? 1 : links;
	inode->state = (uint16_t)((inode->state & ~DAFS_I_GONE) | DAFS_I_NAMES | DAFS_I_ATTR);
}

void dafs_ns_end_losing(struct dafs_ns_collection *col, struct dafs_inode *inode)
{
	if (!S_ISDIR(inode->mode)) {
		dafs_ns_shrink_end(&col->shrink);
		return;
	}
	inode->marks &= ~(uint32_t)DAFS_NS_LOSING;
	inode->state = DAFS_I_GONE;
	inode->nlink = 0;
}

static errcode_t set_links(struct dafs_ns *ns, const struct dafs_ns_collection *col,
			   struct dafs_inode *inode)
{
	errcode_t err;

	if (!S_ISDIR(inode->mode) || !inode->u.dir ||
	    (inode->state & DAFS_I_GONE) || (inode->marks & DAFS_NS_LOSING) ||
	    !(inode->state & (DAFS_I_NAMES | DAFS_I_NEW)))
		return 0;
	err = recount(ns, inode);
	if (!err && !col->all)
		hold_links(ns, inode);
	return err;
}

/* An empty set, and everything pending loaded. */
static errcode_t begin_set(struct dafs_ns *ns, struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col;
	errcode_t err = dafs_ns_may_change(ns);

	memset(cs, 0, sizeof(*cs));
	if (err)
		return err;
	col = calloc(1, sizeof(*col));
	if (!col)
		return ENOMEM;
	col->ns = ns;
	cs->arg = col;
	cs->dir_begin = dir_begin;
	cs->dir_done = dir_done;
	cs->inode_of = inode_of;
	cs->path_of = path_of;
	cs->limits = ns->w->limits;
	return dafs_ns_load_all(ns);
}

/* The chosen inodes are the set's from now on. On failure nothing is. */
static errcode_t take_set(struct dafs_ns *ns, struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col = cs->arg;
	/* Settling cannot fail: what it may have to mark for saving finds room. */
	errcode_t err = dafs_ns_reserve_changed(ns, ns->inodes.n);

	if (err)
		return err;
	/* Only a backing asks for them. */
	if (ns->backing) {
		col->ids = malloc((cs->n + 1) * sizeof(*col->ids));
		if (!col->ids)
			return ENOMEM;
	}
	ns->collected = true;
	for (size_t i = 0; i < cs->n; i++) {
		if (col->ids) {
			col->ids[i].id = cs->inodes[i]->id;
			col->ids[i].rows = S_ISDIR(cs->inodes[i]->mode) &&
					   (cs->inodes[i]->state & (DAFS_I_NEW | DAFS_I_GONE)) &&
					   !(cs->inodes[i]->marks & DAFS_NS_LOSING);
		}
		cs->inodes[i]->marks |= DAFS_NS_TAKEN;
		/* What loses something keeps what it was promised. */
		if (cs->inodes[i]->marks & DAFS_NS_LOSING)
			continue;
		col->promise =
			dafs_ns_promise_add(col->promise, dafs_ns_promised(ns->img, cs->inodes[i]));
	}
	for (size_t i = 0; i < cs->n && !err; i++) {
		if (!(cs->inodes[i]->marks & DAFS_NS_LOSING))
			continue;
		if (S_ISDIR(cs->inodes[i]->mode))
			begin_losing(ns, cs->inodes[i]);
		else
			err = dafs_ns_shrink_begin(ns, cs->inodes[i], &col->shrink);
	}
	return err;
}

static int by_id(const void *a, const void *b)
{
	const struct dafs_inode *x = *(struct dafs_inode *const *)a,
				*y = *(struct dafs_inode *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* The file that is cut becomes its first part; files that others left in part are named to the
 * planner. */
static errcode_t begin_part(struct dafs_ns *ns, struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col = cs->arg;
	struct dafs_inode *inode;
	errcode_t err = 0;
	uint32_t i;

	if (col->part.inode)
		err = dafs_part_begin(ns->w, col->part.inode, col->part.cut_lblk, &col->part);
	if (!err && col->part.inode)
		cs->part = &col->part;
	if (err || col->all)
		return err;
	col->waiting = malloc((ns->inodes.n + 1) * sizeof(struct dafs_inode *));
	if (!col->waiting)
		return ENOMEM;
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		if ((inode->state & (DAFS_I_PART | DAFS_I_DATA | DAFS_I_GONE)) ==
			    (DAFS_I_PART | DAFS_I_DATA) &&
		    !(inode->marks & (DAFS_NS_TAKEN | DAFS_NS_FREED)))
			col->waiting[cs->nwaiting++] = inode;
	}
	if (cs->nwaiting > 1)
		qsort(col->waiting, cs->nwaiting, sizeof(struct dafs_inode *), by_id);
	cs->waiting = col->waiting;
	return 0;
}

errcode_t dafs_ns_collect(struct dafs_ns *ns, const struct dafs_ns_selection *sel,
			  struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col;
	errcode_t err = begin_set(ns, cs);

	col = cs->arg;
	if (!err)
		err = dafs_ns_select(ns, sel, cs, col);
	if (!err)
		err = take_set(ns, cs);
	for (size_t i = 0; !err && i < cs->n; i++)
		err = set_links(ns, col, cs->inodes[i]);
	if (!err)
		err = begin_part(ns, cs);
	if (err)
		dafs_ns_uncollect(ns, cs);
	return err;
}

errcode_t dafs_ns_recollect(struct dafs_ns *ns, const struct dafs_ns_flushed *flushed, size_t n,
			    struct dafs_changeset *cs)
{
	errcode_t err = begin_set(ns, cs);

	if (!err)
		err = dafs_ns_reselect(ns, flushed, n, cs, cs->arg);
	if (!err)
		err = take_set(ns, cs);
	if (!err)
		err = begin_part(ns, cs);
	if (err)
		dafs_ns_uncollect(ns, cs);
	return err;
}

void dafs_ns_uncollect(struct dafs_ns *ns, struct dafs_changeset *cs)
{
	struct dafs_ns_collection *col = cs->arg;

	if (!col)
		return;
	for (size_t i = 0; !col->settled && i < cs->n; i++) {
		struct dafs_inode *inode = cs->inodes[i];

		if ((inode->marks & DAFS_NS_LOSING) && (inode->marks & DAFS_NS_TAKEN))
			dafs_ns_end_losing(col, inode);
		inode->marks &= ~(uint32_t)(DAFS_NS_TAKEN | DAFS_NS_LOSING);
		if (S_ISDIR(inode->mode) && inode->u.dir && inode->u.dir->held_nlink) {
			inode->nlink = inode->u.dir->held_nlink;
			inode->u.dir->held_nlink = 0;
		}
	}
	if (cs->part && !col->settled)
		dafs_part_cancel(&col->part);
	ns->collected = false;
	free(col->ids);
	free(col->waiting);
	free(col);
	free(cs->inodes);
	memset(cs, 0, sizeof(*cs));
}

bool dafs_ns_covers_all(const struct dafs_changeset *cs)
{
	return ((const struct dafs_ns_collection *)cs->arg)->all;
}

bool dafs_ns_shrinks(const struct dafs_changeset *cs)
{
	return ((const struct dafs_ns_collection *)cs->arg)->shrink.inode != NULL;
}

uint32_t dafs_ns_cut_of(const struct dafs_changeset *cs, const struct dafs_inode *inode)
{
	if (inode->marks & DAFS_NS_LOSING)
		return 0;
	return cs->part && cs->part->inode == inode ? cs->part->cut_lblk : DAFS_RANGE_END;
}

const struct dafs_ns_collected *dafs_ns_collected(const struct dafs_changeset *cs, size_t *n)
{
	const struct dafs_ns_collection *col = cs->arg;

	*n = col->ids ? cs->n : 0;
	return col->ids;
}
