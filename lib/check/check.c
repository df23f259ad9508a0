/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check - the run: the table of passes, the rounds, what comes before and after them.
 *
 * It does not know what any pass looks for.
 *
 * A run: look at the superblock, then rounds. A round goes through the passes; one that repaired
 * something earlier passes depend on ends the round early (ck->again). Rounds follow until one
 * changed nothing; then all is committed.
 *
 * Preen is two runs: a trial that repairs in memory what is safe, reports and commits nothing, and
 * then, if all there is can be repaired safely, one that repairs; if not, one that reports. Where
 * the trial found nothing at all the second run only does what comes before pass 1, and commits.
 */
#include "config.h"

#include "check/check.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "image/feature.h"
#include "image/image_int.h"
#include "image/redo.h"
#include "image/txn.h"

#define ROUNDS_MAX 64u

struct pass {
	unsigned number;   /* as result.seconds and the pass callback count */
	const char *title; /* NULL: belongs to the pass before */
	errcode_t (*run)(struct dafs_ck *ck);
};

static const struct pass passes[] = {
	{ 0, NULL, dafs_ck_pass0 },
	{ 0, NULL, dafs_ck_journal },
	{ 0, NULL, dafs_ck_orphans },
	{ 1, "inodes and block maps", dafs_ck_pass1 },
	{ 1, NULL, dafs_ck_pass1b },
	{ 1, NULL, dafs_ck_bad_list },
	{ 1, NULL, dafs_ck_relocate },
	{ 1, NULL, dafs_ck_remap_all },
	{ 2, "directories", dafs_ck_pass2 },
	{ 3, "connectivity", dafs_ck_pass3 },
	{ 3, NULL, dafs_ck_reindex_all },
	{ 4, "link counts", dafs_ck_pass4 },
	{ 5, "bitmaps and summaries", dafs_ck_pass5 },
	{ 5, NULL, dafs_ck_orphan_file },
	{ 5, NULL, dafs_ck_quota_check },
	{ 5, NULL, dafs_ck_tidy_dirs },
};

