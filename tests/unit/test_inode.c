/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inode: the file part out of a whole source, and attribute sets. */
#include "config.h"

#include "model/inode.h"

#include "seeded.h"

#include <errno.h>
#include <string.h>

static void test_empty_file_part(void **state)
{
	struct dafs_inode inode = { .mode = S_IFREG | 0644, .state = DAFS_I_NEW };
	struct dafs_file *file, *again;

	(void)state;
	assert_ok(dafs_inode_file(&inode, 1024, 0, &file));
	assert_non_null(file);
	assert_ok(dafs_inode_file(&inode, 1024, 0, &again));
	assert_ptr_equal(file, again);
	assert_int_equal(dafs_es_entries(&file->es), 0);
	assert_int_equal(file->pages.block_size, 1024);
	assert_int_equal(file->image_end_lblk, 0xFFFFFFFF);
	dafs_file_free(file);
	dafs_file_free(NULL);
}

static void test_whole_becomes_file(void **state)
{
	struct dafs_source source = { 0 };
	struct dafs_inode inode = { .mode = S_IFREG,
				    .state = DAFS_I_NEW | DAFS_I_DATA | DAFS_I_WHOLE,
				    .size = 10 * 4096 + 1,
				    .u.whole = &source };
	struct dafs_page_run run;
	struct dafs_file *file;

	(void)state;
	assert_ok(dafs_inode_file(&inode, 4096, 2, &file));
	assert_int_equal(inode.state, DAFS_I_NEW | DAFS_I_DATA);
	assert_ptr_equal(inode.u.file, file);
	assert_int_equal(file->es.delayed_blks, 11);
	assert_int_equal(file->pages.dirty_blks, 11);
	assert_int_equal(file->reserved_clusters, 3);
	assert_true(dafs_pagecache_find(&file->pages, 10, 20, &run));
	assert_ptr_equal(run.src, &source);
	assert_int_equal(run.src_off_bytes, 10 * 4096);
	assert_true(run.state & DAFS_PG_DELAY);
	dafs_file_free(file);
}

static void test_whole_at_its_limits(void **state)
{
	struct dafs_source source = { 0 };
	struct dafs_inode inode = { .mode = S_IFREG, .state = DAFS_I_WHOLE, .u.whole = &source };
	struct dafs_file *file;

	(void)state;
	inode.size = UINT64_C(0xFFFFFFFF) * 1024 + 1;
	assert_err(DAFS_ET_FILE_TOO_BIG, dafs_inode_file(&inode, 1024, 0, &file));
	assert_null(file);
	assert_int_equal(inode.state, DAFS_I_WHOLE);
	assert_ptr_equal(inode.u.whole, &source);
	inode.size--;
	assert_ok(dafs_inode_file(&inode, 1024, 0, &file));
	assert_int_equal(file->es.delayed_blks, 0xFFFFFFFF);
	dafs_file_free(file);

	inode.size = 0;
	inode.state = DAFS_I_WHOLE;
	inode.u.whole = &source;
	assert_ok(dafs_inode_file(&inode, 1024, 0, &file));
	assert_int_equal(dafs_pagecache_runs(&file->pages), 0);
	dafs_file_free(file);
}

static void expect_xattr(const struct dafs_xattr *set, const char *name, const char *value)
{
	const struct dafs_xattr *x = dafs_xattr_get(set, name);

	assert_non_null(x);
	assert_int_equal(x->value_len, strlen(value));
	assert_memory_equal(dafs_xattr_value(x), value, x->value_len);
	assert_string_equal(x->name, name);
}

static void test_xattrs(void **state)
{
	struct dafs_xattr *set = NULL;

	(void)state;
	assert_err(ENODATA, dafs_xattr_put(&set, "user.a", NULL, 0));
	assert_ok(dafs_xattr_put(&set, "user.a", "one", 3));
	assert_ok(dafs_xattr_put(&set, "user.ab", "", 0));
	assert_ok(dafs_xattr_put(&set, "security.x", "three", 5));
	assert_ok(dafs_xattr_put(&set, "user.a", "another", 7));
	expect_xattr(set, "user.a", "another");
	expect_xattr(set, "user.ab", "");
	assert_string_equal(set->name, "user.a"); /* the order of first setting */
	assert_null(dafs_xattr_get(set, "user."));
	assert_ok(dafs_xattr_put(&set, "user.ab", NULL, 0));
	assert_null(dafs_xattr_get(set, "user.ab"));
	expect_xattr(set, "security.x", "three");
	dafs_xattr_free(&set);
	assert_null(set);
}

static void test_xattr_name_too_long(void **state)
{
	struct dafs_xattr *set = NULL;
	char *name = malloc(65537);

	(void)state;
	memset(name, 'n', 65536);
	name[65536] = 0;
	assert_err(DAFS_ET_XATTR_NAME, dafs_xattr_put(&set, name, "v", 1));
	assert_null(set);
	name[65535] = 0;
	assert_ok(dafs_xattr_put(&set, name, "v", 1));
	assert_non_null(dafs_xattr_get(set, name));
	dafs_xattr_free(&set);
	free(name);
}

/* Eight bytes hold what ext4 holds; what lies outside becomes the nearest end. */
static void test_time(void **state)
{
	static const int64_t inside[] = { 0,
					  1,
					  -1,
					  INT32_MAX,
					  INT64_C(1) << 31,
					  INT64_C(1) << 33,
					  DAFS_TIME_MIN,
					  DAFS_TIME_MIN + 1,
					  DAFS_TIME_MAX - 1,
					  DAFS_TIME_MAX };
	struct dafs_time t = { 0 };

	(void)state;
	assert_int_equal(sizeof(t), 8);
	assert_int_equal(dafs_time_sec(t), 0);
	for (size_t i = 0; i < sizeof(inside) / sizeof(*inside); i++) {
		t = dafs_time_at(inside[i], 999999999);
		assert_true(dafs_time_sec(t) == inside[i] && t.nsec == 999999999);
	}
	t = dafs_time_at(DAFS_TIME_MAX + 1, 5);
	assert_true(dafs_time_sec(t) == DAFS_TIME_MAX && t.nsec == 0);
	t = dafs_time_at(INT64_MIN, 5);
	assert_true(dafs_time_sec(t) == DAFS_TIME_MIN && t.nsec == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_empty_file_part),
		cmocka_unit_test(test_whole_becomes_file),
		cmocka_unit_test(test_whole_at_its_limits),
		cmocka_unit_test(test_xattrs),
		cmocka_unit_test(test_xattr_name_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
