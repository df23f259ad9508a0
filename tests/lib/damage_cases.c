/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_cases - damages that take more than one change to mean something: overlaps, cycles, shared
 * blocks, second links, lists of orphans, images cut off.
 */
#include "config.h"

#include "damage.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>

/* A structure being changed. */
struct edit {
	const struct place *p;
	uint8_t *buf;
};

static bool edit_begin(struct damage *d, struct edit *e, const struct place *p)
{
	e->p = p;
	e->buf = NULL;
	if (!p)
		return false;
	e->buf = calloc(1, d->fs->blocksize + 4096);
	if (!e->buf)
		err(2, NULL);
	dmg_read(d, p->off, e->buf, p->bytes);
	return true;
}

static bool edit_end(struct damage *d, struct edit *e, bool seal, const char *what)
{
	dmg_say(e->p, seal, "%s", what);
	dmg_store(d, e->p, e->buf, seal);
	free(e->buf);
	return true;
}

static bool edit_drop(struct edit *e)
{
	free(e->buf);
	return false;
}

static struct ext2_inode_large *inode_of(struct edit *e)
{
	return (void *)e->buf;
}

static const struct place *any_node(struct damage *d)
{
	static const uint8_t kinds[] = { K_EXT_ROOT, K_EXT_LEAF, K_EXT_INDEX };

	return dmg_pick(d, kinds[dmg_random(d, sizeof(kinds))]);
}

static const struct place *any_inode(struct damage *d)
{
	static const uint8_t kinds[] = { K_INO_FILE, K_INO_DIR, K_INO_LINK, K_INO_FILE };

	return dmg_pick(d, kinds[dmg_random(d, sizeof(kinds))]);
}

static struct ext3_extent_header *node_of(struct edit *e)
{
	return (void *)(e->buf + (e->p->kind == K_EXT_ROOT ? 40 : 0));
}

/* ---- extent trees ---- */

static bool case_overlap(struct damage *d, bool seal)
{
	struct ext3_extent_header *eh;
	struct ext3_extent *ex;
	struct edit e;
	unsigned i;

	if (!edit_begin(d, &e, any_node(d)))
		return false;
	eh = node_of(&e);
	ex = (void *)(eh + 1);
	if (eh->eh_entries < 2 || eh->eh_entries > 5000)
		return edit_drop(&e);
	i = 1 + (unsigned)dmg_random(d, eh->eh_entries - 1u);
	ex[i].ee_block = ex[i - 1].ee_block + (uint32_t)dmg_random(d, 2);
	return edit_end(d, &e, seal, "an entry overlaps the one before");
}

static bool case_unsorted(struct damage *d, bool seal)
{
	struct ext3_extent_header *eh;
	struct ext3_extent *ex, kept;
	struct edit e;
	unsigned i;

	if (!edit_begin(d, &e, any_node(d)))
		return false;
	eh = node_of(&e);
	ex = (void *)(eh + 1);
	if (eh->eh_entries < 2 || eh->eh_entries > 5000)
		return edit_drop(&e);
	i = 1 + (unsigned)dmg_random(d, eh->eh_entries - 1u);
	kept = ex[i];
	ex[i] = ex[i - 1];
	ex[i - 1] = kept;
	return edit_end(d, &e, seal, "two entries in the wrong order");
}

static bool case_cycle(struct damage *d, bool seal)
{
	struct ext3_extent_header *eh;
	struct ext3_extent_idx *ix;
	struct edit e;

	if (!edit_begin(d, &e, dmg_pick(d, dmg_random(d, 2) ? K_EXT_INDEX : K_EXT_LEAF)))
		return false;
	eh = node_of(&e);
	ix = (void *)(eh + 1);
	if (!eh->eh_entries || eh->eh_entries > 5000)
		return edit_drop(&e);
	if (!eh->eh_depth)
		eh->eh_depth = 1;
	ix += dmg_random(d, eh->eh_entries);
	ix->ei_leaf = (uint32_t)e.p->blk;
	ix->ei_leaf_hi = 0;
	return edit_end(d, &e, seal, "an index entry leads to its own node");
}

