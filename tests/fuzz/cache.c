/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cache - a damaged offline cache: its database as bytes and as rows, its spool, the checksums of
 * that.
 *
 * Three caches are the beginning: pending work; a flush that stopped before its commit; a flush of
 * a part that stopped after it. An input is as those of the image targets (fuzz.h), with these
 * kinds of records:
 *	0 database, 1 spool, 2 spool.sum: bytes at offset `where` * 1024 + `off`
 *	3 a value: of column `owner` % 16 of table `owner` / 16, in the row number `where`; 8 bytes
 *	or
 *	  fewer are a number unless `off` is odd
 *	4 a file (`owner` of the three) ends at `where` * 1024 + `off`
 * With FUZZ_FIX the database's pages, records, names and the state row get the checksum that they
 * should have.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "dafsdebug/dafsdebug.h"
#include "image/txn.h"
#include "store/rec_int.h"
#include "store/vfs.h"
#include "tests/fuzz/fuzz.h"

enum { FILES = 3, STARTS = 3, KINDS = 5, PLAIN = 0, JOURNAL = 5 };
static const char *const names[FILES] = { "cache.db", "spool", "spool.sum" };

/* An image and its cache as the beginning of an input. */
struct start {
	struct fuzz_mem image;
	uint8_t *file[FILES];
	size_t len[FILES];
};
static struct start starts[STARTS];

struct table {
	const char *name, *key, *columns[14];
};
static const struct table tables[] = {
	{ "state",
	  "one",
	  { "uuid", "print", "block_size", "next_serial", "next_seq", "dirty", "promised", "bound",
	    "inodes", "spool_blks", "commands", "own_dir", "sum" } },
	{ "inode", "id", { "id", "rec" } },
	{ "run", "id, seg", { "id", "seg", "rec" } },
	{ "name", "dir, name", { "dir", "name", "id", "image", "kind", "sum" } },
	{ "slot", "start", { "start", "len" } },
	{ "flush",
	  "one",
	  { "tag", "everything", "mounts", "mtime", "checked", "wtime", "wtime_after", "content",
	    "content_after", "sequence", "blocks" } },
	{ "flushed", "id", { "id", "ino", "cut" } },
	/* Appended, so that inputs that were kept mean what they meant. */
	{ "bound",
	  "one",
	  { "mounts", "mtime", "checked", "wtime", "wtime_after", "content", "content_after",
	    "sequence", "blocks" } },
	{ "origin", "id", { "id", "sum" } },
	{ "quota",
	  "type, id",
	  { "type", "id", "inodes", "bytes", "blk_sec", "inode_sec", "sum" } },
};
enum { NTABLES = sizeof(tables) / sizeof(tables[0]) };

static const char *cache_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s.dacache%s%s", fuzz_address(), name ? "/" : "",
		 name ? name : "");
	return path;
}

/* --- the beginnings --- */

static void read_file(struct start *st, int i)
{
	FILE *file = fopen(cache_path(names[i]), "r");
	struct stat sb;

	if (!file || fstat(fileno(file), &sb))
		fuzz_die(names[i], errno);
	st->len[i] = (size_t)sb.st_size;
	st->file[i] = malloc(st->len[i] + 1);
	if (!st->file[i] || fread(st->file[i], 1, st->len[i], file) != st->len[i])
		fuzz_die(names[i], errno);
	fclose(file);
}