int dafs_check_status(const struct dafs_check_opts *opts, const struct dafs_check_result *result)
{
	uint64_t left = result->left[DAFS_CHECK_DAMAGE] + result->left[DAFS_CHECK_FATAL];

	if (opts->strict)
		left += result->left[DAFS_CHECK_SUMMARY];
	return (result->committed && (result->repairs || result->made_valid || result->tidied ||
				      result->bad_list || result->unshared)
			? 1
			: 0) |
	       (left || result->refused ? 4 : 0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ---- what a round knows ---- */

static void parts_fini(struct dafs_ck *ck)
{
	for (uint32_t grp = 0; grp < ck->ngroups; grp++) {
		if (ck->parts && ck->parts[grp]) {
			dafs_ck_vec_fini(&ck->parts[grp]->dirs);
			dafs_ck_vec_fini(&ck->parts[grp]->dexts);
			dafs_ck_vec_fini(&ck->parts[grp]->later);
			free(ck->parts[grp]);
		}
	}
	free(ck->parts);
	ck->parts = NULL;
}

static void round_fini(struct dafs_ck *ck)
{
	dafs_ck_crew_fini(ck);
	parts_fini(ck);
	free(ck->dirs);
	free(ck->dexts);
	ck->dirs = NULL;
	ck->dexts = NULL;
	ck->ndirs = ck->ndexts = 0;
	free(ck->free_clusters);
	free(ck->free_inodes);
	ck->free_clusters = ck->free_inodes = NULL;
	dafs_ck_vec_fini(&ck->uninit_tables);
	ck->uninit_listed = false;
	dafs_ck_bits_fini(&ck->found);
	dafs_ck_bits_fini(&ck->dup);
	dafs_ck_inos_fini(ck);
	dafs_ck_xattr_fini(ck);
	dafs_ck_map_fini(&ck->ea_inodes);
	dafs_ck_vec_fini(&ck->policies);
	dafs_ck_map_fini(&ck->bad_blocks);
	dafs_ck_map_fini(&ck->unreadable);
	dafs_ck_vec_fini(&ck->remaps);
	dafs_ck_map_fini(&ck->lost_names);
	ck->lost_found = 0;
	ck->lost_tried = false;
	for (unsigned i = 0; i < 3; i++) {
		dafs_ck_map_fini(&ck->quota[i]);
		dafs_ck_vec_fini(&ck->quota_sums[i]);
	}
}

/* The handle that image/'s functions look at, as the superblock has it now. */
static void fill_handle(struct dafs_ck *ck)
{
	ck->fs = (struct struct_ext2_filsys){
		.magic = EXT2_ET_MAGIC_EXT2FS_FILSYS,
		.super = &ck->sb,
		.blocksize = ck->g.block_size,
		.group_desc_count = ck->g.groups,
		.desc_blocks = ck->g.desc_blks,
		.group_desc = (struct opaque_ext2_group_desc *)ck->gd,
		.inode_blocks_per_group = ck->g.itable_blks,
		.cluster_ratio_bits = (int)ck->g.cbits,
		.csum_seed = ck->g.csum_seed,
		.fragsize = (int)ck->g.block_size << ck->g.cbits,
	};
}

static errcode_t round_init(struct dafs_ck *ck)
{
	const struct ext2_super_block *sb = &ck->sb;
	errcode_t err = dafs_ck_bits_init(&ck->found, ck->g.clusters);

	/* No time in the superblock may look like a link of the orphan list, else none can be told
	 * from one. */
	ck->low_dtime = !(sb->s_wtime && sb->s_wtime < ck->g.inodes) &&
			!(sb->s_mtime && sb->s_mtime < ck->g.inodes) &&
			!(sb->s_mkfs_time && sb->s_mkfs_time < ck->g.inodes);
	if (!err)
		err = dafs_ck_bits_init(&ck->dup, ck->g.clusters);
	ck->ngroups = ck->g.groups;
	if (!err)
		err = dafs_ck_inos_init(ck);
	ck->parts = calloc(ck->g.groups, sizeof(*ck->parts));
	if (!ck->parts)
		return ENOMEM;
	ck->node_budget = ck->g.blocks / 4 + 65536;
	ck->progress = 0;
	ck->again = false;
	return err ? err : dafs_ck_crew_init(ck);
}

/* Marked clean, no errors, nothing to replay: e2fsck would not look either. */
static bool marked_clean(const struct dafs_ck *ck)
{
	const struct ext2_super_block *sb = &ck->sb;

	if (ck->opts->force || ck->opts->backup_sb || ck->opts->tidy_dirs || ck->opts->nbad ||
	    ck->opts->bad_replace || ck->opts->unshare || ck->left[DAFS_CHECK_DAMAGE] ||
	    ck->changes || ck->rep->result.replayed || ck->jnl_error)
		return false;
	if ((sb->s_state & (EXT2_VALID_FS | EXT2_ERROR_FS)) != EXT2_VALID_FS)
		return false;
	if (sb->s_max_mnt_count > 0 && sb->s_mnt_count >= (uint16_t)sb->s_max_mnt_count)
		return false;
	return !sb->s_checkinterval ||
	       ck->ctx->now_sec < (int64_t)sb->s_lastcheck + sb->s_checkinterval;
}

static void begin_pass(struct dafs_ck *ck, const struct pass *pass)
{
	struct dafs_check_report *rep = ck->rep;

	if (!pass->title || ck->trial)
		return;
	dafs_progress(ck->ctx, pass->title, 0, 0);
	/* Later rounds are nobody's business but for what they find. */
	if (rep->pass && pass->number > ck->announced)
		rep->pass(rep->arg, pass->number, pass->title);
	if (pass->number > ck->announced)
		ck->announced = pass->number;
}

static errcode_t run_passes(struct dafs_ck *ck)
{
	struct dafs_check_report *rep = ck->rep;
	errcode_t err = 0;

	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]) && !err && !ck->again; i++) {
		double begun = now();

		if (passes[i].number == 1 && passes[i].title && marked_clean(ck)) {
			rep->result.clean_skipped = true;
			break;
		}
		begin_pass(ck, &passes[i]);
		if (ck->sound && passes[i].number && !ck->changes)
			continue;
		err = passes[i].run(ck);
		if (!err && (ck->found.nomem || ck->dup.nomem || ck->refs_nomem))
			err = ENOMEM;
		rep->result.seconds[passes[i].number] += now() - begun;
	}
	return err;
}

/* ---- the run ---- */

