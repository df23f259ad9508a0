/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qlimit - see qlimit.h.
 *
 * An owner's usage is base (the image's) and pending, which is below nothing where more was removed
 * than added.
 */
#include "config.h"

#include "write/qlimit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/etree.h"
#include "image/icodec.h"
#include "write/quota.h"

struct owner {
	struct dafs_quota_entry base;
	int64_t inodes, bytes; /* pending */
	uint64_t blk_sec, inode_sec;
	bool changed; /* not as it was saved */
};

struct kind {		 /* one type */
	struct owner *v; /* with limits only, ascending ids */
	size_t n;
	struct dafs_quota_grace grace;
};

struct refusal {
	enum dafs_quota_type type;
	uint32_t id;
	bool inodes, soft;
	uint64_t limit; /* in inodes, or in units of 1024 bytes */
};

struct dafs_qlimit {
	struct dafs_image *img;
	struct kind kinds[DAFS_QUOTA_TYPES];
	struct refusal refused; /* the last one */
	bool ignored;
};

/* --- from the image --- */

static bool has_limit(const struct dafs_quota_entry *e)
{
	return e->blk_hard || e->blk_soft || e->inode_hard || e->inode_soft;
}

static errcode_t load_kind(struct dafs_image *img, enum dafs_quota_type type, struct kind *kind)
{
	struct dafs_quota_entry *entries;
	size_t n;
	errcode_t err = dafs_quota_read(img, type, &entries, &n, &kind->grace);

	if (err)
		return err;
	for (size_t i = 0; i < n; i++)
		kind->n += has_limit(&entries[i]);
	kind->v = kind->n ? calloc(kind->n, sizeof(*kind->v)) : NULL;
	if (kind->n && !kind->v)
		err = ENOMEM;
	kind->n = 0;
	for (size_t i = 0; i < n && !err; i++) {
		if (has_limit(&entries[i]))
			kind->v[kind->n++] = (struct owner){ .base = entries[i],
							     .blk_sec = entries[i].blk_sec,
							     .inode_sec = entries[i].inode_sec };
	}
	free(entries);
	return err;
}

static void free_kinds(struct kind kinds[DAFS_QUOTA_TYPES])
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++)
		free(kinds[t].v);
}

static errcode_t load_kinds(struct dafs_image *img, struct kind kinds[DAFS_QUOTA_TYPES])
{
	errcode_t err = 0;

	memset(kinds, 0, DAFS_QUOTA_TYPES * sizeof(*kinds));
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES && !err; t++)
		err = load_kind(img, t, &kinds[t]);
	if (err)
		free_kinds(kinds);
	return err;
}

errcode_t dafs_qlimit_open(struct dafs_image *img, struct dafs_qlimit **ret)
{
	struct kind kinds[DAFS_QUOTA_TYPES];
	errcode_t err = img->has_quota ? load_kinds(img, kinds) : 0;

	*ret = NULL;
	if (err || !img->has_quota || !(kinds[0].n + kinds[1].n + kinds[2].n))
		return err;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret) {
		free_kinds(kinds);
		return ENOMEM;
	}
	(*ret)->img = img;
	memcpy((*ret)->kinds, kinds, sizeof(kinds));
	return 0;
}

void dafs_qlimit_free(struct dafs_qlimit *ql)
{
	if (ql)
		free_kinds(ql->kinds);
	free(ql);
}

errcode_t dafs_qlimit_reload(struct dafs_qlimit *ql)
{
	struct kind kinds[DAFS_QUOTA_TYPES];
	errcode_t err = load_kinds(ql->img, kinds);

	if (err)
		return err;
	free_kinds(ql->kinds);
	memcpy(ql->kinds, kinds, sizeof(kinds));
	/* Whatever rows a cache has, they are of before. */
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		for (size_t i = 0; i < kinds[t].n; i++)
			kinds[t].v[i].changed = true;
	}
	return 0;
}

void dafs_qlimit_ignore(struct dafs_qlimit *ql)
{
	ql->ignored = true;
}

/* --- who, and how much --- */

static int by_id(const void *key, const void *item)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct owner *)item)->base.id;

	return a < b ? -1 : a > b;
}

static struct owner *find(const struct dafs_qlimit *ql, unsigned type, uint32_t id)
{
	const struct kind *kind = &ql->kinds[type];

	return kind->n ? bsearch(&id, kind->v, kind->n, sizeof(*kind->v), by_id) : NULL;
}

