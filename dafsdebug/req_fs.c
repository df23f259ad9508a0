/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_fs - stats, freefrag, buddy, testb: the file system as a whole, and its free space. */
#include "config.h"

#include <e2p/e2p.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "dafsdebug/dafsdebug.h"
#include "job/inspect_frag.h"

#define MB_GROUPS_ORDERS 14 /* that the kernel's table has, whatever the block size */

/* ---- stats ---- */

static void print_group(struct dafs_image *img, uint32_t grp)
{
	ext2_filsys fs = img->fs;
	const char *sep = "";

	printf(" Group %2u: block bitmap at %llu, inode bitmap at %llu, inode table at %llu\n"
	       "           %u free %s%s, %u free %s, %u used %s",
	       grp, (unsigned long long)ext2fs_block_bitmap_loc(fs, grp),
	       (unsigned long long)ext2fs_inode_bitmap_loc(fs, grp),
	       (unsigned long long)ext2fs_inode_table_loc(fs, grp),
	       ext2fs_bg_free_blocks_count(fs, grp), img->has_bigalloc ? "cluster" : "block",
	       ext2fs_bg_free_blocks_count(fs, grp) == 1 ? "" : "s",
	       ext2fs_bg_free_inodes_count(fs, grp),
	       ext2fs_bg_free_inodes_count(fs, grp) == 1 ? "inode" : "inodes",
	       ext2fs_bg_used_dirs_count(fs, grp),
	       ext2fs_bg_used_dirs_count(fs, grp) == 1 ? "directory" : "directories");
	if (!ext2fs_has_group_desc_csum(fs)) {
		putchar('\n');
		return;
	}
	printf(", %u unused %s\n           [", ext2fs_bg_itable_unused(fs, grp),
	       ext2fs_bg_itable_unused(fs, grp) == 1 ? "inode" : "inodes");
	if (ext2fs_bg_flags_test(fs, grp, EXT2_BG_INODE_UNINIT)) {
		printf("Inode not init");
		sep = ", ";
	}
	if (ext2fs_bg_flags_test(fs, grp, EXT2_BG_BLOCK_UNINIT)) {
		printf("%sBlock not init", sep);
		sep = ", ";
	}
	printf("%sChecksum 0x%04x]\n", sep, ext2fs_bg_checksum(fs, grp));
}

static uint32_t used_dirs(const struct dafs_image *img)
{
	uint32_t dirs = 0;

	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++)
		dirs += ext2fs_bg_used_dirs_count(img->fs, grp);
	return dirs;
}

static void json_features(struct dafs_image *img, struct json_object *out)
{
	const struct ext2_super_block *sb = img->fs->super;
	const uint32_t words[3] = { sb->s_feature_compat, sb->s_feature_incompat,
				    sb->s_feature_ro_compat };
	struct json_object *list = dafs_cli_json_array(out, "features");

	for (int set = 0; set < 3; set++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			if (words[set] & 1u << bit)
				json_object_array_add(
					list, json_object_new_string(e2p_feature2string(
						      set, 1u << bit)));
		}
	}
}

static void json_super(struct dafs_image *img, struct json_object *out)
{
	struct ext2_super_block *sb = img->fs->super;
	char uuid[UUID_STR_LEN];

	uuid_unparse(sb->s_uuid, uuid);
	dafs_cli_json_str(out, "uuid", uuid);
	dafs_cli_json_bytes(out, "label", sb->s_volume_name,
			    strnlen((const char *)sb->s_volume_name, sizeof(sb->s_volume_name)));
	json_features(img, out);
	dafs_cli_json_u64(out, "inodes", sb->s_inodes_count);
	dafs_cli_json_u64(out, "free_inodes", sb->s_free_inodes_count);
	dafs_cli_json_u64(out, "blocks", img->blocks);
	dafs_cli_json_u64(out, "free_blocks", ext2fs_free_blocks_count(sb));
	dafs_cli_json_u64(out, "reserved_blocks", ext2fs_r_blocks_count(sb));
	dafs_cli_json_u64(out, "overhead_clusters", sb->s_overhead_clusters);
	dafs_cli_json_u64(out, "first_block", sb->s_first_data_block);
	dafs_cli_json_u64(out, "block_size", img->block_size);
	dafs_cli_json_u64(out, "cluster_size", (uint64_t)img->block_size << img->cluster_bits);
	dafs_cli_json_u64(out, "inode_size", img->inode_size);
	dafs_cli_json_u64(out, "blocks_per_group", sb->s_blocks_per_group);
	dafs_cli_json_u64(out, "inodes_per_group", sb->s_inodes_per_group);
	dafs_cli_json_u64(out, "directories", used_dirs(img));
	dafs_cli_json_u64(out, "mkfs_time", sb->s_mkfs_time);
	dafs_cli_json_u64(out, "write_time", sb->s_wtime);
	dafs_cli_json_u64(out, "mount_time", sb->s_mtime);
	dafs_cli_json_u64(out, "state", sb->s_state);
}

