/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * req_frag - frag: where files lie, byte for byte as `filefrag -v` of e2fsprogs 1.47 prints it
 * under a kernel mount; and the layout of the whole image in figures.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"
#include "job/inspect_frag.h"

#define LOGICAL_WIDTH_MIN  8
#define PHYSICAL_WIDTH_MIN 10

/* Decimal digits less one: what filefrag takes for a column's width. */
static int log10_of(uint64_t number)
{
	int n = 0;

	while (number /= 10)
		n++;
	return n;
}

static uint64_t size_blks(const struct dafs_image *img, const struct dafs_inspect *in)
{
	return (in->attr.size + img->block_size - 1) >> img->block_bits;
}

/* ---- one file, as text ---- */

struct columns {
	const struct dafs_image *img;
	uint64_t size_bytes;
	int logical, physical;
};

/* The words of one piece. A blank stands before the first one, but "eof" comes with its comma,
 * alone too. */
static void put_flags(const struct columns *c, const struct dafs_piece *piece, bool last)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = {
		{ FIEMAP_EXTENT_LAST, "last" },
		{ FIEMAP_EXTENT_NOT_ALIGNED, "not_aligned" },
		{ FIEMAP_EXTENT_DATA_INLINE, "inline" },
		{ FIEMAP_EXTENT_UNWRITTEN, "unwritten" },
		{ FIEMAP_EXTENT_MERGED, "merged" },
	};
	uint32_t flags = piece->flags | (last ? FIEMAP_EXTENT_LAST : 0);
	const char *sep = " ";

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!(flags & words[i].flag))
			continue;
		printf("%s%s", sep, words[i].word);
		sep = ",";
	}
	if (piece->logical_bytes + piece->len_bytes >= c->size_bytes)
		printf(",eof");
}

static void put_piece(const struct columns *c, const struct dafs_pieces *pieces, size_t i)
{
	const struct dafs_piece *piece = &pieces->v[i];
	unsigned bits = piece->flags & FIEMAP_EXTENT_DATA_INLINE ? 0 : c->img->block_bits;
	uint64_t logical = piece->logical_bytes >> bits, physical = piece->physical_bytes >> bits;
	uint64_t len = piece->len_bytes >> bits, expected;
	char text[24] = "";

	if (!dafs_inspect_follows(pieces, i, &expected))
		snprintf(text, sizeof(text), "%" PRIu64 ":", expected >> c->img->block_bits);
	printf("%4zu: %*" PRIu64 "..%*" PRIu64 ": %*" PRIu64 "..%*" PRIu64 ": %6" PRIu64 ": %*s", i,
	       c->logical, logical, c->logical, len ? logical + len - 1 : logical, c->physical,
	       physical, c->physical, len ? physical + len - 1 : physical, len, c->physical + 1,
	       text);
	put_flags(c, piece, i + 1 == pieces->n);
	putchar('\n');
}

static void put_file(struct dafsdebug *dd, const char *path, const struct dafs_inspect *in,
		     const struct dafs_pieces *pieces, bool first)
{
	struct dafs_image *img = dd->img;
	uint64_t blks = size_blks(img, in), statfs_blks = dafs_inspect_statfs_blks(img);
	uint64_t fragments = dafs_inspect_fragments(pieces);
	uint64_t bits = img->block_size * UINT64_C(8); /* of a bitmap block */
	struct columns c = { .img = img, .size_bytes = in->attr.size };

	c.logical = log10_of(blks) > LOGICAL_WIDTH_MIN ? log10_of(blks) : LOGICAL_WIDTH_MIN;
	c.physical = log10_of(statfs_blks);
	if (c.physical < PHYSICAL_WIDTH_MIN)
		c.physical = PHYSICAL_WIDTH_MIN;
	if (first)
		puts("Filesystem type is: ef53");
	if (!(in->attr.iflags & EXT4_EXTENTS_FL))
		printf("Filesystem cylinder groups approximately %" PRIu64 "\n",
		       (statfs_blks + bits - 1) / bits);
	printf("File size of %s is %" PRIu64 " (%" PRIu64 " block%s of %u bytes)\n", path,
	       in->attr.size, blks, blks == 1 ? "" : "s", img->block_size);
	if (pieces->n)
		printf(" ext: %*s %*s length: %*s flags:\n", c.logical * 2 + 3, "logical_offset:",
		       c.physical * 2 + 3, "physical_offset:", c.physical + 1, "expected:");
	for (size_t i = 0; i < pieces->n; i++)
		put_piece(&c, pieces, i);
	printf("%s: %" PRIu64 " extent%s found\n", path, fragments, fragments == 1 ? "" : "s");
}

