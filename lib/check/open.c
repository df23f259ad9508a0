/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * open - find a superblock and group descriptors that can be worked with: the primary ones, or the
 * best copies.
 *
 * It judges copies (possible geometry, checksum, structures inside the file system and apart from
 * each other) and takes the first sound one, else the least bad one. It reports which it took; what
 * is wrong inside is pass 0's matter.
 *
 * Invariant: after success the geometry is possible, all descriptors are in memory, and gd_flags
 * tells which of a group's structures cannot be where its descriptor says.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/feature.h"

/* One superblock with its descriptors, under judgement. */
struct copy {
	struct ext2_super_block sb;
	struct dafs_ck_geom g;
	uint64_t blk; /* where it was found; 0: primary */
	uint32_t grp;
	const char *hard;   /* why it cannot be used at all */
	const char *soft;   /* why another one would be better */
	uint16_t desc_size; /* what it said, if that was impossible */
	const char *gd_why; /* what is wrong with the descriptors, in gd_grp (of gd_bad groups) */
	uint32_t gd_grp, gd_bad;
	uint8_t *gd, *gd_flags;
	struct dafs_ck_range *meta;
	size_t nmeta;
};

static void copy_fini(struct copy *c)
{
	free(c->gd);
	free(c->gd_flags);
	free(c->meta);
	memset(c, 0, sizeof(*c));
}

static bool dev_read(struct dafs_ck *ck, void *buf, size_t len, uint64_t off)
{
	if (off > ck->dev->size_bytes || len > ck->dev->size_bytes - off)
		return false;
	return dafs_dev_read(ck->dev, buf, len, off) == 0;
}

/* The run with another geometry for a moment: geom.c's functions look at ck. */
static void copy_apply(struct dafs_ck *ck, struct copy *c)
{
	ck->sb = c->sb;
	ck->g = c->g;
	ck->gd = c->gd;
	ck->gd_flags = c->gd_flags;
	ck->meta = c->meta;
	ck->nmeta = c->nmeta;
	ck->sb_blk = c->blk;
	ck->gd_grp = c->grp;
}

/* ---- structures apart from each other ---- */

struct piece {
	uint64_t start, len;
	uint64_t
		rank; /* who was there first: superblocks and descriptors, then by group and kind */
	uint32_t grp;
	uint8_t flag; /* DAFS_CKG_*; 0: superblock or descriptors */
};

static int piece_cmp(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Add a group's structure unless it is out of bounds, which marks it bad. */
static void piece_add(struct dafs_ck *ck, struct copy *c, struct piece *pieces, size_t *n,
		      const struct piece *p)
{
	uint64_t low = ck->g.flex_bg ? ck->g.first : dafs_ck_grp_first(ck, p->grp);
	uint64_t high = ck->g.flex_bg
				? ck->g.blocks
				: dafs_ck_grp_first(ck, p->grp) + dafs_ck_grp_blks(ck, p->grp);
	static const char *const why[] = { [DAFS_CKG_BB_BAD] = "block bitmap out of place",
					   [DAFS_CKG_IB_BAD] = "inode bitmap out of place",
					   [DAFS_CKG_IT_BAD] = "inode table out of place" };

	if (p->start >= low && p->start < high && p->len <= high - p->start) {
		pieces[(*n)++] = *p;
		return;
	}
	c->gd_flags[p->grp] |= p->flag;
	if (!c->gd_bad++) {
		c->gd_why = why[p->flag];
		c->gd_grp = p->grp;
	}
}

/* Two pieces share blocks: the later one in rank is in the wrong. */
static void piece_clash(struct copy *c, const struct piece *a, const struct piece *b)
{
	const struct piece *wrong = a->rank > b->rank ? a : b;

	if (!wrong->flag)
		return;
	if (!c->gd_bad++) {
		c->gd_why = "structures overlap";
		c->gd_grp = wrong->grp;
	}
	c->gd_flags[wrong->grp] |= wrong->flag << 4;
}

static void merge_meta(struct copy *c, const struct piece *pieces, size_t n)
{
	const struct piece *last = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct piece *p = &pieces[i];
		struct dafs_ck_range *r = c->nmeta ? &c->meta[c->nmeta - 1] : NULL;
		uint64_t end = p->start + p->len;

		if (last && p->start < last->start + last->len)
			piece_clash(c, last, p);
		if (!last || end > last->start + last->len)
			last = p;
		if (!r || p->start > r->start + r->len)
			c->meta[c->nmeta++] = (struct dafs_ck_range){ p->start, p->len };
		else if (end > r->start + r->len)
			r->len = end - r->start;
	}
}