static void json_groups(struct dafs_image *img, struct json_object *out)
{
	struct json_object *list = dafs_cli_json_array(out, "groups");
	ext2_filsys fs = img->fs;

	for (uint32_t grp = 0; grp < dafs_group_count(img); grp++) {
		struct json_object *one = dafsdebug_json_element(list);

		dafs_cli_json_u64(one, "group", grp);
		dafs_cli_json_u64(one, "block_bitmap", ext2fs_block_bitmap_loc(fs, grp));
		dafs_cli_json_u64(one, "inode_bitmap", ext2fs_inode_bitmap_loc(fs, grp));
		dafs_cli_json_u64(one, "inode_table", ext2fs_inode_table_loc(fs, grp));
		dafs_cli_json_u64(one, "free_clusters", ext2fs_bg_free_blocks_count(fs, grp));
		dafs_cli_json_u64(one, "free_inodes", ext2fs_bg_free_inodes_count(fs, grp));
		dafs_cli_json_u64(one, "used_directories", ext2fs_bg_used_dirs_count(fs, grp));
		dafs_cli_json_u64(one, "unused_inodes", ext2fs_bg_itable_unused(fs, grp));
		dafs_cli_json_u64(one, "flags", ext2fs_bg_flags(fs, grp));
	}
}

errcode_t dafsdebug_stats(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out = dafsdebug_json(dd);
	bool only_super = dafs_cli_value(args, 'h');

	if (out) {
		json_super(dd->img, out);
		if (!only_super)
			json_groups(dd->img, out);
		dafsdebug_json_put(out);
		return 0;
	}
	list_super2(dd->img->fs->super, stdout);
	printf("Directories:              %u\n", used_dirs(dd->img));
	for (uint32_t grp = 0; !only_super && grp < dafs_group_count(dd->img); grp++)
		print_group(dd->img, grp);
	return 0;
}

/* ---- freefrag ---- */

struct freefrag {
	struct dafs_image *img;
	uint64_t chunk_blks; /* 0: not asked for */
	uint64_t free_blks, runs, min, max, free_chunks;
	uint64_t bucket_runs[64], bucket_blks[64];
};

static errcode_t freefrag_run(void *arg, uint64_t pblk, uint64_t len)
{
	struct freefrag *ff = arg;
	unsigned bucket = 63u - (unsigned)__builtin_clzll(len);

	ff->free_blks += len;
	ff->runs++;
	if (!ff->min || len < ff->min)
		ff->min = len;
	if (len > ff->max)
		ff->max = len;
	ff->bucket_runs[bucket]++;
	ff->bucket_blks[bucket] += len;
	if (ff->chunk_blks) {
		uint64_t first = (pblk + ff->chunk_blks - 1) / ff->chunk_blks;
		uint64_t end = (pblk + len) / ff->chunk_blks;

		ff->free_chunks += end > first ? end - first : 0;
	}
	return 0;
}

/* One more than fit, also where the image ends with a whole one: e2freefrag's figure. */
static uint64_t total_chunks(const struct freefrag *ff)
{
	return ff->img->blocks / ff->chunk_blks + 1;
}

