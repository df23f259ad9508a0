/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fast commits that the kernel left, replayed by us and by the kernel: same files. Stopped on the
 * way, damaged. Needs root and loop devices: nobody but the kernel writes them. */
#include "config.h"

#include "image/fc_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "image/txn.h"
#include "image/txn_int.h"
#include "scratch.h"

static const char workload[] =
	"set -e; cd \"$1\"; mkdir d; for i in $(seq 40); do echo $i >d/f$i; done\n"
	"head -c 300000 /dev/urandom >big; echo keep >keep; echo attr >attr; mkdir other; sync -f "
	".\n"
	"echo new >new1; sync new1; ln new1 new1link; sync new1; mv keep d/kept; sync d/kept\n"
	"dd if=/dev/zero of=big bs=1000 seek=100 count=50 conv=notrunc 2>/dev/null; sync big\n"
	"truncate -s 120000 big; sync big; rm d/f3 d/f4; seq 20000 >n2; sync n2\n"
	"ln -s fast symf; echo 3 >n3; sync n3; mkfifo pipe; mknod dev c 5 7; echo 4 >n4; sync n4\n"
	"for i in $(seq 0 2 40); do dd if=/dev/urandom of=sparse bs=4096 seek=$i count=1 "
	"conv=notrunc 2>/dev/null; done\n"
	"sync sparse; mv n3 n2; sync n2; chmod 4711 attr; chown 5:6 attr; touch -d '1999-01-01' "
	"attr; sync attr\n"
	"i=0; while test $i -lt 300; do echo $i >other/a_name_that_is_not_too_short_$i; i=$((i + "
	"1)); done\n"
	"sync other/a_name_that_is_not_too_short_299; rm other/*_1?; rm n4; echo last >last; sync "
	"last\n";

/* Numbers that go from directories to files and back, and directories that outgrow their inode. */
static const char reuse[] =
	"set -e; cd \"$1\"; mkdir d d/a d/b old; touch old/1 old/2 t; for i in $(seq 300); do echo "
	">d/f$i; done\n"
	"sync -f .; rmdir d/a; echo was a directory >d/n1; sync d/n1; rm old/1; mkdir d/n2; echo "
	">t; "
	"sync t\n"
	"mkdir d/gone; echo 2 >>t; sync t; rmdir d/gone; seq 9000 >d/n3; sync d/n3\n"
	"rm d/n3; mkdir d/n4; rmdir d/b; rm old/2; for i in 1 2 3 4 5; do mkdir d/m$i; done; "
	"sync d/n1\n"
	"i=0; while test $i -lt 40; do echo $i >d/n4/name_$i; i=$((i + 1)); done; sync "
	"d/n4/name_1\n"
	"i=0; while test $i -lt 9; do echo $i >d/m1/quite_a_name_$i; i=$((i + 1)); done; echo "
	">old/3\n"
	"sync d/m1/quite_a_name_8; seq 30 >d/body; sync d/body; seq 3000 >>d/body; sync d/body\n"
	"(find . -printf '%p %y %i %n\\n' | sort && cat t d/n1 d/body) >../live\n";

/* The image as it was taken away from under a mount, and our copy of it. */
static char dirty[256], ours[256];

static bool can_mount(void)
{
	return geteuid() == 0 && scratch_run("losetup -f >/dev/null 2>&1") == 0;
}

static void begin(void)
{
	if (!can_mount())
		skip();
	strcpy(dirty, scratch_path("dirty.img"));
	strcpy(ours, scratch_path("ours.img"));
}

static bool try_dirty(const char *options, const char *work, const char *path)
{
	const char *live = scratch_mke2fs("live.img", options, "64M"), *mnt = scratch_path("mnt");
	FILE *out = fopen(scratch_path("workload"), "w");

	fputs(work, out);
	fclose(out);
	assert_int_equal(scratch_run("mkdir -p '%s' && mount -o loop,commit=600 '%s' '%s' && trap "
				     "\"umount '%s'\" EXIT && "
				     "sh '%s' '%s' && cp --sparse=always '%s' '%s'",
				     mnt, live, mnt, mnt, scratch_path("workload"), mnt, live,
				     path),
			 0);
	return scratch_run("/sbin/debugfs -R logdump '%s' 2>/dev/null | grep -q 'tag TAIL'",
			   path) == 0;
}

/* Run the workload under a mount and take the image away from under it. A sync of somebody else's
 * at the wrong moment turns fast commits into a whole one: then again. */