void dafs_qlimit_ids(const struct dafs_inode *inode, uint32_t ids[DAFS_QUOTA_TYPES])
{
	ids[DAFS_QUOTA_USER] = inode->uid;
	ids[DAFS_QUOTA_GROUP] = inode->gid;
	ids[DAFS_QUOTA_PROJECT] = inode->projid;
}

bool dafs_qlimit_binds(const struct dafs_qlimit *ql, const struct dafs_inode *inode)
{
	uint32_t ids[DAFS_QUOTA_TYPES];

	dafs_qlimit_ids(inode, ids);
	for (unsigned t = 0; ql && t < DAFS_QUOTA_TYPES; t++) {
		if (find(ql, t, ids[t]))
			return true;
	}
	return false;
}

static uint64_t used(uint64_t base, int64_t pending)
{
	if (pending < 0)
		return base > (uint64_t)-pending ? base - (uint64_t)-pending : 0;
	return base + (uint64_t)pending;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

/* A limit on space in bytes. */
static uint64_t limit_bytes(uint64_t kib)
{
	return kib < UINT64_MAX >> 10 ? kib << 10 : UINT64_MAX;
}

/* May usage become so much? end: when the grace time ends, 0 where it does not run. */
static bool allowed(const struct dafs_qlimit *ql, uint64_t use, uint64_t hard, uint64_t soft,
		    uint64_t end, bool *by_soft)
{
	*by_soft = !hard || use <= hard;
	if (!*by_soft)
		return false;
	return !soft || use <= soft || !end || (uint64_t)ql->img->ctx->now_sec < end;
}

static errcode_t refuse(struct dafs_qlimit *ql, unsigned type, const struct owner *o, bool inodes,
			bool soft)
{
	ql->refused =
		(struct refusal){ .type = type, .id = o->base.id, .inodes = inodes, .soft = soft };
	if (inodes)
		ql->refused.limit = soft ? o->base.inode_soft : o->base.inode_hard;
	else
		ql->refused.limit = soft ? o->base.blk_soft : o->base.blk_hard;
	return inodes ? DAFS_ET_QUOTA_INODES : DAFS_ET_QUOTA_SPACE;
}

/* What to takes of an owner beyond what from does: of the same one the difference, else all of
 * it. */
static uint64_t growth(const struct dafs_qlimit_use *from, const struct dafs_qlimit_use *to,
		       unsigned type, bool inodes)
{
	uint64_t more = inodes ? to->inodes : to->bytes;
	uint64_t had = inodes ? from->inodes : from->bytes;

	if (from->ids[type] != to->ids[type])
		return more;
	return more > had ? more - had : 0;
}

static errcode_t check(struct dafs_qlimit *ql, const struct dafs_qlimit_use *from,
		       const struct dafs_qlimit_use *to, bool inodes)
{
	bool by_soft, ok;

	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		const struct owner *o = find(ql, t, to->ids[t]);
		uint64_t more = growth(from, to, t, inodes);

		if (!o || !more)
			continue;
		if (inodes)
			ok = allowed(ql, plus(used(o->base.inodes, o->inodes), more),
				     o->base.inode_hard, o->base.inode_soft, o->inode_sec,
				     &by_soft);
		else
			ok = allowed(ql, plus(used(o->base.bytes, o->bytes), more),
				     limit_bytes(o->base.blk_hard),
				     limit_bytes(o->base.blk_soft), o->blk_sec, &by_soft);
		if (!ok)
			return refuse(ql, t, o, inodes, by_soft);
	}
	return 0;
}

/* A grace time begins when usage passes the soft limit, and is forgotten when it is back under
 * it. */
static uint64_t grace(const struct dafs_qlimit *ql, uint64_t use, uint64_t soft, uint64_t end,
		      uint32_t len_sec)
{
	if (!soft || use <= soft)
		return 0;
	return end ? end : (uint64_t)ql->img->ctx->now_sec + len_sec;
}

static void add(struct dafs_qlimit *ql, const struct dafs_qlimit_use *use, int sign)
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		struct owner *o = find(ql, t, use->ids[t]);

		if (!o)
			continue;
		o->inodes += sign * (int64_t)use->inodes;
		o->bytes += sign * (int64_t)use->bytes;
		o->changed = true;
	}
}

