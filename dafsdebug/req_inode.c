/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_inode - stat, ea_list, imap, testi: one inode as it lies in the image. */
#include "config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dafsdebug/dafsdebug.h"
#include "dafsdebug/mapping.h"

#define VALUE_SHOWN 40 /* longer values of attributes are only counted */

/* Is a field of the extra part of raw there? */
#define HAS(img, raw, field)                                                                       \
	((img)->inode_size > EXT2_GOOD_OLD_INODE_SIZE &&                                           \
	 EXT2_GOOD_OLD_INODE_SIZE + (size_t)(raw)->i_extra_isize >=                                \
		 offsetof(struct ext2_inode_large, field) + sizeof((raw)->field))

static const char *type_text(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "regular";
	case S_IFDIR:
		return "directory";
	case S_IFCHR:
		return "character special";
	case S_IFBLK:
		return "block special";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "FIFO";
	case S_IFSOCK:
		return "socket";
	default:
		return "bad type";
	}
}

/* asctime's form in the host's zone, as debugfs has it. */
static const char *time_text(const struct dafs_time *t, char text[64])
{
	time_t sec = (time_t)dafs_time_sec(*t);
	struct tm tm;

	if (!localtime_r(&sec, &tm) || !strftime(text, 64, "%a %b %e %H:%M:%S %Y", &tm))
		snprintf(text, 64, "%" PRId64, dafs_time_sec(*t));
	return text;
}

static uint64_t file_acl(const struct ext2_inode_large *raw)
{
	return raw->i_file_acl | (uint64_t)raw->osd2.linux2.l_i_file_acl_high << 32;
}

static uint32_t stored_csum(const struct dafs_image *img, const struct ext2_inode_large *raw)
{
	uint32_t csum = raw->osd2.linux2.l_i_checksum_lo;

	if (HAS(img, raw, i_checksum_hi))
		csum |= (uint32_t)raw->i_checksum_hi << 16;
	return csum;
}

/* ---- text ---- */

static void print_time(const char *name, uint32_t sec, const uint32_t *extra,
		       const struct dafs_time *t)
{
	char text[64];

	if (extra)
		printf("%6s: 0x%08x:%08x -- %s\n", name, sec, *extra, time_text(t, text));
	else
		printf("%s: 0x%08x -- %s\n", name, sec, time_text(t, text));
}

static void print_times(const struct dafs_image *img, const struct dafs_inspect *in)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	const struct dafs_time dtime = dafs_time_at(raw->i_dtime, 0);
	bool extra = HAS(img, raw, i_crtime);
	char text[64];

	print_time("ctime", raw->i_ctime, extra ? &raw->i_ctime_extra : NULL, &in->attr.ctime);
	print_time("atime", raw->i_atime, extra ? &raw->i_atime_extra : NULL, &in->attr.atime);
	print_time("mtime", raw->i_mtime, extra ? &raw->i_mtime_extra : NULL, &in->attr.mtime);
	if (extra)
		print_time("crtime", raw->i_crtime, &raw->i_crtime_extra, &in->attr.crtime);
	if (raw->i_dtime && extra)
		printf(" dtime: 0x%08x:(%08x) -- %s\n", raw->i_dtime, raw->i_ctime_extra,
		       time_text(&dtime, text));
	else if (raw->i_dtime)
		printf("dtime: 0x%08x -- %s\n", raw->i_dtime, time_text(&dtime, text));
}

static void print_head(const struct dafs_image *img, const struct dafs_inspect *in)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	const struct dafs_inode *attr = &in->attr;

	printf("Inode: %u   Type: %s    Mode:  0%03o   Flags: 0x%x\n", in->ino,
	       type_text(attr->mode), attr->mode & 07777u, attr->iflags);
	printf("Generation: %u    Version: 0x", raw->i_generation);
	if (HAS(img, raw, i_version_hi))
		printf("%08x:", raw->i_version_hi);
	printf("%08x\n", raw->osd1.linux1.l_i_version);
	printf("User: %5u   Group: %5u   ", attr->uid, attr->gid);
	if (HAS(img, raw, i_projid))
		printf("Project: %5u   ", attr->projid);
	printf("Size: %" PRIu64 "\n", attr->size);
	printf("File ACL: %" PRIu64 "\n", file_acl(raw));
	printf("Links: %u   Blockcount: %" PRIu64 "\n", attr->nlink,
	       dafs_icodec_blocks512(img, raw));
	printf("Fragment:  Address: 0    Number: 0    Size: 0\n");
	print_times(img, in);
	if (img->inode_size > EXT2_GOOD_OLD_INODE_SIZE)
		printf("Size of extra inode fields: %u\n", raw->i_extra_isize);
}

static bool printable(const struct dafs_xattr *attr)
{
	for (uint32_t i = 0; i < attr->value_len; i++)
		if (!isprint(dafs_xattr_value(attr)[i]))
			return false;
	return true;
}