static void sum_stats(struct dafs_ck *ck)
{
	struct dafs_check_result *r = &ck->rep->result;
	const struct ext2_super_block *sb = &ck->sb;

	/* What the superblock says, right or wrong: e2fsck's summary line does the same. */
	r->inodes = sb->s_inodes_count;
	r->inodes_used = sb->s_inodes_count - sb->s_free_inodes_count;
	r->blocks = ck->g.blocks;
	r->blocks_used = ck->g.blocks - (sb->s_free_blocks_count |
					 (ck->g.bit64 ? (uint64_t)sb->s_free_blocks_hi << 32 : 0));

	for (unsigned i = 0; i < ck->nworkers; i++) {
		const struct dafs_ck_stats *s = &ck->workers[i].stats;

		r->dirs += s->dirs;
		r->regs += s->regs;
		r->links += s->links;
		r->fast_links += s->fast_links;
		r->chars += s->chars;
		r->block_devs += s->blocks;
		r->fifos += s->fifos;
		r->socks += s->socks;
		r->ind_blks += s->ind;
		r->dind_blks += s->dind;
		r->tind_blks += s->tind;
		r->fragmented += s->fragmented;
		for (unsigned d = 0; d < 8; d++)
			r->depth[d] += s->depth[d];
	}
	memcpy(r->left, ck->left, sizeof(r->left));
}

/* Repairs may have turned features on and moved structures. */
static errcode_t next_round(struct dafs_ck *ck)
{
	const char *bad;
	errcode_t err;

	round_fini(ck);
	ck->round++;
	ck->rep->result.rounds++;
	memset(ck->left, 0, sizeof(ck->left));
	bad = dafs_ck_geom_init(&ck->g, &ck->sb);
	if (bad)
		return dafs_fail(ck->ctx, DAFS_ET_INTERNAL, "repaired superblock: %s", bad);
	err = dafs_ck_judge_layout(ck);
	fill_handle(ck);
	dafs_image_fill_numbers(&ck->img);
	return err ? err : round_init(ck);
}

static errcode_t run_rounds(struct dafs_ck *ck)
{
	uint64_t before, sum = 0;
	bool was_stuck = false;
	errcode_t err;

	for (;;) {
		before = ck->changes;
		ck->round_sum = 0;
		ck->stuck = false;
		err = run_passes(ck);
		if (err || ck->rep->result.clean_skipped)
			return err;
		if (ck->changes == before && !ck->again)
			return 0;
		/* What lacks room is asked for again and again; all else is done by then. */
		if (ck->stuck && was_stuck && ck->round_sum == sum)
			return 0;
		was_stuck = ck->stuck;
		sum = ck->round_sum;
		if (ck->round + 1 >= ROUNDS_MAX) {
			/* Two repairs undo each other: say so rather than go on for ever. */
			DAFS_CK_FIND(ck->main, NOT_SETTLED, .found = ck->round + 1);
			return 0;
		}
		err = next_round(ck);
		if (err)
			return err;
	}
}

static void run_fini(struct dafs_ck *ck)
{
	round_fini(ck);
	free(ck->workers);
	free(ck->gd);
	free(ck->gd_flags);
	free(ck->meta);
	dafs_ck_map_fini(&ck->decided);
	dafs_ck_vec_fini(&ck->lost_index);
	dafs_ck_vec_fini(&ck->moves);
	dafs_ck_vec_fini(&ck->zeros);
	dafs_image_unwrap(&ck->img);
	pthread_mutex_destroy(&ck->refs_lock);
	pthread_mutex_destroy(&ck->ea_lock);
}

static errcode_t run_init(struct dafs_ck *ck)
{
	pthread_mutex_init(&ck->refs_lock, NULL);
	pthread_mutex_init(&ck->ea_lock, NULL);
	ck->nworkers = dafs_threads(ck->ctx);
	ck->workers = calloc(ck->nworkers, sizeof(*ck->workers));
	if (!ck->workers)
		return ENOMEM;
	for (unsigned i = 0; i < ck->nworkers; i++)
		ck->workers[i] = (struct dafs_ck_worker){ .ck = ck, .index = i };
	ck->main = &ck->workers[0];
	dafs_siphash_secret(&ck->secret);
	ck->fixing = ck->mode != DAFS_CHECK_NO;
	return 0;
}

static errcode_t wrap(struct dafs_ck *ck)
{
	errcode_t err;

	fill_handle(ck);
	err = dafs_image_wrap(ck->ctx, ck->dev, &ck->fs,
			      DAFS_IMAGE_SALVAGE | (ck->fixing ? DAFS_IMAGE_RW : 0), &ck->img);
	if (!err && ck->fixing)
		err = dafs_txn_begin(&ck->img);
	return err;
}

