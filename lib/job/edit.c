/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edit - see edit.h: files and attributes. Names (mkdir, rm, mv, ln, mknod) are in editname.c.
 */
#include "config.h"

#include "job/edit.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#define FILE_MODE	(S_IFREG | 0644)

static errcode_t make_file(struct dafs *fs, const char *path, struct dafs_inode **ret)
{
	struct dafs_inode *dir;
	const char *name;
	size_t len;
	errcode_t err = dafs_ns_parent(fs->ns, path, &dir, &name, &len);

	if (err)
		return err;
	return dafs_ns_create(fs->ns, dir, name, len, FILE_MODE, ret);
}

static errcode_t find_or_make(struct dafs *fs, const char *path, bool make, struct dafs_inode **ret,
			      bool *made)
{
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_FOLLOW | DAFS_NS_INO, ret);

	if (err == ENOENT && make) {
		fs->ctx->detail[0] = '\0';
		err = make_file(fs, path, ret);
		*made = !err;
	}
	if (err)
		return dafs_session_fail(fs, err, path);
	if (S_ISREG((*ret)->mode))
		return 0;
	err = S_ISDIR((*ret)->mode) ? EISDIR : EINVAL;
	*ret = NULL;
	return dafs_fail(fs->ctx, err, "%s", path);
}

errcode_t dafs_edit_file(struct dafs *fs, const char *path, struct dafs_inode **ret)
{
	return find_or_make(fs, path, false, ret, NULL);
}

/* One change of a file's data: what the operation below needs of its arguments. */
struct data_op {
	errcode_t (*run)(struct dafs_write *w, struct dafs_inode *inode, const struct data_op *op);
	uint64_t off, len;
	const void *buf;
	int fd;
	bool keep_size;
};

static uint64_t op_offset(const struct data_op *op, const struct dafs_inode *inode)
{
	return op->off == DAFS_EDIT_APPEND ? inode->size : op->off;
}

static errcode_t run_write(struct dafs_write *w, struct dafs_inode *inode, const struct data_op *op)
{
	return dafs_delalloc_write(w, inode, op_offset(op, inode), op->buf, op->len);
}

static errcode_t run_write_fd(struct dafs_write *w, struct dafs_inode *inode,
			      const struct data_op *op)
{
	return dafs_delalloc_write_fd(w, inode, op_offset(op, inode), op->fd, -1, UINT64_MAX);
}

static errcode_t run_truncate(struct dafs_write *w, struct dafs_inode *inode,
			      const struct data_op *op)
{
	return dafs_delalloc_truncate(w, inode, op->len);
}

static errcode_t run_fallocate(struct dafs_write *w, struct dafs_inode *inode,
			       const struct data_op *op)
{
	return dafs_delalloc_fallocate(w, inode, op->off, op->len, op->keep_size);
}

static errcode_t run_punch(struct dafs_write *w, struct dafs_inode *inode, const struct data_op *op)
{
	return dafs_delalloc_punch(w, inode, op->off, op->len);
}

/* Take back a file that was made for an operation that then failed; the failure's detail stays. */
static void unmake_file(struct dafs *fs, const char *path)
{
	char detail[sizeof(fs->ctx->detail)];
	struct dafs_inode *dir;
	const char *name;
	size_t len;

	memcpy(detail, fs->ctx->detail, sizeof(detail));
	if (!dafs_ns_parent(fs->ns, path, &dir, &name, &len))
		dafs_ns_unlink(fs->ns, dir, name, len, false);
	memcpy(fs->ctx->detail, detail, sizeof(detail));
}

/* Run op on the file at path (made when make says so): dirty, with new times; nothing is left
 * behind on failure. */
