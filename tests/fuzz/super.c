/* SPDX-License-Identifier: GPL-2.0-or-later */
/* super - superblock, descriptors, bitmaps. */
#include "config.h"

#include <stdio.h>

#include "image/group.h"
#include "tests/fuzz/fuzz.h"

/* Superblock, all descriptors, the bitmaps of the first group. */
static void add_all(struct fuzz_input *in, const struct fuzz_base *base)
{
	ext2_filsys fs = base->img->fs;
	uint32_t bs = base->img->block_size;
	struct fuzz_record rec = { .kind = FUZZ_SUPER,
				   .bytes = base->sound.bytes + 1024,
				   .len = 1024 };

	fuzz_input_add(in, &rec);
	for (uint16_t i = 0; i < fs->desc_blocks; i++) {
		uint64_t pblk = dafs_group_desc_pblk(base->img, i);

		rec = (struct fuzz_record){ .kind = FUZZ_DESCS,
					    .where = i,
					    .bytes = base->sound.bytes + pblk * bs,
					    .len = fs->group_desc_count *
						   EXT2_DESC_SIZE(fs->super) };
		if (rec.len > bs)
			rec.len = bs;
		fuzz_input_add(in, &rec);
	}
	rec = (struct fuzz_record){ .kind = FUZZ_BBITMAP,
				    .len = 64,
				    .bytes = base->sound.bytes +
					     ext2fs_block_bitmap_loc(fs, 0) * bs };
	fuzz_input_add(in, &rec);
	rec.kind = FUZZ_IBITMAP;
	rec.bytes = base->sound.bytes + ext2fs_inode_bitmap_loc(fs, 0) * bs;
	fuzz_input_add(in, &rec);
}

static void write_seeds(void)
{
	static const uint8_t flag_sets[] = {
		FUZZ_FIX | FUZZ_LOOK,	   FUZZ_FIX | FUZZ_LOOK | FUZZ_BACKUP | FUZZ_NO_CSUM,
		FUZZ_FIX | FUZZ_CHECK,	   FUZZ_FIX | FUZZ_REPAIR,
		FUZZ_REPAIR | FUZZ_BACKUP, FUZZ_FIX | FUZZ_EDIT
	};
	static struct fuzz_input in;
	char name[64];

	for (size_t number = 0; number < fuzz_nbases; number++)
		for (size_t i = 0; i < sizeof(flag_sets); i++) {
			struct fuzz_base *base = fuzz_base(number);

			fuzz_input_begin(&in, number, flag_sets[i]);
			add_all(&in, base);
			snprintf(name, sizeof(name), "%s-%zu", base->name, i);
			fuzz_seed_input(name, &in);
		}
}

FUZZ_IMAGE_TARGET(write_seeds)
