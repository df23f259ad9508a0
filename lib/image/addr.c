/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * addr - image addresses: PATH, PATH?offset=N[KMGT], PATH:pN, PATH:PARTLABEL=NAME, and the
 * partition tables behind them.
 *
 * Reads the table through libblkid; opens nothing itself. Invariant: a path that exists as written
 * is taken as it is, whatever its tail looks like.
 */
#include "config.h"

#include "image/dev.h"

#include <blkid/blkid.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
	SECTOR_BITS = 9
}; /* libblkid counts in sectors of 512 bytes, whatever the device's own are */

void dafs_dev_address_fini(struct dafs_dev_address *addr)
{
	free(addr->path);
	free(addr->partlabel);
	memset(addr, 0, sizeof(*addr));
}

/* A count of bytes with an optional unit of 1024. False when text is anything else or the number
 * too large. */
static bool parse_bytes(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	unsigned shift = 0;
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || end[1])
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (value > (uint64_t)INT64_MAX >> shift)
		return false;
	*bytes = (uint64_t)value << shift;
	return true;
}

/* ":p" and a decimal number to the end of text. */
static bool parse_partno(const char *tail, unsigned *partno)
{
	unsigned long value;
	char *end;

	if (!isdigit((unsigned char)tail[2]))
		return false;
	errno = 0;
	value = strtoul(tail + 2, &end, 10);
	if (errno || *end || value == 0 || value > 65535)
		return false;
	*partno = (unsigned)value;
	return true;
}

/* The last place where needle occurs. */
static const char *find_last(const char *text, const char *needle)
{
	const char *last = NULL;

	for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle))
		last = at;
	return last;
}

/* Read the tail of an address that is no path; *path_len gets the length of what is before it. */
static errcode_t parse_tail(struct dafs_ctx *ctx, const char *address, struct dafs_dev_address *out,
			    size_t *path_len)
{
	static const char offset_key[] = "?offset=", label_key[] = ":PARTLABEL=";
	const char *tail = find_last(address, offset_key);

	if (tail) {
		if (!parse_bytes(tail + sizeof(offset_key) - 1, &out->offset_bytes))
			return dafs_fail(ctx, DAFS_ET_ADDRESS, "%s: bad offset", address);
		out->has_offset = true;
		*path_len = (size_t)(tail - address);
		return 0;
	}
	tail = find_last(address, label_key);
	if (tail) {
		if (!tail[sizeof(label_key) - 1])
			return dafs_fail(ctx, DAFS_ET_ADDRESS, "%s: empty partition label",
					 address);
		out->partlabel = strdup(tail + sizeof(label_key) - 1);
		*path_len = (size_t)(tail - address);
		return out->partlabel ? 0 : ENOMEM;
	}
	tail = find_last(address, ":p");
	if (tail && parse_partno(tail, &out->partno))
		*path_len = (size_t)(tail - address);
	return 0;
}

errcode_t dafs_dev_address_parse(struct dafs_ctx *ctx, const char *address,
				 struct dafs_dev_address *out)
{
	size_t path_len = strlen(address);
	struct stat st;
	errcode_t err = 0;

	memset(out, 0, sizeof(*out));
	if (!path_len)
		return dafs_fail(ctx, DAFS_ET_ADDRESS, "empty image address");
	if (stat(address, &st) != 0)
		err = parse_tail(ctx, address, out, &path_len);
	if (!err && !path_len)
		err = dafs_fail(ctx, DAFS_ET_ADDRESS, "%s: no path before it", address);
	if (!err) {
		out->path = strndup(address, path_len);
		if (!out->path)
			err = ENOMEM;
	}
	if (err)
		dafs_dev_address_fini(out);
	return err;
}

static bool partition_matches(blkid_partition part, const struct dafs_dev_address *addr)
{
	const char *name;

	if (!addr->partlabel)
		return blkid_partition_get_partno(part) == (int)addr->partno;
	name = blkid_partition_get_name(part);
	return name && strcmp(name, addr->partlabel) == 0;
}

errcode_t dafs_dev_find_partition(struct dafs_ctx *ctx, const char *address,
				  const struct dafs_dev_address *addr, int fd,
				  uint64_t *start_bytes, uint64_t *size_bytes)
{
	blkid_probe probe = blkid_new_probe();
	blkid_partition found = NULL;
	blkid_partlist list = NULL;
	errcode_t err = 0;

	*start_bytes = *size_bytes = 0;
	if (!probe)
		return ENOMEM;
	if (blkid_probe_set_device(probe, fd, 0, 0) == 0 &&
	    blkid_probe_enable_partitions(probe, 1) == 0)
		list = blkid_probe_get_partitions(probe);
	if (!list) {
		err = dafs_fail(ctx, DAFS_ET_NO_PARTITION, "%s: no partition table", address);
		goto out;
	}
	for (int i = 0; i < blkid_partlist_numof_partitions(list) && !found; i++) {
		blkid_partition part = blkid_partlist_get_partition(list, i);

		if (part && partition_matches(part, addr))
			found = part;
	}
	if (!found || blkid_partition_is_extended(found)) {
		err = dafs_fail(ctx, DAFS_ET_NO_PARTITION, "%s: %s", address,
				found ? "an extended partition" : "not in the partition table");
		goto out;
	}
	*start_bytes = (uint64_t)blkid_partition_get_start(found) << SECTOR_BITS;
	*size_bytes = (uint64_t)blkid_partition_get_size(found) << SECTOR_BITS;
out:
	blkid_free_probe(probe);
	return err;
}