static errcode_t change_data(struct dafs *fs, const char *path, bool make, const struct data_op *op)
{
	struct dafs_inode *inode;
	bool made = false;
	errcode_t err = find_or_make(fs, path, make, &inode, &made);

	if (err)
		return err;
	err = dafs_ns_touch(fs->ns, inode,
			    DAFS_I_ATTR | DAFS_I_DATA |
				    (op->off == DAFS_EDIT_APPEND ? DAFS_NS_APPENDS : 0));
	if (!err)
		err = op->run(&fs->write, inode, op);
	if (err && made)
		unmake_file(fs, path);
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_write(struct dafs *fs, const char *path, uint64_t off, const void *buf, size_t len)
{
	return change_data(
		fs, path, true,
		&(struct data_op){ .run = run_write, .off = off, .buf = buf, .len = len });
}

errcode_t dafs_edit_write_fd(struct dafs *fs, const char *path, uint64_t off, int fd)
{
	return change_data(fs, path, true,
			   &(struct data_op){ .run = run_write_fd, .off = off, .fd = fd });
}

errcode_t dafs_truncate(struct dafs *fs, const char *path, uint64_t size)
{
	return change_data(fs, path, false, &(struct data_op){ .run = run_truncate, .len = size });
}

errcode_t dafs_fallocate(struct dafs *fs, const char *path, uint64_t off, uint64_t len,
			 bool keep_size)
{
	return change_data(
		fs, path, true,
		&(struct data_op){
			.run = run_fallocate, .off = off, .len = len, .keep_size = keep_size });
}

errcode_t dafs_punch(struct dafs *fs, const char *path, uint64_t off, uint64_t len)
{
	return change_data(fs, path, false,
			   &(struct data_op){ .run = run_punch, .off = off, .len = len });
}

errcode_t dafs_read(struct dafs *fs, const char *path, uint64_t off, void *buf, size_t len,
		    size_t *got)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_edit_file(fs, path, &inode);

	*got = 0;
	if (err)
		return err;
	err = dafs_delalloc_read(&fs->write, inode, buf, len, off, got);
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_chmod(struct dafs *fs, const char *path, mode_t mode)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_FOLLOW | DAFS_NS_INO, &inode);

	if (!err)
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_ATTR);
	if (!err)
		inode->mode = (uint16_t)((inode->mode & S_IFMT) | (mode & 07777));
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_chown(struct dafs *fs, const char *path, uint32_t uid, uint32_t gid)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_INO, &inode);

	if (!err)
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_ATTR);
	if (!err)
		err = dafs_ns_chown(fs->ns, inode, uid, gid);
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_edit_times(struct dafs *fs, const char *path, const struct dafs_time *atime,
			  const struct dafs_time *mtime, bool make)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_INO, &inode);

	if (err == ENOENT && make) {
		fs->ctx->detail[0] = '\0';
		err = make_file(fs, path, &inode);
	}
	if (!err)
		err = dafs_ns_touch(fs->ns, inode, DAFS_I_ATTR);
	if (!err && atime)
		inode->atime = *atime;
	if (!err && mtime)
		inode->mtime = *mtime;
	return dafs_session_fail(fs, err, path);
}

errcode_t dafs_utimes(struct dafs *fs, const char *path, const struct timespec times[2])
{
	struct dafs_time t[2];

	for (int i = 0; i < 2; i++)
		t[i] = dafs_time_at(times[i].tv_sec, (uint32_t)times[i].tv_nsec);
	return dafs_edit_times(fs, path, &t[0], &t[1], false);
}

errcode_t dafs_setxattr(struct dafs *fs, const char *path, const char *name, const void *value,
			size_t len)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_INO, &inode);

	if (!err && len > UINT32_MAX)
		err = dafs_fail(fs->ctx, DAFS_ET_XATTR_TOO_BIG, "%s: %s", path, name);
	if (!err)
		err = dafs_ns_setxattr(fs->ns, inode, name, value, (uint32_t)len);
	if (err == ENODATA)
		dafs_fail(fs->ctx, err, "%s: %s", path, name);
	return dafs_session_fail(fs, err, path);
}

static struct timespec to_timespec(const struct dafs_time *t)
{
	return (struct timespec){ .tv_sec = dafs_time_sec(*t), .tv_nsec = t->nsec };
}

errcode_t dafs_stat(struct dafs *fs, const char *path, struct stat *st)
{
	struct dafs_inode *inode;
	errcode_t err = dafs_ns_lookup(fs->ns, path, DAFS_NS_INO, &inode);

	memset(st, 0, sizeof(*st));
	if (err)
		return dafs_session_fail(fs, err, path);
	st->st_ino = inode->id;
	st->st_mode = inode->mode;
	st->st_nlink = inode->nlink;
	st->st_uid = inode->uid;
	st->st_gid = inode->gid;
	st->st_size = (off_t)inode->size;
	st->st_blksize = fs->img->block_size;
	if (dafs_inode_is_dev(inode))
		st->st_rdev = makedev(inode->rdev_major, inode->rdev_minor);
	st->st_atim = to_timespec(&inode->atime);
	st->st_mtim = to_timespec(&inode->mtime);
	st->st_ctim = to_timespec(&inode->ctime);
	return 0;
}
