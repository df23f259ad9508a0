/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random flushes: trees made and taken apart, images filled to the last block. */
#include "config.h"

#include "seeded.h"
#include "write_fixture.h"

/* Random trees made and taken apart over many flushes. */
static void churn(struct rng *rng, void *options)
{
	char name[64];
	uint32_t made = 0;

	wf_open(scratch_mke2fs("churn.img", options, "32M"));
	for (uint32_t round = 0; round < test_steps(6, 100); round++) {
		struct dafs_inode *root = wf_root();
		uint32_t kill = made ? rng_below(rng, made) : 0;

		for (uint32_t i = 0; i < 30; i++) {
			snprintf(name, sizeof(name), "n%u", made++);
			wf_fill(wf_new(root, name, S_IFREG | 0644), rng_len(rng, 60000), made);
		}
		for (uint32_t i = kill; i < kill + 12 && i + 30 < made; i++) {
			struct dafs_dirent_view de;
			union dafs_inode_buf raw;

			snprintf(name, sizeof(name), "n%u", i);
			scratch_ok(dafs_icodec_read(wf.img, 2, &raw.raw, sizeof(raw)));
			if (dafs_dircodec_lookup(wf.img, 2, &raw.raw, name, (uint8_t)strlen(name),
						 &de))
				continue;
			if (i & 1)
				wf_unlink(root, name, wf_load(de.ino));
			else
				scratch_ok(dafs_delalloc_truncate(&wf.w, wf_load(de.ino),
								  rng_below(rng, 70000)));
		}
		wf_flush();
	}
	wf_close();
}

static void test_churn(void **state)
{
	(void)state;
	for_seeds(1, churn, (void *)"-t ext4 -b 4096");
	for_seeds(1, churn, (void *)"-t ext4 -b 1024 -O bigalloc,^has_journal -C 4096");
	for_seeds(1, churn, (void *)"-t ext4 -b 1024 -O ^metadata_csum,uninit_bg");
}

/* A name that is pending, with the directory block it may need. */
static struct dafs_inode *new_promised(struct dafs_inode *dir, const char *name, errcode_t *err)
{
	struct dafs_inode *f;

	*err = dafs_reserve_verify(&wf.rs) ? 0 : DAFS_ET_INTERNAL;
	assert_ok(*err);
	if (wf.rs.promised_inodes == wf.rs.free_inodes) {
		*err = DAFS_ET_NOINODES;
		return NULL;
	}
	f = wf_new(dir, name, S_IFREG | 0644);
	*err = dafs_delalloc_take(&wf.w, 0, 2);
	if (*err) {
		dafs_reserve_release_inodes(&wf.rs, 1);
		wf.nnames--;
		free(wf.inodes[--wf.n]);
	}
	return f;
}

/* Leave holes all over the image's free space: small files, then every other one goes. */
static void make_fragments(struct rng *rng)
{
	char name[32];
	errcode_t err = 0;
	static uint8_t buf[16384];

	wf_pattern(buf, sizeof(buf), 1);
	for (int i = 0; !err && i < 1500; i++) {
		struct dafs_inode *f;

		snprintf(name, sizeof(name), "frag%04d", i);
		f = new_promised(wf_root(), name, &err);
		if (!err)
			err = dafs_delalloc_write(&wf.w, f, 0, buf, rng_len(rng, 12000));
	}
	wf_flush();
	for (int i = rng_below(rng, 2); i < 1500; i += 2) {
		struct dafs_dirent_view de;
		union dafs_inode_buf raw;

		snprintf(name, sizeof(name), "frag%04d", i);
		scratch_ok(dafs_icodec_read(wf.img, 2, &raw.raw, sizeof(raw)));
		if (!dafs_dircodec_lookup(wf.img, 2, &raw.raw, name, (uint8_t)strlen(name), &de))
			wf_unlink(wf_root(), name, wf_load(de.ino));
	}
	wf_flush();
}

/* What was accepted can be flushed: random writes until nothing more is taken, then the flush must
 * find a place for everything, and leave no room that a further block could have used. */
static void fill_up(struct rng *rng, void *options)
{
	static uint8_t buf[65536];
	struct dafs_inode *files[64];
	uint32_t n = 0, refused = 0, unusable;
	char name[32];
	errcode_t err;

	wf_open(scratch_mke2fs("fill.img", options, "6M"));
	wf_pattern(buf, sizeof(buf), 4);
	if (rng_below(rng, 2))
		make_fragments(rng);
	wf.w.dry_plan = wf_dry_plan;
	for (uint32_t step = 0; step < 1500; step++) {
		uint32_t which = rng_below(rng, 64);

		err = 0;
		if (which >= n) {
			snprintf(name, sizeof(name), "n%u", n);
			files[n] = new_promised(wf_root(), name, &err);
			n += !err;
		} else if (rng_below(rng, 12) == 0) {
			scratch_ok(dafs_delalloc_truncate(&wf.w, files[which],
							  rng_below(rng, 100000)));
		} else if (rng_below(rng, 6) == 0) {
			err = dafs_delalloc_fallocate(&wf.w, files[which], rng_below(rng, 300000),
						      rng_len(rng, 50000), false);
		} else {
			err = dafs_delalloc_write(&wf.w, files[which], rng_below(rng, 300000), buf,
						  rng_len(rng, sizeof(buf)));
		}
		if (err && err != DAFS_ET_NOSPC_RESERVE && err != DAFS_ET_NOSPC_META &&
		    err != DAFS_ET_NOINODES)
			scratch_ok(err);
	}
	/* A block at a time, until no file can take one more. */
	for (uint32_t i = 0; refused < n; i++) {
		struct dafs_inode *f = files[i % n];

		err = dafs_delalloc_write(&wf.w, f, f->size + 65536, buf, 1);
		refused = err ? refused + 1 : 0;
	}
	wf_flush();
	unusable = (uint32_t)wf.rs.free_clusters;
	print_message("# %s: %u clusters left\n", (const char *)options, unusable);
	assert_true(unusable <= 3);
	wf_close();
}

static void test_fill_up(void **state)
{
	(void)state;
	for_seeds(test_steps(2, 20), fill_up,
		  (void *)"-t ext4 -b 4096 -m 0 -J size=1 -N 2000 -O ^has_journal");
	for_seeds(test_steps(2, 20), fill_up, (void *)"-t ext4 -b 1024 -m 0 -N 2000");
	for_seeds(test_steps(1, 20), fill_up,
		  (void *)"-t ext4 -b 1024 -m 0 -N 2000 -O bigalloc,^has_journal -C 4096");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_churn),
		cmocka_unit_test(test_fill_up),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