static bool case_extent_length(struct damage *d, bool seal)
{
	static const uint16_t lens[] = { 0, 0x8000, 0x8001, 0xffff, 0x7fff, 1 };
	struct ext3_extent_header *eh;
	struct ext3_extent *ex;
	struct edit e;

	if (!edit_begin(d, &e, any_node(d)))
		return false;
	eh = node_of(&e);
	if (eh->eh_depth || !eh->eh_entries || eh->eh_entries > 5000)
		return edit_drop(&e);
	ex = (struct ext3_extent *)(eh + 1) + dmg_random(d, eh->eh_entries);
	ex->ee_len = lens[dmg_random(d, 6)];
	return edit_end(d, &e, seal, "an extent of another length");
}

/* A node loses or gains entries without its head being told, or with. */
static bool case_entries(struct damage *d, bool seal)
{
	struct ext3_extent_header *eh;
	struct edit e;

	if (!edit_begin(d, &e, any_node(d)))
		return false;
	eh = node_of(&e);
	switch (dmg_random(d, 4)) {
	case 0:
		eh->eh_entries = 0;
		break;
	case 1:
		eh->eh_entries = (uint16_t)(eh->eh_max + 1);
		break;
	case 2:
		eh->eh_entries++;
		break;
	default:
		eh->eh_depth ^= 1;
	}
	return edit_end(d, &e, seal, "another head");
}

/* ---- inodes ---- */

static bool case_share_map(struct damage *d, bool seal)
{
	struct edit e;
	const struct place *p = any_inode(d), *other = p ? dmg_pick(d, p->kind) : NULL;
	struct ext2_inode_large *raw;
	struct ext2_inode theirs;

	if (!edit_begin(d, &e, p))
		return false;
	raw = inode_of(&e);
	dmg_read(d, other->off, &theirs, sizeof(theirs));
	if (other == p || !theirs.i_blocks)
		return edit_drop(&e);
	memcpy(raw->i_block, theirs.i_block, sizeof(raw->i_block));
	raw->i_flags = theirs.i_flags;
	if (dmg_random(d, 2)) {
		raw->i_size = theirs.i_size;
		raw->i_blocks = theirs.i_blocks;
	}
	return edit_end(d, &e, seal, "the block map of another one");
}

static bool case_deleted(struct damage *d, bool seal)
{
	struct ext2_inode_large *raw;
	struct edit e;

	if (!edit_begin(d, &e, any_inode(d)))
		return false;
	raw = inode_of(&e);
	raw->i_links_count = 0;
	if (dmg_random(d, 2))
		raw->i_dtime = 1000000000;
	return edit_end(d, &e, seal, "as if it was deleted");
}

static bool case_cleared(struct damage *d, bool seal)
{
	struct edit e;

	if (!edit_begin(d, &e, any_inode(d)))
		return false;
	memset(e.buf, 0, e.p->bytes);
	return edit_end(d, &e, seal, "cleared");
}

static bool case_flag(struct damage *d, bool seal)
{
	static const uint32_t flags[] = {
		EXT4_EXTENTS_FL,      EXT4_INLINE_DATA_FL, EXT4_ENCRYPT_FL, EXT4_CASEFOLD_FL,
		EXT4_VERITY_FL,	      EXT4_EA_INODE_FL,	   EXT2_INDEX_FL,   EXT4_HUGE_FILE_FL,
		EXT2_IMAGIC_FL,	      EXT2_IMMUTABLE_FL,   0x00400000,	    EXT4_PROJINHERIT_FL,
		EXT3_JOURNAL_DATA_FL, EXT2_COMPRBLK_FL,	   0x02000000
	};
	struct edit e;

	if (!edit_begin(d, &e, any_inode(d)))
		return false;
	inode_of(&e)->i_flags ^= flags[dmg_random(d, sizeof(flags) / sizeof(flags[0]))];
	return edit_end(d, &e, seal, "another flag");
}

