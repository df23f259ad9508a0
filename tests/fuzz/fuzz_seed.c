/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_seed - records read and written; seeds of the image targets: structures of the sound
 * images. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/dirindex.h"
#include "image/etree.h"
#include "image/group.h"
#include "image/icodec.h"
#include "tests/fuzz/fuzz.h"

static const char *seed_folder;

bool fuzz_record_next(const uint8_t **at, const uint8_t *end, struct fuzz_record *rec)
{
	const uint8_t *p = *at;
	uint16_t len;

	if (end - p < FUZZ_RECORD_BYTES)
		return false;
	rec->kind = p[0] % FUZZ_KINDS;
	rec->owner = p[1];
	memcpy(&rec->where, p + 2, 2);
	memcpy(&rec->off, p + 4, 2);
	memcpy(&len, p + 6, 2);
	rec->bytes = p + FUZZ_RECORD_BYTES;
	rec->len = len;
	if (rec->len > (size_t)(end - rec->bytes))
		rec->len = (size_t)(end - rec->bytes);
	*at = rec->bytes + rec->len;
	return true;
}

void fuzz_input_begin(struct fuzz_input *in, size_t base, uint8_t what)
{
	in->bytes[0] = (uint8_t)base;
	in->bytes[1] = what;
	in->len = FUZZ_HEAD_BYTES;
}

void fuzz_input_add(struct fuzz_input *in, const struct fuzz_record *rec)
{
	uint16_t len = (uint16_t)rec->len;
	uint8_t *at = in->bytes + in->len;

	if (in->len + FUZZ_RECORD_BYTES + len > sizeof(in->bytes))
		return;
	at[0] = rec->kind;
	at[1] = rec->owner;
	memcpy(at + 2, &rec->where, 2);
	memcpy(at + 4, &rec->off, 2);
	memcpy(at + 6, &len, 2);
	memcpy(at + FUZZ_RECORD_BYTES, rec->bytes, len);
	in->len += FUZZ_RECORD_BYTES + (size_t)len;
}

/* The sound images as files. */
static void write_bases(void)
{
	for (size_t i = 0; i < fuzz_nbases; i++)
		fuzz_seed_write(fuzz_base(i)->name, fuzz_base(i)->sound.bytes,
				fuzz_base(i)->sound.size_bytes);
}

void fuzz_seeds(void (*write)(void))
{
	fuzz_begin();
	seed_folder = getenv("DAFS_FUZZ_BASES");
	if (seed_folder) {
		write_bases();
		exit(0);
	}
	seed_folder = getenv("DAFS_FUZZ_SEEDS");
	if (!seed_folder)
		return;
	write();
	exit(0);
}

void fuzz_seed_write(const char *name, const uint8_t *data, size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", seed_folder, name);
	file = fopen(path, "w");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file))
		fuzz_die(path, errno);
}

void fuzz_seed_input(const char *name, const struct fuzz_input *in)
{
	fuzz_seed_write(name, in->bytes, in->len);
}

static void add_block(struct fuzz_input *in, const struct fuzz_base *base, uint8_t kind,
		      uint32_t ino, uint64_t pblk)
{
	struct fuzz_record rec = {
		.kind = kind,
		.owner = (uint8_t)ino,
		.where = (uint16_t)pblk,
		.bytes = base->sound.bytes + (pblk << base->img->block_bits),
		.len = base->img->block_size,
	};

	fuzz_input_add(in, &rec);
}

static void add_directory(struct fuzz_input *in, const struct fuzz_base *base, uint32_t ino,
			  const struct ext2_inode_large *raw)
{
	enum { MOST_BLOCKS = 12 };
	static const uint8_t kinds[] = { [DAFS_DIRBLOCK_LEAF] = FUZZ_LEAF,
					 [DAFS_DIRBLOCK_ROOT] = FUZZ_ROOT,
					 [DAFS_DIRBLOCK_NODE] = FUZZ_NODE };
	enum dafs_dirblock_kind kind;
	struct dafs_dir dir;
	uint8_t buf[4096];

	if (raw->i_flags & EXT4_INLINE_DATA_FL || dafs_dir_open(base->img, ino, raw, &dir))
		return;
	for (size_t i = 0; i < dir.xl.n; i++) {
		const struct dafs_extent *ext = &dir.xl.v[i];

		for (uint32_t k = 0; k < ext->len && ext->lblk + k < MOST_BLOCKS; k++)
			if (!dafs_dir_read(&dir, (uint32_t)ext->lblk + k, NULL, buf, &kind))
				add_block(in, base, kinds[kind], ino, ext->pblk + k);
	}
	dafs_dir_close(&dir);
}

static void add_nodes(struct fuzz_input *in, const struct fuzz_base *base, uint32_t ino,
		      const struct ext2_inode_large *raw)
{
	struct dafs_blklist nodes = { .n = 0 };
	struct dafs_extlist xl = { .n = 0 };

	if (dafs_icodec_has_map(base->img, raw) &&
	    !dafs_etree_decode(base->img, ino, raw, &xl, &nodes))
		for (size_t i = 0; i < nodes.n; i++)
			add_block(in, base,
				  raw->i_flags & EXT4_EXTENTS_FL ? FUZZ_EXTENTS : FUZZ_BLOCK, ino,
				  nodes.v[i]);
	dafs_extlist_fini(&xl);
	dafs_blklist_fini(&nodes);
}

