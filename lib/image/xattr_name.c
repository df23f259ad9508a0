/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xattr_name - names of extended attributes <-> the index that ext4 stores for their prefix, and
 * values in the form that goes with the name.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "image/xattr_int.h"

#define MAX_NAME 255u
#define MAX_HOST_VALUE 65536u	/* XATTR_SIZE_MAX of Linux: more could not be read back */

static const struct prefix {
	const char *text;
	uint8_t index;
	bool whole;		/* the text is the name */
} prefixes[] = {
	{ "user.", DAFS_XATTR_USER, false },
	{ "system.posix_acl_access", DAFS_XATTR_ACL_ACCESS, true },
	{ "system.posix_acl_default", DAFS_XATTR_ACL_DEFAULT, true },
	{ "trusted.", DAFS_XATTR_TRUSTED, false },
	{ "security.", DAFS_XATTR_SECURITY, false },
	{ "system.richacl", DAFS_XATTR_RICHACL, true },
	{ "gnu.", DAFS_XATTR_HURD, false },
	{ "encryption.", DAFS_XATTR_ENCRYPTION,
	  false }, /* not a name of Linux: ours, for contexts to survive */
};
#define NPREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

errcode_t dafs_xattr_full_name(struct dafs_image *img, uint32_t ino,
			       const struct dafs_xattr_ent *ent, char **name)
{
	*name = NULL;
	for (size_t i = 0; i < NPREFIXES; i++) {
		const struct prefix *p = &prefixes[i];
		size_t len = strlen(p->text);

		if (p->index != ent->index || (p->whole && ent->name_len))
			continue;
		*name = malloc(len + ent->name_len + 1);
		if (!*name)
			return ENOMEM;
		memcpy(*name, p->text, len);
		memcpy(*name + len, ent->name, ent->name_len);
		(*name)[len + ent->name_len] = 0;
		return 0;
	}
	return dafs_fail(img->ctx, DAFS_ET_XATTR_NAME, "inode %u: attribute %.*s of kind %u", ino,
			 ent->name_len, ent->name, ent->index);
}

static const struct prefix *find_prefix(const char *name)
{
	for (size_t i = 0; i < NPREFIXES; i++) {
		const struct prefix *p = &prefixes[i];
		size_t len = strlen(p->text);

		if (p->whole ? !strcmp(name, p->text) : !strncmp(name, p->text, len) && name[len])
			return p;
	}
	return NULL;
}

errcode_t dafs_xattr_to_ent(struct dafs_image *img, const struct dafs_inode *inode,
			    const struct dafs_xattr *attr, const char *path,
			    struct dafs_xattr_ent *ent, uint8_t **owned)
{
	const struct prefix *p = find_prefix(attr->name);
	char number[32];
	size_t skip;
	errcode_t err;

	*owned = NULL;
	if (!path) {
		snprintf(number, sizeof(number), "inode %u", inode->ino);
		path = number;
	}
	skip = p ? strlen(p->text) : 0;
	if (!p || attr->name_len - skip > MAX_NAME || memchr(attr->name, 0, attr->name_len) ||
	    (p->index == DAFS_XATTR_ENCRYPTION && !(inode->iflags & EXT4_ENCRYPT_FL)))
		return dafs_fail(img->ctx, DAFS_ET_XATTR_NAME, "%s: %s", path, attr->name);
	if (attr->value_len > MAX_HOST_VALUE)
		return dafs_fail(img->ctx, DAFS_ET_XATTR_TOO_BIG, "%s: %s: %u bytes", path,
				 attr->name, attr->value_len);
	*ent = (struct dafs_xattr_ent){ .name = attr->name + skip,
					.name_len = (uint8_t)(attr->name_len - skip),
					.index = p->index,
					.value = dafs_xattr_value(attr),
					.value_len = attr->value_len };
	if (p->index != DAFS_XATTR_ACL_ACCESS && p->index != DAFS_XATTR_ACL_DEFAULT)
		return 0;
	err = dafs_xacl_to_disk(ent->value, ent->value_len, owned, &ent->value_len);
	if (err == EINVAL)
		return dafs_fail(img->ctx, DAFS_ET_XATTR_NAME, "%s: %s: not a POSIX ACL", path,
				 attr->name);
	ent->value = *owned;
	return err;
}
