/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_ext - the lists of -E and -J: one table row a name.
 *
 * The lists of mke2fs.conf ("options") and of the command line are parsed as one, so a later
 * item wins over an earlier one. What depends on other items (resize=, encoding_flags=) is kept
 * as text and applied when the list has ended.
 *
 * It fills struct mkfs_settings and fields of the superblock to be; whether they go together is
 * mkfs_geom's.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <ctype.h>
#include <e2p/e2p.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>

/* One name of a list. value is NULL without "=". */
struct item {
	const char *name;
	errcode_t (*apply)(struct mkfs *mk, const char *value);
	bool needs_value;
};

static errcode_t bad_value(struct mkfs *mk, const char *what, const char *value)
{
	return dafs_fail(mk->ctx, DAFS_ET_USAGE, "'%s' is not %s", value, what);
}

static errcode_t take_number(struct mkfs *mk, const char *value, uint64_t min, uint64_t max,
			     uint64_t *number)
{
	char *end;

	*number = 0;
	if (!isdigit((unsigned char)*value))
		return bad_value(mk, "a number", value);
	errno = 0;
	*number = strtoull(value, &end, 0);
	if (*end)
		return bad_value(mk, "a number", value);
	if (errno || *number < min || *number > max)
		return dafs_fail(mk->ctx, DAFS_ET_RANGE, "%s (%llu to %llu)", value,
				 (unsigned long long)min, (unsigned long long)max);
	return 0;
}

/* A count of blocks: plain in blocks, with a suffix in bytes. */
static errcode_t take_blocks(struct mkfs *mk, const char *value, uint64_t *blks)
{
	*blks = 0;
	if (!isdigit((unsigned char)*value) || strspn(value, "0123456789") + 1 < strlen(value))
		return bad_value(mk, "a number of blocks or a size", value);
	*blks = parse_num_blocks2(value, (int)mk->param.s_log_block_size);
	if (!*blks && strspn(value, "0") != strlen(value))
		return bad_value(mk, "a number of blocks or a size", value);
	return 0;
}

static errcode_t take_flag(struct mkfs *mk, const char *value, bool *flag)
{
	uint64_t number = 1;
	errcode_t err = value ? take_number(mk, value, 0, UINT32_MAX, &number) : 0;

	*flag = number != 0;
	return err;
}

static errcode_t ext_desc_size(struct mkfs *mk, const char *value)
{
	uint64_t size;
	errcode_t err =
		take_number(mk, value, EXT2_MIN_DESC_SIZE_64BIT, EXT2_MIN_BLOCK_SIZE, &size);

	if (!err && !ext2fs_has_feature_64bit(&mk->param))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "needs the feature 64bit");
	if (!err && (size & (size - 1)))
		return bad_value(mk, "a power of two", value);
	mk->param.s_desc_size = (uint16_t)size;
	return err;
}

static errcode_t ext_hash_seed(struct mkfs *mk, const char *value)
{
	if (uuid_parse(value, (unsigned char *)mk->param.s_hash_seed))
		return bad_value(mk, "a UUID", value);
	return 0;
}

/* Seen before the device was opened (mkfs_parse_offset); one that comes out of mke2fs.conf is
 * too late for that. */
static errcode_t ext_offset(struct mkfs *mk, const char *value)
{
	(void)value;
	if (!mk->set.has_offset)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "can be given on the command line only");
	return 0;
}

static errcode_t ext_mmp_interval(struct mkfs *mk, const char *value)
{
	uint64_t seconds;
	errcode_t err = take_number(mk, value, 0, EXT4_MMP_MAX_UPDATE_INTERVAL, &seconds);

	mk->param.s_mmp_update_interval = (uint16_t)seconds;
	return err;
}

static errcode_t ext_backups(struct mkfs *mk, const char *value)
{
	uint64_t count;
	errcode_t err = take_number(mk, value, 0, 2, &count);

	mk->set.backups = (uint32_t)count;
	return err;
}

static errcode_t ext_packed(struct mkfs *mk, const char *value)
{
	return take_flag(mk, value, &mk->set.packed_meta);
}

static errcode_t ext_stride(struct mkfs *mk, const char *value)
{
	uint64_t blks;
	errcode_t err = take_number(mk, value, 1, UINT16_MAX, &blks);

	mk->param.s_raid_stride = (uint16_t)blks;
	return err;
}

static errcode_t ext_stripe(struct mkfs *mk, const char *value)
{
	uint64_t blks;
	errcode_t err = take_number(mk, value, 1, UINT32_MAX, &blks);

	mk->param.s_raid_stripe_width = (uint32_t)blks;
	return err;
}

static errcode_t ext_resize(struct mkfs *mk, const char *value)
{
	mk->set.resize = value;
	return 0;
}

