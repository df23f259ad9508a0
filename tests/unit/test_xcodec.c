/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes: random sets written and read back, by dafs, libext2fs and (as root) the
 * kernel; sharing; damage. */
#include "config.h"

#include "image/xcodec.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "image/inline.h"
#include "image/xattr_int.h"
#include "xattr_fx.h"

/* ---- reading back ---- */

static int libext2fs_attr(char *name, char *value, size_t len, void *arg)
{
	const struct dafs_xattr *x = dafs_xattr_get(arg, name);
	uint8_t *host = NULL;
	uint32_t host_len = (uint32_t)len;

	if (!strcmp(name, "system.data"))
		return 0;
	/* It gives the disk's form. */
	if (!strncmp(name, "system.posix_acl", 16))
		assert_ok(dafs_xacl_from_disk((uint8_t *)value, host_len, &host, &host_len));
	assert_non_null(x);
	assert_int_equal(x->value_len, host_len);
	assert_memory_equal(dafs_xattr_value(x), host ? (char *)host : value, host_len);
	free(host);
	return 0;
}

static void compare_all(struct xfx *x)
{
	ext2_filsys fs;

	assert_ok(ext2fs_open(x->fx.path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs));
	for (int i = 0; i < FILES; i++) {
		struct dafs_inode *inode = &x->files[i].inode;
		struct ext2_xattr_handle *h;
		struct dafs_xattr *back;
		union dafs_inode_buf buf;
		size_t count = 0;

		scratch_ok(dafs_icodec_read(x->fx.img, inode->ino, &buf.raw, sizeof(buf)));
		scratch_ok(dafs_xcodec_read(x->fx.img, inode->ino, &buf.raw, &back));
		assert_sets(inode->xattrs, back);
		dafs_xattr_free(&back);
		assert_ok(ext2fs_xattrs_open(fs, inode->ino, &h));
		assert_ok(ext2fs_xattrs_read(h));
		assert_ok(ext2fs_xattrs_iterate(h, libext2fs_attr, inode->xattrs));
		assert_ok(ext2fs_xattrs_count(h, &count));
		assert_int_equal(count, set_size(inode->xattrs) +
						(inode->iflags & EXT4_INLINE_DATA_FL ? 1 : 0));
		assert_ok(ext2fs_xattrs_close(&h));
	}
	ext2fs_free(fs);
}

static void kernel_reads(struct xfx *x)
{
	const char *mnt = scratch_path("mnt");
	bool same = true;

	if (geteuid() || scratch_run("grep -qw ext4 /proc/filesystems && [ -e /dev/loop-control ]"))
		return;
	mkdir(mnt, 0700);
	scratch_mount(x->fx.path, mnt, "ro");
	for (int i = 0; i < FILES; i++) {
		char path[512], *value = malloc(65537);

		assert_non_null(value);
		snprintf(path, sizeof(path), "%s/f%d", mnt, i);
		for (const struct dafs_xattr *a = x->files[i].inode.xattrs; a; a = a->next) {
			ssize_t len = lgetxattr(path, a->name, value, 65536);

			same &= len == (ssize_t)a->value_len &&
				!memcmp(value, dafs_xattr_value(a), a->value_len);
		}
		free(value);
	}
	assert_int_equal(scratch_run("umount '%s'", mnt), 0);
	assert_true(same);
}

struct kind {
	const char *options;
	uint32_t max_value;
	uint32_t most;
};

static void random_sets(struct rng *rng, void *arg)
{
	const struct kind *kind = arg;
	struct xfx x;
	uint32_t written = 0;

	xfx_open(&x, "xattr.img", kind->options);
	for (uint32_t n = test_steps(6, 100); n; n--) {
		scratch_ok(dafs_txn_begin(x.fx.img));
		for (int i = 0; i < FILES; i++) {
			struct file *file = &x.files[i];
			struct dafs_xattr *before = file->inode.xattrs;

			file->inode.xattrs = NULL;
			random_set(rng, &file->inode.xattrs, kind->max_value, kind->most);
			if (write_set(&x, file)) {
				dafs_xattr_free(&before);
				written++;
			} else {
				assert_false(x.fx.img->has_ea_inode && kind->most < 20);
				dafs_xattr_free(&file->inode.xattrs);
				file->inode.xattrs = before;
			}
		}
		fx_commit(&x.fx);
		compare_all(&x);
		scratch_fsck(x.fx.path);
	}
	assert_true(written > 6);
	kernel_reads(&x);
	xfx_close(&x);
}