static void print_histogram(const struct freefrag *ff)
{
	static const char units[] = "BKMGTPE";

	puts("\nHISTOGRAM OF FREE EXTENT SIZES:");
	printf("%s :  %12s  %12s  %7s\n", "Extent Size Range", "Free extents", "Free Blocks",
	       "Percent");
	for (unsigned i = 0; i < 64 - ff->img->block_bits; i++) {
		uint64_t start = (uint64_t)ff->img->block_size << i;
		unsigned unit = 0;

		if (!ff->bucket_runs[i])
			continue;
		for (; start >= 1024; start >>= 10)
			unit++;
		printf("%5" PRIu64 "%c...%5" PRIu64 "%c-  :  %12" PRIu64 "  %12" PRIu64
		       "  %6.2f%%\n",
		       start, units[unit], start * 2, units[unit], ff->bucket_runs[i],
		       ff->bucket_blks[i],
		       (double)ff->bucket_blks[i] * 100.0 / (double)ff->free_blks);
	}
}

static void print_freefrag(const struct freefrag *ff)
{
	const struct dafs_image *img = ff->img;
	uint64_t kib = img->block_size / 1024;

	printf("Device: %s\n", img->dev->address);
	printf("Blocksize: %u bytes\n", img->block_size);
	printf("Total blocks: %" PRIu64 "\nFree blocks: %" PRIu64 " (%0.1f%%)\n", img->blocks,
	       ff->free_blks, (double)ff->free_blks * 100.0 / (double)img->blocks);
	if (ff->chunk_blks)
		printf("\nChunksize: %" PRIu64 " bytes (%" PRIu64 " blocks)\nTotal chunks: %" PRIu64
		       "\nFree chunks: %" PRIu64 " (%0.1f%%)\n",
		       ff->chunk_blks * img->block_size, ff->chunk_blks, total_chunks(ff),
		       ff->free_chunks,
		       (double)ff->free_chunks * 100.0 / (double)total_chunks(ff));
	printf("\nMin. free extent: %" PRIu64 " KB \nMax. free extent: %" PRIu64
	       " KB\nAvg. free extent: %" PRIu64 " KB\nNum. free extent: %" PRIu64 "\n",
	       ff->min * kib, ff->max * kib, ff->runs ? ff->free_blks / ff->runs * kib : 0,
	       ff->runs);
	print_histogram(ff);
}

static void json_freefrag(const struct freefrag *ff, struct json_object *out)
{
	struct json_object *list;

	dafs_cli_json_u64(out, "block_size", ff->img->block_size);
	dafs_cli_json_u64(out, "blocks", ff->img->blocks);
	dafs_cli_json_u64(out, "free_blocks", ff->free_blks);
	dafs_cli_json_u64(out, "free_runs", ff->runs);
	dafs_cli_json_u64(out, "shortest_run", ff->min);
	dafs_cli_json_u64(out, "longest_run", ff->max);
	if (ff->chunk_blks) {
		dafs_cli_json_u64(out, "chunk_blocks", ff->chunk_blks);
		dafs_cli_json_u64(out, "chunks", total_chunks(ff));
		dafs_cli_json_u64(out, "free_chunks", ff->free_chunks);
	}
	list = dafs_cli_json_array(out, "histogram");
	for (unsigned i = 0; i < 64; i++) {
		struct json_object *one;

		if (!ff->bucket_runs[i])
			continue;
		one = dafsdebug_json_element(list);
		dafs_cli_json_u64(one, "from_blocks", UINT64_C(1) << i);
		dafs_cli_json_u64(one, "runs", ff->bucket_runs[i]);
		dafs_cli_json_u64(one, "blocks", ff->bucket_blks[i]);
	}
}

errcode_t dafsdebug_freefrag(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	const char *chunk = dafs_cli_value(args, 'c');
	struct freefrag ff = { .img = dd->img };
	struct json_object *out;
	uint64_t kib = 0;
	errcode_t err = 0;

	if (chunk) {
		err = dafsdebug_number(dd, chunk, 1, UINT32_MAX, &kib);
		ff.chunk_blks = kib * 1024 / dd->img->block_size;
		if (!err && (kib & (kib - 1) || !ff.chunk_blks))
			err = dafs_fail(&dd->cli.ctx, DAFS_ET_RANGE,
					"-c %s: a power of two, a block at least", chunk);
	}
	if (!err)
		err = dafsdebug_note(dd,
				     dafs_inspect_free_runs(dd->img, true, freefrag_run, &ff));
	if (err)
		return err;
	out = dafsdebug_json(dd);
	if (out)
		json_freefrag(&ff, out);
	else
		print_freefrag(&ff);
	dafsdebug_json_put(out);
	return 0;
}

