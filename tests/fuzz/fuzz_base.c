/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_base - sound images of all kinds, made in memory by what mkdafs and dawrite are made of. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "image/icodec.h"
#include "image/image_int.h"
#include "job/mkfs.h"
#include "tests/fuzz/fuzz.h"

enum { FILE_MOST_BYTES = 64 << 20 };

struct dafs_ctx fuzz_ctx;

struct fuzz_base fuzz_bases[] = {
	{ .name = "plain", .size_kib = 1024, .block_size = 1024, .inode_size = 256,
	  .features = "none,ext_attr,dir_index,filetype,sparse_super,large_file,extents,64bit,"
		      "flex_bg,metadata_csum,huge_file,extra_isize,dir_nlink,ea_inode,large_dir" },
	{ .name = "old", .size_kib = 1024, .block_size = 1024, .inode_size = 128,
	  .features = "none,ext_attr,dir_index,filetype,sparse_super,large_file,resize_inode,"
		      "extents" },
	{ .name = "inline", .size_kib = 1024, .block_size = 1024, .inode_size = 512,
	  .features = "none,ext_attr,dir_index,filetype,extents,metadata_csum,extra_isize,"
		      "inline_data,casefold,ea_inode,metadata_csum_seed,quota,project",
	  .extended = "encoding=utf8" },
	{ .name = "bigalloc", .size_kib = 2048, .block_size = 4096, .inode_size = 256,
	  .cluster_size = 16384,
	  .features = "none,ext_attr,dir_index,filetype,extents,64bit,metadata_csum,extra_isize,"
		      "bigalloc" },
	{ .name = "groups", .size_kib = 1024, .block_size = 1024, .inode_size = 256,
	  .blks_per_group = 256,
	  .features = "none,ext_attr,dir_index,filetype,extents,meta_bg,uninit_bg,extra_isize,"
		      "sparse_super" },
	{ .name = "journal", .size_kib = 3072, .block_size = 1024, .inode_size = 256,
	  .journal = true,
	  .features = "none,has_journal,ext_attr,dir_index,filetype,extents,64bit,metadata_csum,"
		      "extra_isize,fast_commit,orphan_file" },
	{ .name = "journal2k", .size_kib = 6144, .block_size = 2048, .inode_size = 256,
	  .journal = true,
	  .features = "none,has_journal,ext_attr,dir_index,filetype,extents,extra_isize" },
};
const size_t fuzz_nbases = sizeof(fuzz_bases) / sizeof(fuzz_bases[0]);

void fuzz_die(const char *what, errcode_t err)
{
	dprintf(STDERR_FILENO, "fuzz: %s: %s: %s\n", what, fuzz_ctx.detail,
		err ? error_message(err) : "");
	abort();
}

static void ok(const char *what, errcode_t err)
{
	if (err)
		fuzz_die(what, err);
}

/* A configuration of our own: the bases are the same everywhere. */
static void write_config(void)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/mke2fs.conf", fuzz_folder());
	file = fopen(path, "w");
	if (!file ||
	    fputs("[defaults]\n\tbase_features = none\n[fs_types]\n\text4 = {\n\t}\n", file) < 0 ||
	    fclose(file))
		fuzz_die(path, errno);
	setenv("MKE2FS_CONFIG", path, 1);
}

void fuzz_begin(void)
{
	static bool begun;
	FILE *nowhere;

	if (begun)
		return;
	begun = true;
	/* What the tools print is of no interest; reports of a sanitizer go to descriptor 2. */
	nowhere = fopen("/dev/null", "r+");
	if (!nowhere || dup2(fileno(nowhere), STDOUT_FILENO) < 0)
		fuzz_die("/dev/null", 0);
	stdout = nowhere;
	stderr = nowhere;
	/* What fills a disk is found as what fills the memory is. */
	setrlimit(RLIMIT_FSIZE, &(struct rlimit){ FILE_MOST_BYTES, RLIM_INFINITY });
	setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
	setenv("DEBUGFS_PAGER", "__none__", 1);
	write_config();
	initialize_ext2_error_table();
	ok("context", dafs_ctx_init(&fuzz_ctx));
	fuzz_ctx.threads = 1;
	fuzz_ctx.no_sync = true;
	fuzz_ctx.lock_timeout_ms = 0;
	dafs_mmp_second_ms = 0;
}

