/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * overlay - the names of a directory as a reader sees them: records in memory over the backing's
 * rows over the image.
 *
 * Names are looked up one by one and remembered, those that nobody has too: a command on one name
 * costs the same beside any number of others. When so many were asked for that reading all of them
 * at once would have cost no more, that is done instead, so that a long script or an import into a
 * large directory never becomes quadratic.
 */
#include "config.h"

#include "ns/ns_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/dircodec.h"
#include "image/icodec.h"

/* Look-ups that go unanswered by the table before everything is read: a few, and more for a large
 * directory. */
enum { LOOKUPS_AT_LEAST = 4, NAMES_PER_LOOKUP = 8, BLKS_PER_LOOKUP = 4 };

const struct dafs_dirhash *dafs_ns_fold(const struct dafs_ns *ns, const struct dafs_inode *dir)
{
	return (dir->iflags & EXT4_CASEFOLD_FL) && ns->img->has_casefold ? &ns->fold : NULL;
}

errcode_t dafs_ns_dir(struct dafs_ns *ns, struct dafs_inode *inode, struct dafs_dir **ret)
{
	struct dafs_dir *dir = inode->u.dir;

	*ret = NULL;
	if (!S_ISDIR(inode->mode))
		return ENOTDIR;
	if (!dir) {
		dir = dafs_dir_new();
		if (!dir)
			return ENOMEM;
		/* A row of the backing brings its directory part along, with counters: none,
		 * nothing pending. */
		dir->flags |= DAFS_DIR_PENDING_ALL;
		inode->u.dir = dir;
	}
	if (inode->state & DAFS_I_NEW)
		dir->flags |= DAFS_DIR_COMPLETE;
	if (!ns->backing || !(inode->marks & DAFS_NS_SAVED))
		dir->flags |= DAFS_DIR_PENDING_ALL;
	*ret = dir;
	return 0;
}

/* The image's inode of a directory, for the codec. */
static errcode_t raw_of(struct dafs_ns *ns, struct dafs_inode *inode,
			const struct ext2_inode_large **ret)
{
	struct dafs_dir *dir = inode->u.dir;
	size_t bytes = ns->img->inode_size < sizeof(struct ext2_inode_large)
			       ? sizeof(struct ext2_inode_large)
			       : ns->img->inode_size;
	errcode_t err;

	if (!dir->raw) {
		uint8_t *raw = calloc(1, bytes);

		if (!raw)
			return ENOMEM;
		err = dafs_icodec_read(ns->img, inode->ino, (struct ext2_inode_large *)raw, bytes);
		if (err) {
			free(raw);
			return err;
		}
		dir->raw = raw;
	}
	*ret = (const struct ext2_inode_large *)dir->raw;
	return 0;
}

/* --- the backing's rows --- */

struct load {
	struct dafs_ns *ns;
	struct dafs_inode *inode;
	const struct dafs_dirhash *fold;
};

/* A row becomes a record, unless a record knows better. The directory's counters include it
 * already. */
static errcode_t take_row(void *arg, const struct dafs_ns_name *row)
{
	struct load *load = arg;
	struct dafs_dir *dir = load->inode->u.dir;
	struct dafs_name *record;
	errcode_t err;

	if (dafs_dir_find(dir, load->fold, row->name, row->name_len))
		return 0;
	err = dafs_dir_get(dir, &load->ns->pool, load->fold, row->name, row->name_len, &record);
	if (err)
		return err;
	record->id = row->id;
	record->image_ino = row->image_ino;
	record->type = row->file_type;
	record->flags = DAFS_NAME_SAVED | (row->recased ? DAFS_NAME_RECASED : 0);
	return 0;
}

errcode_t dafs_ns_load_pending(struct dafs_ns *ns, struct dafs_inode *inode)
{
	struct load load = { ns, inode, dafs_ns_fold(ns, inode) };
	struct dafs_dir *dir;
	errcode_t err = dafs_ns_dir(ns, inode, &dir);

	if (err || (dir->flags & DAFS_DIR_PENDING_ALL))
		return err;
	err = ns->backing->load_names(ns->backing_arg, inode->id, take_row, &load);
	if (err)
		return err;
	if (!dafs_dir_counted(dir))
		return dafs_fail(ns->ctx, DAFS_ET_CACHE_DAMAGED,
				 "directory inode %llu: not as many names as its row counts",
				 (unsigned long long)inode->id);
	dir->flags |= DAFS_DIR_PENDING_ALL;
	return 0;
}

/* Look-ups that cost as much as reading all pending names does; none when that was done. */
static uint32_t lookups_for_pending(const struct dafs_dir *dir)
{
	return dir->flags & DAFS_DIR_PENDING_ALL
		       ? 0
		       : (dir->add_names + dir->del_names) / NAMES_PER_LOOKUP;
}

