/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * spool - pending bytes in a file of block-sized slots, each with a crc32c.
 *
 * With a database: free slots and checksums are rows, changed in the transaction of the command that changes them; new
 * bytes go to slots that are free in the last committed state, or behind its end, so that a rollback or a crash needs nothing undone.
 * Ephemeral: an unnamed file that only grows (dropped ranges become holes); the bytes never leave the process, so no checksums.
 *
 * Checksums travel in pages of 256, read when first needed and written at save. Reading is thread-safe.
 */
#include "config.h"

#include "store/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "base/crc32c.h"

#define SUMS_A_PAGE 256u
#define COPY_BYTES  (1u << 20)

struct dafs_sum_page {
	uint64_t page;
	bool dirty;
	UT_hash_handle hh;
	uint32_t crc[SUMS_A_PAGE];
};

/* One lock for all stores: taken once a read of the spool, for the checksum pages and the database behind them. */
static pthread_mutex_t sums_lock = PTHREAD_MUTEX_INITIALIZER;

static errcode_t spool_fail(struct dafs_store *st, errcode_t err)
{
	return dafs_fail(st->ctx, err, "%s/%s", st->place ? st->place : "(unnamed)", DAFS_STORE_SPOOL);
}

static errcode_t load_page(struct dafs_store *st, struct dafs_sum_page *page)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_SUM_GET, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)page->page);
	err = dafs_db_step(st, stmt);
	if (err)
		return err == ENOENT ? 0 : err;
	if (sqlite3_column_bytes(stmt, 0) == sizeof(page->crc))
		memcpy(page->crc, sqlite3_column_blob(stmt, 0), sizeof(page->crc));
	else
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: checksum page %" PRIu64, st->place, page->page);
	sqlite3_reset(stmt);
	return err;
}

/* The page of checksums that slot belongs to; lock held. */
static errcode_t sum_page(struct dafs_store *st, uint64_t slot, struct dafs_sum_page **ret)
{
	uint64_t number = slot / SUMS_A_PAGE;
	struct dafs_sum_page *page;
	errcode_t err;

	HASH_FIND(hh, st->spool.pages, &number, sizeof(number), page);
	*ret = page;
	if (page)
		return 0;
	page = calloc(1, sizeof(*page));
	if (!page)
		return ENOMEM;
	page->page = number;
	err = load_page(st, page);
	if (err) {
		free(page);
		return err;
	}
	HASH_ADD(hh, st->spool.pages, page, sizeof(page->page), page);
	*ret = page;
	return 0;
}

static errcode_t set_sums(struct dafs_store *st, uint64_t slot, const uint8_t *blocks, uint32_t n)
{
	errcode_t err = 0;

	if (!st->db)
		return 0;
	pthread_mutex_lock(&sums_lock);
	for (uint32_t i = 0; i < n && !err; i++) {
		struct dafs_sum_page *page;

		err = sum_page(st, slot + i, &page);
		if (err)
			break;
		page->crc[(slot + i) % SUMS_A_PAGE] = dafs_crc32c(~0u, blocks + (size_t)i * st->spool.block_size, st->spool.block_size);
		page->dirty = true;
	}
	pthread_mutex_unlock(&sums_lock);
	return err;
}

static errcode_t check_sums(struct dafs_store *st, struct dafs_ctx *ctx, uint64_t slot, const uint8_t *blocks, uint64_t n)
{
	errcode_t err = 0;

	if (!st->db)
		return 0;
	pthread_mutex_lock(&sums_lock);
	for (uint64_t i = 0; i < n && !err; i++) {
		struct dafs_sum_page *page;

		err = sum_page(st, slot + i, &page);
		if (!err && page->crc[(slot + i) % SUMS_A_PAGE] !=
				    dafs_crc32c(~0u, blocks + i * st->spool.block_size, st->spool.block_size))
			err = dafs_fail(ctx, DAFS_ET_CACHE_DATA, "%s/%s: slot %" PRIu64, st->place, DAFS_STORE_SPOOL, slot + i);
	}
	pthread_mutex_unlock(&sums_lock);
	return err;
}

