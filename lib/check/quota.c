/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * quota - what users, groups and projects use, added up in pass 1, against what the hidden quota
 * files say.
 *
 * Only usage is compared; limits are the administrator's. Leaves nothing for a next pass: it is the
 * last.
 *
 * Layout of a quota file (vfsv1): blocks of 1 KiB; block 0 has header and info, block 1 the root of
 * a tree of four levels by the bytes of the id, whose leaves are blocks of entries.
 */
#include "config.h"

#include "check/check_int.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "image/qcodec.h"

#define QUOTA_BLK   1024u
#define QUOTA_DEPTH 4u

struct quota_head {
	uint32_t magic, version;
	uint32_t block_grace, inode_grace, flags, blocks, free_block, free_entry;
};

struct quota_leaf {
	uint32_t next, prev;
	uint16_t entries, pad;
	uint32_t pad2;
};

struct quota_entry {
	uint32_t id, pad;
	uint64_t inode_hard, inode_soft, inodes, block_hard, block_soft, bytes, block_time,
		inode_time;
};
_Static_assert(sizeof(struct quota_entry) == 72, "layout");

struct quota_sum {
	uint32_t id;
	bool seen; /* has an entry in the file */
	uint64_t bytes, inodes;
	struct quota_entry entry; /* as in the file: the limits */
};

static const char *const type_names[] = { "user", "group", "project" };
static const uint32_t magics[] = { 0xd9c01f11, 0xd9c01927, 0xd9c03f14 };

uint32_t dafs_ck_quota_inum(const struct dafs_ck *ck, unsigned type)
{
	const uint32_t inums[] = { ck->sb.s_usr_quota_inum, ck->sb.s_grp_quota_inum,
				   ck->sb.s_prj_quota_inum };

	return inums[type];
}

uint32_t *dafs_ck_quota_slot(struct dafs_ck *ck, unsigned type)
{
	uint32_t *const slots[] = { &ck->sb.s_usr_quota_inum, &ck->sb.s_grp_quota_inum,
				    &ck->sb.s_prj_quota_inum };

	return slots[type];
}

/* ---- adding up ---- */

static struct quota_sum *sum_of(struct dafs_ck_map *map, struct dafs_ck_vec *sums, uint32_t id)
{
	bool made;
	uint64_t *index = dafs_ck_map_put(map, (uint64_t)id + 1, &made);
	struct quota_sum *sum;

	if (!index)
		return NULL;
	if (!made)
		return (struct quota_sum *)sums->v + *index;
	*index = sums->n;
	sum = dafs_ck_vec_add(sums, sizeof(*sum));
	if (sum)
		sum->id = id;
	return sum;
}

void dafs_ck_quota_charge(struct dafs_ck_worker *w, const struct dafs_ck_inode *in)
{
	const struct ext2_inode_large *raw = in->raw;
	size_t end = EXT2_GOOD_OLD_INODE_SIZE + (size_t)raw->i_extra_isize;
	uint32_t ids[3] = { inode_uid(*raw), inode_gid(*raw), 0 };

	if (w->ck->g.inode_size > EXT2_GOOD_OLD_INODE_SIZE && inode_includes(end, i_projid))
		ids[2] = raw->i_projid;
	for (unsigned type = 0; type < 3; type++) {
		struct quota_sum *sum;

		if (!dafs_ck_quota_inum(w->ck, type))
			continue;
		sum = sum_of(&w->quota[type], &w->quota_sums[type], ids[type]);
		if (!sum) {
			w->err = ENOMEM;
			return;
		}
		sum->bytes += in->quota_bytes;
		sum->inodes += in->quota_inodes;
	}
}

static errcode_t merge(struct dafs_ck *ck, unsigned type)
{
	for (unsigned i = 0; i < ck->nworkers; i++) {
		struct dafs_ck_worker *w = &ck->workers[i];
		const struct quota_sum *from = w->quota_sums[type].v;

		for (size_t k = 0; k < w->quota_sums[type].n; k++) {
			struct quota_sum *to =
				sum_of(&ck->quota[type], &ck->quota_sums[type], from[k].id);

			if (!to)
				return ENOMEM;
			to->bytes += from[k].bytes;
			to->inodes += from[k].inodes;
		}
		dafs_ck_vec_fini(&w->quota_sums[type]);
		dafs_ck_map_fini(&w->quota[type]);
	}
	return 0;
}

