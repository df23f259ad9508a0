/* SPDX-License-Identifier: GPL-2.0-or-later */
/* req_log - logdump: what the journal holds, also after its replay in memory. */
#include "config.h"

#include <e2p/e2p.h>
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dafsdebug/dafsdebug.h"

enum { TYPE_DESCRIPTOR = 1, TYPE_COMMIT = 2, TYPE_REVOKE = 5 };

/* Places of two fields in a journal superblock. */
enum { SUPER_SEQUENCE = 24, SUPER_START = 28 };

struct logdump {
	bool all;	/* -a */
	bool one;	/* -b */
	uint64_t block; /* -b's */
	struct json_object *list; /* of blocks; NULL: text */
	struct json_object *entries;
};

static const char *type_text(uint32_t type)
{
	return type == TYPE_DESCRIPTOR ? "descriptor block" :
	       type == TYPE_COMMIT     ? "commit block" :
					 "revoke table";
}

/* ---- text ---- */

static errcode_t text_block(void *arg, uint32_t lblk, uint32_t type, uint32_t tid)
{
	const struct logdump *ld = arg;

	if (ld->one)
		return 0;
	printf("Found expected sequence %u, type %u (%s) at block %u\n", tid, type, type_text(type),
	       lblk);
	if (ld->all && type != TYPE_COMMIT)
		printf("Dumping %s block, sequence %u, at block %u:\n",
		       type == TYPE_REVOKE ? "revoke" : "descriptor", tid, lblk);
	return 0;
}

static errcode_t text_tag(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk, uint32_t flags)
{
	const struct logdump *ld = arg;

	if (ld->one && ld->block == pblk)
		printf("  FS block %" PRIu64
		       " logged at sequence %u, journal block %u (flags 0x%x)\n",
		       pblk, tid, lblk, flags);
	else if (ld->all && !ld->one)
		printf("  FS block %" PRIu64 " logged at journal block %u (flags 0x%x)\n", pblk,
		       lblk, flags);
	return 0;
}

static errcode_t text_revoke(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk)
{
	const struct logdump *ld = arg;

	if (ld->one && ld->block == pblk)
		printf("  Revoke FS block %" PRIu64 " at block %u, sequence %u\n", pblk, lblk, tid);
	else if (ld->all && !ld->one)
		printf("  Revoke FS block %" PRIu64 "\n", pblk);
	return 0;
}

static errcode_t text_end(void *arg, uint32_t lblk)
{
	(void)arg;
	printf("No magic number at block %u: end of journal.\n", lblk);
	return 0;
}

static const struct dafs_log_watch text_watch = {
	.block = text_block,
	.tag = text_tag,
	.revoke = text_revoke,
	.end = text_end,
};

/* ---- JSON ---- */

static errcode_t json_block(void *arg, uint32_t lblk, uint32_t type, uint32_t tid)
{
	struct logdump *ld = arg;
	struct json_object *one = dafsdebug_json_element(ld->list);

	dafs_cli_json_u64(one, "journal_block", lblk);
	dafs_cli_json_str(one, "type", type_text(type));
	dafs_cli_json_u64(one, "sequence", tid);
	if (type != TYPE_COMMIT)
		ld->entries = dafs_cli_json_array(one, "blocks");
	return 0;
}

static errcode_t json_tag(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk, uint32_t flags)
{
	struct json_object *one = dafsdebug_json_element(((struct logdump *)arg)->entries);

	(void)tid;
	dafs_cli_json_u64(one, "block", pblk);
	dafs_cli_json_u64(one, "journal_block", lblk);
	dafs_cli_json_u64(one, "flags", flags);
	return 0;
}

static errcode_t json_revoke(void *arg, uint32_t tid, uint64_t pblk, uint32_t lblk)
{
	struct json_object *one = dafsdebug_json_element(((struct logdump *)arg)->entries);

	(void)tid;
	(void)lblk;
	dafs_cli_json_u64(one, "block", pblk);
	return 0;
}

static const struct dafs_log_watch json_watch = {
	.block = json_block,
	.tag = json_tag,
	.revoke = json_revoke,
};

/* ---- the request ---- */

static uint32_t super_field(const void *sb, size_t at)
{
	uint32_t value;

	memcpy(&value, (const uint8_t *)sb + at, sizeof(value));
	return be32toh(value);
}

static errcode_t dump(struct dafsdebug *dd, struct dafs_journal *journal, struct logdump *ld,
		      bool super)
{
	const void *sb = dafs_journal_super(journal);
	uint32_t start = super_field(sb, SUPER_START), tid = super_field(sb, SUPER_SEQUENCE);
	struct json_object *out = dafsdebug_json(dd);
	char copy[1024];
	errcode_t err;

	if (out) {
		dafs_cli_json_u64(out, "start", start);
		dafs_cli_json_u64(out, "sequence", tid);
		ld->list = dafs_cli_json_array(out, "log");
		err = dafs_journal_watch(journal, &json_watch, ld);
		dafsdebug_json_put(out);
		return err;
	}
	if (super) {
		memcpy(copy, sb, sizeof(copy)); /* e2p turns it around in place */
		e2p_list_journal_super(stdout, copy, (int)dd->img->block_size, 0);
		putchar('\n');
	}
	printf("Journal starts at block %u, transaction %u\n", start, tid);
	return dafs_journal_watch(journal, &text_watch, ld);
}

errcode_t dafsdebug_logdump(void *arg, const struct dafs_cli_args *args)
{
	struct dafsdebug *dd = arg;
	const char *block = dafs_cli_value(args, 'b');
	struct logdump ld = { .all = dafs_cli_value(args, 'a'), .one = block };
	struct dafs_journal *journal = NULL;
	errcode_t err = 0;

	if (block)
		err = dafsdebug_number(dd, block, 0, dd->img->blocks - 1, &ld.block);
	if (!err && !dd->img->has_journal)
		err = dafs_fail(&dd->cli.ctx, DAFS_ET_FEATURE, "no journal");
	if (!err)
		err = dafs_journal_open(dd->img, &journal);
	if (!err)
		err = dump(dd, journal, &ld, dafs_cli_value(args, 'S'));
	dafs_journal_close(journal);
	return err;
}
