/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a flush does to free space in a few short runs: new files, and files of the image that
 * have something free behind them or not, beside a solver that tries everything (pack_model.h).
 * The image's groups are small and unequal; runs lie across their borders.
 */
#include "config.h"

#include "pack_model.h"
#include "seeded.h"
#include "write_fixture.h"

enum { BLOCK = 1024, OLD_BLKS = 3, SPACER_BLKS = 40, OLD_FILES = 2 };

static uint8_t bytes[64 * BLOCK];
static struct pack_model pm;
static struct dafs_inode *old_file[OLD_FILES];
static uint64_t grow_at[OLD_FILES], run_start[PM_RUNS];

/* Pieces of a plan; one that goes on where the file's old blocks end is none. */
static errcode_t count(void *arg, const struct dafs_inode *inode, uint32_t ino,
		       const struct dafs_plan_extent *ext, size_t n, uint32_t runs)
{
	unsigned *pieces = arg;

	(void)ino;
	(void)runs;
	*pieces += (unsigned)n;
	for (int f = 0; f < OLD_FILES && n; f++)
		*pieces -= inode == old_file[f] && ext[0].lblk == OLD_BLKS &&
			   ext[0].pblk == grow_at[f];
	return 0;
}

static const char *old_name(int f)
{
	return f ? "old1" : "old0";
}

/* Two files with room behind them that others had. */
static void make_image(void)
{
	struct dafs_inode *f;
	char name[16];

	wf_open(scratch_mke2fs("p.img", "-t ext4 -b 1024 -g 512 -O ^has_journal,^resize_inode",
			       "3900K"));
	for (int i = 0; i < OLD_FILES; i++) {
		f = wf_new(wf_root(), old_name(i), S_IFREG | 0644);
		scratch_ok(dafs_delalloc_write(&wf.w, f, 0, bytes, OLD_BLKS * BLOCK));
		snprintf(name, sizeof(name), "oldx%d", i);
		f = wf_new(wf_root(), name, S_IFREG | 0644);
		scratch_ok(dafs_delalloc_write(&wf.w, f, 0, bytes, SPACER_BLKS * BLOCK));
	}
	wf_flush();
	for (int i = 0; i < OLD_FILES; i++) {
		snprintf(name, sizeof(name), "oldx%d", i);
		wf_unlink(wf_root(), name, wf_lookup(wf_root(), name));
	}
	wf_flush();
}

static uint64_t end_of(const char *name)
{
	struct dafs_inode *f = wf_lookup(wf_root(), name);
	struct dafs_extlist map = { 0 };
	struct dafs_blklist nodes = { 0 };
	union dafs_inode_buf buf;
	uint64_t end;

	scratch_ok(dafs_icodec_read(wf.img, f->ino, &buf.raw, sizeof(buf)));
	scratch_ok(dafs_etree_decode(wf.img, f->ino, &buf.raw, &map, &nodes));
	assert_int_equal(map.n, 1);
	end = map.v[0].pblk + map.v[0].len;
	dafs_extlist_fini(&map);
	dafs_blklist_fini(&nodes);
	return end;
}

static bool is_free(uint64_t pblk)
{
	uint32_t grp = dafs_group_of_pblk(wf.img, pblk);
	uint64_t at = pblk - dafs_group_first_pblk(wf.img, grp);
	const uint8_t *bits;

	scratch_ok(dafs_group_block_bits(wf.img, grp, &bits));
	return !(bits[at / 8] >> at % 8 & 1);
}

/* In use, as far as the image in memory says: what a plan sees. It is not written. */
static void occupy(uint64_t pblk)
{
	uint32_t grp = dafs_group_of_pblk(wf.img, pblk);
	uint64_t at = pblk - dafs_group_first_pblk(wf.img, grp);
	const uint8_t *bits;

	scratch_ok(dafs_group_block_bits(wf.img, grp, &bits));
	((uint8_t *)(uintptr_t)bits)[at / 8] |= (uint8_t)(1u << at % 8);
	ext2fs_bg_free_blocks_count_set(wf.img->fs, grp,
					ext2fs_bg_free_blocks_count(wf.img->fs, grp) - 1);
}