/* ---- the file ---- */

struct run {
	uint64_t lblk, pblk, len;
};

struct file {
	struct dafs_ck *ck;
	unsigned type;
	struct dafs_ck_vec runs;
	uint32_t blocks; /* of QUOTA_BLK */
	struct dafs_ck_map visited;
	const char *wrong; /* damage: the file is of no use */
	const char *odd;   /* nobody minds until ids are added */
	unsigned astray; /* below a node that has another place as well: limits are not believed */
	bool write;	 /* it is to be written anew */
};

static void add_run(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk, uint64_t len,
		    bool map)
{
	struct file *f = arg;
	struct run *run;

	if (map)
		return;
	run = dafs_ck_vec_add(&f->runs, sizeof(*run));
	if (run)
		*run = (struct run){ lblk, pblk, len };
	else
		w->err = ENOMEM;
}

static int run_cmp(const void *key, const void *at)
{
	uint64_t lblk = *(const uint64_t *)key;
	const struct run *run = at;

	return lblk < run->lblk ? -1 : lblk >= run->lblk + run->len;
}

/* Quota block n into buf. False: it is not there. */
static bool file_read(struct file *f, uint32_t n, uint8_t *buf)
{
	struct dafs_ck *ck = f->ck;
	uint64_t off = (uint64_t)n * QUOTA_BLK, lblk = off >> ck->g.block_bits;
	const struct run *run = NULL;

	if (f->runs.n)
		run = bsearch(&lblk, f->runs.v, f->runs.n, sizeof(*run), run_cmp);
	if (!run || dafs_ck_read(ck->main, run->pblk + (lblk - run->lblk), 1, ck->main->tmp))
		return false;
	memcpy(buf, ck->main->tmp + (off & (ck->g.block_size - 1)), QUOTA_BLK);
	return true;
}

static void look_entry(struct file *f, const struct quota_entry *e)
{
	struct dafs_ck *ck = f->ck;
	struct quota_sum *sum = sum_of(&ck->quota[f->type], &ck->quota_sums[f->type], e->id);

	if (!sum) {
		ck->main->err = ENOMEM;
		return;
	}
	if (!f->astray || !sum->seen)
		sum->entry = f->astray ? (struct quota_entry){ .id = e->id } : *e;
	sum->seen = true;
	if (sum->bytes == e->bytes && sum->inodes == e->inodes)
		return;
	if (sum->bytes != e->bytes)
		f->write |= DAFS_CK_FIND(ck->main, QUOTA_USAGE, .ino = e->id, .found = e->bytes,
					 .want = sum->bytes, .text = type_names[f->type],
					 .name = "bytes", .name_len = 5);
	if (sum->inodes != e->inodes)
		f->write |= DAFS_CK_FIND(ck->main, QUOTA_USAGE, .ino = e->id, .found = e->inodes,
					 .want = sum->inodes, .text = type_names[f->type],
					 .name = "inodes", .name_len = 6);
}

static void look_leaf(struct file *f, uint32_t n)
{
	static const struct quota_entry unused;
	uint8_t buf[QUOTA_BLK];
	const struct quota_entry *e = (const void *)(buf + sizeof(struct quota_leaf));

	if (!file_read(f, n, buf)) {
		f->wrong = "a leaf is missing";
		return;
	}
	for (size_t i = 0; i < (QUOTA_BLK - sizeof(struct quota_leaf)) / sizeof(*e); i++)
		if (memcmp(&e[i], &unused, sizeof(unused)))
			look_entry(f, &e[i]);
}