/* What all runs over a device share. */
struct session {
	struct dafs_ctx *ctx;
	struct dafs_dev *dev;
	const struct dafs_check_opts *opts;
	struct dafs_check_report *report;
	struct dafs_undo *undo; /* NULL: none */
	bool mmp;		/* taken */
	bool sound;		/* a trial found nothing at all */
	uint64_t changes;	/* of the last run */
};

static struct dafs_ck ck_of(const struct session *s, enum dafs_check_mode mode, bool trial)
{
	return (struct dafs_ck){ .ctx = s->ctx,
				 .dev = s->dev,
				 .opts = s->opts,
				 .rep = s->report,
				 .mode = mode,
				 .trial = trial,
				 .undo = s->undo };
}

/* What two files share counts as claimed twice from here on. */
static void stop_sharing(struct dafs_ck *ck)
{
	ext2fs_clear_feature_shared_blocks(&ck->sb);
	ck->g.shared_blocks = false;
	ck->unsharing = ck->backups = ck->rep->result.unshared = true;
}

/* unsafe (may be NULL): a trial found what preen may not repair. */
static errcode_t run(struct session *s, enum dafs_check_mode mode, bool trial, bool *unsafe)
{
	struct dafs_ck ck = ck_of(s, mode, trial);
	errcode_t err = run_init(&ck);

	ck.sound = s->sound;

	if (!err)
		err = dafs_ck_open_super(&ck);
	if (!err && s->opts->unshare && ck.g.shared_blocks)
		stop_sharing(&ck);
	if (!err)
		err = wrap(&ck);
	if (!err)
		err = round_init(&ck);
	/* The run that commits or reports is the last one: it gives the file system back. */
	if (!trial)
		ck.img.mmp_taken = s->mmp;
	if (!err) {
		s->report->result.opened = true;
		err = run_rounds(&ck);
		if (!err && ck.fixing && !trial)
			err = dafs_ck_commit(&ck);
		if (!err && ck.fixing && !trial && s->opts->discard)
			err = dafs_ck_discard(&ck);
		sum_stats(&ck);
	}
	if (unsafe)
		*unsafe = ck.unsafe;
	s->changes = ck.changes;
	run_fini(&ck);
	return err;
}

/* ---- before a run that repairs ---- */