static void print_xattr(const struct dafs_xattr *attr)
{
	const uint8_t *value = dafs_xattr_value(attr);

	printf("  %s (%u)", attr->name, attr->value_len);
	if (!attr->value_len || attr->value_len >= VALUE_SHOWN) {
		putchar('\n');
		return;
	}
	printf(" = ");
	if (!printable(attr)) {
		for (uint32_t i = 0; i < attr->value_len; i++)
			printf("%02x ", value[i]);
		putchar('\n');
		return;
	}
	putchar('"');
	for (uint32_t i = 0; i < attr->value_len; i++)
		printf("%s%c", strchr("\"\\", value[i]) ? "\\" : "", value[i]);
	puts("\"");
}

/* The spill of an inline body lies among the attributes, by a name of its own. */
static void print_xattrs(const struct dafs_xattr *set, const struct dafs_inline *body)
{
	if (set || body->body)
		puts("Extended attributes:");
	if (body->body)
		printf("  system.data (%u)\n", body->spill_len);
	for (; set; set = set->next)
		print_xattr(set);
}

/* Attributes and inline body; damage is noted. */
static errcode_t load_xattrs(struct dafsdebug *dd, const struct dafs_inspect *in,
			     struct dafs_xattr **set, struct dafs_inline *body)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	errcode_t err;

	memset(body, 0, sizeof(*body));
	err = dafsdebug_note(dd, dafs_xcodec_read(dd->img, in->ino, raw, set));
	if (!err && raw->i_flags & EXT4_INLINE_DATA_FL)
		err = dafsdebug_note(dd, dafs_inline_find(dd->img, in->ino, raw, body));
	return err;
}

static void print_device(const struct dafs_inspect *in)
{
	const struct dafs_inode *attr = &in->attr;

	if (in->buf.raw.i_block[0])
		printf("Device major/minor number: %02u:%02u (hex %02x:%02x)\n", attr->rdev_major,
		       attr->rdev_minor, attr->rdev_major, attr->rdev_minor);
	else
		printf("(New-style) Device major/minor number: %u:%u (hex %x:%x)\n",
		       attr->rdev_major, attr->rdev_minor, attr->rdev_major, attr->rdev_minor);
}

static errcode_t print_body(struct dafsdebug *dd, const struct dafs_inspect *in,
			    const struct dafs_inline *body)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	uint16_t type = raw->i_mode & S_IFMT;

	if (type == S_IFCHR || type == S_IFBLK) {
		print_device(in);
		return 0;
	}
	if (raw->i_flags & EXT4_INLINE_DATA_FL) {
		printf("Size of inline data: %u\n", DAFS_INLINE_BODY + body->spill_len);
		return 0;
	}
	if (dafs_icodec_fast_symlink(dd->img, raw)) {
		printf("Fast link dest: \"%.*s\"\n", (int)sizeof(raw->i_block),
		       (const char *)raw->i_block);
		return 0;
	}
	return dafsdebug_print_mapping(dd, in);
}

/* ---- JSON ---- */

static void json_time(struct json_object *out, const char *key, const struct dafs_time *t)
{
	struct json_object *one = dafs_cli_json_object(out, key);

	dafs_cli_json_i64(one, "seconds", dafs_time_sec(*t));
	dafs_cli_json_u64(one, "nanoseconds", t->nsec);
}

static void json_xattrs(struct json_object *out, const struct dafs_xattr *set)
{
	struct json_object *list = dafs_cli_json_array(out, "xattrs");

	for (; set; set = set->next) {
		struct json_object *one = dafsdebug_json_element(list);

		dafs_cli_json_bytes(one, "name", set->name, set->name_len);
		dafs_cli_json_u64(one, "length", set->value_len);
		dafs_cli_json_bytes(one, "value", dafs_xattr_value(set), set->value_len);
	}
}

static void json_attrs(const struct dafs_image *img, struct json_object *out,
		       const struct dafs_inspect *in)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	const struct dafs_inode *attr = &in->attr;
	char text[16];

	dafs_cli_json_u64(out, "inode", in->ino);
	dafs_cli_json_str(out, "type", type_text(attr->mode));
	snprintf(text, sizeof(text), "%06o", attr->mode);
	dafs_cli_json_str(out, "mode", text);
	snprintf(text, sizeof(text), "0x%x", attr->iflags);
	dafs_cli_json_str(out, "flags", text);
	dafs_cli_json_u64(out, "generation", attr->generation);
	dafs_cli_json_u64(out, "uid", attr->uid);
	dafs_cli_json_u64(out, "gid", attr->gid);
	dafs_cli_json_u64(out, "project", attr->projid);
	dafs_cli_json_u64(out, "size", attr->size);
	dafs_cli_json_u64(out, "links", attr->nlink);
	dafs_cli_json_u64(out, "blocks512", dafs_icodec_blocks512(img, raw));
	dafs_cli_json_u64(out, "file_acl", file_acl(raw));
	json_time(out, "atime", &attr->atime);
	json_time(out, "mtime", &attr->mtime);
	json_time(out, "ctime", &attr->ctime);
	json_time(out, "crtime", &attr->crtime);
	dafs_cli_json_u64(out, "dtime", raw->i_dtime);
	dafs_cli_json_u64(out, "extra_size",
			  img->inode_size > EXT2_GOOD_OLD_INODE_SIZE ? raw->i_extra_isize : 0);
	dafs_cli_json_bool(out, "checksum_ok", in->csum_ok);
}

