/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * find - what becomes of a finding: put off, reported, decided.
 *
 * A run that repairs goes round several times; a decision holds for the whole run and is reported
 * once. What was left alone is counted anew in each round, so that the last one says what is left.
 */
#include "config.h"

#include "check/check_int.h"

enum decision { LEAVE = 1, REPAIR };
enum { REPAIR_NONE, REPAIR_SAFE, REPAIR_YES, REPAIR_LATER }; /* dafs_check_info.repair */

static uint64_t mix(uint64_t key, uint64_t value)
{
	key = (key ^ value) * UINT64_C(0x9E3779B97F4A7C15);
	return key ^ key >> 32;
}

static uint64_t mix_bytes(uint64_t key, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		key = mix(key, (unsigned char)bytes[i]);
	return key;
}

/* The same finding has the same key in every round. */
static uint64_t key_of(const struct dafs_finding *f)
{
	const uint64_t numbers[] = { f->code, f->ino, f->dir,  f->grp,
				     f->ref,  f->blk, f->lblk, f->off };
	uint64_t key = 1;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		key = mix(key, numbers[i]);
	if (f->name)
		key = mix_bytes(key, f->name, f->name_len);
	if (f->text)
		key = mix_bytes(key, f->text, strlen(f->text));
	return key ? key : 1;
}

static enum decision decide(struct dafs_ck *ck, const struct dafs_finding *f,
			    const struct dafs_check_info *info)
{
	if (info->repair == REPAIR_NONE || ck->mode == DAFS_CHECK_NO)
		return LEAVE;
	switch (ck->mode) {
	case DAFS_CHECK_YES:
		return REPAIR;
	case DAFS_CHECK_PREEN:
		if (info->repair == REPAIR_SAFE)
			return REPAIR;
		return LEAVE;
	case DAFS_CHECK_ASK:
		return ck->rep->ask && ck->rep->ask(ck->rep->arg, f) ? REPAIR : LEAVE;
	default:
		return LEAVE;
	}
}

static void report(struct dafs_ck *ck, struct dafs_finding f, enum decision decision)
{
	const struct dafs_check_info *info = dafs_check_info(f.code);
	struct dafs_check_report *rep = ck->rep;

	f.done = decision == REPAIR ? DAFS_CHECK_FIXED : DAFS_CHECK_LEFT;
	rep->result.found[info->class]++;
	if (decision == REPAIR)
		rep->result.fixed[info->class]++;
	/* (A mount would have made that copy, too.) */
	if (decision == REPAIR && info->class > DAFS_CHECK_NOTE && f.code != DAFS_CK_JNL_BACKUP)
		rep->result.repairs++;
	if (rep->finding)
		rep->finding(rep->arg, &f);
}

bool dafs_ck_find(struct dafs_ck_worker *w, const struct dafs_finding *f)
{
	const struct dafs_check_info *info = dafs_check_info(f->code);
	struct dafs_ck *ck = w->ck;
	uint64_t *decision;
	bool made;

	if (w->scan) {
		w->put_off = true;
		return false;
	}
	if (!ck->fixing) {
		ck->left[info->class]++;
		if (!ck->trial)
			report(ck, *f, LEAVE);
		return false;
	}
	decision = dafs_ck_map_put(&ck->decided, key_of(f), &made);
	if (!decision) {
		w->err = ENOMEM;
		return false;
	}
	if (made && w->quiet)
		*decision = LEAVE;
	else if (made) {
		enum decision taken = decide(ck, f, info);

		/* (Asking may take long and must not be interrupted by a growing map.) */
		*decision = taken;
		/* A trial asks one question only: is there anything that preen may not do? */
		ck->unsafe |= taken == LEAVE && info->class >= DAFS_CHECK_SUMMARY &&
			      info->repair != REPAIR_LATER;
		if (!ck->trial)
			report(ck, *f, taken);
	}
	if (*decision == LEAVE) {
		ck->left[info->class] += !w->quiet;
		return false;
	}
	ck->changes += !w->quiet;
	ck->round_sum += key_of(f);
	return true;
}
