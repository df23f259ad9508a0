/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discard - after a check that left nothing wrong: blocks that the file system does not use are
 * given back to the host.
 *
 * What is in use is what the last round found, which is what the bitmaps say by now.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>

errcode_t dafs_ck_discard(struct dafs_ck *ck)
{
	struct dafs_check_result *r = &ck->rep->result;
	uint64_t end, at;
	errcode_t err = 0;

	if (r->clean_skipped || ck->left[DAFS_CHECK_DAMAGE] || ck->left[DAFS_CHECK_SUMMARY])
		return 0;
	for (at = 0; !err; at = end) {
		uint64_t pblk, end_pblk;

		at = dafs_ck_bits_next(&ck->found, at, false);
		if (at >= ck->found.nbits)
			break;
		end = dafs_ck_bits_next(&ck->found, at, true);
		pblk = ck->g.first + (at << ck->g.cbits);
		end_pblk = ck->g.first + (end << ck->g.cbits);
		if (end_pblk > ck->g.blocks)
			end_pblk = ck->g.blocks;
		if (pblk >= end_pblk)
			break;
		err = dafs_dev_discard(ck->dev, pblk << ck->g.block_bits,
				       (end_pblk - pblk) << ck->g.block_bits);
		if (!err)
			r->discarded_bytes += (end_pblk - pblk) << ck->g.block_bits;
	}
	if (err != EOPNOTSUPP)
		return err;
	dafs_notice(ck->ctx, "%s: the host cannot discard", ck->dev->address);
	return 0;
}
