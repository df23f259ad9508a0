/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * imgtree - the names and files of one sound image, read with libext2fs (imgtree.c): what
 * savedfiles compares. Everything is kept until the program ends; what cannot be read ends it.
 */
#ifndef DAFS_TESTS_IMGTREE_H
#define DAFS_TESTS_IMGTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ext2fs/ext2fs.h>
#include <uthash.h>

/* A run of written blocks. */
struct run {
	uint64_t lblk, pblk, len;
};

/* An inode that has a name. */
struct file {
	uint32_t ino;
	struct ext2_inode_large raw;
	struct run *runs;
	size_t nruns, room;
	uint8_t *inline_data;
	uint64_t sum; /* of content and size, when summed */
	bool summed;
	UT_hash_handle hh;
};

struct name {
	char *path;
	struct file *file;
	bool lost; /* below lost+found */
	UT_hash_handle hh;
};

struct side {
	const char *image;
	ext2_filsys fs;
	int fd;
	uint32_t block_size;
	struct file *files;
	struct name *names;
};

/* Not NULL, or the program ends. */
void *must(void *memory);
static inline uint64_t size_of(const struct file *f)
{
	return EXT2_I_SIZE(&f->raw);
}
static inline bool has_content(const struct file *f)
{
	return LINUX_S_ISREG(f->raw.i_mode);
}
/* All names and files of an image, contents as runs of blocks. */
void imgtree_load(struct side *side, const char *image);
/* All that was loaded; nothing where nothing was. */
void imgtree_free(struct side *side);
/* NULL: not there, or the image was not loaded. */
struct name *imgtree_name(struct side *side, const char *path);
struct file *imgtree_file(struct side *side, uint32_t ino);
/* The bytes of one logical block; false: all zeros, and buf is. What is behind the size is
 * zeros. */
bool imgtree_read(struct side *side, const struct file *f, uint64_t lblk, uint8_t *buf);
/* The first mapped block at or after lblk that lies before the end; UINT64_MAX: none. */
uint64_t imgtree_next(const struct side *side, const struct file *f, uint64_t lblk);
/* A symbolic link's target, ended by zeros; buf is a block and a byte. */
void imgtree_target(struct side *side, const struct file *f, uint8_t *buf);

#endif