static errcode_t name_from_backing(struct load *load, const char *name, uint8_t len)
{
	struct dafs_ns *ns = load->ns;
	struct dafs_dir *dir = load->inode->u.dir;
	struct dafs_ns_name row;
	errcode_t err;

	/* Folded names cannot be looked up by their bytes. */
	if (load->fold || dir->pending_asked++ > LOOKUPS_AT_LEAST + lookups_for_pending(dir))
		return dafs_ns_load_pending(ns, load->inode);
	memset(&row, 0, sizeof(row));
	err = ns->backing->load_name(ns->backing_arg, load->inode->id, name, len, &row);
	if (err)
		return err == ENOENT ? 0 : err;
	row.name = name;
	row.name_len = len;
	return take_row(load, &row);
}

/* --- the image's names --- */

static bool is_dots(const char *name, size_t len)
{
	return len && name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

static errcode_t take_image_name(void *arg, const struct dafs_dirent_view *de)
{
	struct load *load = arg;
	struct dafs_name *record;
	errcode_t err;

	if (is_dots(de->name, de->name_len) ||
	    dafs_dir_find(load->inode->u.dir, load->fold, de->name, de->name_len))
		return 0;
	err = dafs_dir_get(load->inode->u.dir, &load->ns->pool, load->fold, de->name, de->name_len,
			   &record);
	if (err)
		return err;
	record->id = record->image_ino = de->ino;
	record->type = de->file_type;
	return 0;
}

static errcode_t load_image_names(struct load *load)
{
	const struct ext2_inode_large *raw;
	errcode_t err;

	/* Records of whiteouts must be there before, or the names they take away would come
	 * back. */
	err = dafs_ns_load_pending(load->ns, load->inode);
	if (!err)
		err = raw_of(load->ns, load->inode, &raw);
	if (!err)
		err = dafs_dircodec_iterate(load->ns->img, load->inode->ino, raw, take_image_name,
					    load);
	if (!err)
		load->inode->u.dir->flags |= DAFS_DIR_IMAGE_ALL;
	return err;
}

static errcode_t name_from_image(struct load *load, const char *name, uint8_t len)
{
	struct dafs_dir *dir = load->inode->u.dir;
	const struct ext2_inode_large *raw;
	struct dafs_dirent_view de;
	errcode_t err;

	/* A folded look-up would not tell how the image spells the name. Reading all of the image's
	 * names takes all that are pending, too. */
	if (load->fold ||
	    dir->image_asked++ > LOOKUPS_AT_LEAST + lookups_for_pending(dir) +
					 (load->inode->size >> load->ns->img->block_bits) /
						 BLKS_PER_LOOKUP)
		return load_image_names(load);
	err = raw_of(load->ns, load->inode, &raw);
	if (!err)
		err = dafs_dircodec_lookup(load->ns->img, load->inode->ino, raw, name, len, &de);
	if (err)
		return err == ENOENT ? 0 : err;
	de.name = name;
	de.name_len = len;
	return take_image_name(load, &de);
}

/* Nobody has the name: a record that says "nothing" answers the next time. Not where everything is
 * in the table anyway. */
static errcode_t remember_absent(struct load *load, const char *name, uint8_t len,
				 struct dafs_name **ret)
{
	struct dafs_dir *dir = load->inode->u.dir;

	if (dir->flags & (DAFS_DIR_COMPLETE | DAFS_DIR_IMAGE_ALL) &&
	    dir->flags & DAFS_DIR_PENDING_ALL)
		return 0;
	return dafs_dir_get(dir, &load->ns->pool, load->fold, name, len, ret);
}

errcode_t dafs_ns_name(struct dafs_ns *ns, struct dafs_inode *inode, const char *name,
		       size_t name_len, struct dafs_name **ret)
{
	struct load load = { ns, inode, dafs_ns_fold(ns, inode) };
	uint8_t len = (uint8_t)name_len;
	struct dafs_dir *dir;
	errcode_t err;

	*ret = NULL;
	err = dafs_ns_dir(ns, inode, &dir);
	if (err)
		return err;
	if (name_len > EXT2_NAME_LEN)
		return DAFS_ET_NAME_TOO_LONG;
	*ret = dafs_dir_find(dir, load.fold, name, len);
	if (!*ret && !(dir->flags & DAFS_DIR_PENDING_ALL)) {
		err = name_from_backing(&load, name, len);
		*ret = err ? NULL : dafs_dir_find(dir, load.fold, name, len);
	}
	if (!err && !*ret && !(dir->flags & (DAFS_DIR_COMPLETE | DAFS_DIR_IMAGE_ALL))) {
		err = name_from_image(&load, name, len);
		*ret = err ? NULL : dafs_dir_find(dir, load.fold, name, len);
	}
	return err || *ret ? err : remember_absent(&load, name, len, ret);
}

/* --- all names --- */

typedef errcode_t (*readdir_fn)(void *arg, const char *name, uint8_t name_len, uint64_t id,
				uint8_t file_type);

struct reading {
	struct load load;
	readdir_fn fn;
	void *arg;
};

static errcode_t read_image_name(void *arg, const struct dafs_dirent_view *de)
{
	struct reading *r = arg;

	if (is_dots(de->name, de->name_len) ||
	    dafs_dir_find(r->load.inode->u.dir, r->load.fold, de->name, de->name_len))
		return 0;
	return r->fn(r->arg, de->name, de->name_len, de->ino, de->file_type);
}

/* The type of a record's child; without the filetype feature directory entries do not tell. */
static errcode_t type_of(struct dafs_ns *ns, struct dafs_name *record)
{
	struct dafs_inode *child;
	errcode_t err;

	if (record->type)
		return 0;
	err = dafs_ns_inode(ns, record->id, &child);
	if (!err)
		record->type = dafs_icodec_file_type(child->mode);
	return err;
}

errcode_t dafs_ns_readdir(struct dafs_ns *ns, struct dafs_inode *inode, readdir_fn fn, void *arg)
{
	struct reading r = { { ns, inode, dafs_ns_fold(ns, inode) }, fn, arg };
	const struct ext2_inode_large *raw;
	struct dafs_name *record;
	struct dafs_dir *dir;
	errcode_t err;
	uint32_t i;

	err = dafs_ns_dir(ns, inode, &dir);
	if (!err)
		err = dafs_ns_load_pending(ns, inode);
	if (err)
		return err;
	/* A record stands for its name even when the image has it, so each comes once. */
	DAFS_PTAB_EACH(&dir->names, i, record) {
		if (!record->id)
			continue;
		err = type_of(ns, record);
		if (!err)
			err = fn(arg, record->name, record->len, record->id, record->type);
		if (err)
			return err;
	}
	if (dir->flags & (DAFS_DIR_COMPLETE | DAFS_DIR_IMAGE_ALL))
		return 0;
	err = raw_of(ns, inode, &raw);
	return err ? err : dafs_dircodec_iterate(ns->img, inode->ino, raw, read_image_name, &r);
}

static errcode_t stop_at_first(void *arg, const char *name, uint8_t name_len, uint64_t id,
			       uint8_t file_type)
{
	(void)arg, (void)name, (void)name_len, (void)id, (void)file_type;
	return ENOTEMPTY;
}

errcode_t dafs_ns_is_empty(struct dafs_ns *ns, struct dafs_inode *inode, bool *empty)
{
	struct dafs_dir *dir;
	errcode_t err = dafs_ns_dir(ns, inode, &dir);

	*empty = false;
	if (err)
		return err;
	/* The counters know of names that are not loaded. */
	if (dir->add_names || dir->flags & DAFS_DIR_COMPLETE) {
		*empty = !dir->add_names;
		return 0;
	}
	err = dafs_ns_readdir(ns, inode, stop_at_first, NULL);
	*empty = !err;
	return err == ENOTEMPTY ? 0 : err;
}

/* --- ".." --- */

errcode_t dafs_ns_image_dotdot(struct dafs_ns *ns, struct dafs_inode *inode, uint32_t *ino)
{
	const struct ext2_inode_large *raw;
	struct dafs_dirent_view de;
	struct dafs_dir *dir;
	errcode_t err;

	*ino = 0;
	err = dafs_ns_dir(ns, inode, &dir);
	if (err || (inode->state & DAFS_I_NEW))
		return err;
	err = raw_of(ns, inode, &raw);
	if (!err)
		err = dafs_dircodec_lookup(ns->img, inode->ino, raw, "..", 2, &de);
	if (!err)
		*ino = de.ino;
	return err;
}

errcode_t dafs_ns_dotdot(struct dafs_ns *ns, struct dafs_inode *inode, struct dafs_inode **ret)
{
	errcode_t err = 0;
	uint32_t ino;

	*ret = NULL;
	if (inode->id == DAFS_ID_ROOT)
		inode->parent = DAFS_ID_ROOT;
	if (!inode->parent) {
		err = dafs_ns_image_dotdot(ns, inode, &ino);
		if (err)
			return err == ENOENT
				       ? dafs_fail(ns->ctx, DAFS_ET_CORRUPT_DIR,
						   "directory inode %u has no \"..\"", inode->ino)
				       : err;
		inode->parent = ino;
	}
	err = dafs_ns_inode(ns, inode->parent, ret);
	if (err == ENOENT || (!err && !S_ISDIR((*ret)->mode)))
		return dafs_fail(ns->ctx, DAFS_ET_CORRUPT_DIR,
				 "\"..\" of inode %llu leads to %llu, which is no directory",
				 (unsigned long long)inode->id, (unsigned long long)inode->parent);
	return err;
}
