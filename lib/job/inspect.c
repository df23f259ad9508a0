/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* inspect - see inspect.h. */
#include "config.h"

#include "job/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/group.h"
#include "image/icodec.h"
#include "job/listing.h"
#include "model/buddy.h"

/* Does the inode have a block mapping at all? */
static bool has_mapping(const struct dafs_inspect *in)
{
	uint16_t type = in->attr.mode & S_IFMT;

	if (in->attr.iflags & EXT4_INLINE_DATA_FL)
		return false;
	if (type == S_IFLNK)
		return in->attr.size >= sizeof(in->raw.i_block) || in->attr.iflags & EXT4_EXTENTS_FL;
	/* The journal, the resize inode and their like have no type but blocks. */
	return type == S_IFREG || type == S_IFDIR || (!type && in->raw.i_links_count);
}

errcode_t dafs_inspect_load(struct dafs_image *img, uint32_t ino, struct dafs_inspect *in)
{
	errcode_t err;

	memset(in, 0, sizeof(*in));
	in->ino = ino;
	err = dafs_icodec_read(img, ino, &in->raw, img->inode_size);
	if (!err)
		err = dafs_icodec_decode(img, ino, &in->raw, &in->attr);
	if (err || !has_mapping(in))
		return err;
	in->mapped = true;
	return dafs_etree_decode(img, ino, &in->raw, &in->extents, &in->nodes);
}

void dafs_inspect_fini(struct dafs_inspect *in)
{
	dafs_extlist_fini(&in->extents);
	dafs_blklist_fini(&in->nodes);
}

errcode_t dafs_inspect_resolve(struct dafs *fs, const char *path, bool follow, uint32_t *ino)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_INO | (follow ? DAFS_NS_FOLLOW : 0), &inode);

	*ino = err ? 0 : (uint32_t)inode->id;
	return dafs_session_fail(fs, err, path);
}

uint64_t dafs_inspect_expected(const struct dafs_extlist *xl, size_t i)
{
	const struct dafs_extent *before = i ? &xl->v[i - 1] : NULL;
	uint64_t end_pblk = before ? before->pblk + before->len : 0;
	uint32_t end_lblk = before ? before->lblk + before->len : 0;

	return end_pblk + (xl->v[i].lblk - end_lblk);
}

uint32_t dafs_inspect_pieces(const struct dafs_extlist *xl)
{
	uint32_t pieces = 0;

	for (size_t i = 0; i < xl->n; i++)
		pieces += !i || xl->v[i].pblk != dafs_inspect_expected(xl, i);
	return pieces;
}

static errcode_t each_of_group(struct dafs_image *img, uint32_t grp, bool tolerant,
			       errcode_t (*fn)(void *arg, const struct dafs_inspect *in), void *arg)
{
	uint32_t per_group = img->fs->super->s_inodes_per_group, mark = dafs_group_itable_mark(img, grp);
	const uint8_t *bits;
	errcode_t err;

	if (!mark)
		return 0;
	err = dafs_group_inode_bits(img, grp, &bits);
	for (uint32_t i = 0; i < mark && !err; i++) {
		struct dafs_inspect in;

		if (!(bits[i / 8] & (1u << (i % 8))))
			continue;
		err = dafs_inspect_load(img, grp * per_group + i + 1, &in);
		if (!err)
			err = in.attr.nlink || in.attr.mode ? fn(arg, &in) : 0;
		else if (tolerant)
			err = 0;
		dafs_inspect_fini(&in);
	}
	return err;
}

errcode_t dafs_inspect_each(struct dafs_image *img, bool tolerant, errcode_t (*fn)(void *arg, const struct dafs_inspect *in), void *arg)
{
	errcode_t err = 0;

	for (uint32_t grp = 0; grp < dafs_group_count(img) && !err; grp++) {
		err = each_of_group(img, grp, tolerant, fn, arg);
		if (!err)
			err = dafs_cancelled(img->ctx);
		dafs_progress(img->ctx, "reading inodes", grp, dafs_group_count(img));
	}
	return err;
}

errcode_t dafs_inspect_free_runs(struct dafs_image *img, errcode_t (*fn)(void *arg, uint32_t grp, uint32_t start, uint32_t len), void *arg)
{
	errcode_t err = 0;

	for (uint32_t grp = 0; grp < dafs_group_count(img) && !err; grp++) {
		struct dafs_buddy_run run = { 0 };
		struct dafs_buddy *buddy;
		const uint8_t *bits;

		err = dafs_group_block_bits(img, grp, &bits);
		if (!err)
			err = dafs_buddy_new(bits, dafs_group_clusters(img, grp), &buddy);
		if (err)
			return err;
		while (!err && (run = dafs_buddy_first_fit(buddy, run.start + run.len, 1)).len)
			err = fn(arg, grp, run.start, run.len);
		dafs_buddy_free(buddy);
	}
	return err;
}

struct summing {
	struct dafs *fs;
	struct dafs_frag_summary *sum;
	uint64_t *ends;			/* by inode: the block behind the file; starts: its first block, 0: none */
	uint64_t *starts;
};