static errcode_t json_body(struct dafsdebug *dd, struct json_object *out,
			   const struct dafs_inspect *in)
{
	const struct ext2_inode_large *raw = &in->buf.raw;
	char *target;
	errcode_t err;

	if (S_ISCHR(raw->i_mode) || S_ISBLK(raw->i_mode)) {
		dafs_cli_json_u64(out, "major", in->attr.rdev_major);
		dafs_cli_json_u64(out, "minor", in->attr.rdev_minor);
	}
	if (S_ISLNK(raw->i_mode)) {
		err = dafsdebug_note(dd, dafs_read_symlink(dd->img, in->ino, raw, &target));
		if (err)
			return err;
		if (target)
			dafs_cli_json_bytes(out, "target", target, strlen(target));
		free(target);
	}
	dafs_cli_json_bool(out, "inline", raw->i_flags & EXT4_INLINE_DATA_FL);
	return dafsdebug_json_mapping(dd, out, in);
}

/* ---- requests ---- */

/* The inode that a request names, with its attributes; *set is the caller's, NULL on failure. */
static errcode_t find(struct dafsdebug *dd, const struct dafs_cli_args *args,
		      struct dafs_inspect *in, struct dafs_xattr **set, struct dafs_inline *body)
{
	errcode_t err = dafsdebug_inode(dd, args->argv[0], false, in);

	*set = NULL;
	if (!err)
		err = load_xattrs(dd, in, set, body);
	if (err)
		dafs_xattr_free(set);
	return err;
}

errcode_t dafsdebug_stat(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs_xattr *set;
	struct dafs_inline body;
	struct dafs_inspect in;
	errcode_t err = find(dd, args, &in, &set, &body);

	if (err)
		return err;
	out = dafsdebug_json(dd);
	if (out) {
		json_attrs(dd->img, out, &in);
		json_xattrs(out, set);
		err = json_body(dd, out, &in);
	} else {
		print_head(dd->img, &in);
		print_xattrs(set, &body);
		if (dd->img->has_csum)
			printf("Inode checksum: 0x%08x\n", stored_csum(dd->img, &in.buf.raw));
		err = print_body(dd, &in, &body);
	}
	dafs_xattr_free(&set);
	dafsdebug_json_put(out);
	return err;
}

errcode_t dafsdebug_ea_list(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	struct dafs_xattr *set;
	struct dafs_inline body;
	struct dafs_inspect in;
	errcode_t err = find(dd, args, &in, &set, &body);

	if (err)
		return err;
	out = dafsdebug_json(dd);
	if (out)
		json_xattrs(out, set);
	else
		print_xattrs(set, &body);
	dafs_xattr_free(&set);
	dafsdebug_json_put(out);
	return 0;
}

errcode_t dafsdebug_imap(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	uint64_t pblk;
	uint32_t ino, off, grp;
	errcode_t err = dafs_inspect_resolve(dd->img, dd->cwd, args->argv[0], false, &ino);

	if (!err)
		err = dafs_icodec_locate(dd->img, ino, &pblk, &off, NULL);
	if (err)
		return err;
	grp = (ino - 1) / dd->img->fs->super->s_inodes_per_group;
	out = dafsdebug_json(dd);
	if (out) {
		dafs_cli_json_u64(out, "inode", ino);
		dafs_cli_json_u64(out, "group", grp);
		dafs_cli_json_u64(out, "block", pblk);
		dafs_cli_json_u64(out, "offset", off);
		dafsdebug_json_put(out);
	} else {
		printf("Inode %u is part of block group %u\n\tlocated at block %" PRIu64
		       ", offset 0x%04x\n",
		       ino, grp, pblk, off);
	}
	return 0;
}

errcode_t dafsdebug_testi(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	struct json_object *out;
	const uint8_t *bits;
	uint32_t ino, per_group = dd->img->fs->super->s_inodes_per_group, index;
	errcode_t err = dafs_inspect_resolve(dd->img, dd->cwd, args->argv[0], false, &ino);
	bool used;

	if (!err)
		err = dafs_group_inode_bits(dd->img, (ino - 1) / per_group, &bits);
	if (err)
		return err;
	index = (ino - 1) % per_group;
	used = bits[index / 8] & (1u << (index % 8));
	out = dafsdebug_json(dd);
	if (out) {
		dafs_cli_json_u64(out, "inode", ino);
		dafs_cli_json_bool(out, "in_use", used);
		dafsdebug_json_put(out);
	} else {
		printf("Inode %u is %s\n", ino, used ? "marked in use" : "not in use");
	}
	return 0;
}