/* The room behind the old files, and runs with a block between them; everything else is in use. */
static void leave_runs(struct rng *rng, unsigned nruns, uint32_t longest)
{
	uint64_t blocks = ext2fs_blocks_count(wf.img->fs->super), next = 0, at = 1;

	pm.m = 0;
	for (int f = 0; f < OLD_FILES; f++) {
		uint64_t len = rng_below(rng, 8);

		grow_at[f] = end_of(old_name(f));
		pm.grows[f] = 0;
		if (!len)
			continue;
		pm.grows[f] = (uint16_t)(1u << pm.m);
		run_start[pm.m] = grow_at[f];
		pm.runs[pm.m++] = len;
	}
	next = grow_at[OLD_FILES - 1] + SPACER_BLKS + rng_below(rng, 700);
	while (pm.m < nruns) {
		uint64_t len = 1 + rng_below(rng, longest), have = 0;

		while (have < len && is_free(next + have))
			have++;
		if (have) {
			run_start[pm.m] = next;
			pm.runs[pm.m++] = have;
		}
		next += have + 1 + rng_below(rng, 40);
	}
	for (at = 1; at < blocks; at++) {
		bool keep = false;

		for (unsigned r = 0; r < pm.m; r++)
			keep |= at >= run_start[r] && at < run_start[r] + pm.runs[r];
		if (!keep && is_free(at))
			occupy(at);
	}
}

/* One problem; false when it asks for more than there is. */
static bool one_case(struct rng *rng)
{
	static struct dafs_inode *list[WF_MAX];
	unsigned old = rng_below(rng, OLD_FILES + 1), got = 0, want;
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	uint64_t need = 0, have = 0;
	char name[16];

	leave_runs(rng, 4 + rng_below(rng, 4), 12);
	pm.n = old + 1 + rng_below(rng, PM_ITEMS - old);
	for (unsigned r = 0; r < pm.m; r++)
		have += pm.runs[r];
	memset(old_file, 0, sizeof(old_file));
	for (unsigned i = 0; i < pm.n; i++) {
		pm.lens[i] = 1 + rng_below(rng, 16);
		if (i < old)
			old_file[i] = wf_lookup(wf_root(), old_name((int)i));
		need += pm.lens[i];
		if (i >= old)
			pm.grows[i] = 0;
	}
	/* Tree blocks come after the data; a file of many pieces has one. */
	if (have < need + pm.n)
		return false;
	for (unsigned i = 0; i < pm.n; i++) {
		struct dafs_inode *f;

		snprintf(name, sizeof(name), "new%u", i);
		f = i < old ? old_file[i] : wf_new(wf_root(), name, S_IFREG | 0644);
		scratch_ok(dafs_delalloc_write(&wf.w, f, i < old ? OLD_BLKS * BLOCK : 0, bytes,
					       pm.lens[i] * BLOCK));
	}
	wf_changes(&cs, list);
	scratch_ok(dafs_plan_new(wf.img, &cs, &wf.opts, &plan));
	scratch_ok(dafs_plan_walk(plan, count, &got));
	want = pm_fewest(&pm, got);
	dafs_plan_free(plan);
	if (got == want)
		return true;
	for (unsigned i = 0; i < pm.n; i++)
		print_error("length %u, grows %x\n", (unsigned)pm.lens[i], pm.grows[i]);
	for (unsigned r = 0; r < pm.m; r++)
		print_error("run %u at %u\n", (unsigned)pm.runs[r], (unsigned)run_start[r]);
	fail_msg("%u pieces, %u would do", got, want);
	return false;
}

static void fewest_round(struct rng *rng, void *arg)
{
	char path[256];

	make_image();
	strcpy(path, wf.path);
	for (uint32_t done = 0; done < *(uint32_t *)arg;) {
		done += one_case(rng);
		wf_close();
		wf_open(path);
	}
	wf_close();
	scratch_fsck(path);
}

static void test_fewest_pieces(void **state)
{
	uint32_t cases = test_steps(250, 5000);

	(void)state;
	for_seeds(6, fewest_round, &cases);
}

/* ---- a directory's files in a row ---- */