static void look_node(struct file *f, uint32_t n, unsigned depth)
{
	uint8_t buf[QUOTA_BLK];
	const uint32_t *refs = (const uint32_t *)buf;

	if (!file_read(f, n, buf)) {
		f->wrong = "a node is missing";
		return;
	}
	for (unsigned i = 0; i < QUOTA_BLK / 4 && !f->wrong; i++) {
		uint64_t *seen;
		bool again;

		if (!refs[i])
			continue;
		if (refs[i] >= f->blocks) {
			f->wrong = "a reference leads out of it";
			return;
		}
		seen = dafs_ck_map_put(&f->visited, refs[i], NULL);
		if (!seen) {
			f->ck->main->err = ENOMEM;
			return;
		}
		/* As libext2fs walks: a block is what its depth makes of it, so each is looked at
		 * once a depth. Ids share leaves; all else that is met again is a loop. */
		again = *seen != 0;
		if (*seen >> (depth + 1) & 1) {
			f->odd = depth + 1 < QUOTA_DEPTH ? "its tree has a loop" : f->odd;
			continue;
		}
		if (again)
			f->odd = "its tree has a loop";
		*seen |= UINT64_C(1) << (depth + 1);
		f->astray += again;
		if (depth + 1 == QUOTA_DEPTH)
			look_leaf(f, refs[i]);
		else
			look_node(f, refs[i], depth + 1);
		f->astray -= again;
	}
}

static void look_file(struct file *f, uint32_t ino, const struct ext2_inode_large *raw)
{
	uint8_t buf[QUOTA_BLK];
	const struct quota_head *head = (const void *)buf;
	uint64_t *root;

	dafs_ck_walk(f->ck->main, ino, raw, add_run, f);
	if (!file_read(f, 0, buf)) {
		f->wrong = "its header is missing";
		return;
	}
	/* (libext2fs does not look at the magic, but for the other byte order.) */
	if (head->version != 1 || htobe32(head->magic) == magics[f->type] ||
	    head->free_block >= head->blocks || head->free_entry >= head->blocks) {
		f->wrong = "its header is wrong";
		return;
	}
	if (head->magic != magics[f->type])
		f->odd = "its header has another type's magic";
	root = dafs_ck_map_put(&f->visited, 1, NULL);
	if (!root) {
		f->ck->main->err = ENOMEM;
		return;
	}
	*root = 1;
	f->blocks = head->blocks;
	if ((uint64_t)head->blocks * QUOTA_BLK > dafs_ck_size(raw) || head->blocks < 2)
		f->wrong = "it is shorter than it says";
	else
		look_node(f, 1, 0);
}

/* Usage without an entry. */
static void look_missing(struct file *f)
{
	const struct quota_sum *sums = f->ck->quota_sums[f->type].v;

	for (size_t i = 0; i < f->ck->quota_sums[f->type].n; i++) {
		if (sums[i].seen)
			continue;
		f->write |= DAFS_CK_FIND(f->ck->main, QUOTA_USAGE, .ino = sums[i].id,
					 .want = sums[i].bytes, .text = type_names[f->type],
					 .name = "bytes", .name_len = 5);
	}
}

/* ---- writing it anew ---- */