static void test_random_sets(void **state)
{
	static const struct kind kinds[] = {
		{ "-t ext4 -b 1024", 200, 8 },
		{ "-t ext4 -b 4096", 300, 20 },
		{ "-t ext4 -b 4096 -I 1024", 300, 20 },
		{ "-t ext4 -b 1024 -I 128 -O ^metadata_csum", 200, 6 },
		{ "-t ext4 -b 4096 -O ea_inode", 65536, 12 },
		{ "-t ext4 -b 1024 -O ea_inode,^metadata_csum", 20000, 12 },
		{ "-t ext4 -b 4096 -O inline_data", 40, 5 },
	};
	(void)state;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		printf("# %s\n", kinds[i].options);
		for_seeds(test_steps(1, 4), random_sets, (void *)(uintptr_t)&kinds[i]);
	}
}

/* ---- fitting ---- */

/* Sets that fill an image's places to the last byte; one byte more does not fit. */
static void test_full(void **state)
{
	struct xfx x;
	char value[4096] = { 1 };
	struct file *file = &x.files[0];
	struct dafs_xattr_layout lay;
	(void)state;

	xfx_open(&x, "full.img", "-t ext4 -b 1024");
	scratch_ok(dafs_txn_begin(x.fx.img));
	/* In the inode: 96 bytes less magic and terminator; an entry of 16 + 4. */
	scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.abcd", value, 68));
	scratch_ok(dafs_xcodec_plan(x.fx.img, &file->inode, "/f", &lay));
	assert_false(lay.use_block);
	/* In the block: 1024 less header and terminator. */
	scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.efgh", value, 1024 - 32 - 4 - 20));
	assert_true(write_set(&x, file));
	scratch_ok(dafs_xcodec_plan(x.fx.img, &file->inode, "/f", &lay));
	assert_true(lay.use_block);
	scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.a", value, 0));
	assert_err(DAFS_ET_XATTR_TOO_BIG, dafs_xcodec_plan(x.fx.img, &file->inode, "/f", &lay));
	scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.a", NULL, 0));
	fx_commit(&x.fx);
	compare_all(&x);
	scratch_fsck(x.fx.path);
	xfx_close(&x);
}

static void test_names(void **state)
{
	static const char *const bad[] = { "user",
					   "user.",
					   "system.foo",
					   "system.data",
					   "nonsense.x",
					   "",
					   "system.posix_acl_accessx",
					   "encryption.c" };
	struct dafs_xattr_layout lay;
	struct xfx x;
	char name[300];
	(void)state;

	xfx_open(&x, "names.img", "-t ext4");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, bad[i], "v", 1));
		assert_err(DAFS_ET_XATTR_NAME,
			   dafs_xcodec_plan(x.fx.img, &x.files[0].inode, "/a/b", &lay));
		assert_non_null(strstr(scratch_ctx.detail, "/a/b: "));
		assert_non_null(strstr(scratch_ctx.detail, bad[i]));
		dafs_xattr_free(&x.files[0].inode.xattrs);
	}
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[261] = 0;
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, name, "v", 1));
	assert_err(DAFS_ET_XATTR_NAME, dafs_xcodec_plan(x.fx.img, &x.files[0].inode, "/a/b", &lay));
	dafs_xattr_free(&x.files[0].inode.xattrs);
	name[260] = 0;
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, name, "v", 1));
	scratch_ok(dafs_xcodec_plan(x.fx.img, &x.files[0].inode, "/a/b", &lay));
	dafs_xattr_free(&x.files[0].inode.xattrs);
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, "system.posix_acl_default", "junk", 4));
	assert_err(DAFS_ET_XATTR_NAME, dafs_xcodec_plan(x.fx.img, &x.files[0].inode, "/a/b", &lay));
	xfx_close(&x);
}

static void test_acl(void **state)
{
	uint8_t *disk, *host;
	uint32_t disk_len, host_len;
	(void)state;

	assert_ok(dafs_xacl_to_disk(acl, sizeof(acl), &disk, &disk_len));
	assert_int_equal(disk_len, 4 + 4 * 4 + 8);
	assert_ok(dafs_xacl_from_disk(disk, disk_len, &host, &host_len));
	assert_int_equal(host_len, sizeof(acl));
	assert_memory_equal(host, acl, sizeof(acl));
	free(host);
	for (uint32_t len = 0; len < disk_len; len++) {
		errcode_t err = dafs_xacl_from_disk(disk, len, &host, &host_len);

		assert_true(!err || err == EINVAL);
		free(host);
	}
	assert_err(EINVAL, dafs_xacl_to_disk(acl, sizeof(acl) - 1, &host, &host_len));
	assert_err(EINVAL, dafs_xacl_to_disk(disk, disk_len, &host, &host_len));
	free(disk);
}