static bool case_type(struct damage *d, bool seal)
{
	static const uint16_t types[] = { LINUX_S_IFREG,  LINUX_S_IFDIR,
					  LINUX_S_IFLNK,  LINUX_S_IFCHR,
					  LINUX_S_IFBLK,  LINUX_S_IFIFO,
					  LINUX_S_IFSOCK, 0 };
	struct ext2_inode_large *raw;
	struct edit e;

	if (!edit_begin(d, &e, any_inode(d)))
		return false;
	raw = inode_of(&e);
	raw->i_mode = (uint16_t)((raw->i_mode & 07777) | types[dmg_random(d, 8)]);
	return edit_end(d, &e, seal, "another file type");
}

static bool case_xattr_block(struct damage *d, bool seal)
{
	const struct place *other = dmg_pick(d, K_XATTR_BLOCK);
	struct edit e;

	if (!other || !edit_begin(d, &e, any_inode(d)))
		return false;
	inode_of(&e)->i_file_acl = (uint32_t)other->blk;
	return edit_end(d, &e, seal, "the attribute block of another one");
}

/* ---- directories ---- */

struct entries {
	uint32_t at[512];
	size_t n;
};

static void list_entries(const struct damage *d, const struct edit *e, struct entries *list)
{
	uint32_t off = 0;

	list->n = 0;
	while (off + 12 <= d->fs->blocksize && list->n < 512) {
		const struct ext2_dir_entry *de = (const void *)(e->buf + off);
		unsigned rec_len;

		if (ext2fs_get_rec_len(d->fs, (void *)(e->buf + off), &rec_len) || rec_len < 12)
			break;
		if (de->inode)
			list->at[list->n++] = off;
		off += rec_len;
	}
}

static bool case_two_entries(struct damage *d, bool seal)
{
	struct ext2_dir_entry_2 *a, *b;
	struct entries list;
	struct edit e;
	unsigned len;

	if (!edit_begin(d, &e, dmg_pick(d, K_DIR)))
		return false;
	list_entries(d, &e, &list);
	if (list.n < 2)
		return edit_drop(&e);
	a = (void *)(e.buf + list.at[dmg_random(d, list.n)]);
	b = (void *)(e.buf + list.at[dmg_random(d, list.n)]);
	if (a == b)
		return edit_drop(&e);
	switch (dmg_random(d, 3)) {
	case 0:
		b->inode = a->inode;
		return edit_end(d, &e, seal, "a second link");
	case 1:
		len = a->name_len;
		if (len + 8 > b->rec_len)
			return edit_drop(&e);
		memcpy(b->name, a->name, len);
		b->name_len = (uint8_t)len;
		return edit_end(d, &e, seal, "a name twice");
	default:
		len = a->inode;
		a->inode = b->inode;
		b->inode = len;
		return edit_end(d, &e, seal, "two inodes swapped");
	}
}

static bool case_unlink(struct damage *d, bool seal)
{
	struct entries list;
	struct edit e;

	if (!edit_begin(d, &e, dmg_pick(d, K_DIR)))
		return false;
	list_entries(d, &e, &list);
	if (!list.n)
		return edit_drop(&e);
	((struct ext2_dir_entry *)(void *)(e.buf + list.at[dmg_random(d, list.n)]))->inode = 0;
	return edit_end(d, &e, seal, "a name lost");
}

static bool case_dir_link(struct damage *d, bool seal)
{
	const struct place *dir = dmg_pick(d, K_INO_DIR);
	struct entries list;
	struct edit e;

	if (!dir || !edit_begin(d, &e, dmg_pick(d, K_DIR)))
		return false;
	list_entries(d, &e, &list);
	if (!list.n)
		return edit_drop(&e);
	((struct ext2_dir_entry *)(void *)(e.buf + list.at[dmg_random(d, list.n)]))->inode =
		dir->ino;
	return edit_end(d, &e, seal, "a name leads to some directory");
}