static bool make_dirty(const char *options, const char *work, const char *path)
{
	for (int tries = 0; tries < 10; tries++) {
		if (try_dirty(options, work, path))
			return true;
	}
	return false;
}

/* Everything about the files of an image but directories' own times, as the kernel sees them; their
 * links are e2fsck's to count, since the kernel's replay does not. */
static void list_files(const char *image, const char *to)
{
	const char *mnt = scratch_path("mnt");

	assert_int_equal(
		scratch_run(
			"mount -o loop '%s' '%s' && (cd '%s' && find . -type d -printf '%%p %%m "
			"%%i\\n' && "
			"find . ! -type d -printf '%%p %%m %%U %%G %%n %%s %%i %%T@ %%y %%l\\n' && "
			"find . -type f -exec sha1sum {} + && stat -c '%%n %%t %%T' dev) | sort "
			">'%s'; umount '%s'",
			image, mnt, mnt, to, mnt),
		0);
}

static void assert_same_files(const char *one, const char *two)
{
	const char *a = scratch_path("list-one"), *b = scratch_path("list-two");

	list_files(one, a);
	list_files(two, b);
	if (scratch_run("cmp -s '%s' '%s'", a, b)) {
		scratch_run("diff '%s' '%s' | head -20 >&2", a, b);
		fail_msg("%s and %s differ", one, two);
	}
	assert_int_equal(scratch_run("test $(wc -l <'%s') -gt 300", a), 0);
}

static const char *const options[] = {
	"-t ext4 -b 4096 -O fast_commit",
	"-t ext4 -b 1024 -O fast_commit",
	"-t ext4 -b 4096 -O fast_commit,^metadata_csum,^64bit",
	"-t ext4 -b 4096 -O fast_commit,bigalloc -C 16384",
	"-t ext4 -b 1024 -O fast_commit,^has_journal,has_journal -I 128",
};

static bool in_journal(const struct dafs_image *img, uint64_t pblk)
{
	const struct dafs_extlist *map = &img->txn->journal->map;

	for (size_t i = 0; i < map->n; i++) {
		if (pblk >= map->v[i].pblk && pblk < map->v[i].pblk + map->v[i].len)
			return true;
	}
	return false;
}

static void test_replays(void **state)
{
	char kernels[256];
	struct dafs_image *view, *img;
	uint8_t uuid[16], a[4096], b[4096];
	uint64_t one, two;
	(void)state;

	begin();
	strcpy(kernels, scratch_path("kernels.img"));
	for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); o++) {
		assert_true(make_dirty(options[o], workload, dirty));
		assert_int_equal(
			scratch_run("cp --sparse=always '%s' '%s' && cp --sparse=always '%s' '%s'",
				    dirty, ours, dirty, kernels),
			0);
		scratch_ok(dafs_image_open(&scratch_ctx, dirty, 0, 0, 0, &view));
		scratch_ok(dafs_image_fingerprint(view, uuid, &one));
		scratch_ok(dafs_image_open(&scratch_ctx, ours, DAFS_IMAGE_RW, 0, 0, &img));
		scratch_ok(dafs_image_fingerprint(img, uuid, &two));
		assert_int_equal(one, two);
		/* The reader's view is the writer's image, but for superblock and journal. */
		for (uint64_t pblk = 2; pblk < img->blocks; pblk++) {
			if (in_journal(img, pblk))
				continue;
			scratch_ok(dafs_image_read_blks(view, pblk, 1, a));
			scratch_ok(dafs_image_read_blks(img, pblk, 1, b));
			if (memcmp(a, b, img->block_size))
				fail_msg("%s: block %llu differs", options[o],
					 (unsigned long long)pblk);
		}
		dafs_image_close(img);
		dafs_image_close(view);
		scratch_fsck(ours);
		assert_same_files(ours, kernels);
	}
}

/* The kernel does not get through all of these replays itself: what there was under the mount. */
static void assert_as_live(const char *image)
{
	const char *mnt = scratch_path("mnt"), *mine = scratch_path("mine");

	assert_int_equal(scratch_run("mount -o loop '%s' '%s' && (cd '%s' && "
				     "find . -printf '%%p %%y %%i %%n\\n' | sort && "
				     "cat t d/n1 d/body) >'%s'; umount '%s'",
				     image, mnt, mnt, mine, mnt),
			 0);
	if (scratch_run("diff '%s' '%s' >&2", scratch_path("live"), mine))
		fail_msg("%s: not what was synced", image);
}

