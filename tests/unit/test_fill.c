/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was accepted can be flushed: small images are filled with random operations until nothing
 * more is taken. Flushing never runs out of room, everything accepted is in the image, and nothing
 * is left there that one block more could have used.
 *
 * A round: operations (with flushes of all or a part between) -> flush -> only additions, until
 * every
 * way to add a block is refused -> flush -> every way again. Refusals change nothing.
 */
#include "config.h"

#include "fill_fx.h"

static void step(void)
{
	static void (*const ops[])(void) = { op_write,	 op_write, op_write,	 op_write,
					     op_write,	 op_write, op_write,	 op_truncate,
					     op_punch,	 op_punch, op_fallocate, op_mkdir,
					     op_symlink, op_link,  op_rename,	 op_remove,
					     op_xattr,	 op_xattr, op_chown };

	if (tm.n > TM_ENTRIES - 8)
		op_remove();
	else
		ops[rng_below(st.rng, sizeof(ops) / sizeof(*ops))]();
	assert_true(dafs_reserve_verify(&st.fs->reserve));
	if (rng_below(st.rng, 20) == 0)
		check_limits();
	if (rng_below(st.rng, 150) == 0)
		flush_part();
	else if (rng_below(st.rng, 300) == 0)
		flush_all();
	else if (st.fill->cached && rng_below(st.rng, 30) == 0)
		reopen();
}

/* Free space in pieces of up to three blocks. */
static void age(void)
{
	uint32_t bs = st.fs->img->block_size, n = 0;
	char path[32];

	for (bool room = true; room && n < TM_ENTRIES / 2; n++) {
		snprintf(path, sizeof(path), "/age%u", n);
		room = write_at(path, NULL, 0, (1 + n % 3) * bs);
	}
	flush_all();
	for (uint32_t i = 0; i < n; i += 2) {
		size_t at;

		snprintf(path, sizeof(path), "/age%u", i);
		at = tm_find(path);
		if (at == tm.n)
			continue;
		begin();
		assert_true(took(dafs_remove(st.fs, path, false, false), "remove", path));
		tm_drop(at);
	}
	flush_all();
}

/* One block more, in every way there is: at the end of each file, in a new one. How many were
 * taken. */
static uint32_t add_blocks(uint32_t most)
{
	uint32_t bs = st.fs->img->block_size, n = 0;
	bool any = true;

	while (any && n < most) {
		any = false;
		for (size_t i = 0; i < tm.n && n < most; i++) {
			struct tm_object *obj = tm.v[i].obj;
			size_t end = (obj->size + bs - 1) / bs * bs;

			if (!S_ISREG(obj->type) || end + bs > TM_BYTES)
				continue;
			while (n < most && end + bs <= TM_BYTES &&
			       write_at(tm.v[i].path, obj, end, bs)) {
				any = true;
				end += bs;
				n++;
			}
		}
		if (n < most && tm.n < TM_ENTRIES - 8 && write_at(new_path(), NULL, 0, bs)) {
			any = true;
			n++;
		}
	}
	return n;
}

/* What one file may have written anew in place, in an image with a journal of 1024 blocks of 1
 * KiB. */
enum { OVER_BYTES = 450 << 10 };

/* Rounds in which that did not fit the journal at once. */
static unsigned splits;

static void add_large(void)
{
	char path[32];

	for (uint32_t i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/large%u", i);
		write_at(path, NULL, 0, OVER_BYTES);
	}
}

/* Every block of every file anew, and names, attributes and cuts between: on a full image more
 * live blocks than a small journal holds, so that the flush is split, and each part of it has to
 * fit. */
static void overwrite_all(void)
{
	size_t anew = 0, len;

	for (size_t i = 0; i < tm.n; i++) {
		struct tm_entry *e = &tm.v[i];

		if (S_ISREG(e->obj->type) && e->obj->size) {
			st.serial++;
			/* More of one file would want a new place. */
			len = e->obj->size < OVER_BYTES ? e->obj->size : OVER_BYTES;
			if (write_at(e->path, e->obj, 0, len))
				anew += len / st.fs->img->block_size;
		}
		if (i % 5 == 0)
			op_xattr();
		if (i % 7 == 0)
			op_rename();
		if (i % 11 == 0)
			op_truncate();
	}
	if (st.fill->split) {
		struct dafs_flush_request req = { .opts.size = sizeof(req.opts) };
		struct dafs_flush_stats stats;

		scratch_ok(dafs_session_flush(st.fs, &req, &stats));
		printf("# %s: %zu blocks written anew, %llu live, %u transactions\n", st.fill->name,
		       anew, (unsigned long long)stats.live_blks, stats.transactions);
		splits += stats.transactions > 1;
	}
	flush_all();
}