/* Whole slots into buf, verified. */
static errcode_t read_slots(struct dafs_store *st, struct dafs_ctx *ctx, uint64_t slot, uint64_t n, uint8_t *buf)
{
	size_t len = n * st->spool.block_size, done = 0;

	while (done < len) {
		ssize_t got = pread(st->spool.fd, buf + done, len - done, (off_t)(slot * st->spool.block_size + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return spool_fail(st, errno);
		if (!got)
			return dafs_fail(ctx, DAFS_ET_CACHE_DATA, "%s/%s ends early", st->place ? st->place : "(unnamed)", DAFS_STORE_SPOOL);
		done += (size_t)got;
	}
	return check_sums(st, ctx, slot, buf, n);
}

static errcode_t spool_read(struct dafs_source *src, struct dafs_ctx *ctx, void *buf, size_t len, uint64_t off)
{
	struct dafs_spool *sp = (struct dafs_spool *)src;
	uint32_t bs = sp->block_size;
	uint8_t *out = buf, *one = NULL;
	errcode_t err = 0;

	while (len && !err) {
		uint32_t within = (uint32_t)(off % bs);
		size_t part = len - len % bs;

		if (!within && part) {
			err = read_slots(sp->st, ctx, off / bs, part / bs, out);
		} else {
			part = len < bs - within ? len : bs - within;
			one = one ? one : malloc(bs);
			err = one ? read_slots(sp->st, ctx, off / bs, 1, one) : ENOMEM;
			if (!err)
				memcpy(out, one + within, part);
		}
		out += part;
		off += part;
		len -= part;
	}
	free(one);
	return err;
}

static const struct dafs_source_ops spool_ops = { .read = spool_read };

void dafs_spool_init(struct dafs_store *st)
{
	st->spool.source.ops = &spool_ops;
	st->spool.st = st;
	st->spool.fd = -1;
	st->spool.block_size = st->img->block_size;
}

static void free_pages(struct dafs_spool *sp)
{
	struct dafs_sum_page *page, *next;

	HASH_ITER(hh, sp->pages, page, next) {
		HASH_DEL(sp->pages, page);
		free(page);
	}
}

void dafs_spool_fini(struct dafs_spool *sp)
{
	free_pages(sp);
	free(sp->dropped);
	sp->dropped = NULL;
	sp->ndropped = sp->dropped_room = 0;
	if (sp->fd >= 0)
		close(sp->fd);
	sp->fd = -1;
}

/* An unnamed file: where the image is, else in TMPDIR. */
static int open_unnamed(struct dafs_store *st)
{
	const char *tmp = secure_getenv("TMPDIR");
	char *copy = st->img->dev->is_block ? NULL : strdup(st->img->dev->path);
	char *slash = copy ? strrchr(copy, '/') : NULL;
	const char *places[3] = { copy ? "." : NULL, tmp && *tmp ? tmp : NULL, "/var/tmp" };
	int fd = -1;

	if (slash) {
		slash[slash == copy] = '\0';
		places[0] = copy;
	}
	for (int i = 0; i < 3 && fd < 0; i++) {
		if (places[i])
			fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	}
	free(copy);
	return fd;
}

errcode_t dafs_spool_open(struct dafs_store *st, bool make)
{
	char *path = dafs_place_file(st->place, DAFS_STORE_SPOOL);
	struct stat sb;
	errcode_t err = 0;

	if (!path)
		return ENOMEM;
	st->spool.fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
	if (st->spool.fd < 0)
		err = dafs_fail(st->ctx, errno == ENOENT ? DAFS_ET_CACHE_DAMAGED : errno, "%s", path);
	else if (fstat(st->spool.fd, &sb))
		err = dafs_fail(st->ctx, errno, "%s", path);
	else if (!S_ISREG(sb.st_mode) || sb.st_uid != geteuid() || sb.st_mode & 077)
		err = dafs_fail(st->ctx, DAFS_ET_CACHE_PLACE, "%s", path);
	free(path);
	if (!err)
		err = dafs_db_meta_get(st, "spool_end", &st->spool.end_slot);
	return err == ENOENT ? 0 : err;
}

/* ---- slots ---- */

static errcode_t free_put(struct dafs_store *st, uint64_t slot, uint64_t n)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_FREE_PUT, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)slot);
	sqlite3_bind_int64(stmt, 2, (sqlite3_int64)n);
	return dafs_db_run(st, stmt);
}

static errcode_t free_del(struct dafs_store *st, uint64_t slot)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_FREE_DEL, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)slot);
	return dafs_db_run(st, stmt);
}

