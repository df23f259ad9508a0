/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inode - see inode.h: the file part of an inode, and sets of extended attributes.
 */
#include "config.h"

#include "model/inode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* All of the source's bytes become pending blocks. */
static errcode_t fill_whole(struct dafs_file *file, const struct dafs_inode *inode,
			    uint32_t block_size, unsigned cluster_bits)
{
	uint64_t blks = inode->size / block_size + (inode->size % block_size != 0);
	struct dafs_es_extent ext = { .len = (uint32_t)blks, .type = DAFS_ES_DELAYED };
	struct dafs_page_run run = {
		.len = (uint32_t)blks,
		.state = DAFS_PG_UPTODATE | DAFS_PG_DIRTY | DAFS_PG_MAPPED | DAFS_PG_NEW |
			 DAFS_PG_DELAY,
		.src = inode->u.whole,
	};
	errcode_t err;

	if (!blks)
		return 0;
	if (blks > DAFS_RANGE_END)
		return DAFS_ET_FILE_TOO_BIG;
	err = dafs_es_insert(&file->es, &ext, NULL);
	if (err)
		return err;
	file->reserved_clusters = (blks + (UINT64_C(1) << cluster_bits) - 1) >> cluster_bits;
	return dafs_pagecache_insert(&file->pages, &run, NULL, NULL);
}

errcode_t dafs_inode_file(struct dafs_inode *inode, uint32_t block_size, unsigned cluster_bits,
			  struct dafs_file **ret)
{
	bool whole = inode->state & DAFS_I_WHOLE;
	struct dafs_file *file;
	errcode_t err = 0;

	assert(S_ISREG(inode->mode));
	*ret = NULL;
	if (!whole && inode->u.file) {
		*ret = inode->u.file;
		return 0;
	}
	file = calloc(1, sizeof(*file));
	if (!file)
		return ENOMEM;
	dafs_es_init(&file->es);
	dafs_pagecache_init(&file->pages, block_size);
	file->image_end_lblk = DAFS_RANGE_END;
	if (whole)
		err = fill_whole(file, inode, block_size, cluster_bits);
	if (err) {
		dafs_file_free(file);
		return err;
	}
	inode->u.file = file;
	inode->state &= (uint16_t)~DAFS_I_WHOLE;
	*ret = file;
	return 0;
}

void dafs_file_free(struct dafs_file *file)
{
	if (!file)
		return;
	dafs_es_fini(&file->es);
	dafs_pagecache_fini(&file->pages);
	dafs_extlist_fini(&file->punched);
	dafs_extlist_fini(&file->placed);
	dafs_extlist_fini(&file->falloc);
	free(file->pend);
	free(file);
}

/* The link that points at the attribute of that name, or the one at the end of the set. */
static struct dafs_xattr **find_link(struct dafs_xattr **set, const char *name, size_t name_len)
{
	while (*set && ((*set)->name_len != name_len || memcmp((*set)->name, name, name_len)))
		set = &(*set)->next;
	return set;
}

errcode_t dafs_xattr_put(struct dafs_xattr **set, const char *name, const void *value,
			 uint32_t value_len)
{
	size_t name_len = strlen(name);
	struct dafs_xattr **link = find_link(set, name, name_len), *old = *link, *x;

	if (!value) {
		if (!old)
			return ENODATA;
		*link = old->next;
		free(old);
		return 0;
	}
	if (name_len > UINT16_MAX)
		return DAFS_ET_XATTR_NAME;
	x = malloc(sizeof(*x) + name_len + 1 + value_len);
	if (!x)
		return ENOMEM;
	x->next = old ? old->next : NULL;
	x->name_len = (uint16_t)name_len;
	x->value_len = value_len;
	memcpy(x->name, name, name_len + 1);
	memcpy(x->name + name_len + 1, value, value_len);
	*link = x;
	free(old);
	return 0;
}

const struct dafs_xattr *dafs_xattr_get(const struct dafs_xattr *set, const char *name)
{
	struct dafs_xattr *head = (struct dafs_xattr *)set;

	return *find_link(&head, name, strlen(name));
}

void dafs_xattr_free(struct dafs_xattr **set)
{
	struct dafs_xattr *next;

	for (struct dafs_xattr *x = *set; x; x = next) {
		next = x->next;
		free(x);
	}
	*set = NULL;
}