static void run_graces(struct dafs_qlimit *ql, const struct dafs_qlimit_use *use)
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		struct owner *o = find(ql, t, use->ids[t]);

		if (!o)
			continue;
		o->blk_sec = grace(ql, used(o->base.bytes, o->bytes),
				   limit_bytes(o->base.blk_soft), o->blk_sec,
				   ql->kinds[t].grace.blk_sec);
		o->inode_sec = grace(ql, used(o->base.inodes, o->inodes), o->base.inode_soft,
				     o->inode_sec, ql->kinds[t].grace.inode_sec);
	}
}

void dafs_qlimit_move(struct dafs_qlimit *ql, const struct dafs_qlimit_use *from,
		      const struct dafs_qlimit_use *to)
{
	if (!ql)
		return;
	if (from)
		add(ql, from, -1);
	if (to)
		add(ql, to, 1);
	if (from)
		run_graces(ql, from);
	if (to)
		run_graces(ql, to);
}

errcode_t dafs_qlimit_change(struct dafs_qlimit *ql, const struct dafs_qlimit_use *from,
			     const struct dafs_qlimit_use *to)
{
	static const struct dafs_qlimit_use nothing;
	errcode_t err = 0;

	if (!ql)
		return 0;
	if (to && to->ids[DAFS_QUOTA_USER] && !ql->ignored) {
		err = check(ql, from ? from : &nothing, to, true);
		if (!err)
			err = check(ql, from ? from : &nothing, to, false);
	}
	if (!err)
		dafs_qlimit_move(ql, from, to);
	return err;
}

errcode_t dafs_qlimit_fail(struct dafs_ctx *ctx, const struct dafs_qlimit *ql, errcode_t err,
			   const char *path)
{
	static const char *const names[DAFS_QUOTA_TYPES] = { "user", "group", "project" };
	const struct refusal *r;

	if (!ql || (err != DAFS_ET_QUOTA_SPACE && err != DAFS_ET_QUOTA_INODES))
		return err;
	r = &ql->refused;
	return dafs_fail(ctx, err, "%s: %s %" PRIu32 ", %s limit %" PRIu64 "%s%s", path,
			 names[r->type], r->id, r->soft ? "soft" : "hard", r->limit,
			 r->inodes ? " inodes" : " KiB", r->soft ? ", grace time over" : "");
}

void dafs_qlimit_times(const struct dafs_qlimit *ql, enum dafs_quota_type type, uint32_t id,
		       uint64_t *blk_sec, uint64_t *inode_sec)
{
	const struct owner *o = ql ? find(ql, type, id) : NULL;

	if (!o)
		return;
	*blk_sec = o->blk_sec;
	*inode_sec = o->inode_sec;
}

/* --- files --- */

/* Clusters that have a block of the mapping. */
static uint64_t clusters_of(const struct dafs_image *img, const struct dafs_extlist *map)
{
	uint64_t clusters = 0, next = 0;

	for (size_t i = 0; i < map->n; i++) {
		uint64_t first = map->v[i].lblk >> img->cluster_bits;
		uint64_t past = ((dafs_extent_end(&map->v[i]) - 1) >> img->cluster_bits) + 1;

		if (first < next)
			first = next;
		clusters += past > first ? past - first : 0;
		next = past;
	}
	return clusters;
}

/* Clusters that are cut out of the image's mapping; all, and the tree's, where the file was
 * emptied. */
static errcode_t cut_clusters(struct dafs_image *img, const struct dafs_inode *inode,
			      const struct ext2_inode_large *raw, uint64_t *clusters)
{
	const struct dafs_file *file = inode->state & DAFS_I_WHOLE ? NULL : inode->u.file;
	bool emptied = inode->state & DAFS_I_TRUNC0;
	struct dafs_blklist nodes = { 0 };
	struct dafs_extlist map = { 0 };
	errcode_t err = dafs_etree_decode(img, inode->ino, raw, &map, &nodes);

	*clusters = clusters_of(img, &map) + (emptied ? nodes.n : 0);
	if (!err && !emptied)
		err = dafs_extlist_clear(&map, file->image_end_lblk, UINT32_MAX, NULL);
	if (!err && !emptied)
		err = dafs_extlist_cut(&map, &file->punched, NULL);
	if (!emptied)
		*clusters -= clusters_of(img, &map);
	dafs_blklist_fini(&nodes);
	dafs_extlist_fini(&map);
	return err;
}