static bool case_bad_name(struct damage *d, bool seal)
{
	struct ext2_dir_entry_2 *de;
	struct entries list;
	struct edit e;

	if (!edit_begin(d, &e, dmg_pick(d, K_DIR)))
		return false;
	list_entries(d, &e, &list);
	if (!list.n)
		return edit_drop(&e);
	de = (void *)(e.buf + list.at[dmg_random(d, list.n)]);
	switch (dmg_random(d, 4)) {
	case 0:
		de->name[dmg_random(d, de->name_len ? de->name_len : 1u)] = '/';
		break;
	case 1:
		de->name[dmg_random(d, de->name_len ? de->name_len : 1u)] = 0;
		break;
	case 2:
		de->name_len = (uint8_t)(1 + dmg_random(d, 2));
		memcpy(de->name, "..", 2);
		break;
	default:
		de->name_len = 0;
	}
	return edit_end(d, &e, seal, "a bad name");
}

/* ---- orphans ---- */

static bool case_orphan_list(struct damage *d, bool seal)
{
	const struct place *super = dmg_pick(d, K_SUPER);
	uint32_t next = dmg_random(d, 4) ? 0 : dmg_some_ino(d, NULL);
	unsigned n = 1 + (unsigned)dmg_random(d, 3);
	struct edit e;

	for (unsigned i = 0; i < n; i++) {
		if (!edit_begin(d, &e, any_inode(d)))
			return false;
		inode_of(&e)->i_dtime = next;
		if (dmg_random(d, 2))
			inode_of(&e)->i_links_count = 0;
		next = e.p->ino;
		edit_end(d, &e, seal, "in the orphan list");
	}
	edit_begin(d, &e, super);
	((struct ext2_super_block *)(void *)e.buf)->s_last_orphan = next;
	return edit_end(d, &e, seal, "head of the orphan list");
}

static bool case_orphan_file(struct damage *d, bool seal)
{
	const struct place *super = dmg_pick(d, K_SUPER), *p = any_inode(d);
	bool unlinked = dmg_random(d, 2);
	struct edit e;
	uint32_t ino;

	if (!p || !edit_begin(d, &e, dmg_pick(d, K_ORPHAN_FILE)))
		return false;
	ino = dmg_random(d, 4) ? p->ino : dmg_some_ino(d, NULL);
	memcpy(e.buf + 4 * dmg_random(d, 8), &ino, 4);
	edit_end(d, &e, seal, "an entry in the orphan file");
	if (unlinked) {
		edit_begin(d, &e, p);
		inode_of(&e)->i_links_count = 0;
		edit_end(d, &e, seal, "without a name");
	}
	edit_begin(d, &e, super);
	((struct ext2_super_block *)(void *)e.buf)->s_feature_ro_compat |=
		EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT;
	return edit_end(d, &e, seal, "orphan_present");
}

/* ---- superblock, groups, the image ---- */

static bool case_feature(struct damage *d, bool seal)
{
	static const struct {
		uint8_t word; /* compat, incompat, ro_compat */
		uint32_t bit;
	} known[] = {
		{ 0, 0x1 },	{ 0, 0x4 },	{ 0, 0x8 },    { 0, 0x10 },   { 0, 0x20 },
		{ 0, 0x200 },	{ 0, 0x400 },	{ 0, 0x800 },  { 0, 0x1000 }, { 1, 0x2 },
		{ 1, 0x4 },	{ 1, 0x10 },	{ 1, 0x40 },   { 1, 0x80 },   { 1, 0x100 },
		{ 1, 0x200 },	{ 1, 0x400 },	{ 1, 0x2000 }, { 1, 0x4000 }, { 1, 0x8000 },
		{ 1, 0x10000 }, { 1, 0x20000 }, { 2, 0x1 },    { 2, 0x2 },    { 2, 0x8 },
		{ 2, 0x10 },	{ 2, 0x20 },	{ 2, 0x40 },   { 2, 0x100 },  { 2, 0x200 },
		{ 2, 0x400 },	{ 2, 0x1000 },	{ 2, 0x2000 }, { 2, 0x8000 }, { 2, 0x10000 }
	};
	size_t i = (size_t)dmg_random(d, sizeof(known) / sizeof(known[0]));
	struct ext2_super_block *sb;
	struct edit e;

	edit_begin(d, &e, dmg_pick(d, K_SUPER));
	sb = (void *)e.buf;
	if (known[i].word == 0)
		sb->s_feature_compat ^= known[i].bit;
	else if (known[i].word == 1)
		sb->s_feature_incompat ^= known[i].bit;
	else
		sb->s_feature_ro_compat ^= known[i].bit;
	return edit_end(d, &e, seal, "another feature");
}