static errcode_t ext_lazy_itable(struct mkfs *mk, const char *value)
{
	return take_flag(mk, value, &mk->set.lazy_itable);
}

static errcode_t ext_lazy_journal(struct mkfs *mk, const char *value)
{
	return take_flag(mk, value, &mk->set.lazy_journal);
}

static errcode_t ext_prezeroed(struct mkfs *mk, const char *value)
{
	return take_flag(mk, value, &mk->set.prezeroed);
}

static errcode_t ext_root_owner(struct mkfs *mk, const char *value)
{
	char *colon = value ? strchr(value, ':') : NULL;
	uint64_t uid = getuid(), gid = getgid();
	errcode_t err = 0;

	if (value && !colon)
		return bad_value(mk, "UID:GID", value);
	if (colon) {
		*colon = '\0';
		err = take_number(mk, value, 0, UINT32_MAX - 1, &uid);
		if (!err)
			err = take_number(mk, colon + 1, 0, UINT32_MAX - 1, &gid);
	}
	mk->set.has_root_owner = true;
	mk->set.root_uid = (uint32_t)uid;
	mk->set.root_gid = (uint32_t)gid;
	return err;
}

static errcode_t ext_root_perms(struct mkfs *mk, const char *value)
{
	char *end;
	unsigned long perms = strtoul(value, &end, 8);

	if (!isdigit((unsigned char)*value) || *end || perms > 07777)
		return bad_value(mk, "an octal mode", value);
	mk->set.has_root_perms = true;
	mk->set.root_perms = (uint16_t)perms;
	return 0;
}

static errcode_t ext_test_fs(struct mkfs *mk, const char *value)
{
	(void)value;
	mk->param.s_flags |= EXT2_FLAGS_TEST_FILESYS;
	return 0;
}

static errcode_t ext_discard(struct mkfs *mk, const char *value)
{
	(void)value;
	mk->set.discard = true;
	return 0;
}

static errcode_t ext_nodiscard(struct mkfs *mk, const char *value)
{
	(void)value;
	mk->set.discard = false;
	return 0;
}

static errcode_t ext_quota_types(struct mkfs *mk, const char *value)
{
	static const char *const names[] = { "usrquota", "grpquota", "prjquota" };
	size_t len;

	mk->set.quota_types = 0;
	for (;; value += len + 1) {
		unsigned i;

		len = strcspn(value, ":");
		for (i = 0; i < 3 && (strncmp(value, names[i], len) || names[i][len]); i++)
			;
		if (i == 3)
			return bad_value(mk, "a quota type (usrquota, grpquota, prjquota)", value);
		mk->set.quota_types |= 1u << i;
		if (!value[len])
			return 0;
	}
}

static errcode_t set_encoding(struct mkfs *mk, const char *name)
{
	int encoding = e2p_str2encoding(name);

	if (encoding < 0)
		return bad_value(mk, "a known encoding", name);
	mk->param.s_encoding = (uint16_t)encoding;
	mk->param.s_encoding_flags = (uint16_t)e2p_get_encoding_flags(encoding);
	return 0;
}

static errcode_t ext_encoding(struct mkfs *mk, const char *value)
{
	ext2fs_set_feature_casefold(&mk->param);
	return set_encoding(mk, value);
}

static errcode_t ext_encoding_flags(struct mkfs *mk, const char *value)
{
	mk->set.encoding_flags = value;
	return 0;
}

static errcode_t ext_orphan_file_size(struct mkfs *mk, const char *value)
{
	errcode_t err = take_blocks(mk, value, &mk->set.orphan_file_blks);

	if (!err && !mk->set.orphan_file_blks)
		return bad_value(mk, "a size", value);
	return err;
}

/* A word to whoever fills the file system. */
static errcode_t ext_no_xattrs(struct mkfs *mk, const char *value)
{
	(void)value;
	if (!mk->opts->fill)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "nothing is copied without -d");
	mk->set.no_xattrs = true;
	return 0;
}

static errcode_t ext_revision(struct mkfs *mk, const char *value)
{
	uint64_t revision;
	errcode_t err = take_number(mk, value, 0, EXT2_DYNAMIC_REV, &revision);

	mk->param.s_rev_level = (uint32_t)revision;
	return err;
}

