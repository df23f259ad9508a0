/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xacl - POSIX ACLs between the form that getxattr gives (version 2: every entry tag,
 * permissions, id) and ext4's own (version 1: an id only where the tag has one). Checks the
 * shape, not what the ACL grants.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/xattr_int.h"

#define ACL_VERSION_HOST 2u
#define ACL_VERSION_DISK 1u
#define ACL_ID_NONE 0xFFFFFFFFu

enum acl_tag {
	TAG_USER_OBJ = 1,
	TAG_USER = 2,
	TAG_GROUP_OBJ = 4,
	TAG_GROUP = 8,
	TAG_MASK = 16,
	TAG_OTHER = 32,
};

struct acl_entry {
	uint16_t tag;
	uint16_t perm;
	uint32_t id;
};
#define SHORT_ENTRY 4u

/* Bytes of an entry in ext4's form; 0: no such tag. */
static uint32_t disk_bytes(uint16_t tag)
{
	switch (tag) {
	case TAG_USER:
	case TAG_GROUP:
		return sizeof(struct acl_entry);
	case TAG_USER_OBJ:
	case TAG_GROUP_OBJ:
	case TAG_MASK:
	case TAG_OTHER:
		return SHORT_ENTRY;
	default:
		return 0;
	}
}

/* The ACL's version stands before its entries. */
static bool has_version(const uint8_t *value, uint32_t len, uint32_t version)
{
	uint32_t found;

	if (len < sizeof(found))
		return false;
	memcpy(&found, value, sizeof(found));
	return found == version;
}

errcode_t dafs_xacl_to_disk(const uint8_t *value, uint32_t len, uint8_t **out, uint32_t *out_len)
{
	const uint32_t version = ACL_VERSION_DISK;
	uint32_t at = sizeof(version);

	*out = NULL;
	*out_len = 0;
	if (!has_version(value, len, ACL_VERSION_HOST) || (len - at) % sizeof(struct acl_entry))
		return EINVAL;
	*out = malloc(len);
	if (!*out)
		return ENOMEM;
	memcpy(*out, &version, sizeof(version));
	for (uint32_t from = at; from < len; from += sizeof(struct acl_entry)) {
		struct acl_entry e;

		memcpy(&e, value + from, sizeof(e));
		if (!disk_bytes(e.tag)) {
			free(*out);
			*out = NULL;
			return EINVAL;
		}
		memcpy(*out + at, &e, disk_bytes(e.tag));
		at += disk_bytes(e.tag);
	}
	*out_len = at;
	return 0;
}

errcode_t dafs_xacl_from_disk(const uint8_t *value, uint32_t len, uint8_t **out, uint32_t *out_len)
{
	const uint32_t version = ACL_VERSION_HOST;
	uint32_t at = sizeof(version), from = at;

	*out = NULL;
	*out_len = 0;
	if (!has_version(value, len, ACL_VERSION_DISK))
		return EINVAL;
	*out = malloc(sizeof(version) + (size_t)len / SHORT_ENTRY * sizeof(struct acl_entry));
	if (!*out)
		return ENOMEM;
	memcpy(*out, &version, sizeof(version));
	while (from < len) {
		struct acl_entry e = { .id = ACL_ID_NONE };
		uint32_t bytes = 0;

		if (len - from >= SHORT_ENTRY) {
			memcpy(&e, value + from, SHORT_ENTRY);
			bytes = disk_bytes(e.tag);
		}
		if (!bytes || bytes > len - from) {
			free(*out);
			*out = NULL;
			return EINVAL;
		}
		memcpy(&e, value + from, bytes);
		memcpy(*out + at, &e, sizeof(e));
		at += sizeof(e);
		from += bytes;
	}
	*out_len = at;
	return 0;
}