/* Where the plan puts each file, in the order of the files; and how far. */
struct row {
	uint64_t at[16], end[16];
	unsigned n;
};

static errcode_t note_row(void *arg, const struct dafs_inode *inode, uint32_t ino,
			  const struct dafs_plan_extent *ext, size_t n, uint32_t runs)
{
	struct row *row = arg;

	(void)ino;
	(void)runs;
	if (!S_ISREG(inode->mode))
		return 0;
	row->at[row->n] = ext[0].pblk;
	row->end[row->n++] = ext[n - 1].pblk + ext[n - 1].len;
	return 0;
}

static void window_case(struct rng *rng, uint32_t *in_a_row)
{
	static struct dafs_inode *list[WF_MAX];
	unsigned files = 2 + rng_below(rng, 12);
	uint64_t total = 0, longest = 0, room = 0;
	struct dafs_changeset cs;
	struct dafs_plan *plan;
	struct row row = { .n = 0 };

	leave_runs(rng, 4 + rng_below(rng, 8), 90);
	for (unsigned r = 0; r < pm.m; r++) {
		room += pm.runs[r];
		if (pm.runs[r] > longest)
			longest = pm.runs[r];
	}
	for (unsigned i = 0; i < files; i++) {
		uint64_t blks = 1 + rng_below(rng, 9);
		char name[16];

		snprintf(name, sizeof(name), "new%02u", i);
		if (total + blks + files > room)
			break;
		scratch_ok(dafs_delalloc_write(&wf.w, wf_new(wf_root(), name, S_IFREG | 0644), 0,
					       bytes, blks * BLOCK));
		total += blks;
	}
	wf_changes(&cs, list);
	scratch_ok(dafs_plan_new(wf.img, &cs, &wf.opts, &plan));
	scratch_ok(dafs_plan_walk(plan, note_row, &row));
	dafs_plan_free(plan);
	if (total > longest)
		return;
	for (unsigned i = 1; i < row.n; i++)
		assert_int_equal(row.at[i], row.end[i - 1]);
	*in_a_row += row.n > 1;
}

static void window_round(struct rng *rng, void *arg)
{
	uint32_t in_a_row = 0;
	char path[256];

	make_image();
	strcpy(path, wf.path);
	for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
		window_case(rng, &in_a_row);
		wf_close();
		wf_open(path);
	}
	wf_close();
	assert_true(in_a_row > *(uint32_t *)arg / 4);
}

static void test_window(void **state)
{
	uint32_t cases = test_steps(100, 2000);

	(void)state;
	for_seeds(4, window_round, &cases);
}

/* ---- gaps of sparse files ---- */

/* A file of up to 40 runs with holes between them, each of at most 256 blocks; its holes are filled
 * later: it is in one piece then. */
static void gaps_round(struct rng *rng, void *arg)
{
	uint32_t runs = 4 + rng_below(rng, 37), at = rng_below(rng, 2) * rng_below(rng, 250), n = 0;
	uint32_t begin[64], end[64];
	struct dafs_inode *f;

	(void)arg;

	wf_open(scratch_mke2fs("g.img", "-t ext4 -b 1024", "64M"));
	f = wf_new(wf_root(), "sparse", S_IFREG | 0644);
	for (; n < runs; n++) {
		uint32_t len = 1 + rng_below(rng, 20);

		scratch_ok(dafs_delalloc_write(&wf.w, f, (uint64_t)at * BLOCK, bytes, len * BLOCK));
		begin[n] = at;
		end[n] = at + len;
		at = end[n] + 1 + rng_below(rng, 200);
	}
	wf_flush();
	f = wf_lookup(wf_root(), "sparse");
	for (uint32_t k = 0, from = 0; k < n; from = end[k++]) {
		for (uint32_t b = from; b < begin[k]; b++)
			scratch_ok(
				dafs_delalloc_write(&wf.w, f, (uint64_t)b * BLOCK, bytes, BLOCK));
	}
	wf_flush();
	(void)end_of("sparse"); /* one extent */
	wf_close();
}

static void test_gaps(void **state)
{
	(void)state;
	for_seeds(test_steps(6, 60), gaps_round, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fewest_pieces),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_gaps),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