/* Remember where a file begins and where it ends, for the adjacency of neighbours. */
static errcode_t sum_inode(void *arg, const struct dafs_inspect *in)
{
	struct summing *s = arg;
	struct dafs_frag_summary *sum = s->sum;
	uint32_t pieces = dafs_inspect_pieces(&in->extents);

	sum->tree_blks += in->nodes.n;
	if (S_ISDIR(in->attr.mode)) {
		sum->dirs++;
		sum->dir_pieces += pieces;
	}
	if (!S_ISREG(in->attr.mode) || !in->extents.n)
		return 0;
	if (in->ino < EXT2_FIRST_INODE(s->fs->img->fs->super))
		return 0;
	sum->files++;
	sum->extents += in->extents.n;
	sum->pieces += pieces;
	sum->fragmented += pieces > 1;
	sum->blocks += dafs_extlist_blocks(&in->extents);
	if (pieces > sum->most_pieces) {
		sum->most_pieces = pieces;
		sum->most_ino = in->ino;
	}
	s->starts[in->ino - 1] = in->extents.v[0].pblk;
	s->ends[in->ino - 1] = in->extents.v[in->extents.n - 1].pblk + in->extents.v[in->extents.n - 1].len;
	return 0;
}

static errcode_t sum_free(void *arg, uint32_t grp, uint32_t start, uint32_t len)
{
	struct summing *s = arg;
	uint64_t blks = (uint64_t)len << s->fs->img->cluster_bits;

	(void)grp;
	(void)start;
	s->sum->free_runs++;
	s->sum->free_blks += blks;
	if (blks > s->sum->largest_free_blks)
		s->sum->largest_free_blks = blks;
	return 0;
}

/* Neighbours in name order within one directory, files with blocks only. */
static errcode_t sum_pairs(struct summing *s, struct dafs_inode *dir)
{
	struct dafs_listing list = { 0 };
	uint64_t before_end = 0;
	errcode_t err = dafs_listing_read(s->fs, dir, &list);

	for (size_t i = 0; i < list.n && !err; i++) {
		uint64_t id = list.v[i].id;
		struct dafs_inode *inode;

		if (list.v[i].file_type == EXT2_FT_DIR) {
			err = dafs_ns_inode(s->fs->ns, id, &inode);
			if (!err)
				err = sum_pairs(s, inode);
		} else if (s->starts[id - 1]) {
			if (before_end) {
				s->sum->pairs++;
				s->sum->adjacent += s->starts[id - 1] == before_end;
			}
			before_end = s->ends[id - 1];
		}
	}
	dafs_listing_fini(&list);
	return err;
}

errcode_t dafs_inspect_summary(struct dafs *fs, struct dafs_frag_summary *sum)
{
	uint32_t inodes = fs->img->fs->super->s_inodes_count;
	struct summing s = { .fs = fs, .sum = sum };
	struct dafs_inode *root;
	errcode_t err;

	memset(sum, 0, sizeof(*sum));
	s.starts = calloc(inodes, sizeof(*s.starts));
	s.ends = calloc(inodes, sizeof(*s.ends));
	err = s.starts && s.ends ? 0 : ENOMEM;
	if (!err)
		err = dafs_inspect_each(fs->img, false, sum_inode, &s);
	if (!err)
		err = dafs_inspect_free_runs(fs->img, sum_free, &s);
	if (!err)
		err = dafs_ns_inode(fs->ns, DAFS_ID_ROOT, &root);
	if (!err)
		err = sum_pairs(&s, root);
	free(s.starts);
	free(s.ends);
	return err;
}

struct naming {
	struct dafs *fs;
	errcode_t (*fn)(void *arg, const char *dir_path, const char *name, uint32_t ino);
	void *arg;
};

static errcode_t names_below(struct naming *nm, struct dafs_inode *dir, const char *path)
{
	struct dafs_listing list = { 0 };
	errcode_t err = dafs_listing_read(nm->fs, dir, &list);

	for (size_t i = 0; i < list.n && !err; i++) {
		struct dafs_inode *inode;
		char *sub;

		err = nm->fn(nm->arg, path, list.v[i].name, (uint32_t)list.v[i].id);
		if (err || (list.v[i].file_type && list.v[i].file_type != EXT2_FT_DIR))
			continue;
		err = dafs_ns_inode(nm->fs->ns, list.v[i].id, &inode);
		if (err || !S_ISDIR(inode->mode))
			continue;
		if (asprintf(&sub, "%s/%s", path, list.v[i].name) < 0) {
			err = ENOMEM;
			break;
		}
		err = names_below(nm, inode, sub);
		free(sub);
	}
	dafs_listing_fini(&list);
	return err;
}

errcode_t dafs_inspect_names(struct dafs *fs, errcode_t (*fn)(void *arg, const char *dir_path, const char *name, uint32_t ino), void *arg)
{
	struct naming nm = { fs, fn, arg };
	struct dafs_inode *root;
	errcode_t err = dafs_ns_inode(fs->ns, DAFS_ID_ROOT, &root);

	return err ? err : names_below(&nm, root, "");
}
