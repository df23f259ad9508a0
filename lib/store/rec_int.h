/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rec_int - numbers in and out of a row: little-endian base-128, signed ones folded. Reading
 * never goes past the end: a reader that ran out or met nonsense is bad for good and gives
 * zeros.
 */
#ifndef DAFS_STORE_REC_INT_H
#define DAFS_STORE_REC_INT_H

#include "store/rec.h"

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

void dafs_rec_put_bytes(struct dafs_rec_buf *buf, const void *bytes, size_t len);
void dafs_rec_put(struct dafs_rec_buf *buf, uint64_t value);
void dafs_rec_put_signed(struct dafs_rec_buf *buf, int64_t value);
/* The checksum over all before, seeded with the row's key. */
void dafs_rec_put_sum(struct dafs_rec_buf *buf, uint64_t key, uint64_t key2);
/* Begin to read a row. False: its checksum does not agree. */
bool dafs_rec_open(struct reader *r, const uint8_t *rec, size_t len, uint64_t key, uint64_t key2);

uint64_t dafs_rec_get(struct reader *r);
int64_t dafs_rec_get_signed(struct reader *r);
/* A number of at most max; above: bad. */
uint64_t dafs_rec_get_max(struct reader *r, uint64_t max);
const uint8_t *dafs_rec_get_bytes(struct reader *r, size_t len);

/* rec_file.c: the file part, and the ranges of [from, to) of it. */
errcode_t dafs_rec_put_file(struct dafs_rec_buf *buf, const struct dafs_rec_env *env,
			    const struct dafs_inode *inode, bool *segs);
errcode_t dafs_rec_get_file(struct reader *r, const struct dafs_rec_env *env,
			    struct dafs_inode *inode, bool *segs);

#endif