static const struct item extended[] = {
	{ "desc_size", ext_desc_size, true },
	{ "desc-size", ext_desc_size, true },
	{ "hash_seed", ext_hash_seed, true },
	{ "offset", ext_offset, true },
	{ "mmp_update_interval", ext_mmp_interval, true },
	{ "num_backup_sb", ext_backups, true },
	{ "packed_meta_blocks", ext_packed, false },
	{ "stride", ext_stride, true },
	{ "stripe-width", ext_stripe, true },
	{ "stripe_width", ext_stripe, true },
	{ "resize", ext_resize, true },
	{ "lazy_itable_init", ext_lazy_itable, false },
	{ "lazy_journal_init", ext_lazy_journal, false },
	{ "assume_storage_prezeroed", ext_prezeroed, false },
	{ "root_owner", ext_root_owner, false },
	{ "root_perms", ext_root_perms, true },
	{ "test_fs", ext_test_fs, false },
	{ "discard", ext_discard, false },
	{ "nodiscard", ext_nodiscard, false },
	{ "quotatype", ext_quota_types, true },
	{ "encoding", ext_encoding, true },
	{ "encoding_flags", ext_encoding_flags, true },
	{ "orphan_file_size", ext_orphan_file_size, true },
	{ "no_copy_xattrs", ext_no_xattrs, false },
	{ "revision", ext_revision, true },
	{ NULL, NULL, false },
};

static errcode_t journal_size(struct mkfs *mk, const char *value)
{
	uint64_t mib;
	errcode_t err = take_number(mk, value, 1, INT32_MAX, &mib);

	mk->set.journal_size_mb = (uint32_t)mib;
	return err;
}

static errcode_t journal_fast_commit(struct mkfs *mk, const char *value)
{
	uint64_t kib;
	errcode_t err = take_number(mk, value, 1, INT32_MAX, &kib);

	mk->set.fast_commit_kb = (uint32_t)kib;
	return err;
}

static errcode_t journal_location(struct mkfs *mk, const char *value)
{
	return take_blocks(mk, value, &mk->set.journal_goal_blk);
}

static errcode_t journal_v1(struct mkfs *mk, const char *value)
{
	(void)value;
	mk->set.journal_v1 = true;
	return 0;
}

static errcode_t journal_device(struct mkfs *mk, const char *value)
{
	return dafs_fail(mk->ctx, DAFS_ET_JOURNAL_EXTERNAL, "%s", value);
}

static const struct item journal_items[] = {
	{ "size", journal_size, true },		{ "fast_commit_size", journal_fast_commit, true },
	{ "location", journal_location, true }, { "device", journal_device, true },
	{ "v1_superblock", journal_v1, false }, { NULL, NULL, false },
};

/* Put "-E name: " before what a row complained about. */
static errcode_t name_item(struct mkfs *mk, const char *option, const char *name, errcode_t err)
{
	char detail[sizeof(mk->ctx->detail)];

	memcpy(detail, mk->ctx->detail, sizeof(detail));
	return dafs_fail(mk->ctx, err, "%s %s: %s", option, name, detail);
}

static errcode_t apply_item(struct mkfs *mk, const char *option, const struct item *items,
			    char *text)
{
	char *value = strchr(text, '=');
	errcode_t err;

	if (value)
		*value++ = '\0';
	while (items->name && strcmp(items->name, text))
		items++;
	if (!items->name)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "%s %s: unknown name", option, text);
	if (items->needs_value && (!value || !*value))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE, "%s %s: a value is missing", option, text);
	mk->ctx->detail[0] = '\0';
	err = items->apply(mk, value);
	return err ? name_item(mk, option, text, err) : 0;
}

/* text is cut to pieces; settings may point into it. */
static errcode_t apply_list(struct mkfs *mk, const char *option, const struct item *items,
			    char *text)
{
	errcode_t err = 0;
	char *item;

	while (!err && (item = strsep(&text, ","))) {
		if (*item)
			err = apply_item(mk, option, items, item);
	}
	return err;
}

/* Append list and a comma to *text. */
static errcode_t append(char **text, const char *list)
{
	size_t old = *text ? strlen(*text) : 0;
	char *longer;

	if (!list || !*list)
		return 0;
	longer = realloc(*text, old + strlen(list) + 2);
	if (!longer)
		return ENOMEM;
	*text = longer;
	strcpy(longer + old, list);
	strcat(longer, ",");
	return 0;
}

/* Blocks that the descriptor table may grow by, so that the file system can grow to
 * mk->set.resize while mounted. */