static void test_numbers_reused(void **state)
{
	static const char *const rows[] = {
		"-t ext4 -b 4096 -O fast_commit",
		"-t ext4 -b 1024 -O fast_commit,bigalloc -C 4096",
		"-t ext4 -b 4096 -O fast_commit,inline_data",
	};
	struct dafs_image *img;
	(void)state;

	begin();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(make_dirty(rows[i], reuse, dirty));
		assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", dirty, ours), 0);
		scratch_ok(dafs_image_open(&scratch_ctx, ours, DAFS_IMAGE_RW, 0, 0, &img));
		dafs_image_close(img);
		scratch_fsck(ours);
		assert_as_live(ours);
	}
}

/* Cut off while the result is written in place: the log has it by then, for all. */
static void test_stopped(void **state)
{
	char other[256];
	struct dafs_image *img;
	(void)state;

	begin();
	strcpy(other, scratch_path("other.img"));
	assert_true(make_dirty(options[1], workload, dirty));
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", dirty, ours), 0);
	dafs_txn_stop = DAFS_TXN_STOP_IN_CHECKPOINT;
	assert_err(DAFS_ET_CANCELLED,
		   dafs_image_open(&scratch_ctx, ours, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", ours, other), 0);
	assert_true(scratch_run("/sbin/e2fsck -fy '%s' >/dev/null 2>&1", other) <= 1);
	scratch_fsck(other);
	assert_same_files(other, dirty);
	assert_int_equal(scratch_run("cp --sparse=always '%s' '%s'", ours, other), 0);
	assert_same_files(ours, dirty);
	scratch_fsck(ours);
	scratch_ok(dafs_image_open(&scratch_ctx, other, DAFS_IMAGE_RW, 0, 0, &img));
	dafs_image_close(img);
	scratch_fsck(other);
	assert_same_files(other, dirty);
}

/* Set every TAIL's checksum right again after bytes of the area were changed. */
static void fix_tails(uint8_t *area, size_t bytes, size_t block_size)
{
	uint32_t crc = 0;

	for (size_t block = 0; block + block_size <= bytes; block += block_size) {
		for (size_t at = block; at + 4 <= block + block_size;) {
			uint16_t kind, len;

			memcpy(&kind, area + at, 2);
			memcpy(&len, area + at + 2, 2);
			if (!kind || kind > DAFS_FC_HEAD || at + 4 + len > block + block_size)
				return;
			crc = dafs_crc32c(crc, area + at,
					  kind == DAFS_FC_TAIL ? 8 : 4 + (size_t)len);
			if (kind == DAFS_FC_TAIL) {
				memcpy(area + at + 8, &crc, 4);
				crc = 0;
			}
			at += 4 + (size_t)len;
		}
	}
}

/* Records that say anything at all, with good checksums. */
static void test_damaged(void **state)
{
	enum { AREA_BLKS = 32, BLOCK = 1024 };
	uint64_t seed = test_seed(77), first_pblk;
	static uint8_t was[AREA_BLKS * BLOCK], is[AREA_BLKS * BLOCK];
	struct dafs_image *img;
	unsigned good = 0;
	int fd;
	(void)state;

	begin();
	assert_true(make_dirty(options[1], workload, dirty));
	scratch_ok(dafs_image_open(&scratch_ctx, dirty, 0, 0, 0, &img));
	first_pblk = dafs_journal_pblk(img->txn->journal, img->txn->journal->last + 1);
	dafs_image_close(img);
	fd = open(dirty, O_RDWR);
	assert_int_equal(pread(fd, was, sizeof(was), (off_t)(first_pblk * BLOCK)), sizeof(was));
	for (unsigned i = 0; i < 600; i++) {
		memcpy(is, was, sizeof(is));
		for (unsigned n = 0; n < 1 + i % 4; n++) {
			size_t at = test_random(&seed) % (i % 2 ? 3 * BLOCK : sizeof(is));

			is[at] = (uint8_t)test_random(&seed);
		}
		fix_tails(is, sizeof(is), BLOCK);
		assert_int_equal(pwrite(fd, is, sizeof(is), (off_t)(first_pblk * BLOCK)),
				 sizeof(is));
		if (dafs_image_open(&scratch_ctx, dirty, 0, 0, 0, &img) == 0)
			good++;
		dafs_image_close(img);
	}
	close(fd);
	assert_in_range(good, 1, 599);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replays),
		cmocka_unit_test(test_numbers_reused),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests_name("fc", tests, scratch_setup, scratch_teardown);
}
