/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quotafile - the entries of an image's quota files, read and set through libext2fs: for quotalimit
 * and for unit tests. A file is written within the blocks it has or gets from libext2fs; errors end
 * the process.
 */
#ifndef TESTS_LIB_QUOTAFILE_H
#define TESTS_LIB_QUOTAFILE_H

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "image/qcodec.h"

static inline void quotafile_ok(errcode_t code, const char *what)
{
	if (code)
		errx(1, "%s: %s", what, error_message(code));
}

struct quota_file {
	ext2_filsys fs;
	ext2_ino_t ino;
	enum dafs_quota_type type;
	struct dafs_quota_entry *v;
	size_t n;
	struct dafs_quota_grace grace;
};

static inline bool quotafile_load(ext2_filsys fs, enum dafs_quota_type type, struct quota_file *qf)
{
	const ext2_ino_t inos[DAFS_QUOTA_TYPES] = { fs->super->s_usr_quota_inum,
						    fs->super->s_grp_quota_inum,
						    fs->super->s_prj_quota_inum };
	struct ext2_inode inode;
	ext2_file_t file;
	unsigned got;
	uint8_t *bytes;

	*qf = (struct quota_file){ .fs = fs, .type = type, .ino = inos[type] };
	if (!qf->ino)
		return false;
	quotafile_ok(ext2fs_read_inode(fs, qf->ino, &inode), "inode");
	bytes = malloc(EXT2_I_SIZE(&inode) + 1);
	if (!bytes)
		err(1, NULL);
	quotafile_ok(ext2fs_file_open(fs, qf->ino, 0, &file), "open");
	quotafile_ok(ext2fs_file_read(file, bytes, (unsigned)EXT2_I_SIZE(&inode), &got), "read");
	ext2fs_file_close(file);
	quotafile_ok(dafs_qcodec_decode(NULL, type, bytes, got, &qf->v, &qf->n, &qf->grace),
		     "decode");
	free(bytes);
	return true;
}

static inline void quotafile_save(struct quota_file *qf)
{
	ext2_file_t file;
	uint8_t *bytes;
	unsigned put;
	size_t len;

	quotafile_ok(dafs_qcodec_encode(NULL, qf->type, qf->v, qf->n, &bytes, &len), "encode");
	dafs_qcodec_put_grace(bytes, &qf->grace);
	quotafile_ok(ext2fs_file_open(qf->fs, qf->ino, EXT2_FILE_WRITE, &file), "open");
	quotafile_ok(ext2fs_file_write(file, bytes, (unsigned)len, &put), "write");
	quotafile_ok(ext2fs_file_set_size2(file, len), "size");
	quotafile_ok(ext2fs_file_close(file), "close");
	free(bytes);
}

/* The limits of e (and when grace times end) into the entry of e->id, made where there is none. */
static inline void quotafile_set(ext2_filsys fs, enum dafs_quota_type type,
				 const struct dafs_quota_entry *e)
{
	struct quota_file qf;
	size_t at = 0;

	quotafile_ok(ext2fs_read_bitmaps(fs), "bitmaps");
	if (!quotafile_load(fs, type, &qf))
		errx(1, "no quota file of type %d", (int)type);
	while (at < qf.n && qf.v[at].id < e->id)
		at++;
	if (at == qf.n || qf.v[at].id != e->id) {
		qf.v = realloc(qf.v, (qf.n + 1) * sizeof(*qf.v));
		if (!qf.v)
			err(1, NULL);
		memmove(qf.v + at + 1, qf.v + at, (qf.n - at) * sizeof(*qf.v));
		qf.v[at] = (struct dafs_quota_entry){ .id = e->id };
		qf.n++;
	}
	qf.v[at].blk_soft = e->blk_soft;
	qf.v[at].blk_hard = e->blk_hard;
	qf.v[at].inode_soft = e->inode_soft;
	qf.v[at].inode_hard = e->inode_hard;
	qf.v[at].blk_sec = e->blk_sec;
	qf.v[at].inode_sec = e->inode_sec;
	quotafile_save(&qf);
	free(qf.v);
}

static inline ext2_filsys quotafile_open(const char *path, bool write)
{
	ext2_filsys fs;

	initialize_ext2_error_table();
	quotafile_ok(ext2fs_open(path, (write ? EXT2_FLAG_RW : 0) | EXT2_FLAG_64BITS, 0, 0,
				 unix_io_manager, &fs),
		     path);
	return fs;
}

#endif