static errcode_t apply_resize(struct mkfs *mk)
{
	struct ext2_super_block *param = &mk->param;
	/* With bigalloc a group is larger than this: as mke2fs, that reserves too much. */
	uint64_t group_blks =
		mk->opts->blks_per_group ? mk->opts->blks_per_group : 8 * mk->block_size;
	uint64_t desc_bytes = EXT2_MIN_DESC_SIZE, per_blk, most = mk->block_size / sizeof(__u32),
		 now, then, blks;
	errcode_t err = take_blocks(mk, mk->set.resize, &blks);

	if (err)
		return name_item(mk, "-E", "resize", err);
	if (blks <= ext2fs_blocks_count(param))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-E resize: %s is not more than the file system has now",
				 mk->set.resize);
	if (ext2fs_has_feature_64bit(param))
		desc_bytes = param->s_desc_size ? param->s_desc_size : EXT2_MIN_DESC_SIZE_64BIT;
	per_blk = mk->block_size / desc_bytes * group_blks;
	now = ext2fs_div64_ceil(ext2fs_blocks_count(param), per_blk);
	then = ext2fs_div64_ceil(blks, per_blk);
	if (then == now)
		return 0;
	if (param->s_rev_level == EXT2_GOOD_OLD_REV)
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-E resize: revision 0 cannot be resized online");
	ext2fs_set_feature_resize_inode(param);
	param->s_reserved_gdt_blocks = (uint16_t)(then - now < most ? then - now : most);
	return 0;
}

static errcode_t apply_encoding_flags(struct mkfs *mk)
{
	char *list;
	errcode_t err = 0;

	if (!ext2fs_has_feature_casefold(&mk->param))
		return dafs_fail(mk->ctx, DAFS_ET_USAGE,
				 "-E encoding_flags: needs encoding= or the feature casefold");
	list = strdup(mk->set.encoding_flags);
	if (!list)
		return ENOMEM;
	if (e2p_str2encoding_flags(mk->param.s_encoding, list, &mk->param.s_encoding_flags))
		err = dafs_fail(mk->ctx, DAFS_ET_USAGE, "-E encoding_flags: unknown flag %s",
				mk->set.encoding_flags);
	free(list);
	return err;
}

/* The encoding that a casefold file system gets when -E names none. */
static errcode_t configured_encoding(struct mkfs *mk)
{
	const char *flags = dafs_mkfs_conf_str(&mk->types, "encoding_flags", NULL);
	errcode_t err;

	if (!ext2fs_has_feature_casefold(&mk->param))
		return 0;
	err = set_encoding(mk, dafs_mkfs_conf_str(&mk->types, "encoding", "utf8"));
	if (!err && flags)
		mk->set.encoding_flags = flags;
	return err ? name_item(mk, "mke2fs.conf", "encoding", err) : 0;
}

errcode_t mkfs_parse_extended(struct mkfs *mk)
{
	errcode_t err = configured_encoding(mk);

	if (!err)
		err = append(&mk->options_text,
			     dafs_mkfs_conf_raw(mk->conf, "defaults", NULL, "options"));
	for (const char **name = mk->type_names; *name && !err; name++)
		err = append(&mk->options_text,
			     dafs_mkfs_conf_raw(mk->conf, "fs_types", *name, "options"));
	if (!err)
		err = append(&mk->options_text, mk->opts->extended);
	if (!err && mk->options_text)
		err = apply_list(mk, "-E", extended, mk->options_text);
	if (!err && mk->set.resize)
		err = apply_resize(mk);
	if (!err && mk->set.encoding_flags)
		err = apply_encoding_flags(mk);
	return err;
}

errcode_t mkfs_parse_journal(struct mkfs *mk)
{
	char *text = NULL;
	errcode_t err = append(&text, mk->opts->journal_options);

	if (!err && text)
		err = apply_list(mk, "-J", journal_items, text);
	free(text);
	if (mk->set.packed_meta)
		mk->set.journal_goal_blk = 0;
	return err;
}

errcode_t mkfs_parse_offset(struct mkfs *mk)
{
	static const char name[] = "offset=";
	const char *at = mk->opts->extended;
	struct dafs_dev_address addr;
	char value[32];
	errcode_t err;
	size_t len;

	while (at && strncmp(at, name, sizeof(name) - 1))
		at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL;
	if (!at)
		return 0;
	at += sizeof(name) - 1;
	len = strcspn(at, ",");
	if (len >= sizeof(value))
		return dafs_fail(mk->ctx, DAFS_ET_RANGE, "-E %s%s", name, at);
	memcpy(value, at, len);
	value[len] = '\0';
	err = dafs_dev_address_parse(mk->ctx, mk->address, &addr);
	if (err)
		return err;
	if (addr.has_offset || addr.partno || addr.partlabel) {
		err = dafs_fail(mk->ctx, DAFS_ET_USAGE,
				"%s: -E offset beside an offset or partition in the address",
				mk->address);
	} else {
		free(mk->address);
		if (asprintf(&mk->address, "%s?offset=%s", addr.path, value) < 0) {
			mk->address = NULL;
			err = ENOMEM;
		}
		mk->set.has_offset = true;
	}
	dafs_dev_address_fini(&addr);
	return err;
}