static void put(struct dafs *fs, const char *path, uint64_t off, size_t len)
{
	static const char bytes[8192] = "some bytes";

	ok(path, dafs_write(fs, path, off, bytes, len));
}

static void fill_names(struct dafs *fs)
{
	char path[128];

	ok("lin", dafs_mkdir(fs, "/lin", 0755, false));
	ok("big", dafs_mkdir(fs, "/big", 0755, false));
	ok("sub", dafs_mkdir(fs, "/lin/sub", 0755, false));
	put(fs, "/lin/first", 0, 10);
	for (int i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "/lin/name%d", i);
		ok(path, dafs_link(fs, "/lin/first", path));
	}
	for (int i = 0; i < 120; i++) {
		snprintf(path, sizeof(path), "/big/a-name-that-is-not-too-short-at-all-%d", i);
		ok(path, dafs_link(fs, "/lin/first", path));
	}
	ok("fast", dafs_symlink(fs, "lin/first", "/fast"));
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ok("slow", dafs_symlink(fs, path, "/slow"));
	ok("fifo", dafs_mknod(fs, "/fifo", S_IFIFO | 0600, 0, 0));
	ok("dev", dafs_mknod(fs, "/dev", S_IFBLK | 0600, 300, 5));
}

static void fill_files(struct dafs *fs, const struct fuzz_base *base)
{
	uint32_t bs = base->block_size, pieces = bs == 1024 ? 340 : 40;
	char value[600];

	for (uint32_t i = 0; i < pieces; i++)
		put(fs, "/frag", (uint64_t)i * 2 * bs, bs);
	put(fs, "/whole", 0, 8192);
	put(fs, "/tiny", 0, 30);
	for (uint32_t i = 0; i < 20; i++)
		put(fs, "/blocks", (uint64_t)i * bs, bs);
	if (strstr(base->features, "extents"))
		ok("unwritten", dafs_fallocate(fs, "/whole", 8192, 8192, false));
	put(fs, "/far", 2000000, 10);
	memset(value, 'v', sizeof(value));
	ok("small xattr", dafs_setxattr(fs, "/tiny", "user.small", "value", 5));
	ok("xattrs", dafs_setxattr(fs, "/whole", "user.large", value, sizeof(value)));
	ok("xattrs", dafs_setxattr(fs, "/whole", "trusted.other", value, 40));
	if (strstr(base->features, "ea_inode"))
		ok("ea inode", dafs_setxattr(fs, "/frag", "user.huge",
					     (char[2000]){ "huge" }, 2000));
}

/* The inode at path: its bytes, and where they are. */
static uint64_t find_inode(const char *path, union dafs_inode_buf *buf, struct dafs_image **img,
			   uint32_t *ino)
{
	struct dafs_inode *inode;
	struct dafs *fs;
	uint64_t pblk;
	uint32_t off;

	ok(path, dafs_session_open(&fuzz_ctx, fuzz_address(), 0, NULL, &fs));
	ok(path, dafs_ns_lookup(fs->ns, path, 0, &inode));
	*ino = inode->ino;
	dafs_close(fs);
	ok(path, dafs_image_open(&fuzz_ctx, fuzz_address(), 0, 0, 0, img));
	ok(path, dafs_icodec_read(*img, *ino, &buf->raw, sizeof(*buf)));
	ok(path, dafs_icodec_locate(*img, *ino, &pblk, &off, NULL));
	return pblk * (*img)->block_size + off;
}

static void put_inode(struct fuzz_mem *mem, uint64_t at, union dafs_inode_buf *buf,
		      struct dafs_image *img, uint32_t ino)
{
	dafs_icodec_checksum(img, ino, &buf->raw);
	fuzz_mem_put(mem, at, buf->bytes, img->inode_size);
	dafs_image_close(img);
}

/* The directory /lin/sub folds case from now on, as after chattr +F. */
static void fold(struct fuzz_mem *mem)
{
	union dafs_inode_buf buf;
	struct dafs_image *img;
	uint32_t ino;
	uint64_t at = find_inode("/lin/sub", &buf, &img, &ino);

	buf.raw.i_flags |= EXT4_CASEFOLD_FL;
	put_inode(mem, at, &buf, img, ino);
}

/* The file /blocks (20 blocks in one piece) gets an indirect map: its last block holds the rest of
 * it. */