static int sum_cmp(const void *a, const void *b)
{
	const struct quota_sum *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* All ids with usage or limits, as a file's bytes. */
static errcode_t encode(struct file *f, uint8_t **bytes, size_t *len)
{
	struct dafs_ck_vec *sums = &f->ck->quota_sums[f->type];
	struct quota_sum *v = sums->v;
	struct dafs_quota_entry *entries = calloc(sums->n + 1, sizeof(*entries));
	size_t n = 0;
	errcode_t err;

	if (!entries)
		return ENOMEM;
	/* (The map of ids is not needed any more.) */
	if (sums->n)
		qsort(v, sums->n, sizeof(*v), sum_cmp);
	for (size_t i = 0; i < sums->n; i++) {
		const struct quota_entry *e = &v[i].entry;

		if (!v[i].bytes && !v[i].inodes && !e->inode_hard && !e->inode_soft &&
		    !e->block_hard && !e->block_soft && v[i].id)
			continue;
		entries[n++] = (struct dafs_quota_entry){ .id = v[i].id,
							  .inodes = v[i].inodes,
							  .inode_hard = e->inode_hard,
							  .inode_soft = e->inode_soft,
							  .bytes = v[i].bytes,
							  .blk_hard = e->block_hard,
							  .blk_soft = e->block_soft,
							  .inode_sec = e->inode_time,
							  .blk_sec = e->block_time };
	}
	err = dafs_qcodec_encode(f->ck->ctx, (enum dafs_quota_type)f->type, entries, n, bytes, len);
	free(entries);
	return err;
}

/* Map the file's first n blocks: what is mapped stays. */
static errcode_t map_blocks(struct file *f, uint32_t ino, struct ext2_inode_large *raw, uint64_t n,
			    struct dafs_extlist *xl)
{
	struct dafs_ck *ck = f->ck;
	struct dafs_ck_flat flat;
	errcode_t err = dafs_ck_flat_read(ck, ino, raw, &flat);

	for (uint32_t lblk = 0, at = 0; lblk < n && !err; lblk++) {
		uint64_t pblk = 0;

		while (at < flat.xl.n && dafs_extent_end(&flat.xl.v[at]) <= lblk)
			at++;
		if (at < flat.xl.n && flat.xl.v[at].lblk <= lblk)
			pblk = flat.xl.v[at].pblk + (lblk - flat.xl.v[at].lblk);
		else
			pblk = dafs_ck_dir_blk(ck, ino, xl, lblk);
		err = pblk ? dafs_extlist_append(xl, pblk, lblk, 1, false) : ENOSPC;
	}
	if (!err)
		err = dafs_ck_flat_replace(ck, ino, raw, &flat, xl);
	dafs_ck_flat_fini(&flat);
	return err;
}

static void new_inode(struct dafs_ck *ck, struct ext2_inode_large *raw)
{
	struct ext3_extent_header *eh = (void *)raw->i_block;

	memset(raw, 0, ck->g.inode_size);
	raw->i_mode = LINUX_S_IFREG | 0600;
	raw->i_links_count = 1;
	raw->i_atime = raw->i_ctime = raw->i_mtime = (uint32_t)ck->ctx->now_sec;
	if (ck->g.extents) {
		raw->i_flags = EXT4_EXTENTS_FL;
		eh->eh_magic = EXT3_EXT_MAGIC;
		eh->eh_max = (sizeof(raw->i_block) - sizeof(*eh)) / sizeof(struct ext3_extent);
	}
	if (ck->g.inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		raw->i_extra_isize = ck->sb.s_want_extra_isize;
}

static errcode_t write_file(struct file *f, uint32_t ino, struct ext2_inode_large *raw)
{
	struct dafs_ck *ck = f->ck;
	uint8_t *bytes = NULL, *block = ck->main->xblk;
	struct dafs_extlist xl = { 0 };
	size_t len;
	uint64_t n;
	errcode_t err = encode(f, &bytes, &len);

	if (err)
		return err;
	n = (len + ck->g.block_size - 1) >> ck->g.block_bits;
	if (!LINUX_S_ISREG(raw->i_mode) || !raw->i_links_count)
		new_inode(ck, raw);
	raw->i_size = (uint32_t)(n << ck->g.block_bits);
	raw->i_size_high = 0;
	err = map_blocks(f, ino, raw, n, &xl);
	for (size_t i = 0; i < xl.n && !err; i++) {
		for (uint32_t b = 0; b < xl.v[i].len && !err; b++) {
			size_t off = (size_t)(xl.v[i].lblk + b) << ck->g.block_bits;
			size_t part = len - off < ck->g.block_size ? len - off : ck->g.block_size;

			memset(block, 0, ck->g.block_size);
			memcpy(block, bytes + off, part);
			err = dafs_ck_write(ck->main, xl.v[i].pblk + b, block);
		}
	}
	if (err == ENOSPC) {
		dafs_ck_no_room(ck->main, "a quota file");
		err = 0;
	}
	ck->again = true;
	dafs_extlist_fini(&xl);
	free(bytes);
	return err;
}

static errcode_t check_type(struct dafs_ck *ck, unsigned type)
{
	struct file f = { .ck = ck, .type = type };
	uint32_t ino = dafs_ck_quota_inum(ck, type);
	struct ext2_inode_large *raw = calloc(1, ck->g.inode_size < 256 ? 256 : ck->g.inode_size);
	errcode_t err = merge(ck, type);

	if (!raw)
		err = ENOMEM;
	if (err)
		goto out;
	if (!dafs_ck_read_inode(ck->main, ino, raw) || !LINUX_S_ISREG(raw->i_mode) ||
	    !raw->i_links_count)
		f.wrong = "its inode is no file";
	else
		look_file(&f, ino, raw);
	if (f.wrong)
		f.write = DAFS_CK_FIND(ck->main, QUOTA_FILE, .ino = ino, .text = type_names[type],
				       .name = f.wrong, .name_len = (uint8_t)strlen(f.wrong));
	else
		look_missing(&f);
	if (f.odd && !f.write)
		f.write = DAFS_CK_FIND(ck->main, QUOTA_TREE, .ino = ino, .text = type_names[type],
				       .name = f.odd, .name_len = (uint8_t)strlen(f.odd));
	err = ck->main->err;
	if (f.write && !err)
		err = write_file(&f, ino, raw);
out:
	free(raw);
	dafs_ck_vec_fini(&f.runs);
	dafs_ck_map_fini(&f.visited);
	return err;
}

/* ---- the numbers of the files ---- */

/* Does the inode hold a quota file of the type, as its header says? *used: a file of any sort. */
static bool holds_quota(struct dafs_ck *ck, uint32_t ino, unsigned type, bool *used, uint16_t *mode)
{
	struct file f = { .ck = ck, .type = type };
	struct ext2_inode_large *raw = dafs_ck_raw_alloc(ck);
	const struct quota_head *head;
	uint8_t buf[QUOTA_BLK];
	bool holds = false;

	*used = false;
	if (!raw) {
		ck->main->err = ENOMEM;
		return false;
	}
	if (dafs_ck_read_inode(ck->main, ino, raw) && raw->i_links_count) {
		*used = true;
		*mode = raw->i_mode;
		if (LINUX_S_ISREG(raw->i_mode) && !(raw->i_flags & EXT4_INLINE_DATA_FL)) {
			dafs_ck_walk(ck->main, ino, raw, add_run, &f);
			head = (const void *)buf;
			holds = file_read(&f, 0, buf) && head->magic == magics[type];
		}
	}
	free(raw);
	dafs_ck_vec_fini(&f.runs);
	return holds;
}

/* (Without the feature, the number for projects is pass 1's matter, like the orphan file's.) */
errcode_t dafs_ck_quota_numbers(struct dafs_ck *ck)
{
	static const uint32_t reserved[] = { EXT4_USR_QUOTA_INO, EXT4_GRP_QUOTA_INO, 0 };
	static const char *const files[] = { "user quota file", "group quota file",
					     "project quota file" };

	for (unsigned type = 0; type < 3; type++) {
		uint32_t *slot = dafs_ck_quota_slot(ck, type);
		bool used, quota;
		uint16_t mode = 0;

		if (*slot < ck->g.first_ino || *slot > ck->g.inodes ||
		    (!ck->g.quota && !reserved[type]))
			continue;
		quota = holds_quota(ck, *slot, type, &used, &mode);
		if (ck->main->err)
			return ck->main->err;
		/* A damaged quota file in its own inode looks like no user's file. */
		if (!used || quota || (ck->g.quota && mode == (LINUX_S_IFREG | 0600)))
			continue;
		if (DAFS_CK_FIND(ck->main, SB_STRAY, .ino = *slot, .text = files[type]))
			*slot = ck->g.quota ? reserved[type] : 0;
	}
	return 0;
}

errcode_t dafs_ck_quota_check(struct dafs_ck *ck)
{
	errcode_t err = 0;

	if (!ck->g.quota)
		return 0;
	for (unsigned type = 0; type < 3 && !err; type++)
		if (dafs_ck_quota_inum(ck, type))
			err = check_type(ck, type);
	return err;
}