static void write_file(int i, const uint8_t *bytes, size_t len)
{
	int fd = open(cache_path(names[i]), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		fuzz_die(names[i], errno);
	close(fd);
}

static void ok(const char *what, errcode_t err)
{
	if (err)
		fuzz_die(what, err);
}

static struct dafs *session(void)
{
	struct dafs *fs;

	ok("session", dafs_session_open(&fuzz_ctx, fuzz_address(),
					DAFS_SESSION_RW | DAFS_SESSION_CACHE, NULL, &fs));
	return fs;
}

static void make_pending(void)
{
	static const char bytes[40000] = "bytes";
	struct dafs *fs = session();
	char path[32];

	ok("begin", dafs_begin(fs));
	ok("write", dafs_write(fs, "/lin/new", 0, bytes, sizeof(bytes)));
	for (unsigned i = 0; i < 70; i++)
		ok("write", dafs_write(fs, "/runs", i * 8192, bytes, 100));
	for (unsigned i = 0; i < 8; i++) {
		snprintf(path, sizeof(path), "/made%u", i);
		ok("mkdir", dafs_mkdir(fs, path, 0755, false));
	}
	ok("remove", dafs_remove(fs, "/lin/name3", false, false));
	ok("truncate", dafs_truncate(fs, "/frag", 5000));
	ok("symlink", dafs_symlink(fs, "target", "/link"));
	ok("xattr", dafs_setxattr(fs, "/tiny", "user.one", bytes, 300));
	ok("fallocate", dafs_fallocate(fs, "/tiny", 0, 20000, true));
	ok("punch", dafs_punch(fs, "/whole", 0, 4096));
	ok("end", dafs_end(fs));
	ok("begin", dafs_begin(fs));
	ok("remove", dafs_remove(fs, "/runs", false, false));
	ok("write", dafs_write(fs, "/runs2", 0, bytes, 3000));
	ok("end", dafs_end(fs));
	dafs_close(fs);
}

static void stop_flush(enum dafs_txn_stop stop, bool part)
{
	char new[] = "/lin/new", *paths[] = { new };
	struct dafs_flush_request req = { .opts.size = sizeof(req.opts),
					  .paths = paths,
					  .npaths = part };
	struct dafs_flush_stats stats;
	struct dafs *fs = session();

	dafs_txn_stop = stop;
	dafs_session_flush(fs, &req, &stats);
	dafs_txn_stop = DAFS_TXN_STOP_NONE;
	dafs_close(fs);
}

static void make_start(struct start *st, int number)
{
	struct fuzz_base *base = fuzz_base(number == 2 ? JOURNAL : PLAIN);

	fuzz_mem_init(&st->image, base->sound.size_bytes);
	memcpy(st->image.bytes, base->sound.bytes, base->sound.size_bytes);
	fuzz_mem_use(&st->image);
	for (int i = 0; i < FILES; i++)
		unlink(cache_path(names[i]));
	rmdir(cache_path(NULL));
	make_pending();
	if (number)
		stop_flush(number == 1 ? DAFS_TXN_STOP_BEFORE_COMMIT : DAFS_TXN_STOP_AFTER_COMMIT,
			   number == 2);
	for (int i = 0; i < FILES; i++)
		read_file(st, i);
	memset(st->image.dirty, 0, st->image.room_bytes / FUZZ_CHUNK_BYTES + 1);
}

static struct start *start(size_t number)
{
	struct start *st = &starts[number % STARTS];

	if (!st->file[0])
		make_start(st, (int)(number % STARTS));
	return st;
}

/* --- records --- */

static void patch_files(const struct start *st, const uint8_t *at, const uint8_t *end)
{
	struct fuzz_record rec;
	uint8_t *copy[FILES];
	size_t len[FILES];

	for (int i = 0; i < FILES; i++) {
		len[i] = st->len[i];
		copy[i] = malloc(len[i] + 1);
		if (!copy[i])
			fuzz_die("memory", ENOMEM);
		memcpy(copy[i], st->file[i], len[i]);
	}
	for (int n = 0; n < FUZZ_PATCHES_MOST && fuzz_record_next(&at, end, &rec); n++) {
		size_t kind = rec.kind % KINDS, off = rec.where * 1024u + rec.off;

		if (kind == 4 && off < len[rec.owner % FILES])
			len[rec.owner % FILES] = off;
		if (kind < FILES && off < len[kind] && rec.len)
			memcpy(copy[kind] + off, rec.bytes,
			       rec.len < len[kind] - off ? rec.len : len[kind] - off);
	}
	mkdir(cache_path(NULL), 0700);
	unlink(cache_path("cache.db-journal"));
	for (int i = 0; i < FILES; i++) {
		write_file(i, copy[i], len[i]);
		free(copy[i]);
	}
}

static void set_value(sqlite3 *db, const struct fuzz_record *rec)
{
	const struct table *table = &tables[(rec->owner >> 4) % NTABLES];
	const char *column = table->columns[(rec->owner & 15) % 14];
	uint64_t number = 0;
	sqlite3_stmt *stmt;
	char sql[256];

	if (!column)
		return;
	snprintf(sql, sizeof(sql),
		 "UPDATE OR REPLACE %s SET %s = ? WHERE (%s) IN (SELECT %s FROM %s LIMIT 1 OFFSET "
		 "%u)",
		 table->name, column, table->key, table->key, table->name, rec->where);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return;
	if (rec->len <= sizeof(number) && !(rec->off & 1)) {
		memcpy(&number, rec->bytes, rec->len);
		sqlite3_bind_int64(stmt, 1, (int64_t)number);
	} else {
		sqlite3_bind_blob(stmt, 1, rec->bytes, (int)rec->len, SQLITE_STATIC);
	}
	sqlite3_step(stmt);
	sqlite3_finalize(stmt);
}

/* --- checksums --- */

static int64_t number_of(sqlite3_value *value)
{
	return sqlite3_value_int64(value);
}

/* SQL function reseal(rec, key, key2): the record with the checksum it should have. */
static void sql_reseal(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	const void *rec = sqlite3_value_blob(values[0]);
	int len = sqlite3_value_bytes(values[0]);
	struct dafs_rec_buf buf = { .n = 0 };

	(void)n;
	if (!rec || len < 4) {
		sqlite3_result_value(ctx, values[0]);
		return;
	}
	dafs_rec_put_bytes(&buf, rec, (size_t)len - 4);
	dafs_rec_put_sum(&buf, (uint64_t)number_of(values[1]), (uint64_t)number_of(values[2]));
	sqlite3_result_blob(ctx, buf.v, (int)buf.n, SQLITE_TRANSIENT);
	dafs_rec_buf_fini(&buf);
}

/* SQL function name_sum(dir, name, id, image, kind). */
static void sql_name_sum(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	int64_t kind = number_of(values[4]);
	struct dafs_ns_name name = {
		.id = (uint64_t)number_of(values[2]),
		.name = sqlite3_value_blob(values[1]),
		.name_len = (uint8_t)sqlite3_value_bytes(values[1]),
		.image_ino = (uint32_t)number_of(values[3]),
		.file_type = (uint8_t)kind,
		.recased = kind >> 8,
	};

	(void)n;
	sqlite3_result_int64(
		ctx, name.name ? dafs_rec_name_sum((uint64_t)number_of(values[0]), &name) : 0);
}

/* SQL function state_sum(uuid, numbers...). */
static void sql_state_sum(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	const void *uuid = sqlite3_value_blob(values[0]);
	uint32_t crc = ~0u;

	if (uuid && sqlite3_value_bytes(values[0]) == 16)
		crc = dafs_crc32c(crc, uuid, 16);
	for (int i = 1; i < n; i++) {
		int64_t number = number_of(values[i]);

		crc = dafs_crc32c(crc, &number, sizeof(number));
	}
	sqlite3_result_int64(ctx, crc);
}

static void fix_sums(sqlite3 *db)
{
	sqlite3_create_function(db, "reseal", 3, SQLITE_UTF8, NULL, sql_reseal, NULL, NULL);
	sqlite3_create_function(db, "name_sum", 5, SQLITE_UTF8, NULL, sql_name_sum, NULL, NULL);
	sqlite3_create_function(db, "state_sum", -1, SQLITE_UTF8, NULL, sql_state_sum, NULL, NULL);
	sqlite3_exec(db, "UPDATE inode SET rec = reseal(rec, id, 0)", NULL, NULL, NULL);
	sqlite3_exec(db, "UPDATE run SET rec = reseal(rec, id, seg + 1)", NULL, NULL, NULL);
	sqlite3_exec(db, "UPDATE name SET sum = name_sum(dir, name, id, image, kind)", NULL, NULL,
		     NULL);
	sqlite3_exec(db,
		     "UPDATE state SET sum = state_sum(uuid, print, block_size, next_serial,"
		     " next_seq, dirty, promised, bound, inodes, spool_blks, commands, own_dir)",
		     NULL, NULL, NULL);
}

/* What is written gets its checksum. */
static void fix_pages(sqlite3 *db)
{
	uint8_t page[DAFS_VFS_PAGE_BYTES];
	sqlite3_file *file = NULL;
	sqlite3_int64 size = 0;

	sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (!file || !file->pMethods || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
		return;
	for (sqlite3_int64 off = 0; off + DAFS_VFS_PAGE_BYTES <= size; off += DAFS_VFS_PAGE_BYTES)
		if (file->pMethods->xRead(file, page, sizeof(page), off) == SQLITE_OK)
			file->pMethods->xWrite(file, page, sizeof(page), off);
}

static int open_db(sqlite3 **db)
{
	return sqlite3_open_v2(cache_path("cache.db"), db, SQLITE_OPEN_READWRITE,
			       dafs_vfs_name(false));
}

static void patch_rows(bool fix, const uint8_t *at, const uint8_t *end)
{
	struct fuzz_record rec;
	sqlite3 *db;

	if (open_db(&db) == SQLITE_OK) {
		if (fix)
			fix_pages(db);
		sqlite3_exec(db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; BEGIN",
			     NULL, NULL, NULL);
		for (int n = 0; n < FUZZ_PATCHES_MOST && fuzz_record_next(&at, end, &rec); n++)
			if (rec.kind % KINDS == 3)
				set_value(db, &rec);
		if (fix)
			fix_sums(db);
		sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	}
	sqlite3_close(db);
}

/* --- what is done with it --- */

static const struct dafs_cli_tool tool = { .name = "fuzz" };

static void look(uint8_t what)
{
	static char words[][3][16] = { { "cache", "-l" },
				       { "resv" },
				       { "es", "/lin/new" },
				       { "es", "/runs2" },
				       { "es", "/frag" } };
	struct dafsdebug dd = { .cli = { .tool = &tool, .json = what & FUZZ_JSON, .quiet = true },
				.cwd = EXT2_ROOT_INO };
	struct dafsdebug_how how = { .no_csum = false };

	dd.cli.ctx = fuzz_ctx;
	if (dafsdebug_open(&dd, fuzz_address(), &how) == 0)
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			char *argv[] = { words[i][0], words[i][1], NULL };

			dafsdebug_run(&dd, words[i][1][0] ? 2 : 1, argv);
		}
	dafsdebug_close(&dd);
}

static void say(void *arg, const char *line)
{
	(void)arg, (void)line;
}

static errcode_t take_name(void *arg, const char *name, uint8_t name_len, uint64_t id,
			   uint8_t file_type)
{
	(void)arg, (void)name, (void)name_len, (void)id, (void)file_type;
	return 0;
}

static void use(struct dafs *fs)
{
	static const char *const paths[] = { "/",     "/lin",	"/lin/new", "/runs2", "/frag",
					     "/tiny", "/whole", "/link",    "/made3" };
	struct dafs_inode *inode;
	char buf[2048];
	size_t got;
	struct stat st;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		dafs_stat(fs, paths[i], &st);
		dafs_read(fs, paths[i], 3000, buf, sizeof(buf), &got);
		if (!dafs_ns_lookup(fs->ns, paths[i], 0, &inode)) {
			dafs_ns_xattrs(fs->ns, inode);
			if (S_ISDIR(inode->mode))
				dafs_ns_readdir(fs->ns, inode, take_name, NULL);
		}
	}
	if (dafs_begin(fs))
		return;
	dafs_write(fs, "/lin/new", 100, "over", 4);
	dafs_write(fs, "/runs2", 5000, "behind", 6);
	dafs_truncate(fs, "/frag", 1);
	dafs_remove(fs, "/made3", true, true);
	dafs_mkdir(fs, "/made4/in", 0755, true);
	dafs_end(fs);
}