static void unextent(struct fuzz_mem *mem)
{
	enum { BLOCKS = 20, DIRECT = 12, FIRST = 5 };
	union dafs_inode_buf buf;
	struct dafs_image *img;
	uint32_t ino, first, map[BLOCKS] = { 0 };
	uint64_t at = find_inode("/blocks", &buf, &img, &ino);

	first = buf.raw.i_block[FIRST];
	for (uint32_t i = 0; i < DIRECT; i++)
		buf.raw.i_block[i] = first + i;
	for (uint32_t i = DIRECT; i < BLOCKS - 1; i++)
		map[i - DIRECT] = first + i;
	buf.raw.i_block[DIRECT] = first + BLOCKS - 1;
	buf.raw.i_block[DIRECT + 1] = buf.raw.i_block[DIRECT + 2] = 0;
	buf.raw.i_size = (BLOCKS - 1) * img->block_size;
	buf.raw.i_flags &= ~(uint32_t)EXT4_EXTENTS_FL;
	fuzz_mem_put(mem, (uint64_t)(first + BLOCKS - 1) * img->block_size, map, sizeof(map));
	put_inode(mem, at, &buf, img, ino);
}

static void fill_folded(struct dafs *fs)
{
	char path[128];

	for (int i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "/lin/sub/Some-Name-In-\xc3\x84\xc3\x96-Case-%d", i);
		ok(path, dafs_link(fs, "/lin/first", path));
	}
}

static void fill(struct fuzz_base *base, void (*names)(struct dafs *fs, const struct fuzz_base *))
{
	struct dafs *fs;

	ok(base->name, dafs_session_open(&fuzz_ctx, fuzz_address(), DAFS_SESSION_RW, NULL, &fs));
	ok(base->name, dafs_begin(fs));
	names(fs, base);
	ok(base->name, dafs_end(fs));
	ok(base->name, dafs_flush(fs));
	dafs_close(fs);
}

static void fill_all(struct dafs *fs, const struct fuzz_base *base)
{
	fill_names(fs);
	fill_files(fs, base);
}

static void fill_more(struct dafs *fs, const struct fuzz_base *base)
{
	(void)base;
	fill_folded(fs);
}

static void make(struct fuzz_base *base)
{
	struct dafs_mkfs_opts opts = {
		.fs_bytes = (uint64_t)base->size_kib * 1024,
		.block_size = base->block_size,
		.cluster_size = base->cluster_size,
		.inode_size = base->inode_size,
		.blks_per_group = base->blks_per_group,
		.inodes = 128,
		.features = base->features,
		.uuid = "01234567-89ab-cdef-0123-456789abcdef",
		.force = true,
	};
	struct dafs_image *img;
	char extended[128];

	snprintf(extended, sizeof(extended), "hash_seed=01234567-89ab-cdef-0123-456789abcdef%s%s",
		 base->extended ? "," : "", base->extended ? base->extended : "");
	opts.extended = extended;
	fuzz_mem_init(&base->sound, opts.fs_bytes);
	fuzz_mem_use(&base->sound);
	ok(base->name, dafs_mkfs_run(&fuzz_ctx, fuzz_address(), &opts, &img));
	fill(base, fill_all);
	if (strstr(base->features, "casefold")) {
		fold(&base->sound);
		fill(base, fill_more);
	}
	if (!base->cluster_size)
		unextent(&base->sound);
	ok(base->name, dafs_image_open(&fuzz_ctx, fuzz_address(), DAFS_IMAGE_NO_LOCK, 0, 0,
				       &base->img));
	memset(base->sound.dirty, 0, base->sound.room_bytes / FUZZ_CHUNK_BYTES + 1);
	base->ready = true;
}

struct fuzz_base *fuzz_base(size_t number)
{
	struct fuzz_base *base = &fuzz_bases[number % fuzz_nbases];

	if (!base->ready)
		make(base);
	return base;
}

struct fuzz_mem *fuzz_copy(size_t number)
{
	static struct fuzz_mem copies[sizeof(fuzz_bases) / sizeof(fuzz_bases[0])];
	struct fuzz_base *base = fuzz_base(number);
	struct fuzz_mem *mem = &copies[base - fuzz_bases];

	if (!mem->bytes) {
		fuzz_mem_init(mem, base->sound.size_bytes);
		memset(mem->dirty, 1, mem->room_bytes / FUZZ_CHUNK_BYTES + 1);
	}
	fuzz_mem_reset(mem, &base->sound);
	return mem;
}