static errcode_t judge_layout(struct dafs_ck *ck, struct copy *c)
{
	struct piece *pieces = calloc((size_t)c->g.groups * 6, sizeof(*pieces));
	size_t n = 0;

	c->meta = calloc((size_t)c->g.groups * 6, sizeof(*c->meta));
	c->gd_flags = calloc(c->g.groups, 1);
	if (!pieces || !c->meta || !c->gd_flags) {
		free(pieces);
		return ENOMEM;
	}
	copy_apply(ck, c);
	for (uint32_t grp = 0; grp < c->g.groups; grp++) {
		struct dafs_ck_range runs[3];
		unsigned nruns = dafs_ck_grp_super_runs(ck, grp, runs);
		uint64_t rank = (uint64_t)c->g.groups + grp * 4;

		for (unsigned i = 0; i < nruns; i++)
			pieces[n++] = (struct piece){ runs[i].start, runs[i].len, grp, grp, 0 };
		piece_add(ck, c, pieces, &n,
			  &(struct piece){ dafs_ck_gd_itable(ck, grp), c->g.itable_blks, rank, grp,
					   DAFS_CKG_IT_BAD });
		piece_add(ck, c, pieces, &n,
			  &(struct piece){ dafs_ck_gd_block_bitmap(ck, grp), 1, rank + 1, grp,
					   DAFS_CKG_BB_BAD });
		piece_add(ck, c, pieces, &n,
			  &(struct piece){ dafs_ck_gd_inode_bitmap(ck, grp), 1, rank + 2, grp,
					   DAFS_CKG_IB_BAD });
	}
	qsort(pieces, n, sizeof(*pieces), piece_cmp);
	merge_meta(c, pieces, n);
	free(pieces);
	return 0;
}

errcode_t dafs_ck_judge_layout(struct dafs_ck *ck)
{
	struct copy c = {
		.sb = ck->sb, .g = ck->g, .blk = ck->sb_blk, .grp = ck->gd_grp, .gd = ck->gd
	};
	errcode_t err;

	free(ck->gd_flags);
	free(ck->meta);
	ck->gd_flags = NULL;
	ck->meta = NULL;
	err = judge_layout(ck, &c);
	copy_apply(ck, &c);
	return err;
}

/* ---- one copy ---- */

/* Descriptors of a backup do not follow what happens to the file system: nothing counts as
 * uninitialised. */
static void forget_uninit(struct dafs_ck *ck, struct copy *c)
{
	for (uint32_t grp = 0; c->g.gd_csum && grp < c->g.groups; grp++) {
		struct ext4_group_desc *gd = dafs_ck_gd(ck, grp);

		gd->bg_flags &= ~(EXT2_BG_BLOCK_UNINIT | EXT2_BG_INODE_UNINIT);
		gd->bg_itable_unused = 0;
		if (c->g.desc_size >= EXT2_MIN_DESC_SIZE_64BIT)
			gd->bg_itable_unused_hi = 0;
		gd->bg_checksum = dafs_ck_gd_csum(ck, grp);
	}
}