/* Two files on one block: changing one leaves the other's, with a count less. */
static void test_shared_block(void **state)
{
	union dafs_inode_buf a, b;
	struct dafs_xattr_block *head;
	uint64_t pblk, other;
	uint8_t *block;
	bool shared;
	struct xfx x;
	char value[500] = { 7 };
	(void)state;

	xfx_open(&x, "shared.img", "-t ext4 -b 1024");
	scratch_ok(dafs_txn_begin(x.fx.img));
	for (int i = 0; i < 2; i++)
		scratch_ok(
			dafs_xattr_put(&x.files[i].inode.xattrs, "user.big", value, sizeof(value)));
	assert_true(write_set(&x, &x.files[0]));
	fx_commit(&x.fx);
	scratch_ok(dafs_txn_begin(x.fx.img));
	scratch_ok(dafs_icodec_read(x.fx.img, 12, &a.raw, sizeof(a)));
	scratch_ok(dafs_icodec_read(x.fx.img, 13, &b.raw, sizeof(b)));
	b.raw.i_file_acl = a.raw.i_file_acl;
	b.raw.i_blocks = a.raw.i_blocks;
	fx_write_inode(&x.fx, 13, &b);
	scratch_ok(dafs_txn_get(x.fx.img, a.raw.i_file_acl, true, &block));
	head = (struct dafs_xattr_block *)block;
	head->refcount = 2;
	head->checksum = dafs_xattr_block_csum(x.fx.img, a.raw.i_file_acl, block);
	fx_commit(&x.fx);
	compare_all(&x);
	scratch_fsck(x.fx.path);

	scratch_ok(dafs_xcodec_block(x.fx.img, 12, &a.raw, &pblk, &shared));
	assert_true(shared && pblk == a.raw.i_file_acl);
	scratch_ok(dafs_txn_begin(x.fx.img));
	scratch_ok(dafs_xattr_put(&x.files[1].inode.xattrs, "user.more", value, 90));
	assert_true(write_set(&x, &x.files[1]));
	fx_commit(&x.fx);
	compare_all(&x);
	scratch_fsck(x.fx.path);
	scratch_ok(dafs_icodec_read(x.fx.img, 13, &b.raw, sizeof(b)));
	scratch_ok(dafs_xcodec_block(x.fx.img, 13, &b.raw, &other, &shared));
	assert_true(!shared && other != pblk);
	scratch_ok(dafs_xcodec_block(x.fx.img, 12, &a.raw, &pblk, &shared));
	assert_false(shared);
	xfx_close(&x);
}