/* ---- one file, as JSON ---- */

static void json_piece(struct dafs_image *img, struct json_object *list,
		       const struct dafs_pieces *pieces, size_t i)
{
	const struct dafs_piece *piece = &pieces->v[i];
	struct json_object *one = dafsdebug_json_element(list);
	bool in_inode = piece->flags & FIEMAP_EXTENT_DATA_INLINE;
	unsigned bits = img->block_bits;
	uint64_t expected;

	if (in_inode) {
		dafs_cli_json_u64(one, "physical_bytes", piece->physical_bytes);
		dafs_cli_json_u64(one, "length_bytes", piece->len_bytes);
		dafs_cli_json_bool(one, "inline", true);
		return;
	}
	dafs_cli_json_u64(one, "logical", piece->logical_bytes >> bits);
	dafs_cli_json_u64(one, "physical", piece->physical_bytes >> bits);
	dafs_cli_json_u64(one, "length", piece->len_bytes >> bits);
	dafs_cli_json_bool(one, "unwritten", piece->flags & FIEMAP_EXTENT_UNWRITTEN);
	if (!dafs_inspect_follows(pieces, i, &expected))
		dafs_cli_json_u64(one, "expected", expected >> bits);
}

static void json_file(struct dafsdebug *dd, const char *path, const struct dafs_inspect *in,
		      const struct dafs_pieces *pieces, struct json_object *files)
{
	struct json_object *one = dafsdebug_json_element(files), *list;

	dafs_cli_json_bytes(one, "path", path, strlen(path));
	dafs_cli_json_u64(one, "inode", in->ino);
	dafs_cli_json_u64(one, "size", in->attr.size);
	dafs_cli_json_u64(one, "block_size", dd->img->block_size);
	dafs_cli_json_u64(one, "fragments", dafs_inspect_fragments(pieces));
	list = dafs_cli_json_array(one, "extents");
	for (size_t i = 0; i < pieces->n; i++)
		json_piece(dd->img, list, pieces, i);
}

static errcode_t frag_file(struct dafsdebug *dd, const char *path, bool merged, bool first,
			   struct json_object *files)
{
	struct dafs_pieces pieces = { 0 };
	struct dafs_inspect in;
	errcode_t err = dafsdebug_inode(dd, path, true, &in);

	if (!err && !S_ISREG(in.attr.mode) && !S_ISDIR(in.attr.mode) && !S_ISLNK(in.attr.mode))
		err = dafs_fail(&dd->cli.ctx, EOPNOTSUPP, "%s", path);
	if (!err)
		err = dafsdebug_note(dd, dafs_inspect_pieces(dd->img, &in, merged, &pieces));
	if (!err && files)
		json_file(dd, path, &in, &pieces, files);
	else if (!err)
		put_file(dd, path, &in, &pieces, first);
	dafs_pieces_fini(&pieces);
	return err;
}

/* ---- the whole image ---- */

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void put_summary(const struct dafs_image *img, const struct dafs_frag_summary *sum,
			const char *worst)
{
	printf("Blocks:        %" PRIu64 " of %u bytes in %u groups\n", img->blocks,
	       img->block_size, dafs_group_count(img));
	printf("Files:         %" PRIu64 " with data: %" PRIu64 " blocks in %" PRIu64
	       " extents, %.2f a file\n",
	       sum->files, sum->blks, sum->extents,
	       sum->files ? (double)sum->extents / (double)sum->files : 0.0);
	printf("In one piece:  %" PRIu64 " (%.2f%%)", sum->files - sum->fragmented,
	       percent(sum->files - sum->fragmented, sum->files));
	if (worst)
		printf("; worst: %" PRIu64 " pieces, inode %u, %s", sum->worst_fragments,
		       sum->worst_ino, worst);
	printf("\nDirectories:   %" PRIu64 " with blocks: %" PRIu64 " blocks in %" PRIu64
	       " pieces\n",
	       sum->dirs, sum->dir_blks, sum->dir_fragments);
	printf("Tree blocks:   %" PRIu64 "\n", sum->tree_blks);
	printf("Side by side:  %" PRIu64 " of %" PRIu64
	       " neighbours in a directory (%.2f%%)\n",
	       sum->adjacent, sum->pairs, percent(sum->adjacent, sum->pairs));
	printf("Free:          %" PRIu64 " blocks (%.2f%%) in %" PRIu64
	       " runs, the largest %" PRIu64 "\n",
	       sum->free_blks, percent(sum->free_blks, img->blocks), sum->free_runs,
	       sum->largest_free_blks);
	if (sum->damaged)
		printf("Damaged:       %" PRIu64 " inodes, not counted above\n", sum->damaged);
}