static void round_fill(struct rng *rng, void *arg)
{
	uint64_t left, late;
	uint32_t steps;

	st = (struct state){ .fill = arg, .rng = rng };
	tm_clear();
	st.image = scratch_mke2fs("fill.img", st.fill->options, st.fill->size);
	if (st.fill->limited)
		set_limits();
	open_fs();
	if (st.fill->aged)
		age();
	if (st.fill->split)
		add_large();
	steps = test_steps(st.fill->steps, st.fill->steps * 10);
	for (uint32_t i = 0; i < steps; i++)
		step();
	flush_all();
	add_blocks(UINT32_MAX);
	flush_all();
	late = add_blocks(UINT32_MAX);
	flush_all();
	if (st.fill->split) {
		overwrite_all();
		add_blocks(UINT32_MAX);
		flush_all();
	}
	left = st.fs->reserve.free_clusters;
	printf("# %s: %zu accepted, %zu refused; %llu blocks taken only after a flush; %llu of "
	       "%llu "
	       "clusters left\n",
	       st.fill->name, st.accepted, st.refused, (unsigned long long)late,
	       (unsigned long long)left,
	       (unsigned long long)(st.fs->img->blocks >> st.fs->img->cluster_bits));
	if (st.refused < 10)
		fail_msg("the image did not become full");
	if (st.fill->limited && st.over < 5)
		fail_msg("nobody came to a limit");
	if (late || left > st.fill->unusable)
		fail_msg("room is left unused");
	dafs_close(st.fs);
	tm_clear();
}

static const struct fill fills[] = {
	{ .name = "1k",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "4k", .options = "-t ext4 -b 4096 -N 400 -m 0", .size = "12M", .steps = 250 },
	{ .name = "journal 1k",
	  .options = "-t ext4 -b 1024 -N 400 -m 0 -J size=1",
	  .size = "7M",
	  .steps = 250,
	  .split = true },
	{ .name = "bigalloc",
	  .options = "-t ext4 -O bigalloc,^has_journal -b 1024 -C 8192 -N 400 -m 0",
	  .size = "6M",
	  .steps = 250 },
	{ .name = "bigalloc 4k",
	  .options = "-t ext4 -O bigalloc -b 4096 -C 16384 -N 400 -m 0",
	  .size = "14M",
	  .steps = 200 },
	{ .name = "few inodes",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 48 -m 0",
	  .size = "2M",
	  .steps = 250 },
	{ .name = "aged 1k",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 1400 -m 0",
	  .size = "3M",
	  .steps = 200,
	  .aged = true },
	{ .name = "aged 4k",
	  .options = "-t ext4 -b 4096 -N 1400 -m 0",
	  .size = "12M",
	  .steps = 200,
	  .aged = true },
	{ .name = "inline data",
	  .options = "-t ext4 -O inline_data,^has_journal -b 1024 -I 256 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "quota",
	  .options = "-t ext4 -O quota,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250,
	  .unusable = 16 },
	{ .name = "quota limits",
	  .options = "-t ext4 -O quota,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250,
	  .unusable = 16,
	  .limited = true },
	{ .name = "quota limits bigalloc",
	  .options = "-t ext4 -O quota,bigalloc,ea_inode,^has_journal -b 1024 -C 4096 -N 400 -m 0",
	  .size = "6M",
	  .steps = 150,
	  .unusable = 16,
	  .limited = true,
	  .cached = true },
	{ .name = "ea inodes",
	  .options = "-t ext4 -O ea_inode,^has_journal -b 1024 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "small inodes",
	  .options = "-t ext4 -O ^has_journal,^metadata_csum,^64bit -b 1024 -I 128 -N 400 -m 0",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "root keeps some",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 10",
	  .size = "3M",
	  .steps = 250 },
	{ .name = "cached",
	  .options = "-t ext4 -O ^has_journal -b 1024 -N 400 -m 0",
	  .size = "2M",
	  .steps = 120,
	  .cached = true },
	{ .name = "cached bigalloc",
	  .options = "-t ext4 -O bigalloc,^has_journal -b 1024 -C 4096 -N 400 -m 0",
	  .size = "3M",
	  .steps = 120,
	  .cached = true },
};

static void test_fill(void **state)
{
	const char *only = getenv("DAFS_TEST_FILL");

	scratch_ctx.no_sync = true;
	for (size_t i = 0; i < sizeof(fills) / sizeof(*fills); i++) {
		if (!only || !strcmp(only, fills[i].name))
			for_seeds(test_steps(1, 4), round_fill, (void *)&fills[i]);
	}
	/* Seed 1 does; not every one does. */
	if (!only && !getenv("DAFS_TEST_SEED"))
		assert_int_not_equal(splits, 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