errcode_t dafs_qlimit_held(struct dafs_image *img, const struct dafs_inode *inode, uint64_t *bytes)
{
	const struct dafs_file *file = inode->u.file;
	union dafs_inode_buf buf;
	uint64_t clusters = 0, cut;
	bool is_cut;
	errcode_t err;

	*bytes = 0;
	if (inode->state & DAFS_I_NEW)
		return 0;
	err = dafs_icodec_read(img, inode->ino, &buf.raw, sizeof(buf));
	if (err)
		return err;
	*bytes = dafs_icodec_blocks512(img, &buf.raw) << 9;
	if (!S_ISREG(inode->mode) || (buf.raw.i_flags & EXT4_INLINE_DATA_FL))
		return 0;
	is_cut = inode->state & DAFS_I_TRUNC0;
	if (!(inode->state & DAFS_I_WHOLE) && file)
		is_cut |= file->punched.n || file->image_end_lblk != UINT32_MAX;
	if (!is_cut)
		return 0;
	err = cut_clusters(img, inode, &buf.raw, &clusters);
	cut = clusters << (img->block_bits + img->cluster_bits);
	*bytes -= cut < *bytes ? cut : *bytes;
	return err;
}

/* A file's use before and after its reserve changed by so many clusters. */
static void uses_of(const struct dafs_write *w, const struct dafs_inode *inode, int64_t clusters,
		    struct dafs_qlimit_use *from, struct dafs_qlimit_use *to)
{
	unsigned bits = w->img->block_bits + w->img->cluster_bits;

	memset(from, 0, sizeof(*from));
	dafs_qlimit_ids(inode, from->ids);
	*to = *from;
	if (clusters < 0)
		from->bytes = (uint64_t)-clusters << bits;
	else
		to->bytes = (uint64_t)clusters << bits;
}

errcode_t dafs_qlimit_reserve(struct dafs_write *w, const struct dafs_inode *inode,
			      int64_t clusters)
{
	struct dafs_qlimit_use from, to;

	if (!w->limits || !clusters)
		return 0;
	uses_of(w, inode, clusters, &from, &to);
	return dafs_qlimit_change(w->limits, &from, &to);
}

void dafs_qlimit_shift(struct dafs_write *w, const struct dafs_inode *inode, int64_t clusters)
{
	struct dafs_qlimit_use from, to;

	if (!w->limits || !clusters)
		return;
	uses_of(w, inode, clusters, &from, &to);
	dafs_qlimit_move(w->limits, &from, &to);
}

void dafs_qlimit_let_go(struct dafs_write *w, const struct dafs_inode *inode, uint64_t held_before,
			uint64_t held_now)
{
	struct dafs_qlimit_use from = { .bytes = held_before }, to = { .bytes = held_now };

	dafs_qlimit_ids(inode, from.ids);
	memcpy(to.ids, from.ids, sizeof(to.ids));
	dafs_qlimit_move(w->limits, &from, &to);
}

/* --- between processes --- */

errcode_t dafs_qlimit_changed(struct dafs_qlimit *ql,
			      errcode_t (*save)(void *arg, const struct dafs_qlimit_row *row),
			      void *arg)
{
	errcode_t err = 0;

	for (unsigned t = 0; t < DAFS_QUOTA_TYPES && !err; t++) {
		for (size_t i = 0; i < ql->kinds[t].n && !err; i++) {
			const struct owner *o = &ql->kinds[t].v[i];

			if (o->changed)
				err = save(arg, &(struct dafs_qlimit_row){
							t, o->base.id, o->inodes, o->bytes,
							o->blk_sec, o->inode_sec });
		}
	}
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES && !err; t++) {
		for (size_t i = 0; i < ql->kinds[t].n; i++)
			ql->kinds[t].v[i].changed = false;
	}
	return err;
}

void dafs_qlimit_restore(struct dafs_qlimit *ql, const struct dafs_qlimit_row *row)
{
	struct owner *o = row->type < DAFS_QUOTA_TYPES ? find(ql, row->type, row->id) : NULL;

	if (!o)
		return;
	o->inodes = row->inodes;
	o->bytes = row->bytes;
	o->blk_sec = row->blk_sec;
	o->inode_sec = row->inode_sec;
}

bool dafs_qlimit_same(const struct dafs_qlimit *a, const struct dafs_qlimit *b)
{
	for (unsigned t = 0; t < DAFS_QUOTA_TYPES; t++) {
		if (a->kinds[t].n != b->kinds[t].n)
			return false;
		for (size_t i = 0; i < a->kinds[t].n; i++) {
			const struct owner *x = &a->kinds[t].v[i], *y = &b->kinds[t].v[i];

			if (x->base.id != y->base.id || x->inodes != y->inodes ||
			    x->bytes != y->bytes)
				return false;
		}
	}
	return true;
}
