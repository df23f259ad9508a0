/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_probe - what libblkid finds at the place where a file system is to be made, and how the
 * device wants to be used.
 *
 * Only the image's own range is looked at: a partition table before it is not a finding.
 */
#include "config.h"

#include "job/mkfs_int.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Smaller places hold nothing that libblkid knows. */
enum { MIN_PROBE_BYTES = 1024 };

static const char *value_of(blkid_probe probe, const char *name)
{
	const char *value;

	return blkid_probe_lookup_value(probe, name, &value, NULL) ? NULL : value;
}

/* "ADDRESS: ext4 file system labelled 'x'" for the current finding. */
static errcode_t name_finding(struct mkfs *mk, blkid_probe probe)
{
	const char *type = value_of(probe, "TYPE"), *table = value_of(probe, "PTTYPE");
	const char *usage = value_of(probe, "USAGE"), *label = value_of(probe, "LABEL");
	bool is_fs = !usage || !strcmp(usage, "filesystem");

	if (!type)
		return dafs_fail(mk->ctx, DAFS_ET_EXISTS_DATA, "%s: %s partition table",
				 mk->address, table ? table : "unknown");
	return dafs_fail(mk->ctx, DAFS_ET_EXISTS_DATA, "%s: %s %s%s%s%s", mk->address, type,
			 is_fs ? "file system" : usage, label ? " labelled '" : "",
			 label ? label : "", label ? "'" : "");
}

static void keep_signature(struct mkfs *mk, blkid_probe probe, const char *magic,
			   const char *offset)
{
	const unsigned most = sizeof(mk->signatures) / sizeof(mk->signatures[0]);
	const char *bytes, *at = value_of(probe, offset);
	size_t len;

	if (!at || blkid_probe_lookup_value(probe, magic, &bytes, &len) || !len ||
	    mk->nsignatures == most)
		return;
	mk->signatures[mk->nsignatures++] = (struct mkfs_signature){
		.off = strtoull(at, NULL, 10),
		.len_bytes = (uint32_t)len,
	};
}

static errcode_t look(struct mkfs *mk, blkid_probe probe)
{
	int found;

	while (!(found = blkid_do_probe(probe))) {
		if (!mk->opts->force)
			return name_finding(mk, probe);
		keep_signature(mk, probe, "SBMAGIC", "SBMAGIC_OFFSET");
		keep_signature(mk, probe, "PTMAGIC", "PTMAGIC_OFFSET");
	}
	return found < 0 ? dafs_fail(mk->ctx, EIO, "%s: cannot look for existing data", mk->address)
			 : 0;
}

errcode_t mkfs_probe(struct mkfs *mk)
{
	blkid_probe probe;
	errcode_t err = 0;

	if (!mk->dev || mk->room_bytes < MIN_PROBE_BYTES)
		return 0;
	probe = blkid_new_probe();
	if (!probe)
		return ENOMEM;
	if (blkid_probe_set_device(probe, mk->dev->fd, (blkid_loff_t)mk->dev->start_bytes,
				   (blkid_loff_t)mk->room_bytes)) {
		err = dafs_fail(mk->ctx, EIO, "%s: cannot look for existing data", mk->address);
		goto out;
	}
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
							 BLKID_SUBLKS_LABEL | BLKID_SUBLKS_MAGIC |
							 BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC);
	err = look(mk, probe);
out:
	blkid_free_probe(probe);
	return err;
}

errcode_t mkfs_probe_topology(struct mkfs *mk)
{
	uint64_t least, best;
	blkid_topology topology;
	blkid_probe probe;

	if (!mk->dev || !mk->dev->is_block)
		return 0;
	probe = blkid_new_probe_from_filename(mk->dev->path);
	topology = probe ? blkid_probe_get_topology(probe) : NULL;
	/* A device that does not tell is taken as it is. */
	if (!topology) {
		blkid_free_probe(probe);
		return 0;
	}
	least = blkid_topology_get_minimum_io_size(topology);
	best = blkid_topology_get_optimal_io_size(topology);
	if (!least && mk->phys_sector_bytes > mk->block_size)
		least = mk->phys_sector_bytes;
	if (!best)
		best = least;
	if (least > mk->block_size)
		mk->param.s_raid_stride = (uint16_t)(least / mk->block_size);
	if (best > mk->block_size)
		mk->param.s_raid_stripe_width = (uint32_t)(best / mk->block_size);
	if (blkid_topology_get_alignment_offset(topology))
		dafs_notice(
			mk->ctx,
			"warning: %s is not aligned to the sectors of its disk (off by %lu bytes)",
			mk->address, blkid_topology_get_alignment_offset(topology));
	blkid_free_probe(probe);
	return 0;
}