static errcode_t read_descriptors(struct dafs_ck *ck, struct copy *c)
{
	uint32_t bs = c->g.block_size;

	c->gd = calloc(c->g.desc_blks, bs);
	if (!c->gd)
		return ENOMEM;
	copy_apply(ck, c);
	for (uint32_t i = 0; i < c->g.desc_blks;) {
		uint64_t blk = dafs_ck_desc_blk(ck, c->grp, i);
		uint32_t n = 1;

		while (i + n < c->g.desc_blks && n < 1024 &&
		       dafs_ck_desc_blk(ck, c->grp, i + n) == blk + n)
			n++;
		if (!dev_read(ck, c->gd + (size_t)i * bs, (size_t)n * bs, blk * bs))
			c->gd_why = "unreadable";
		i += n;
	}
	if (c->blk)
		forget_uninit(ck, c);
	return judge_layout(ck, c);
}

/* What the library's set leaves out of its users' sight, and what a journal device alone has. */
#define INCOMPAT_KNOWN                                                                             \
	((uint32_t)((EXT2_LIB_FEATURE_INCOMPAT_SUPP | EXT4_FEATURE_INCOMPAT_MMP) &                 \
		    ~EXT3_FEATURE_INCOMPAT_JOURNAL_DEV))

/* Load what is at byte off as the superblock copy in block blk of group grp. ENOMEM; all else is a
 * judgement. */
static errcode_t copy_load(struct dafs_ck *ck, struct copy *c, uint64_t off, uint64_t blk,
			   uint32_t grp)
{
	errcode_t err = 0;

	memset(c, 0, sizeof(*c));
	c->blk = blk;
	c->grp = grp;
	if (!dev_read(ck, &c->sb, sizeof(c->sb), off)) {
		c->hard = "unreadable";
		return 0;
	}
	c->hard = dafs_ck_geom_init(&c->g, &c->sb);
	/* There is one size that descriptors have. */
	if (c->hard && !strcmp(c->hard, "desc_size")) {
		c->desc_size = c->sb.s_desc_size;
		c->sb.s_desc_size = c->g.bit64 ? EXT2_MIN_DESC_SIZE_64BIT : 0;
		c->hard = dafs_ck_geom_init(&c->g, &c->sb);
		c->soft = "desc_size";
	}
	/* A geometry larger than the device by far is not worth the memory of its descriptors. */
	if (!c->hard && c->g.blocks >> 4 > ck->dev->size_bytes >> c->g.block_bits &&
	    c->g.groups > 1024)
		c->hard = "blocks_count";
	/* What fails its checksum and asks for what nobody knows is no superblock. */
	if (!c->hard && c->g.csum && c->sb.s_checksum != dafs_ck_sb_csum(&c->sb) &&
	    c->sb.s_feature_incompat & ~INCOMPAT_KNOWN)
		c->hard = "features";
	if (c->hard)
		return 0;
	if (!c->soft && c->g.csum && c->sb.s_checksum != dafs_ck_sb_csum(&c->sb))
		c->soft = "checksum";
	else if (!c->soft && c->sb.s_log_groups_per_flex > DAFS_CK_FLEX_LOG_MAX)
		c->soft = "log_groups_per_flex";
	else if (!c->soft && c->g.meta_bg && c->sb.s_first_meta_bg > c->g.desc_blks)
		c->soft = "first_meta_bg";
	else if (!c->soft && c->sb.s_inodes_count != c->g.inodes)
		c->soft = "inodes_count";
	err = read_descriptors(ck, c);
	return err;
}

static bool copy_sound(const struct copy *c)
{
	return !c->hard && !c->soft && !c->gd_bad && !c->gd_why;
}

/* Is a better than b? */
static bool copy_better(const struct copy *a, const struct copy *b)
{
	if (!a->hard != !b->hard)
		return !a->hard;
	if (a->gd_bad != b->gd_bad)
		return a->gd_bad < b->gd_bad;
	return !a->soft && b->soft;
}

/* ---- the search ---- */

struct guess {
	uint64_t blk;
	uint32_t bs, grp;
};

/* Places where backups would be. With a primary that tells its geometry only those of that; else
 * those of common ones. */