/* Inline bodies share the inode's area: neither hurts the other. */
static void test_inline(void **state)
{
	struct dafs_inline parts;
	union dafs_inode_buf buf;
	struct xfx x;
	struct dafs_inode fresh = { .mode = S_IFREG | 0644, .state = DAFS_I_NEW };
	char body[200], value[500] = { 3 };
	(void)state;

	memset(body, 'b', sizeof(body));
	xfx_open(&x, "inline.img", "-t ext4 -b 1024 -O inline_data");
	/* 256 - 128 - 32 less magic, terminator and the attribute's own entry. */
	assert_int_equal(dafs_inline_room(x.fx.img, &fresh), 60 + 68);
	scratch_ok(dafs_xattr_put(&fresh.xattrs, "user.abcd", value, 20));
	assert_int_equal(dafs_inline_room(x.fx.img, &fresh), 60 + 28);
	scratch_ok(dafs_xattr_put(&fresh.xattrs, "user.efgh", value, 300));
	assert_int_equal(dafs_inline_room(x.fx.img, &fresh), 60);
	dafs_xattr_free(&fresh.xattrs);

	scratch_ok(dafs_txn_begin(x.fx.img));
	for (int i = 0; i < FILES; i++) {
		struct file *file = &x.files[i];
		size_t len = (size_t)i * 20 + 10;

		scratch_ok(dafs_icodec_read(x.fx.img, file->inode.ino, &buf.raw, sizeof(buf)));
		scratch_ok(dafs_inline_put(x.fx.img, file->inode.ino, &buf.raw, body, len));
		buf.raw.i_size = (uint32_t)len;
		fx_write_inode(&x.fx, file->inode.ino, &buf);
		file->inode.size = len;
		file->inode.iflags |= EXT4_INLINE_DATA_FL;
		scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.abcd", value, 8));
		scratch_ok(dafs_xattr_put(&file->inode.xattrs, "user.long", value, 60));
		assert_true(write_set(&x, file));
		scratch_ok(dafs_icodec_read(x.fx.img, file->inode.ino, &buf.raw, sizeof(buf)));
		scratch_ok(dafs_inline_find(x.fx.img, file->inode.ino, &buf.raw, &parts));
		assert_int_equal(parts.spill_len, len > 60 ? len - 60 : 0);
		assert_memory_equal(parts.body, body, len < 60 ? len : 60);
		assert_memory_equal(parts.spill, body, parts.spill_len);
	}
	fx_commit(&x.fx);
	compare_all(&x);
	scratch_fsck(x.fx.path);
	assert_err(DAFS_ET_XATTR_TOO_BIG, dafs_inline_put(x.fx.img, 12, &buf.raw, body, 200));
	scratch_ok(dafs_inline_drop(x.fx.img, 17, &buf.raw));
	assert_false(buf.raw.i_flags & EXT4_INLINE_DATA_FL);
	assert_err(DAFS_ET_CORRUPT_INODE, dafs_inline_find(x.fx.img, 17, &buf.raw, &parts));
	xfx_close(&x);
}

/* ---- damage ---- */

static void damage(struct rng *rng, void *arg)
{
	struct xfx x;
	char value[300] = { 1 };
	union dafs_inode_buf good, buf;
	uint8_t saved[1024], *block;
	(void)arg;

	xfx_open(&x, "damage.img", "-t ext4 -b 1024 -O ea_inode");
	scratch_ok(dafs_txn_begin(x.fx.img));
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, "user.small", value, 20));
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, "trusted.medium", value, 300));
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, "security.third", value, 100));
	scratch_ok(dafs_xattr_put(&x.files[0].inode.xattrs, "system.posix_acl_access", acl,
				  sizeof(acl)));
	assert_true(write_set(&x, &x.files[0]));
	fx_commit(&x.fx);
	scratch_ok(dafs_icodec_read(x.fx.img, 12, &good.raw, sizeof(good)));
	assert_true(good.raw.i_file_acl);
	scratch_ok(dafs_image_read_blks(x.fx.img, good.raw.i_file_acl, 1, saved));
	for (uint32_t n = test_steps(1000, 100000); n; n--) {
		struct dafs_blklist list = { 0 };
		struct dafs_xattr *set;
		struct dafs_inline parts;
		uint64_t pblk;
		errcode_t err;

		buf = good;
		scratch_ok(dafs_txn_begin(x.fx.img));
		scratch_ok(dafs_txn_get(x.fx.img, good.raw.i_file_acl, true, &block));
		if (rng_below(rng, 2))
			fx_damage(rng, buf.bytes + 128, 128);
		else
			fx_damage(rng, block, rng_below(rng, 2) ? 120 : 1024);
		((struct dafs_xattr_block *)block)->checksum =
			dafs_xattr_block_csum(x.fx.img, good.raw.i_file_acl, block);
		err = dafs_xcodec_read(x.fx.img, 12, &buf.raw, &set);
		assert_true(!err || !set);
		dafs_xattr_free(&set);
		dafs_xcodec_value_inos(x.fx.img, 12, &buf.raw, &list);
		dafs_xcodec_release(x.fx.img, 12, &buf.raw, &pblk, &list);
		dafs_inline_find(x.fx.img, 12, &buf.raw, &parts);
		dafs_inline_put(x.fx.img, 12, &buf.raw, value, 70);
		dafs_blklist_fini(&list);
		dafs_txn_abort(x.fx.img);
	}
	xfx_close(&x);
}

static void test_damage(void **state)
{
	(void)state;
	for_seeds(3, damage, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_sets),  cmocka_unit_test(test_full),
		cmocka_unit_test(test_names),	     cmocka_unit_test(test_acl),
		cmocka_unit_test(test_shared_block), cmocka_unit_test(test_inline),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
