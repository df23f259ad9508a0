/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mmp - multiple-mount protection: one block in which whoever uses the file system for writing
 * leaves a sign, for storage that several machines see.
 *
 * While dafs has it, the block says "being checked" (the value e2fsck leaves): others then refuse
 * without having to see a number move, so no thread has to move it. The sign names this host and
 * "dafs", so that after a crash the next dafs on the host, which holds the image's lock, knows it
 * for a dead one.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image/image_int.h"

enum { MIN_INTERVAL_SEC = 5 };
unsigned dafs_mmp_second_ms = 1000;

static const char our_name[] = "dafs";

static uint64_t mmp_off(const struct dafs_image *img)
{
	return (uint64_t)img->fs->super->s_mmp_block << img->block_bits;
}

static errcode_t read_mmp(struct dafs_image *img, struct mmp_struct *mmp)
{
	uint64_t pblk = img->fs->super->s_mmp_block;
	errcode_t err;

	if (pblk < img->first_data_block || pblk >= img->blocks)
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_SUPER, "%s: MMP block %" PRIu64,
				 img->dev->address, pblk);
	err = dafs_dev_read(img->dev, mmp, sizeof(*mmp), mmp_off(img));
	if (err)
		return err;
	if (mmp->mmp_magic != EXT4_MMP_MAGIC || !ext2fs_mmp_csum_verify(img->fs, mmp))
		return dafs_fail(img->ctx, DAFS_ET_CORRUPT_SUPER,
				 "%s: MMP block: bad magic or checksum", img->dev->address);
	return 0;
}

static errcode_t write_mmp(struct dafs_image *img, struct mmp_struct *mmp, uint32_t seq)
{
	errcode_t err;

	mmp->mmp_seq = seq;
	mmp->mmp_time = (uint64_t)time(NULL);
	memset(mmp->mmp_nodename, 0, sizeof(mmp->mmp_nodename));
	gethostname((char *)mmp->mmp_nodename, sizeof(mmp->mmp_nodename));
	memset(mmp->mmp_bdevname, 0, sizeof(mmp->mmp_bdevname));
	memcpy(mmp->mmp_bdevname, our_name, sizeof(our_name));
	err = ext2fs_mmp_csum_set(img->fs, mmp);
	if (!err)
		err = dafs_dev_write(img->dev, mmp, sizeof(*mmp), mmp_off(img));
	return err ? err : dafs_dev_sync(img->dev);
}

static errcode_t refuse(struct dafs_image *img, const struct mmp_struct *mmp)
{
	return dafs_fail(img->ctx, DAFS_ET_MOUNTED, "%s: %s by %.*s (%.*s)", img->dev->address,
			 mmp->mmp_seq == EXT4_MMP_SEQ_FSCK ? "being checked" : "mounted",
			 (int)sizeof(mmp->mmp_nodename), mmp->mmp_nodename,
			 (int)sizeof(mmp->mmp_bdevname), mmp->mmp_bdevname);
}

/* A sign of ours: dafs on this host, whose lock on the image is gone since we hold it. */
static bool left_by_us(const struct dafs_image *img, const struct mmp_struct *mmp)
{
	char host[sizeof(mmp->mmp_nodename)] = "";

	gethostname(host, sizeof(host));
	return mmp->mmp_seq == EXT4_MMP_SEQ_FSCK && !(img->flags & DAFS_IMAGE_NO_LOCK) &&
	       memcmp(host, mmp->mmp_nodename, sizeof(host)) == 0 &&
	       memcmp(mmp->mmp_bdevname, our_name, sizeof(our_name)) == 0;
}

/* Wait as long as others may take between two signs; then the block must read as it did. */
static errcode_t wait_and_see(struct dafs_image *img, struct mmp_struct *mmp, unsigned wait_sec)
{
	uint32_t seq = mmp->mmp_seq;
	errcode_t err;

	dafs_notice(img->ctx, "%s: multiple-mount protection: waiting %u seconds",
		    img->dev->address, wait_sec);
	for (unsigned tenths = 0; tenths < wait_sec * 10; tenths++) {
		struct timespec nap = { 0, 100000 * (long)dafs_mmp_second_ms };

		err = dafs_cancelled(img->ctx);
		if (err)
			return err;
		nanosleep(&nap, NULL);
	}
	err = read_mmp(img, mmp);
	if (!err && mmp->mmp_seq != seq)
		err = refuse(img, mmp);
	return err;
}

static unsigned wait_seconds(const struct dafs_image *img, const struct mmp_struct *mmp)
{
	unsigned interval = img->fs->super->s_mmp_update_interval;

	if (interval < MIN_INTERVAL_SEC)
		interval = MIN_INTERVAL_SEC;
	if (mmp->mmp_check_interval > interval)
		interval = mmp->mmp_check_interval;
	return interval + 60 < interval * 2 + 1 ? interval + 60 : interval * 2 + 1;
}

errcode_t dafs_mmp_take(struct dafs_image *img)
{
	struct mmp_struct mmp;
	bool stale, clean;
	errcode_t err;

	if (!ext2fs_has_feature_mmp(img->fs->super))
		return 0;
	err = read_mmp(img, &mmp);
	if (err)
		return err;
	stale = left_by_us(img, &mmp);
	if (mmp.mmp_seq == EXT4_MMP_SEQ_FSCK && !stale)
		return refuse(img, &mmp);
	clean = mmp.mmp_seq == EXT4_MMP_SEQ_CLEAN;
	if (!clean && !stale)
		err = wait_and_see(img, &mmp, wait_seconds(img, &mmp));
	/* Two may have come to a clean block at once: each leaves a number of its own, the last one
	 * stays. (Two on an image file would have met at its lock.) */
	if (!err)
		err = write_mmp(img, &mmp, ext2fs_mmp_new_seq());
	if (!err && (!clean || img->dev->is_block || img->flags & DAFS_IMAGE_NO_LOCK))
		err = wait_and_see(img, &mmp, wait_seconds(img, &mmp));
	if (!err)
		err = write_mmp(img, &mmp, EXT4_MMP_SEQ_FSCK);
	img->mmp_taken = !err;
	return err;
}

void dafs_mmp_give(struct dafs_image *img)
{
	struct mmp_struct mmp;

	if (!img->mmp_taken)
		return;
	img->mmp_taken = false;
	/* What cannot be written now shows as "being checked" to the next one, who says so. */
	if (read_mmp(img, &mmp) == 0 && mmp.mmp_seq == EXT4_MMP_SEQ_FSCK)
		(void)write_mmp(img, &mmp, EXT4_MMP_SEQ_CLEAN);
}