static unsigned guess_backups(const struct copy *primary, struct guess *guesses, unsigned room)
{
	static const uint32_t groups[] = { 1, 3, 5, 7, 9, 25, 27, 49 };
	const struct ext2_super_block *sb = &primary->sb;
	unsigned n = 0;

	/* One that cannot be used may still be right about the size of its groups. */
	if (primary->hard && sb->s_magic == EXT2_SUPER_MAGIC && sb->s_log_block_size <= 6)
		for (; n < sizeof(groups) / sizeof(groups[0]); n++)
			guesses[n] = (struct guess){ sb->s_first_data_block +
							     (uint64_t)groups[n] *
								     sb->s_blocks_per_group,
						     1024u << sb->s_log_block_size, groups[n] };

	for (uint32_t log = 0; log <= 6; log++) {
		uint32_t bs = 1024u << log;

		if (!primary->hard && bs != primary->g.block_size)
			continue;
		for (uint32_t cbits = 0; cbits <= 6; cbits += 2) {
			uint64_t bpg = ((uint64_t)8 * bs) << cbits;
			uint64_t first = bs == 1024 && !cbits;

			if (!primary->hard && cbits)
				continue;
			if (!primary->hard) {
				bpg = primary->g.bpg;
				first = primary->g.first;
			}
			for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]) && n < room;
			     i++)
				guesses[n++] =
					(struct guess){ first + groups[i] * bpg, bs, groups[i] };
		}
	}
	if (!primary->hard &&
	    ext2fs_has_feature_sparse_super2((struct ext2_super_block *)&primary->sb))
		for (unsigned i = 0; i < 2 && n < room; i++)
			guesses[n++] = (struct guess){
				primary->g.first +
					(uint64_t)primary->sb.s_backup_bgs[i] * primary->g.bpg,
				primary->g.block_size, primary->sb.s_backup_bgs[i]
			};
	return n;
}

/* Does the copy say of itself what its place says? The number of its group alone may be wrong: it
 * is worse than one where that is right. */
static bool copy_in_place(struct copy *c, const struct guess *g)
{
	if (c->hard || c->g.block_size != g->bs)
		return false;
	if (!c->soft && c->sb.s_rev_level && c->sb.s_block_group_nr != (uint16_t)g->grp)
		c->soft = "block_group_nr";
	return c->g.first + (uint64_t)g->grp * c->g.bpg == g->blk;
}

static errcode_t find_backup(struct dafs_ck *ck, struct copy *best)
{
	struct guess guesses[256];
	unsigned n = guess_backups(best, guesses, 256);
	errcode_t err;

	for (unsigned i = 0; i < n && !copy_sound(best); i++) {
		struct copy c;

		if (guesses[i].blk * guesses[i].bs >= ck->dev->size_bytes)
			continue;
		err = copy_load(ck, &c, guesses[i].blk * guesses[i].bs, guesses[i].blk,
				guesses[i].grp);
		if (err) {
			copy_fini(&c);
			return err;
		}
		if (copy_in_place(&c, &guesses[i]) && copy_better(&c, best)) {
			copy_fini(best);
			*best = c;
		} else {
			copy_fini(&c);
		}
	}
	return 0;
}

/* -b: nothing but this copy. */
static errcode_t load_wanted(struct dafs_ck *ck, struct copy *c)
{
	errcode_t err = 0;

	for (uint32_t bs = ck->opts->backup_bs ? ck->opts->backup_bs : 1024; bs <= 65536; bs *= 2) {
		uint64_t off = ck->opts->backup_sb * bs;

		if (ck->opts->backup_sb == 0 && bs > 1024)
			off = 1024;
		copy_fini(c);
		c->hard = "unreadable";
		if (off >= ck->dev->size_bytes)
			break;
		err = copy_load(ck, c, off, ck->opts->backup_sb, 0);
		if (err || (!c->hard && c->g.block_size == bs))
			break;
		if (!c->hard)
			c->hard = "log_block_size";
		if (ck->opts->backup_bs)
			break;
	}
	if (!err && !c->hard && c->g.bpg) {
		uint32_t grp = (uint32_t)((ck->opts->backup_sb - c->g.first) / c->g.bpg);

		if (grp && grp < c->g.groups) {
			uint64_t off = ck->opts->backup_sb * c->g.block_size;

			copy_fini(c);
			err = copy_load(ck, c, off, ck->opts->backup_sb, grp);
		}
	}
	return err;
}