static void work(uint8_t what)
{
	struct dafs_store_status status = { .size = sizeof(status) };
	int flags = DAFS_SESSION_CACHE | (what & (FUZZ_EDIT | FUZZ_REPAIR) ? DAFS_SESSION_RW : 0);
	uint64_t problems;
	struct dafs *fs;

	if (dafs_session_open(&fuzz_ctx, fuzz_address(), flags, NULL, &fs))
		return;
	dafs_store_status(fs->store, &status);
	if (what & FUZZ_CHECK)
		dafs_store_verify(fs->store, say, NULL, &problems);
	if (what & FUZZ_EDIT)
		use(fs);
	if (what & FUZZ_REPAIR)
		dafs_flush(fs);
	dafs_close(fs);
}

static void write_seeds(void)
{
	static const uint8_t flag_sets[] = { FUZZ_FIX | FUZZ_LOOK | FUZZ_CHECK,
					     FUZZ_FIX | FUZZ_EDIT,
					     FUZZ_FIX | FUZZ_REPAIR | FUZZ_EDIT, FUZZ_REPAIR };
	static const uint8_t values[] = { 0x11, 0x21, 0x22, 0x31, 0x32, 0x41,
					  0x50, 0x51, 0x61, 0x09, 0x05 };
	static struct fuzz_input in;
	char name[64];

	for (unsigned s = 0; s < STARTS; s++)
		for (unsigned w = 0; w < sizeof(flag_sets); w++)
			for (unsigned v = 0; v < sizeof(values); v++) {
				struct fuzz_record rec = { .kind = 3,
							   .owner = values[v],
							   .bytes = (const uint8_t *)"\5\0\0\0",
							   .len = 4,
							   .where = (uint16_t)v };

				fuzz_input_begin(&in, s, flag_sets[w]);
				fuzz_input_add(&in, &rec);
				rec.kind = (uint8_t)(v % 3);
				rec.where = (uint16_t)(v * 7 % 40);
				if (v > 4)
					fuzz_input_add(&in, &rec);
				snprintf(name, sizeof(name), "cache-%u-%u-%u", s, w, v);
				fuzz_seed_input(name, &in);
			}
	/* Less is reserved than the files hold. */
	for (unsigned s = 0; s < STARTS; s++) {
		struct fuzz_record rec = {
			.kind = 3, .owner = 0x05, .bytes = (const uint8_t *)"\1", .len = 1
		};

		fuzz_input_begin(&in, s, FUZZ_FIX | FUZZ_REPAIR);
		fuzz_input_add(&in, &rec);
		snprintf(name, sizeof(name), "held-%u", s);
		fuzz_seed_input(name, &in);
	}
	for (unsigned s = 0; s < STARTS; s++)
		for (unsigned r = 0; r < 16; r++) {
			uint8_t blob[512];
			struct fuzz_record rec = { .kind = 3,
						   .owner = 0x11,
						   .off = 1,
						   .where = (uint16_t)r,
						   .bytes = blob };
			sqlite3 *db;
			sqlite3_stmt *stmt;

			start(s);
			fuzz_mem_use(&starts[s].image);
			patch_files(&starts[s], blob, blob);
			if (open_db(&db) != SQLITE_OK ||
			    sqlite3_prepare_v2(db, "SELECT rec FROM inode LIMIT 1 OFFSET ?", -1,
					       &stmt, NULL) != SQLITE_OK)
				fuzz_die("cache seed", 0);
			sqlite3_bind_int(stmt, 1, (int)r);
			if (sqlite3_step(stmt) == SQLITE_ROW) {
				rec.len = (size_t)sqlite3_column_bytes(stmt, 0);
				if (rec.len > sizeof(blob))
					rec.len = sizeof(blob);
				memcpy(blob, sqlite3_column_blob(stmt, 0), rec.len);
				fuzz_input_begin(&in, s, flag_sets[r % 3]);
				fuzz_input_add(&in, &rec);
				snprintf(name, sizeof(name), "record-%u-%u", s, r);
				fuzz_seed_input(name, &in);
			}
			sqlite3_finalize(stmt);
			sqlite3_close(db);
		}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	fuzz_seeds(write_seeds);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_mem image[STARTS];
	struct start *st;
	struct fuzz_mem *mem;

	fuzz_begin();
	if (size < FUZZ_HEAD_BYTES)
		return 0;
	st = start(data[0]);
	mem = &image[st - starts];
	if (!mem->bytes) {
		fuzz_mem_init(mem, st->image.size_bytes);
		memset(mem->dirty, 1, mem->room_bytes / FUZZ_CHUNK_BYTES + 1);
	}
	fuzz_mem_reset(mem, &st->image);
	fuzz_mem_use(mem);
	patch_files(st, data + FUZZ_HEAD_BYTES, data + size);
	patch_rows(data[1] & FUZZ_FIX, data + FUZZ_HEAD_BYTES, data + size);
	if (data[1] & FUZZ_LOOK)
		look(data[1]);
	work(data[1]);
	if (data[1] & FUZZ_BACKUP)
		dafs_session_discard(&fuzz_ctx, fuzz_address(), NULL);
	return 0;
}