/* n slots side by side: the smallest free range that holds them, else at the end. */
static errcode_t take_slots(struct dafs_store *st, uint64_t n, uint64_t *slot)
{
	sqlite3_stmt *stmt = NULL;
	errcode_t err = ENOENT;
	uint64_t have = 0;

	if (st->db && !(err = dafs_db_stmt(st, DAFS_SQL_FREE_FIT, &stmt))) {
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)n);
		err = dafs_db_step(st, stmt);
	}
	if (err == ENOENT) {
		*slot = st->spool.end_slot;
		st->spool.end_slot += n;
		return 0;
	}
	if (err)
		return err;
	*slot = (uint64_t)sqlite3_column_int64(stmt, 0);
	have = (uint64_t)sqlite3_column_int64(stmt, 1);
	sqlite3_reset(stmt);
	if (have < n || *slot + have > st->spool.end_slot)
		return dafs_fail(st->ctx, DAFS_ET_CACHE_DAMAGED, "%s: free slots", st->place);
	err = free_del(st, *slot);
	return err || have == n ? err : free_put(st, *slot + n, have - n);
}

/* Enter a range as free, joined with its neighbours. */
static errcode_t join_free(struct dafs_store *st, struct dafs_slots range)
{
	sqlite3_stmt *stmt;
	errcode_t err = dafs_db_stmt(st, DAFS_SQL_FREE_BEFORE, &stmt);

	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)range.slot);
	err = dafs_db_step(st, stmt);
	if (!err) {
		uint64_t slot = (uint64_t)sqlite3_column_int64(stmt, 0), n = (uint64_t)sqlite3_column_int64(stmt, 1);

		sqlite3_reset(stmt);
		if (slot + n == range.slot)
			range = (struct dafs_slots){ slot, n + range.n };
	} else if (err != ENOENT) {
		return err;
	}
	err = dafs_db_stmt(st, DAFS_SQL_FREE_AT, &stmt);
	if (err)
		return err;
	sqlite3_bind_int64(stmt, 1, (sqlite3_int64)(range.slot + range.n));
	err = dafs_db_step(st, stmt);
	if (!err) {
		uint64_t behind = (uint64_t)sqlite3_column_int64(stmt, 0);

		sqlite3_reset(stmt);
		err = free_del(st, range.slot + range.n);
		range.n += behind;
	} else if (err == ENOENT) {
		err = 0;
	}
	return err ? err : free_put(st, range.slot, range.n);
}

