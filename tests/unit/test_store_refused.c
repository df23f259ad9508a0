/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A damaged, stale or foreign cache, or one in an unsafe place, is named, not used.
 */
#include "config.h"

#include "store_fx.h"

#include "store/vfs.h"

static void test_refused(void **state)
{
	const char *img = fresh("refused.img", "-t ext4", "64M");
	struct fx fx;
	sqlite3 *db;

	(void)state;
	pending_image(&fx, img);
	/* A newer format, and something that is no cache. */
	snprintf(cache_path, sizeof(cache_path), "%s.dacache/cache.db", img);
	assert_int_equal(sqlite3_open(cache_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	assert_err(DAFS_ET_CACHE_VERSION, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(scratch_run("head -c 5000 /dev/urandom >'%s'", cache_path), 0);
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));

	/* The image was changed by somebody else. */
	img = fresh("refused.img", "-t ext4", "64M");
	pending_image(&fx, img);
	assert_int_equal(scratch_run("/sbin/debugfs -w -R 'mkdir other' '%s' >/dev/null 2>&1", img),
			 0);
	assert_err(DAFS_ET_CACHE_STALE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_err(DAFS_ET_CACHE_STALE, fx_try_open(&fx, img, true, DAFS_STORE_RDONLY));
	/* Another file system under the same name. */
	scratch_run("/sbin/mke2fs -q -F -t ext4 '%s' 64M >/dev/null 2>&1", img);
	assert_err(DAFS_ET_CACHE_FOREIGN, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	scratch_ok(dafs_image_open(&scratch_ctx, img, DAFS_IMAGE_RW, 0, 0, &fx.img));
	scratch_ok(dafs_store_remove(fx.img, NULL));
	assert_err(ENOENT, dafs_store_remove(fx.img, NULL));
	dafs_image_close(fx.img);
	assert_false(has_cache());
}

static void test_place(void **state)
{
	const char *img = fresh("place.img", "-t ext4", "64M"), *link = scratch_path("link.img");
	struct stat st;
	struct fx fx;

	(void)state;
	pending_image(&fx, img);
	assert_int_equal(stat(cache_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(scratch_run("test -z \"$(find '%s' -type f ! -perm 0600)\"", cache_path),
			 0);
	/* By another name it is the same image with the same cache. */
	unlink(link);
	assert_int_equal(symlink(img, link), 0);
	fx_open(&fx, link, true);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
	/* Open to others; a file that is a link; a folder that is a link. */
	assert_int_equal(chmod(cache_path, 0750), 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(chmod(cache_path, 0700), 0);
	assert_int_equal(scratch_run("cd '%s' && mv spool real && ln -s real spool", cache_path),
			 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(scratch_run("cd '%s' && mv real spool", cache_path), 0);
	assert_int_equal(scratch_run("mv '%s' '%s.real' && ln -s '%s.real' '%s'", cache_path,
				     cache_path, cache_path, cache_path),
			 0);
	assert_err(DAFS_ET_CACHE_PLACE, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(
		scratch_run("rm '%s' && mv '%s.real' '%s'", cache_path, cache_path, cache_path), 0);
	fx_open(&fx, img, true);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
}

/* --- damage --- */

static void test_lost_spool(void **state)
{
	const char *img = fresh("lost.img", "-t ext4", "64M");
	struct fx fx;
	char buf[64];
	size_t got;
	struct dafs_inode *inode;
	uint64_t problems;

	(void)state;
	pending_image(&fx, img);
	assert_int_equal(scratch_run("cp -a '%s' '%s.kept'", cache_path, cache_path), 0);
	/* Bits flipped: the reader is told, the flush refuses and leaves the image alone. */
	assert_int_equal(
		scratch_run("printf X | dd of='%s/spool' bs=1 seek=3 conv=notrunc status=none",
			    cache_path),
		0);
	fx_open(&fx, img, true);
	scratch_ok(dafs_ns_lookup(fx.ns, "/f", 0, &inode));
	assert_err(DAFS_ET_CACHE_DATA, dafs_delalloc_read(&fx.w, inode, buf, sizeof(buf), 0, &got));
	scratch_ok(dafs_store_verify(fx.store, NULL, NULL, &problems));
	assert_true(problems);
	assert_err(DAFS_ET_CACHE_DATA, fx_try_flush(&fx, NULL));
	fx_close(&fx);
	scratch_fsck(img);
	/* Cut short, and gone. */
	assert_int_equal(truncate(scratch_path("lost.img.dacache/spool"), 100), 0);
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	unlink(scratch_path("lost.img.dacache/spool"));
	assert_err(DAFS_ET_CACHE_DAMAGED, fx_try_open(&fx, img, true, DAFS_STORE_CREATE));
	assert_int_equal(
		scratch_run("rm -rf '%s' && mv '%s.kept' '%s'", cache_path, cache_path, cache_path),
		0);
	fx_open(&fx, img, true);
	fx_flush(&fx, NULL);
	expect_text(&fx, "/f", "pending text");
	fx_close(&fx);
	scratch_fsck(img);
}

/* The pages' checksums as if SQLite had written these pages: what is behind them is met. */
static void seal_pages(const char *path)
{
	uint8_t page[DAFS_VFS_PAGE_BYTES];
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, dafs_vfs_name(false)),
			 SQLITE_OK);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	assert_int_equal(file->pMethods->xFileSize(file, &size), SQLITE_OK);
	for (sqlite3_int64 at = 0; at + DAFS_VFS_PAGE_BYTES <= size; at += DAFS_VFS_PAGE_BYTES) {
		assert_int_equal(file->pMethods->xRead(file, page, sizeof(page), at), SQLITE_OK);
		assert_int_equal(file->pMethods->xWrite(file, page, sizeof(page), at), SQLITE_OK);
	}
	sqlite3_close(db);
}

/* Bytes of the database changed or cut off at random: nobody crashes, and what is flushed after
 * all is right. */
static void round_damage(struct rng *rng, void *arg)
{
	const char *img = arg;
	char db[512], kept[600];
	struct stat st;
	struct fx fx;
	uint64_t problems;
	int fd;

	snprintf(db, sizeof(db), "%s.dacache/cache.db", img);
	snprintf(kept, sizeof(kept), "%s.kept", db);
	for (uint32_t i = 0; i < test_steps(150, 3000); i++) {
		assert_int_equal(scratch_run("cp -p '%s' '%s'; rm -f '%s-journal'", kept, db, db),
				 0);
		assert_int_equal(stat(db, &st), 0);
		fd = open(db, O_RDWR);
		for (uint32_t n = rng_len(rng, 8); n; n--) {
			uint8_t byte = (uint8_t)rng_below(rng, 256);

			assert_int_equal(pwrite(fd, &byte, 1, rng_below(rng, (uint32_t)st.st_size)),
					 1);
		}
		if (!rng_below(rng, 10))
			assert_int_equal(ftruncate(fd, rng_below(rng, (uint32_t)st.st_size)), 0);
		close(fd);
		if (rng_below(rng, 2))
			seal_pages(db);
		if (fx_try_open(&fx, img, true, DAFS_STORE_RDONLY))
			continue;
		if (!dafs_store_verify(fx.store, NULL, NULL, &problems) && !problems) {
			struct dafs_changeset cs;

			scratch_ok(dafs_ns_collect(fx.ns, NULL, &cs));
			assert_int_equal(cs.n, 4);
			dafs_ns_uncollect(fx.ns, &cs);
			expect_text(&fx, "/f", "pending text");
		} else {
			struct dafs_changeset cs;

			if (!dafs_ns_collect(fx.ns, NULL, &cs))
				dafs_ns_uncollect(fx.ns, &cs);
		}
		fx_close(&fx);
	}
}

static void test_damage(void **state)
{
	char img[256];
	struct fx fx;

	(void)state;
	snprintf(img, sizeof(img), "%s", fresh("damage.img", "-t ext4", "64M"));
	pending_image(&fx, img);
	assert_int_equal(
		scratch_run("cp -p '%s/cache.db' '%s/cache.db.kept'", cache_path, cache_path), 0);
	for_seeds(2, round_damage, img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_lost_spool),
		cmocka_unit_test(test_damage),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, store_fx_setup, scratch_teardown);
}
