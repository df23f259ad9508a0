/* SPDX-License-Identifier: GPL-2.0-or-later */
/* digest - see digest.h. Sums over paths, so that the order of directories does not count. */
#define _GNU_SOURCE
#include "tests/fault/digest.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 16, DEPTH_MOST = 256 };

struct walk {
	ext2_filsys fs;
	struct digest *out;
	FILE *list;
	errcode_t err;
	unsigned depth;
	char path[8192];
};

static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;

	for (; len >= 8; len -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
		sum ^= sum >> 32;
	}
	for (; len; len--, at++)
		sum = (sum ^ *at) * 0x100000001b3u;
	return sum;
}

static uint64_t mix64(uint64_t sum, uint64_t value)
{
	return mix(sum, &value, sizeof(value));
}

static errcode_t mix_file(struct walk *w, ext2_ino_t ino, uint64_t *sum)
{
	__u64 size, done = 0;
	ext2_file_t file;
	char *buf = malloc(CHUNK_BYTES);
	errcode_t err = buf ? ext2fs_file_open(w->fs, ino, 0, &file) : ENOMEM;

	if (err) {
		free(buf);
		return err;
	}
	err = ext2fs_file_get_lsize(file, &size);
	while (!err && done < size) {
		unsigned got = 0;

		err = ext2fs_file_read(file, buf, CHUNK_BYTES, &got);
		if (!err && !got)
			err = EXT2_ET_SHORT_READ;
		if (!err)
			*sum = mix(*sum, buf, got);
		done += got;
	}
	ext2fs_file_close(file);
	free(buf);
	return err;
}

/* The blocks of an extent that are not zero, each with its place: how a file lies in extents does
 * not count. */
static errcode_t mix_extent(struct walk *w, const struct ext2fs_extent *e, uint64_t size,
			    uint64_t *sum)
{
	unsigned block_size = w->fs->blocksize;
	char *buf = calloc(2, block_size);
	errcode_t err = buf ? 0 : ENOMEM;

	for (unsigned i = 0; i < e->e_len && !err; i++) {
		uint64_t off = (e->e_lblk + i) * block_size;
		size_t len = off >= size ? 0 : size - off < block_size ? size - off : block_size;

		err = io_channel_read_blk64(w->fs->io, e->e_pblk + i, 1, buf);
		if (!err && memcmp(buf, buf + block_size, len))
			*sum = mix(mix64(*sum, off), buf, len);
	}
	free(buf);
	return err;
}

/* A file with extents: of one that is mostly holes and unwritten blocks only the rest is read. */
static errcode_t mix_extents(struct walk *w, ext2_ino_t ino, struct ext2_inode *inode,
			     uint64_t *sum)
{
	struct ext2fs_extent e;
	ext2_extent_handle_t handle;
	errcode_t err = ext2fs_extent_open2(w->fs, ino, inode, &handle);

	if (err)
		return err;
	err = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &e);
	while (!err) {
		if (e.e_flags & EXT2_EXTENT_FLAGS_LEAF && !(e.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			err = mix_extent(w, &e, EXT2_I_SIZE(inode), sum);
		if (!err)
			err = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &e);
	}
	ext2fs_extent_free(handle);
	return err == EXT2_ET_EXTENT_NO_NEXT || err == EXT2_ET_NO_CURRENT_NODE ? 0 : err;
}

static errcode_t mix_link(struct walk *w, ext2_ino_t ino, struct ext2_inode *inode, uint64_t *sum)
{
	if (!ext2fs_is_fast_symlink(inode))
		return mix_file(w, ino, sum);
	*sum = mix(*sum, inode->i_block, EXT2_I_SIZE(inode) < 60 ? EXT2_I_SIZE(inode) : 60);
	return 0;
}

static int mix_xattr(char *name, char *value, size_t len, void *arg)
{
	uint64_t *sum = arg, one = mix(1, name, strlen(name));

	*sum += mix(one, value, len);
	return 0;
}

static errcode_t mix_xattrs(struct walk *w, ext2_ino_t ino, uint64_t *sum)
{
	struct ext2_xattr_handle *handle;
	uint64_t all = 0;
	errcode_t err = ext2fs_xattrs_open(w->fs, ino, &handle);

	if (err)
		return err;
	err = ext2fs_xattrs_read(handle);
	if (!err)
		err = ext2fs_xattrs_iterate(handle, mix_xattr, &all);
	ext2fs_xattrs_close(&handle);
	*sum = mix64(*sum, all);
	return err;
}

static int mix_block(ext2_filsys fs, blk64_t *blk, e2_blkcnt_t at, blk64_t ref, int off, void *arg)
{
	uint64_t *sum = arg;

	(void)fs;
	(void)ref;
	(void)off;
	*sum = mix64(mix64(*sum, *blk), (uint64_t)at);
	return 0;
}