/* ---- buddy ---- */

static void print_buddy(uint32_t grp, const struct dafs_group_free *gf)
{
	printf("#%-5u: %-5u %-5u %-5u [", grp, gf->free, gf->fragments, gf->first);
	for (unsigned i = 0; i < MB_GROUPS_ORDERS; i++)
		printf(" %-5u", gf->orders[i]);
	puts(" ]");
}

static void json_buddy(struct json_object *one, uint32_t grp, const struct dafs_group_free *gf)
{
	struct json_object *list;

	dafs_cli_json_u64(one, "group", grp);
	dafs_cli_json_u64(one, "clusters", gf->clusters);
	dafs_cli_json_u64(one, "free", gf->free);
	dafs_cli_json_u64(one, "fragments", gf->fragments);
	dafs_cli_json_u64(one, "largest", gf->largest);
	list = dafs_cli_json_array(one, "orders");
	for (unsigned i = 0; i < gf->norders; i++)
		json_object_array_add(list, json_object_new_int64(gf->orders[i]));
}

static errcode_t buddy_group(struct dafsdebug *dd, uint32_t grp, struct json_object *list)
{
	struct dafs_group_free gf;
	errcode_t err = dafs_inspect_group_free(dd->img, grp, &gf);

	if (err)
		return dafsdebug_note(dd, err);
	if (list)
		json_buddy(dafsdebug_json_element(list), grp, &gf);
	else
		print_buddy(grp, &gf);
	return dafs_cancelled(&dd->cli.ctx);
}

errcode_t dafsdebug_buddy(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *list = dd->cli.json ? json_object_new_array() : NULL;
	uint32_t groups = dafs_group_count(dd->img);
	uint64_t grp;
	errcode_t err = 0;

	if (!list) {
		printf("#group: free  frags first [");
		for (unsigned i = 0; i < MB_GROUPS_ORDERS; i++)
			printf(" 2^%-3u", i);
		puts(" ]");
	}
	for (int i = 0; i < args->argc && !err; i++) {
		err = dafsdebug_number(dd, args->argv[i], 0, groups - 1, &grp);
		if (!err)
			err = buddy_group(dd, (uint32_t)grp, list);
	}
	for (uint32_t i = 0; !args->argc && i < groups && !err; i++)
		err = buddy_group(dd, i, list);
	dafsdebug_json_put(list);
	return err;
}

/* ---- testb ---- */

static errcode_t test_block(struct dafsdebug *dd, uint64_t pblk, bool *used)
{
	uint32_t grp = dafs_group_of_pblk(dd->img, pblk);
	const uint8_t *bits;
	uint64_t bit;
	errcode_t err = dafs_group_block_bits(dd->img, grp, &bits);

	if (err)
		return err;
	bit = (pblk - dafs_group_first_pblk(dd->img, grp)) >> dd->img->cluster_bits;
	*used = bits[bit / 8] & (1u << (bit % 8));
	return 0;
}

errcode_t dafsdebug_testb(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct dafs_image *img = dd->img;
	struct json_object *list;
	uint64_t pblk, count = 1;
	bool used;
	errcode_t err = dafsdebug_number(dd, args->argv[0], img->first_data_block, img->blocks - 1,
					 &pblk);

	if (!err && args->argc > 1)
		err = dafsdebug_number(dd, args->argv[1], 1, img->blocks - pblk, &count);
	if (err)
		return err;
	list = dd->cli.json ? json_object_new_array() : NULL;
	for (; count && !err; pblk++, count--) {
		err = test_block(dd, pblk, &used);
		if (!err && list) {
			struct json_object *one = dafsdebug_json_element(list);

			dafs_cli_json_u64(one, "block", pblk);
			dafs_cli_json_bool(one, "in_use", used);
		} else if (!err) {
			printf("Block %" PRIu64 " %s\n", pblk,
			       used ? "marked in use" : "not in use");
		}
	}
	dafsdebug_json_put(list);
	return err;
}