static void json_summary(struct dafsdebug *dd, const struct dafs_frag_summary *sum,
			 const char *worst)
{
	struct json_object *out = dafsdebug_json(dd);

	dafs_cli_json_u64(out, "blocks", dd->img->blocks);
	dafs_cli_json_u64(out, "block_size", dd->img->block_size);
	dafs_cli_json_u64(out, "groups", dafs_group_count(dd->img));
	dafs_cli_json_u64(out, "files", sum->files);
	dafs_cli_json_u64(out, "file_blocks", sum->blks);
	dafs_cli_json_u64(out, "extents", sum->extents);
	dafs_cli_json_u64(out, "fragments", sum->fragments);
	dafs_cli_json_u64(out, "fragmented_files", sum->fragmented);
	dafs_cli_json_u64(out, "directories", sum->dirs);
	dafs_cli_json_u64(out, "directory_blocks", sum->dir_blks);
	dafs_cli_json_u64(out, "directory_fragments", sum->dir_fragments);
	dafs_cli_json_u64(out, "tree_blocks", sum->tree_blks);
	dafs_cli_json_u64(out, "neighbours", sum->pairs);
	dafs_cli_json_u64(out, "adjacent", sum->adjacent);
	dafs_cli_json_u64(out, "free_blocks", sum->free_blks);
	dafs_cli_json_u64(out, "free_runs", sum->free_runs);
	dafs_cli_json_u64(out, "largest_free_run", sum->largest_free_blks);
	dafs_cli_json_u64(out, "damaged_inodes", sum->damaged);
	if (worst) {
		struct json_object *one = dafs_cli_json_object(out, "worst");

		dafs_cli_json_bytes(one, "path", worst, strlen(worst));
		dafs_cli_json_u64(one, "inode", sum->worst_ino);
		dafs_cli_json_u64(one, "fragments", sum->worst_fragments);
	}
	dafsdebug_json_put(out);
}

static bool is_worst(void *arg, uint32_t ino)
{
	return ((const struct dafs_frag_summary *)arg)->worst_ino == ino;
}

/* A path of the most fragmented file; NULL when there is none. malloc'ed. */
static errcode_t worst_path(struct dafsdebug *dd, struct dafs_frag_summary *sum, char **path)
{
	struct dafs_inspect_names names = { 0 };
	char *dir = NULL;
	errcode_t err = 0;

	*path = NULL;
	if (!sum->worst_ino)
		return 0;
	err = dafs_inspect_names_find(dd->img, false, is_worst, sum, &names);
	err = dafsdebug_note(dd, err);
	if (!err && names.n)
		err = dafs_inspect_dir_path(dd->img, names.v[0].dir, &dir);
	if (!err && asprintf(path, "%s/%s", dir ? dir : "?", names.n ? names.v[0].name : "?") < 0)
		err = ENOMEM;
	free(dir);
	dafs_inspect_names_fini(&names);
	return err;
}

static errcode_t frag_image(struct dafsdebug *dd)
{
	struct dafs_frag_summary sum;
	char *worst = NULL;
	errcode_t err;

	if (dd->how.catastrophic)
		return dafs_fail(&dd->cli.ctx, DAFS_ET_SEQUENCE, "bitmaps are not read with -c");
	err = dafsdebug_note(dd, dafs_inspect_summary(dd->img, &sum));
	if (!err)
		err = worst_path(dd, &sum, &worst);
	if (err)
		return err;
	if (dd->cli.json)
		json_summary(dd, &sum, worst);
	else
		put_summary(dd->img, &sum, worst);
	free(worst);
	return 0;
}

errcode_t dafsdebug_frag(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *files;
	errcode_t err = 0;

	if (!args->argc)
		return frag_image(dd);
	files = dd->cli.json ? json_object_new_array() : NULL;
	for (int i = 0; i < args->argc && !err; i++)
		err = frag_file(dd, args->argv[i], dafs_cli_value(args, 'm'), !i, files);
	dafsdebug_json_put(files);
	return err;
}
