/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ns - see ns.h: the object, its table of inodes, and what is to be saved.
 */
#include "config.h"

#include "ns/ns.h"

#include "ns/ns_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "image/group.h"
#include "write/quota.h"
#include "image/icodec.h"

/* A million of them are held during an import (doc/PERFORMANCE.md). */
_Static_assert(sizeof(struct dafs_inode) <= 112, "struct dafs_inode grew");

static uint32_t hash_id(uint64_t id)
{
	return (uint32_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

static uint32_t hash_of(const void *item)
{
	return hash_id(((const struct dafs_inode *)item)->id);
}

void dafs_ns_seed(struct dafs_ns *ns)
{
	uint8_t uuid[16] = { 0 };
	uint64_t print = 0;

	/* An image that is being made has no fingerprint yet; then zeros do. */
	if (dafs_image_fingerprint(ns->img, uuid, &print))
		print = 0;
	ns->generation_seed =
		dafs_crc32c(dafs_crc32c(~0u, uuid, sizeof(uuid)), &print, sizeof(print));
}

errcode_t dafs_ns_new(struct dafs_image *img, struct dafs_write *w,
		      const struct dafs_ns_backing *backing, void *backing_arg,
		      struct dafs_ns **ret)
{
	struct dafs_ns_counters counters = { 0 };
	struct dafs_ns *ns;
	errcode_t err;

	*ret = NULL;
	assert(w->img == img);
	if (backing) {
		err = backing->load_counters(backing_arg, &counters);
		if (err)
			return err;
		w->next_seq = counters.next_seq;
	}
	ns = calloc(1, sizeof(*ns));
	if (!ns)
		return ENOMEM;
	ns->img = img;
	ns->ctx = img->ctx;
	ns->w = w;
	ns->backing = backing;
	ns->backing_arg = backing_arg;
	ns->next_serial = counters.next_serial;
	if (img->has_casefold) {
		err = dafs_dirhash_init(img, EXT4_CASEFOLD_FL, dafs_dirhash_default(img),
					&ns->fold);
		if (err) {
			free(ns);
			return err;
		}
	}
	dafs_pool_init(&ns->pool);
	dafs_ns_seed(ns);
	*ret = ns;
	return 0;
}

void dafs_ns_free(struct dafs_ns *ns)
{
	struct dafs_inode *inode;
	uint32_t i;

	if (!ns)
		return;
	DAFS_PTAB_EACH(&ns->inodes, i, inode)
		dafs_ns_fini_inode(ns, inode);
	dafs_ptab_fini(&ns->inodes);
	dafs_pool_fini(&ns->pool);
	free(ns->changed);
	free(ns->dead);
	free(ns);
}

struct dafs_image *dafs_ns_image(struct dafs_ns *ns)
{
	return ns->img;
}

struct dafs_write *dafs_ns_writer(struct dafs_ns *ns)
{
	return ns->w;
}

void dafs_ns_counters(const struct dafs_ns *ns, struct dafs_ns_counters *out)
{
	out->next_serial = ns->next_serial;
	out->next_seq = ns->w->next_seq;
}

void dafs_ns_reserve_init(struct dafs_image *img, struct dafs_reserve *rs)
{
	memset(rs, 0, sizeof(*rs));
	rs->free_clusters = dafs_group_total_free_clusters(img);
	rs->free_inodes = dafs_group_total_free_inodes(img);
	rs->root_clusters = ext2fs_r_blocks_count(img->fs->super) >> img->cluster_bits;
	rs->resv_clusters = dafs_quota_keep_clusters(img);
}

struct dafs_inode *dafs_ns_find(const struct dafs_ns *ns, uint64_t id)
{
	struct dafs_inode *inode;
	uint32_t at;

	for (inode = dafs_ptab_first(&ns->inodes, hash_id(id), &at); inode;
	     inode = dafs_ptab_next(&ns->inodes, &at)) {
		if (inode->id == id)
			return inode;
	}
	return NULL;
}

struct dafs_inode *dafs_ns_new_inode(struct dafs_ns *ns, uint64_t id)
{
	struct dafs_inode *inode;

	if (dafs_ptab_reserve(&ns->inodes, hash_of))
		return NULL;
	inode = dafs_pool_get(&ns->pool, sizeof(*inode));
	if (!inode)
		return NULL;
	inode->id = id;
	dafs_ptab_add(&ns->inodes, inode, hash_id(id));
	return inode;
}

void dafs_ns_fini_inode(struct dafs_ns *ns, struct dafs_inode *inode)
{
	if (S_ISREG(inode->mode) && !(inode->state & DAFS_I_WHOLE))
		dafs_file_free(inode->u.file);
	else if (S_ISDIR(inode->mode))
		dafs_dir_free(inode->u.dir, &ns->pool);
	else if (S_ISLNK(inode->mode))
		free(inode->u.target);
	inode->u.any = NULL;
	inode->state &= (uint16_t) ~(DAFS_I_WHOLE | DAFS_I_XLOADED);
	dafs_xattr_free(&inode->xattrs);
}

void dafs_ns_free_inode(struct dafs_ns *ns, struct dafs_inode *inode)
{
	dafs_ns_fini_inode(ns, inode);
	dafs_ptab_remove(&ns->inodes, inode, hash_id(inode->id), hash_of);
	dafs_pool_put(&ns->pool, inode, sizeof(*inode));
}

void dafs_ns_rehash(struct dafs_ns *ns, struct dafs_inode *inode, uint64_t id)
{
	dafs_ptab_remove(&ns->inodes, inode, hash_id(inode->id), hash_of);
	inode->id = id;
	dafs_ptab_add(&ns->inodes, inode, hash_id(id));
}

static errcode_t load_from_image(struct dafs_ns *ns, struct dafs_inode *inode)
{
	union dafs_inode_buf buf;
	uint64_t id = inode->id;
	errcode_t err;

	if (id >= DAFS_ID_NEW)
		return ns->backing ? dafs_fail(ns->ctx, DAFS_ET_CACHE_DAMAGED,
					       "pending inode %llu is missing",
					       (unsigned long long)(id - DAFS_ID_NEW))
				   : ENOENT;
	if (!id || id > ns->img->fs->super->s_inodes_count)
		return ENOENT;
	err = dafs_icodec_read(ns->img, (uint32_t)id, &buf.raw, sizeof(buf));
	if (err)
		return err;
	if (!buf.raw.i_links_count || !buf.raw.i_mode)
		return ENOENT;
	return dafs_icodec_decode(ns->img, (uint32_t)id, &buf.raw, inode);
}

errcode_t dafs_ns_inode(struct dafs_ns *ns, uint64_t id, struct dafs_inode **ret)
{
	struct dafs_inode *inode = dafs_ns_find(ns, id);
	errcode_t err = ENOENT;

	*ret = NULL;
	if (inode) {
		if (inode->marks & DAFS_NS_FREED)
			return ENOENT;
		*ret = inode;
		return 0;
	}
	inode = dafs_ns_new_inode(ns, id);
	if (!inode)
		return ENOMEM;
	if (ns->backing)
		err = ns->backing->load_inode(ns->backing_arg, inode);
	if (!err)
		inode->marks = DAFS_NS_SAVED;
	else if (err == ENOENT)
		err = load_from_image(ns, inode);
	if (err) {
		inode->id = id;
		dafs_ns_free_inode(ns, inode);
		return err;
	}
	*ret = inode;
	return 0;
}

errcode_t dafs_ns_reserve_changed(struct dafs_ns *ns, size_t n)
{
	struct dafs_inode **v;
	size_t room;

	if (!ns->backing || ns->nchanged + n <= ns->changed_room)
		return 0;
	room = ns->changed_room * 2 > ns->nchanged + n ? ns->changed_room * 2
						       : ns->nchanged + n + 16;
	v = realloc(ns->changed, room * sizeof(*v));
	if (!v)
		return ENOMEM;
	ns->changed = v;
	ns->changed_room = room;
	return 0;
}

void dafs_ns_mark(struct dafs_ns *ns, struct dafs_inode *inode, unsigned state)
{
	inode->state |= (uint16_t)state;
	if (!ns->backing || (inode->marks & DAFS_NS_CHANGED))
		return;
	assert(ns->nchanged < ns->changed_room);
	inode->marks |= DAFS_NS_CHANGED;
	ns->changed[ns->nchanged++] = inode;
}

static void describe(const struct dafs_name *record, struct dafs_ns_name *out)
{
	*out = (struct dafs_ns_name){
		.id = record->id,
		.name = record->name,
		.image_ino = record->image_ino,
		.name_len = record->len,
		.file_type = record->id ? record->type : 0,
		.recased = record->flags & DAFS_NAME_RECASED,
	};
}

static int by_name(const void *a, const void *b)
{
	const struct dafs_name *x = *(struct dafs_name *const *)a,
			       *y = *(struct dafs_name *const *)b;
	int diff = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	return diff ? diff : (int)x->len - (int)y->len;
}

static errcode_t emit_name(const struct dafs_inode *dir, const struct dafs_name *record,
			   const struct dafs_ns_change_ops *ops, void *arg)
{
	bool saved = record->flags & DAFS_NAME_SAVED;
	struct dafs_ns_name name;

	describe(record, &name);
	if (dafs_name_pending(record))
		return ops->name(arg, dir->id, &name,
				 saved ? DAFS_NS_ROW_CHANGED : DAFS_NS_ROW_NEW);
	return saved ? ops->name(arg, dir->id, &name, DAFS_NS_ROW_GONE) : 0;
}

/* Rows of one directory lie side by side in name order: writing them so is what the backing likes
 * best. */
static errcode_t emit_names(const struct dafs_inode *dir, const struct dafs_ns_change_ops *ops,
			    void *arg)
{
	const struct dafs_ptab *names = &dir->u.dir->names;
	const struct dafs_name *record, **sorted;
	errcode_t err = 0;
	size_t n = 0;
	uint32_t i;

	sorted = malloc((names->n + 1u) * sizeof(*sorted));
	if (!sorted)
		return ENOMEM;
	DAFS_PTAB_EACH(names, i, record) {
		if (record->flags & DAFS_NAME_CHANGED)
			sorted[n++] = record;
	}
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t k = 0; !err && k < n; k++)
		err = emit_name(dir, sorted[k], ops, arg);
	free(sorted);
	return err;
}

static bool has_changed_names(const struct dafs_inode *inode)
{
	return S_ISDIR(inode->mode) && inode->u.dir && (inode->u.dir->flags & DAFS_DIR_CHANGED);
}

static errcode_t emit_inode(const struct dafs_inode *inode, const struct dafs_ns_change_ops *ops,
			    void *arg)
{
	bool saved = inode->marks & DAFS_NS_SAVED;

	if (!(inode->marks & DAFS_NS_FREED) && (inode->state & DAFS_I_DIRTY))
		return ops->inode(arg, inode, saved ? DAFS_NS_ROW_CHANGED : DAFS_NS_ROW_NEW);
	return saved ? ops->inode(arg, inode, DAFS_NS_ROW_GONE) : 0;
}

static errcode_t emit_all(struct dafs_ns *ns, const struct dafs_ns_change_ops *ops, void *arg)
{
	errcode_t err = 0;

	for (size_t i = 0; !err && i < ns->ndead; i++) {
		struct dafs_ns_name name;

		describe(ns->dead[i].name, &name);
		err = ops->name(arg, ns->dead[i].dir, &name, DAFS_NS_ROW_GONE);
	}
	for (size_t i = 0; !err && i < ns->nchanged; i++) {
		err = emit_inode(ns->changed[i], ops, arg);
		if (!err && has_changed_names(ns->changed[i]))
			err = emit_names(ns->changed[i], ops, arg);
	}
	return err;
}

/* The rows are as the records: forget what changed, and records that only stood for a row to be
 * deleted. */
static void names_saved(struct dafs_ns *ns, struct dafs_dir *dir)
{
	for (uint32_t i = 0; i < dir->names.room; i++) {
		struct dafs_name *record;

		/* Dropping one may move another into its slot. */
		while ((record = dir->names.slot[i]) && (record->flags & DAFS_NAME_CHANGED)) {
			record->flags &= (uint8_t) ~(DAFS_NAME_CHANGED | DAFS_NAME_SAVED);
			if (dafs_name_pending(record))
				record->flags |= DAFS_NAME_SAVED;
			else if (!record->id && !record->image_ino)
				dafs_dir_drop(dir, &ns->pool, record);
		}
	}
	dir->flags &= (uint8_t)~DAFS_DIR_CHANGED;
}

void dafs_ns_unchanged(struct dafs_ns *ns)
{
	for (size_t i = 0; i < ns->ndead; i++)
		dafs_name_free(&ns->pool, ns->dead[i].name);
	ns->ndead = 0;
	for (size_t i = 0; i < ns->nchanged; i++) {
		struct dafs_inode *inode = ns->changed[i];

		inode->marks &= ~(uint32_t)(DAFS_NS_CHANGED | DAFS_NS_SAVED);
		if (has_changed_names(inode))
			names_saved(ns, inode->u.dir);
		if (inode->marks & DAFS_NS_FREED)
			dafs_ns_free_inode(ns, inode);
		else if (inode->state & DAFS_I_DIRTY)
			inode->marks |= DAFS_NS_SAVED;
	}
	ns->nchanged = 0;
}

errcode_t dafs_ns_changed(struct dafs_ns *ns, const struct dafs_ns_change_ops *ops, void *arg)
{
	errcode_t err = emit_all(ns, ops, arg);

	if (!err)
		dafs_ns_unchanged(ns);
	return err;
}

static errcode_t load_one(void *arg, uint64_t id)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_inode(arg, id, &inode);

	/* Freed since, its row not deleted yet. */
	return err == ENOENT ? 0 : err;
}

errcode_t dafs_ns_load_all(struct dafs_ns *ns)
{
	struct dafs_inode *inode;
	errcode_t err;
	uint32_t i;

	if (!ns->backing)
		return 0;
	err = ns->backing->load_all(ns->backing_arg, load_one, ns);
	if (err)
		return err;
	DAFS_PTAB_EACH(&ns->inodes, i, inode) {
		/* A removed directory's names say which links go with it. */
		if (!S_ISDIR(inode->mode) ||
		    !(inode->state & (DAFS_I_NAMES | DAFS_I_NEW | DAFS_I_GONE)) ||
		    (inode->marks & DAFS_NS_FREED))
			continue;
		err = dafs_ns_load_pending(ns, inode);
		if (err)
			return err;
	}
	return 0;
}