static uint64_t attributes(const struct ext2_inode_large *inode)
{
	const struct ext2_inode *in = (const struct ext2_inode *)inode;
	uint64_t sum = mix64(7, in->i_mode);

	sum = mix64(sum, inode_uid(*in) | (uint64_t)inode_gid(*in) << 32);
	sum = mix64(sum, LINUX_S_ISDIR(in->i_mode) ? 0 : EXT2_I_SIZE(in));
	sum = mix64(sum, in->i_links_count);
	sum = mix64(sum, in->i_mtime | (uint64_t)in->i_ctime << 32);
	if (inode->i_extra_isize >= 24)
		sum = mix64(sum, inode->i_mtime_extra | (uint64_t)inode->i_ctime_extra << 32);
	return mix64(sum, in->i_flags & EXT2_FL_USER_VISIBLE & ~(uint32_t)EXT2_INDEX_FL);
}

static errcode_t one_inode(struct walk *w, ext2_ino_t ino, bool *folder)
{
	struct ext2_inode_large large = { 0 };
	struct ext2_inode *inode = (struct ext2_inode *)&large;
	uint64_t sum, layout;
	errcode_t err = ext2fs_read_inode_full(w->fs, ino, inode, sizeof(large));

	if (err)
		return err;
	sum = mix(attributes(&large), w->path, strlen(w->path));
	*folder = LINUX_S_ISDIR(inode->i_mode);
	if (LINUX_S_ISREG(inode->i_mode) && inode->i_flags & EXT4_EXTENTS_FL)
		err = mix_extents(w, ino, inode, &sum);
	else if (LINUX_S_ISREG(inode->i_mode))
		err = mix_file(w, ino, &sum);
	else if (LINUX_S_ISLNK(inode->i_mode))
		err = mix_link(w, ino, inode, &sum);
	else if (!*folder)
		sum = mix(sum, inode->i_block, 8);
	if (!err)
		err = mix_xattrs(w, ino, &sum);
	layout = mix64(mix(ino, w->path, strlen(w->path)), inode->i_file_acl);
	if (!err && ext2fs_inode_has_valid_blocks2(w->fs, inode))
		err = ext2fs_block_iterate3(w->fs, ino, BLOCK_FLAG_READ_ONLY, NULL, mix_block,
					    &layout);
	w->out->tree += sum;
	w->out->layout += layout;
	if (w->list)
		fprintf(w->list,
			"%-24s ino %5u mode %06o links %u size %8" PRIu64
			" mtime %u ctime %u sum %016" PRIx64 " layout %016" PRIx64 "\n",
			*w->path ? w->path : "/", ino, inode->i_mode, inode->i_links_count,
			(uint64_t)EXT2_I_SIZE(inode), inode->i_mtime, inode->i_ctime, sum, layout);
	return err;
}

static errcode_t walk_one(struct walk *w, ext2_ino_t ino);

static int one_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *de, int off, int block_size,
		    char *buf, void *arg)
{
	struct walk *w = arg;
	int len = ext2fs_dirent_name_len(de);
	size_t at = strlen(w->path);

	(void)dir;
	(void)off;
	(void)block_size;
	(void)buf;
	/* In an inline directory "." and ".." come as any other name. */
	if (entry != DIRENT_OTHER_FILE || at + (size_t)len + 2 > sizeof(w->path) ||
	    (len <= 2 && !strncmp(de->name, "..", (size_t)len)))
		return 0;
	w->path[at] = '/';
	memcpy(w->path + at + 1, de->name, (size_t)len);
	w->path[at + 1 + (size_t)len] = '\0';
	w->err = walk_one(w, de->inode);
	if (!w->err)
		w->path[at] = '\0';
	return w->err ? DIRENT_ABORT : 0;
}

static errcode_t walk_one(struct walk *w, ext2_ino_t ino)
{
	bool folder;
	errcode_t err = one_inode(w, ino, &folder);

	if (err || !folder || w->depth == DEPTH_MOST)
		return err;
	w->depth++;
	err = ext2fs_dir_iterate2(w->fs, ino, 0, NULL, one_name, w);
	w->depth--;
	return w->err ? w->err : err;
}

errcode_t digest_image(const char *path, struct digest *out, FILE *list)
{
	struct walk w = { .out = out, .list = list };
	errcode_t err;

	memset(out, 0, sizeof(*out));
	err = ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &w.fs);
	if (err)
		return err;
	err = walk_one(&w, EXT2_ROOT_INO);
	ext2fs_close_free(&w.fs);
	return err;
}

bool digest_super_torn(const char *path)
{
	ext2_filsys fs = NULL;
	errcode_t err = ext2fs_open(path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs);

	if (fs)
		ext2fs_free(fs);
	return err == EXT2_ET_SB_CSUM_INVALID;
}

bool digest_needs_recovery(const char *path)
{
	struct ext2_super_block sb;
	FILE *in = fopen(path, "re");
	bool needs = in && !fseek(in, SUPERBLOCK_OFFSET, SEEK_SET) &&
		     fread(&sb, sizeof(sb), 1, in) == 1 &&
		     sb.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER;

	if (in)
		fclose(in);
	return needs;
}