static errcode_t unusable(struct dafs_ck *ck, const char *why, bool magic)
{
	DAFS_CK_FIND(ck->main, SB_UNUSABLE, .text = magic ? "there is none" : why);
	return dafs_fail(ck->ctx, magic ? DAFS_ET_NOT_EXT : DAFS_ET_CORRUPT_SUPER,
			 "%s: superblock: %s", ck->dev->address, why ? why : "not there");
}

/* As e2fsck: a feature that is not known may mean anything. */
static errcode_t features_known(struct dafs_ck *ck)
{
	const struct {
		enum dafs_feature_set set;
		uint32_t unknown;
	} sets[] = {
		{ DAFS_FEATURE_COMPAT, ck->sb.s_feature_compat & ~EXT2_LIB_FEATURE_COMPAT_SUPP },
		{ DAFS_FEATURE_INCOMPAT, ck->sb.s_feature_incompat & ~INCOMPAT_KNOWN },
		{ DAFS_FEATURE_RO_COMPAT,
		  ck->sb.s_feature_ro_compat & ~(uint32_t)EXT2_LIB_FEATURE_RO_COMPAT_SUPP },
	};
	char buf[16];

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (sets[i].unknown)
			return dafs_fail(ck->ctx, DAFS_ET_FEATURE, "%s: %s", ck->dev->address,
					 dafs_feature_to_text(sets[i].set,
							      sets[i].unknown & -sets[i].unknown,
							      buf));
	if (ck->g.casefold && !ext2fs_load_nls_table(ck->sb.s_encoding))
		return dafs_fail(ck->ctx, DAFS_ET_FEATURE, "%s: casefold with encoding %u",
				 ck->dev->address, ck->sb.s_encoding);
	return 0;
}

errcode_t dafs_ck_open_super(struct dafs_ck *ck)
{
	const char *hard, *soft, *gd_why;
	struct copy c = { .hard = "unreadable" };
	bool write = true;
	uint32_t gd_grp;
	errcode_t err;

	if (ck->opts->backup_sb)
		err = load_wanted(ck, &c);
	else
		err = copy_load(ck, &c, 1024, 0, 0);
	hard = c.hard;
	soft = c.soft;
	gd_why = c.gd_why;
	gd_grp = c.gd_grp;
	if (!err && !ck->opts->backup_sb && !copy_sound(&c) && (c.hard || c.g.groups > 1))
		err = find_backup(ck, &c);
	if (err || c.hard) {
		/* gd and the like belong to ck only once they are taken */
		bool magic = c.sb.s_magic != EXT2_SUPER_MAGIC;

		copy_fini(&c);
		copy_apply(ck, &c);
		return err ? err : unusable(ck, hard, magic);
	}
	copy_apply(ck, &c);
	if (c.blk && !ck->opts->backup_sb) {
		if (hard || soft)
			write = DAFS_CK_FIND(ck->main, SB_PRIMARY, .blk = c.blk,
					     .text = hard ? hard : soft);
		else
			write = DAFS_CK_FIND(ck->main, GD_PRIMARY, .blk = c.blk, .grp = gd_grp,
					     .text = gd_why);
	} else if (c.soft && !strcmp(c.soft, "checksum")) {
		write = DAFS_CK_FIND(ck->main, SB_CSUM, .found = c.sb.s_checksum,
				     .want = dafs_ck_sb_csum(&c.sb));
	} else if (c.soft && !strcmp(c.soft, "desc_size")) {
		write = DAFS_CK_FIND(ck->main, SB_DESC_SIZE, .found = c.desc_size,
				     .want = c.sb.s_desc_size);
	}
	/* All that is in memory goes to the first copy in the end: who does not want that gets no
	 * repairs. */
	if (!write) {
		ck->mode = DAFS_CHECK_NO;
		ck->fixing = false;
	}
	/* A copy says nothing of the state, and is not the one to be counted. */
	if (c.blk)
		ck->sb.s_block_group_nr = 0;
	return features_known(ck);
}