static bool case_group_flags(struct damage *d, bool seal)
{
	struct ext4_group_desc *gd;
	struct edit e;

	edit_begin(d, &e, dmg_pick(d, K_DESC));
	gd = (void *)e.buf;
	switch (dmg_random(d, 4)) {
	case 0:
		gd->bg_flags ^= EXT2_BG_INODE_UNINIT;
		break;
	case 1:
		gd->bg_flags ^= EXT2_BG_BLOCK_UNINIT;
		break;
	case 2:
		gd->bg_flags ^= EXT2_BG_INODE_ZEROED;
		break;
	default:
		gd->bg_itable_unused = (uint16_t)(gd->bg_itable_unused + 16 * dmg_random(d, 9));
	}
	return edit_end(d, &e, seal, "other flags");
}

static bool case_only_copies(struct damage *d, bool seal)
{
	const struct place *super = dmg_pick(d, K_SUPER), *desc = &d->places[d->first[K_DESC]];
	uint8_t *zeros = calloc(1, d->fs->blocksize);

	(void)seal;
	if (!zeros)
		err(2, NULL);
	if (d->count[K_SUPER_COPY]) {
		dmg_write(d, super->off, zeros, super->bytes);
		if (dmg_random(d, 2))
			dmg_write(d, desc->blk * d->fs->blocksize, zeros, d->fs->blocksize);
		dmg_say(NULL, false, "nothing but copies of the superblock");
	}
	free(zeros);
	return d->count[K_SUPER_COPY] != 0;
}

static bool case_length(struct damage *d, bool seal)
{
	uint64_t blks = ext2fs_blocks_count(d->fs->super);
	bool longer = dmg_random(d, 2);
	uint8_t garbage[4096];
	struct stat st;

	(void)seal;
	if (fstat(d->fd, &st))
		err(2, "stat");
	if (longer) {
		for (size_t i = 0; i < sizeof(garbage); i++)
			garbage[i] = (uint8_t)dmg_random(d, 256);
		dmg_write(d, (uint64_t)st.st_size, garbage, sizeof(garbage));
		dmg_say(NULL, false, "garbage behind the end");
		return true;
	}
	blks -= 1 + dmg_random(d, blks / 4);
	if (ftruncate(d->fd, (off_t)(blks * d->fs->blocksize)))
		err(2, "truncate");
	dmg_say(NULL, false, "cut off after block %llu", (unsigned long long)blks);
	return true;
}

static bool (*const cases[])(struct damage *d, bool seal) = {
	case_overlap,	case_unsorted,	  case_cycle,	    case_extent_length, case_entries,
	case_share_map, case_deleted,	  case_cleared,	    case_flag,		case_flag,
	case_type,	case_xattr_block, case_two_entries, case_two_entries,	case_unlink,
	case_dir_link,	case_bad_name,	  case_orphan_list, case_orphan_file,	case_feature,
	case_feature,	case_group_flags, case_only_copies, case_length,
};

bool dmg_case(struct damage *d, bool seal)
{
	return cases[dmg_random(d, sizeof(cases) / sizeof(cases[0]))](d, seal);
}
