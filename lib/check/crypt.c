/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * crypt - encryption policies: each encrypted inode has one, and shares it with its directory.
 *
 * A policy here is the context attribute without its nonce. Pass 1 collects them, equal ones get
 * one number; pass 2 compares the numbers of a directory and what it names. Contents and names
 * cannot be checked without the key.
 *
 * Layout: fscrypt context versions 1 (28 bytes) and 2 (40 bytes), attribute "c" with name index 9.
 */
#include "config.h"

#include "check/check_int.h"

#include <errno.h>
#include <stdlib.h>

#include "image/xattr_int.h"

#define NONCE_BYTES 16u
#define V1_BYTES    28u
#define V2_BYTES    40u

/* The context may stand in the attribute block, too (inodes of 128 bytes have no room for it). */
static const uint8_t *find_in_block(struct dafs_ck_worker *w, const struct dafs_ck_inode *in,
				    uint32_t *len)
{
	const struct dafs_ck *ck = w->ck;
	uint64_t blk = dafs_ck_acl(ck, in->raw);
	const struct dafs_xattr_block *head = (const void *)w->xblk;
	uint32_t off = sizeof(*head);

	if (!blk || !ck->g.xattr || !dafs_ck_blk_ok(ck, blk))
		return NULL;
	w->err = dafs_ck_read(w, blk, 1, w->xblk);
	if (w->err || head->magic != DAFS_XATTR_MAGIC)
		return NULL;
	while (off + sizeof(struct ext2_ext_attr_entry) <= ck->g.block_size) {
		const struct ext2_ext_attr_entry *e = (const void *)(w->xblk + off);

		if (!e->e_name_len && !e->e_name_index)
			break;
		off += EXT2_EXT_ATTR_LEN(e->e_name_len);
		if (off > ck->g.block_size || e->e_name_index != DAFS_XATTR_ENCRYPTION ||
		    e->e_name_len != 1 || *(const char *)(e + 1) != 'c')
			continue;
		if (e->e_value_inum ||
		    (uint64_t)e->e_value_offs + e->e_value_size > ck->g.block_size)
			break;
		*len = e->e_value_size;
		return w->xblk + e->e_value_offs;
	}
	return NULL;
}

bool dafs_ck_policy_look(struct dafs_ck_worker *w, struct dafs_ck_inode *in)
{
	uint32_t len = 0;
	const uint8_t *context =
		dafs_ck_xattr_find(w->ck, in->raw, DAFS_XATTR_ENCRYPTION, "c", &len);
	struct dafs_ck_policy *policy;
	bool sound;

	if (!context)
		context = find_in_block(w, in, &len);
	if (!context) {
		if (DAFS_CK_FIND(w, INO_ENC_XATTR, .ino = in->ino)) {
			in->raw->i_flags &= ~EXT4_ENCRYPT_FL;
			in->dirty = true;
		}
		return true;
	}
	sound = len && ((context[0] == 1 && len == V1_BYTES) ||
			(context[0] == 2 && len == V2_BYTES) || context[0] > 2);
	if (!sound && DAFS_CK_FIND(w, INO_ENC_BAD, .ino = in->ino)) {
		dafs_ck_inode_clear(w, in);
		return false;
	}
	policy = dafs_ck_vec_add(&w->policies, sizeof(*policy));
	if (!policy) {
		w->err = ENOMEM;
		return true;
	}
	policy->ino = in->ino;
	/* Versions to come are taken for one policy: nothing can be said against them. */
	if (sound && context[0] <= 2) {
		policy->len = (uint8_t)(len - NONCE_BYTES);
		memcpy(policy->bytes, context, policy->len);
	}
	policy->id = sound ? 1 : ~0u;
	in->cki |= DAFS_CKI_ENC;
	return true;
}

static int by_bytes(const void *a, const void *b)
{
	const struct dafs_ck_policy *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->bytes, y->bytes, x->len);
}

static int by_ino(const void *a, const void *b)
{
	const struct dafs_ck_policy *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

errcode_t dafs_ck_policies_finish(struct dafs_ck *ck)
{
	struct dafs_ck_policy *v;
	uint32_t id = 1;

	for (unsigned i = 0; i < ck->nworkers; i++) {
		const struct dafs_ck_policy *from = ck->workers[i].policies.v;

		for (size_t k = 0; k < ck->workers[i].policies.n; k++) {
			struct dafs_ck_policy *to = dafs_ck_vec_add(&ck->policies, sizeof(*to));

			if (!to)
				return ENOMEM;
			*to = from[k];
		}
		dafs_ck_vec_fini(&ck->workers[i].policies);
	}
	v = ck->policies.v;
	if (!ck->policies.n)
		return 0;
	qsort(v, ck->policies.n, sizeof(*v), by_bytes);
	for (size_t i = 0; i < ck->policies.n; i++) {
		if (i && by_bytes(&v[i - 1], &v[i]))
			id++;
		if (v[i].id != ~0u)
			v[i].id = id;
	}
	qsort(v, ck->policies.n, sizeof(*v), by_ino);
	return 0;
}

uint32_t dafs_ck_policy_id(const struct dafs_ck *ck, uint32_t ino)
{
	struct dafs_ck_policy key = { .ino = ino };
	const struct dafs_ck_policy *found = NULL;

	if (ck->policies.n)
		found = bsearch(&key, ck->policies.v, ck->policies.n, sizeof(key), by_ino);
	return found ? found->id : 0;
}