static errcode_t write_slots(struct dafs_store *st, uint64_t slot, const uint8_t *blocks, uint32_t n)
{
	size_t len = (size_t)n * st->spool.block_size, done = 0;

	while (done < len) {
		ssize_t put = pwrite(st->spool.fd, blocks + done, len - done, (off_t)(slot * st->spool.block_size + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return spool_fail(st, errno);
		done += (size_t)put;
	}
	st->spool.wrote = true;
	return set_sums(st, slot, blocks, n);
}

static errcode_t need_spool(struct dafs_store *st)
{
	if (st->spool.fd >= 0)
		return 0;
	if (st->db)
		return DAFS_ET_SEQUENCE;
	st->spool.fd = open_unnamed(st);
	return st->spool.fd < 0 ? spool_fail(st, errno) : 0;
}

static errcode_t spool_put(void *arg, const void *blocks, uint32_t nblks, struct dafs_source **src, uint64_t *src_off_bytes)
{
	struct dafs_store *st = arg;
	uint64_t slot = 0;
	errcode_t err = need_spool(st);

	*src = NULL;
	*src_off_bytes = 0;
	if (!err)
		err = take_slots(st, nblks, &slot);
	if (!err)
		err = write_slots(st, slot, blocks, nblks);
	if (err)
		return err;
	*src = &st->spool.source;
	*src_off_bytes = slot * st->spool.block_size;
	return 0;
}

/* The next piece of a host file, padded with zeros to whole blocks. */
static errcode_t read_piece(struct dafs_store *st, int fd, uint64_t off, uint8_t *buf, size_t want, uint32_t *nblks)
{
	size_t done = 0, padded;

	while (done < want) {
		ssize_t got = pread(fd, buf + done, want - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (!got)
			return DAFS_ET_SOURCE_CHANGED;
		done += (size_t)got;
	}
	*nblks = (uint32_t)((want + st->spool.block_size - 1) / st->spool.block_size);
	padded = (size_t)*nblks * st->spool.block_size;
	memset(buf + want, 0, padded - want);
	return 0;
}

static errcode_t spool_put_fd(void *arg, int fd, uint64_t off, uint64_t len_bytes, struct dafs_source **src, uint64_t *src_off_bytes)
{
	struct dafs_store *st = arg;
	uint32_t bs = st->spool.block_size;
	uint64_t slot = 0, at;
	uint8_t *buf = malloc(COPY_BYTES > bs ? COPY_BYTES : bs);
	errcode_t err = buf ? need_spool(st) : ENOMEM;

	*src = NULL;
	*src_off_bytes = 0;
	if (!err)
		err = take_slots(st, (len_bytes + bs - 1) / bs, &slot);
	at = slot;
	for (uint64_t done = 0; done < len_bytes && !err; done += COPY_BYTES) {
		uint64_t left = len_bytes - done;
		uint32_t n = 0;

		err = read_piece(st, fd, off + done, buf, left < COPY_BYTES ? left : COPY_BYTES, &n);
		if (!err)
			err = write_slots(st, at, buf, n);
		if (!err)
			err = dafs_cancelled(st->ctx);
		at += n;
	}
	free(buf);
	if (err)
		return err;
	*src = &st->spool.source;
	*src_off_bytes = slot * bs;
	return 0;
}

static void spool_drop(void *arg, const struct dafs_page_run *gone)
{
	struct dafs_store *st = arg;
	struct dafs_spool *sp = &st->spool;
	struct dafs_slots range = { gone->src_off_bytes / sp->block_size, gone->len };

	if (gone->src != &sp->source)
		return;
	if (!st->db) {
		fallocate(sp->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)gone->src_off_bytes,
			  (off_t)(range.n * sp->block_size));
		return;
	}
	if (sp->ndropped && sp->dropped[sp->ndropped - 1].slot + sp->dropped[sp->ndropped - 1].n == range.slot) {
		sp->dropped[sp->ndropped - 1].n += range.n;
		return;
	}
	if (sp->ndropped == sp->dropped_room) {
		size_t room = sp->dropped_room ? sp->dropped_room * 2 : 64;
		struct dafs_slots *v = realloc(sp->dropped, room * sizeof(*v));

		if (!v) {
			sp->oom = true;		/* the commit fails with it */
			return;
		}
		sp->dropped = v;
		sp->dropped_room = room;
	}
	sp->dropped[sp->ndropped++] = range;
}

const struct dafs_stash_ops *dafs_spool_stash(void)
{
	static const struct dafs_stash_ops ops = { .put = spool_put, .put_fd = spool_put_fd, .drop = spool_drop };

	return &ops;
}

static errcode_t save_pages(struct dafs_store *st)
{
	struct dafs_sum_page *page, *next;
	sqlite3_stmt *stmt;
	errcode_t err = 0;

	HASH_ITER(hh, st->spool.pages, page, next) {
		if (!page->dirty)
			continue;
		err = dafs_db_stmt(st, DAFS_SQL_SUM_PUT, &stmt);
		if (err)
			return err;
		sqlite3_bind_int64(stmt, 1, (sqlite3_int64)page->page);
		sqlite3_bind_blob(stmt, 2, page->crc, sizeof(page->crc), SQLITE_STATIC);
		err = dafs_db_run(st, stmt);
		if (err)
			return err;
	}
	return 0;
}

errcode_t dafs_spool_save(struct dafs_store *st)
{
	struct dafs_spool *sp = &st->spool;
	errcode_t err = sp->oom ? ENOMEM : 0;

	if (!err && sp->wrote && !st->ctx->no_sync && fdatasync(sp->fd))
		err = spool_fail(st, errno);
	for (size_t i = 0; i < sp->ndropped && !err; i++)
		err = join_free(st, sp->dropped[i]);
	if (!err)
		err = save_pages(st);
	return err ? err : dafs_db_meta_put(st, "spool_end", sp->end_slot);
}

void dafs_spool_saved(struct dafs_store *st)
{
	struct dafs_sum_page *page, *next;

	HASH_ITER(hh, st->spool.pages, page, next)
		page->dirty = false;
	st->spool.ndropped = 0;
	st->spool.wrote = false;
}

void dafs_spool_forget(struct dafs_store *st)
{
	free_pages(&st->spool);
	st->spool.pages = NULL;
	st->spool.ndropped = 0;
	st->spool.wrote = st->spool.oom = false;
	if (st->db && dafs_db_meta_get(st, "spool_end", &st->spool.end_slot))
		st->spool.end_slot = 0;
}
