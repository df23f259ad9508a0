/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dir_batch - names to be added to and removed from a dir_fx's directory in one edit, by chance. */
#ifndef TESTS_UNIT_DIR_BATCH_H
#define TESTS_UNIT_DIR_BATCH_H

#include "dir_fx.h"
#include "seeded.h"

struct batch {
	struct dafs_dirent_add *add;
	struct dafs_dirent_del *del;
	size_t nadd, ndel;
	char (*text)[256];
};

static inline void batch_fini(struct batch *b)
{
	free(b->add);
	free(b->del);
	free(b->text);
}

static inline uint8_t random_name(struct rng *rng, unsigned style, char *text)
{
	uint32_t len = style == 0   ? rng_len(rng, 255)
		       : style == 1 ? 1 + rng_below(rng, 12)
				    : 200 + rng_below(rng, 56);

	for (uint32_t i = 0; i < len; i++) {
		do {
			text[i] = (char)(style == 1 ? 'a' + rng_below(rng, 26)
						    : 1 + rng_below(rng, 255));
		} while (text[i] == '/' || (unsigned char)text[i] >= (style == 2 ? 128 : 256));
	}
	if (text[0] == '.')
		text[0] = 'x';
	return (uint8_t)len;
}

/* Up to n names that the directory does not have, each to some file; they are in the set
 * afterwards. */
static inline void batch_adds(struct rng *rng, struct dir_fx *d, uint32_t n, unsigned style,
			      struct batch *b)
{
	b->text = calloc(n + 1, sizeof(*b->text));
	b->add = calloc(n + 1, sizeof(*b->add));
	assert_true(b->text && b->add);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t len = random_name(rng, d->iflags ? 1 : style, b->text[b->nadd]);
		struct dafs_inode *file = &d->files[rng_below(rng, DIR_FX_FILES)];

		if (dir_fx_find(d, b->text[b->nadd], len))
			continue;
		dir_fx_add(d, b->text[b->nadd], len, file);
		b->add[b->nadd] = (struct dafs_dirent_add){ b->text[b->nadd], len, file };
		b->nadd++;
	}
}

/* About one name in every_nth out of the set and into the batch. Before batch_adds. */
static inline void batch_dels(struct rng *rng, struct dir_fx *d, uint32_t every_nth,
			      struct batch *b, char (*gone)[256])
{
	struct dir_name *n, *tmp;

	b->del = calloc(HASH_COUNT(d->names) + 1, sizeof(*b->del));
	assert_non_null(b->del);
	HASH_ITER(hh, d->names, n, tmp) {
		if (rng_below(rng, every_nth))
			continue;
		memcpy(gone[b->ndel], n->name, 256);
		b->del[b->ndel] = (struct dafs_dirent_del){ gone[b->ndel], n->len };
		b->ndel++;
		dir_fx_del(d, n);
	}
}

static inline void edit(struct rng *rng, struct dir_fx *d, uint32_t nadd, uint32_t every_nth,
			unsigned style)
{
	char(*gone)[256] = calloc(HASH_COUNT(d->names) + 1, sizeof(*gone));
	struct batch b = { 0 };
	struct dafs_inode self = { 0 };
	struct dafs_dirplan_req req = { .ino = d->ino };

	assert_non_null(gone);
	if (every_nth)
		batch_dels(rng, d, every_nth, &b, gone);
	batch_adds(rng, d, nadd, style, &b);
	req.add = b.add;
	req.nadd = b.nadd;
	req.del = b.del;
	req.ndel = b.ndel;
	scratch_ok(dir_fx_apply(d, &self, &req));
	batch_fini(&b);
	free(gone);
}

static inline void make_dir(struct rng *rng, struct dir_fx *d, uint32_t n, unsigned style)
{
	struct batch b = { 0 };

	batch_adds(rng, d, n, style, &b);
	scratch_ok(dir_fx_mkdir(d, EXT2_ROOT_INO, "dir", d->iflags, b.add, b.nadd, &d->ino));
	batch_fini(&b);
}

#endif