/* An interrupted commit of ours is finished first: the image is in neither state. */
static errcode_t finish_redo(struct session *s)
{
	struct ext2_super_block sb;
	void *record;
	size_t len;
	errcode_t err;

	if (s->dev->size_bytes < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE)
		return 0;
	err = dafs_dev_read(s->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
	if (!err)
		err = dafs_redo_find_file(s->ctx, s->dev, sb.s_uuid, true, &record, &len);
	if (err || !record)
		return err;
	dafs_notice(s->ctx, "%s: finishing an interrupted commit", s->dev->address);
	err = dafs_redo_apply(s->ctx, s->dev, record, len);
	if (!err)
		err = dafs_redo_remove_file(s->ctx, s->dev, sb.s_uuid);
	free(record);
	return err;
}

/* A commit that was interrupted while it wrote the flag needs_recovery may have left half of the
 * superblock: it is right with the flag as it was, and the journal is empty then (image/txn.h). */
static errcode_t finish_flag(struct session *s)
{
	struct ext2_super_block sb;
	errcode_t err;

	if (s->dev->size_bytes < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE)
		return 0;
	err = dafs_dev_read(s->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
	if (err || sb.s_magic != EXT2_SUPER_MAGIC || !ext2fs_has_feature_metadata_csum(&sb) ||
	    sb.s_checksum == dafs_ck_sb_csum(&sb))
		return err;
	sb.s_feature_incompat ^= EXT3_FEATURE_INCOMPAT_RECOVER;
	if (sb.s_checksum != dafs_ck_sb_csum(&sb))
		return 0;
	return dafs_dev_write(s->dev, &sb, sizeof(sb), SUPERBLOCK_OFFSET);
}

static void replay(struct session *s, struct dafs_ck *ck)
{
	bool *replayed = &s->report->result.replayed;

	if (!ext2fs_has_feature_journal(&ck->sb) || !ck->sb.s_journal_inum)
		return;
	/* (What the flag does not ask for is a matter of journal.data: nothing for preen.) */
	if (s->opts->mode == DAFS_CHECK_PREEN &&
	    !ext2fs_has_feature_journal_needs_recovery(&ck->sb))
		return;
	/* A journal that cannot be replayed is left to the journal's pass. */
	if (dafs_image_replay(&ck->img, replayed, &s->report->result.torn))
		dafs_notice(s->ctx, "%s: the journal cannot be replayed: %s", s->dev->address,
			    s->ctx->detail);
}

/* Take the file system, and bring it to the state that its journal says before anything is judged.
 */
static errcode_t settle(struct session *s)
{
	struct dafs_ck ck = ck_of(s, DAFS_CHECK_NO, true);
	errcode_t err = run_init(&ck);

	if (!err)
		err = dafs_ck_open_super(&ck);
	if (err) {
		/* There is nothing to be replayed; the run itself says why. */
		run_fini(&ck);
		return err == ENOMEM ? err : 0;
	}
	fill_handle(&ck);
	err = dafs_image_wrap(s->ctx, s->dev, &ck.fs, DAFS_IMAGE_RW | DAFS_IMAGE_SALVAGE, &ck.img);
	if (!err)
		err = dafs_mmp_take(&ck.img);
	/* A damaged block protects from nobody: it is repaired. */
	if (err == DAFS_ET_CORRUPT_SUPER)
		err = 0;
	if (!err)
		replay(s, &ck);
	s->mmp = ck.img.mmp_taken;
	ck.img.mmp_taken = false;
	run_fini(&ck);
	return err;
}

static errcode_t run_preen(struct session *s)
{
	struct dafs_check_result *r = &s->report->result;
	bool replayed = r->replayed, torn = r->torn, unsafe;
	errcode_t err = run(s, DAFS_CHECK_PREEN, true, &unsafe);
	uint64_t found = s->changes;

	for (unsigned i = 0; i <= DAFS_CHECK_FATAL; i++)
		found += r->left[i];
	/* (Discarding needs to know what is free, and what becomes better which directories there
	 * are.) */
	s->sound = !err && !unsafe && !found && !r->clean_skipped && !s->opts->discard &&
		   !s->opts->tidy_dirs;
	/* What the trial counted stands then. */
	if (!s->sound) {
		memset(r, 0, sizeof(*r));
		r->replayed = replayed;
		r->torn = torn;
	}
	if (err == ENOMEM || err == DAFS_ET_CANCELLED)
		return err;
	s->report->result.refused = unsafe;
	return run(s, unsafe ? DAFS_CHECK_NO : DAFS_CHECK_PREEN, false, NULL);
}

static void note_io(struct session *s)
{
	struct dafs_check_result *r = &s->report->result;

	r->reads = s->dev->nreads;
	r->read_bytes = s->dev->read_bytes;
	r->writes = s->dev->nwrites;
	r->written_bytes = s->dev->written_bytes;
	r->syncs = s->dev->nsyncs;
}

static errcode_t run_mode(struct session *s)
{
	errcode_t err = 0;

	if (s->opts->mode != DAFS_CHECK_NO) {
		err = finish_redo(s);
		if (!err)
			err = finish_flag(s);
		if (!err)
			err = settle(s);
	}
	if (err || s->opts->journal_only)
		return err;
	return s->opts->mode == DAFS_CHECK_PREEN ? run_preen(s)
						 : run(s, s->opts->mode, false, NULL);
}

errcode_t dafs_check_run(struct dafs_ctx *ctx, const char *address,
			 const struct dafs_check_opts *opts, struct dafs_check_report *report)
{
	struct session s = { .ctx = ctx, .opts = opts, .report = report };
	bool fixing = opts->mode != DAFS_CHECK_NO;
	errcode_t err, end;

	memset(&report->result, 0, sizeof(report->result));
	err = dafs_dev_open(ctx, address, fixing ? DAFS_DEV_RW | DAFS_DEV_EXCL : 0, &s.dev);
	if (err)
		return err;
	if (opts->forget_cache)
		dafs_dev_forget_cache(s.dev);
	err = dafs_dev_lock(s.dev, fixing);
	if (!err && fixing && opts->undo_path)
		err = dafs_undo_begin(s.dev, opts->undo_path, &s.undo);
	if (!err && s.undo)
		dafs_notice(ctx, "to undo what is repaired: e2undo %s %s", opts->undo_path,
			    s.dev->path);
	if (!err)
		err = run_mode(&s);
	end = dafs_undo_end(s.undo);
	note_io(&s);
	dafs_dev_close(s.dev);
	return err ? err : end;
}