/* One inode's input; false: nothing of the kinds that are wanted. */
static bool collect(struct fuzz_input *in, size_t number, uint32_t ino, unsigned kinds,
		    uint8_t what)
{
	struct fuzz_base *base = fuzz_base(number);
	union dafs_inode_buf buf;
	struct fuzz_record rec = { .kind = FUZZ_INODE,
				   .where = (uint16_t)ino,
				   .bytes = buf.bytes,
				   .len = base->img->inode_size };
	size_t alone;

	if (dafs_icodec_read(base->img, ino, &buf.raw, sizeof(buf)) || !buf.raw.i_mode)
		return false;
	fuzz_input_begin(in, number, what);
	fuzz_input_add(in, &rec);
	alone = in->len;
	if (kinds & 1u << FUZZ_EXTENTS)
		add_nodes(in, base, ino, &buf.raw);
	if (kinds & 1u << FUZZ_LEAF && LINUX_S_ISDIR(buf.raw.i_mode))
		add_directory(in, base, ino, &buf.raw);
	if (kinds & 1u << FUZZ_LEAF && LINUX_S_ISDIR(buf.raw.i_mode) &&
	    buf.raw.i_flags & EXT4_INLINE_DATA_FL)
		return true;
	if (kinds & 1u << FUZZ_XATTRS && buf.raw.i_file_acl)
		add_block(in, base, FUZZ_XATTRS, ino, buf.raw.i_file_acl);
	return in->len > alone || kinds & 1u << FUZZ_INODE;
}

void fuzz_seed_inodes(unsigned kinds)
{
	static const uint8_t flag_sets[] = { FUZZ_FIX | FUZZ_LOOK, FUZZ_FIX | FUZZ_CHECK,
					     FUZZ_FIX | FUZZ_REPAIR, FUZZ_FIX | FUZZ_EDIT };
	static struct fuzz_input in;
	char name[64];

	for (size_t number = 0; number < fuzz_nbases; number++)
		for (uint32_t ino = 1; ino <= 40; ino++)
			for (size_t i = 0; i < sizeof(flag_sets); i++) {
				snprintf(name, sizeof(name), "%s-%u-%zu", fuzz_base(number)->name,
					 ino, i);
				if (collect(&in, number, ino, kinds, flag_sets[i]))
					fuzz_seed_input(name, &in);
			}
}

static void add_static(const struct fuzz_base *base,
		       void (*fn)(void *arg, const struct fuzz_record *rec), void *arg)
{
	ext2_filsys fs = base->img->fs;
	uint32_t bs = base->img->block_size;
	struct fuzz_record rec = { .kind = FUZZ_SUPER,
				   .bytes = base->sound.bytes + 1024,
				   .len = 1024 };

	fn(arg, &rec);
	rec.len = bs;
	for (uint16_t i = 0; i < fs->desc_blocks; i++) {
		rec.kind = FUZZ_DESCS;
		rec.where = i;
		rec.bytes = base->sound.bytes +
			    bs * dafs_group_desc_pblk(base->img, i);
		rec.len = fs->group_desc_count * EXT2_DESC_SIZE(fs->super) < bs
				  ? fs->group_desc_count * EXT2_DESC_SIZE(fs->super)
				  : bs;
		fn(arg, &rec);
	}
	rec.len = 128;
	for (uint16_t grp = 0; grp < fs->group_desc_count; grp++) {
		rec.where = grp;
		rec.kind = FUZZ_BBITMAP;
		rec.bytes = base->sound.bytes + bs * ext2fs_block_bitmap_loc(fs, grp);
		fn(arg, &rec);
		rec.kind = FUZZ_IBITMAP;
		rec.bytes = base->sound.bytes + bs * ext2fs_inode_bitmap_loc(fs, grp);
		fn(arg, &rec);
	}
	for (uint16_t lblk = 0; base->journal && lblk < 4; lblk++) {
		rec = (struct fuzz_record){ .kind = FUZZ_LOG,
					    .where = lblk,
					    .len = 512,
					    .bytes = base->sound.bytes + fuzz_log_off(base, lblk) };
		fn(arg, &rec);
	}
}

void fuzz_structures(size_t number, void (*fn)(void *arg, const struct fuzz_record *rec), void *arg)
{
	const unsigned kinds =
		1u << FUZZ_INODE | 1u << FUZZ_EXTENTS | 1u << FUZZ_LEAF | 1u << FUZZ_XATTRS;
	static struct fuzz_input in;
	struct fuzz_base *base = fuzz_base(number);

	add_static(base, fn, arg);
	for (uint32_t ino = 1; ino <= 40; ino++) {
		const uint8_t *at = in.bytes + FUZZ_HEAD_BYTES;
		struct fuzz_record rec;

		if (!collect(&in, number, ino, kinds, 0))
			continue;
		while (fuzz_record_next(&at, in.bytes + in.len, &rec)) {
			uint8_t *own = malloc(rec.len);

			if (!own)
				fuzz_die("structures", ENOMEM);
			memcpy(own, rec.bytes, rec.len);
			rec.bytes = own;
			fn(arg, &rec);
		}
	}
}
