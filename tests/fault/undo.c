/* SPDX-License-Identifier: GPL-2.0-or-later */
/* undo - see undo.h. */
#define _GNU_SOURCE
#include "tests/fault/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/fault/shim.h"

enum change {
	CHANGE_DATA,
	CHANGE_MADE,
	CHANGE_REMOVED, /* path is in the trash as aside */
	CHANGE_FOLDER_REMOVED,
	CHANGE_RENAMED, /* path became other; what was there is aside (or nothing) */
};

struct bytes {
	uint8_t *v;
	uint64_t len; /* of v */
	uint64_t file_bytes;
};

struct record {
	enum change what;
	bool durable;
	ino_t ino; /* CHANGE_DATA */
	uint64_t off, len;
	struct bytes was, is;
	char *path, *other, *aside;
};

/* Where an inode is now. */
struct place {
	ino_t ino;
	char *path;
};

static struct record *records;
static size_t nrecords, records_room;
static struct place *places;
static size_t nplaces;
static const char *trash_dir;
static unsigned trash_turn;

static void die(const char *what)
{
	static const char text[] = "shim: cannot undo: ";

	syscall(SYS_write, 2, text, sizeof(text) - 1);
	syscall(SYS_write, 2, what, strlen(what));
	syscall(SYS_write, 2, "\n", 1);
	_exit(99);
}

static void *need(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

uint64_t undo_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

void undo_open(const char *trash)
{
	trash_dir = need(strdup(trash));
	syscall(SYS_mkdir, trash, 0700);
}

static struct record *new_record(enum change what, const char *path)
{
	struct record *rec;

	if (nrecords == records_room) {
		records_room = records_room ? records_room * 2 : 256;
		records = need(realloc(records, records_room * sizeof(*records)));
	}
	rec = &records[nrecords++];
	memset(rec, 0, sizeof(*rec));
	rec->what = what;
	rec->path = need(strdup(path));
	return rec;
}

/* --- where inodes are --- */

static void note_place(ino_t ino, const char *path)
{
	for (size_t i = 0; i < nplaces; i++) {
		if (places[i].ino == ino)
			return;
	}
	places = need(realloc(places, (nplaces + 1) * sizeof(*places)));
	places[nplaces].ino = ino;
	places[nplaces++].path = need(strdup(path));
}

/* Everything that was at or below from is at or below to now. */
static void move_places(const char *from, const char *to)
{
	size_t n = strlen(from);

	for (size_t i = 0; i < nplaces; i++) {
		char *now;

		if (strncmp(places[i].path, from, n) ||
		    (places[i].path[n] && places[i].path[n] != '/'))
			continue;
		if (asprintf(&now, "%s%s", to, places[i].path + n) < 0)
			die("out of memory");
		free(places[i].path);
		places[i].path = now;
	}
}

static const char *place_of(ino_t ino)
{
	for (size_t i = 0; i < nplaces; i++) {
		if (places[i].ino == ino)
			return places[i].path;
	}
	die("a file that was never seen");
	return NULL;
}

static void move(const char *from, const char *to)
{
	if (syscall(SYS_rename, from, to))
		die(from);
	move_places(from, to);
}

static char *aside_name(void)
{
	char *name;

	if (asprintf(&name, "%s/%u", trash_dir, trash_turn++) < 0)
		die("out of memory");
	return name;
}

/* --- bytes --- */

static void read_bytes(int fd, uint64_t off, uint64_t len, struct bytes *out)
{
	char name[64];
	struct stat st;
	int rd;

	if (fstat(fd, &st))
		die("fstat");
	out->file_bytes = (uint64_t)st.st_size;
	out->len = 0;
	if (off < out->file_bytes)
		out->len = len < out->file_bytes - off ? len : out->file_bytes - off;
	if (!out->len)
		return;
	/* The descriptor may be for writing only. */
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	rd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
	out->v = need(malloc(out->len));
	if (rd < 0 || syscall(SYS_pread64, rd, out->v, out->len, off) != (ssize_t)out->len)
		die("reading what was there");
	/* SQLite's locks on the file go with this close; there is nobody else here to see it. */
	syscall(SYS_close, rd);
}

void undo_before(int fd, const char *path, uint64_t off, uint64_t len)
{
	struct record *rec = new_record(CHANGE_DATA, path);
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	note_place(st.st_ino, path);
	rec->ino = st.st_ino;
	rec->off = off;
	rec->len = len;
	read_bytes(fd, off, len, &rec->was);
}

void undo_after(int fd)
{
	struct record *rec = &records[nrecords - 1];

	read_bytes(fd, rec->off, rec->len, &rec->is);
}

/* --- names --- */

void undo_made(const char *path)
{
	struct stat st;

	new_record(CHANGE_MADE, path);
	if (!stat(path, &st))
		note_place(st.st_ino, path);
}

int undo_remove(const char *path)
{
	struct stat st;
	struct record *rec;

	if (lstat(path, &st))
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	rec = new_record(CHANGE_REMOVED, path);
	note_place(st.st_ino, path);
	rec->aside = aside_name();
	move(path, rec->aside);
	return 0;
}

int undo_rmdir(const char *path)
{
	if (syscall(SYS_rmdir, path))
		return errno;
	new_record(CHANGE_FOLDER_REMOVED, path);
	return 0;
}

int undo_rename(const char *from, const char *to)
{
	struct record *rec;
	struct stat st;

	if (lstat(from, &st))
		return errno;
	rec = new_record(CHANGE_RENAMED, from);
	rec->other = need(strdup(to));
	note_place(st.st_ino, from);
	if (!lstat(to, &st)) {
		note_place(st.st_ino, to);
		rec->aside = aside_name();
		move(to, rec->aside);
	}
	move(from, to);
	return 0;
}

/* --- syncs --- */

static bool in_folder(const char *path, const char *folder)
{
	const char *slash = strrchr(path, '/');

	return slash && (size_t)(slash - path) == strlen(folder) &&
	       !strncmp(path, folder, (size_t)(slash - path));
}

static void names_synced(const char *folder, size_t before)
{
	for (size_t i = 0; i < before; i++) {
		struct record *rec = &records[i];

		if (rec->what == CHANGE_DATA || rec->durable || !in_folder(rec->path, folder))
			continue;
		rec->durable = true;
		if (rec->what == CHANGE_FOLDER_REMOVED)
			names_synced(rec->path, i);
	}
}

void undo_synced_folder(const char *path)
{
	names_synced(path, nrecords);
}

void undo_synced(ino_t ino)
{
	for (size_t i = 0; i < nrecords; i++) {
		if (records[i].what == CHANGE_DATA && records[i].ino == ino)
			records[i].durable = true;
	}
}

/* --- loss --- */

static void put_bytes(const struct record *rec, const struct bytes *bytes)
{
	const char *path = place_of(rec->ino);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);

	if (fd < 0)
		die(path);
	if (bytes->len && syscall(SYS_pwrite64, fd, bytes->v, bytes->len, rec->off) !=
				  (ssize_t)bytes->len)
		die(path);
	if (rec->was.file_bytes != rec->is.file_bytes &&
	    syscall(SYS_ftruncate, fd, bytes->file_bytes))
		die(path);
	syscall(SYS_close, fd);
}

static void take_back(const struct record *rec)
{
	char *aside;

	switch (rec->what) {
	case CHANGE_DATA:
		put_bytes(rec, &rec->was);
		break;
	case CHANGE_MADE:
		aside = aside_name();
		move(rec->path, aside);
		free(aside);
		break;
	case CHANGE_REMOVED:
		move(rec->aside, rec->path);
		break;
	case CHANGE_FOLDER_REMOVED:
		if (syscall(SYS_mkdir, rec->path, 0700))
			die(rec->path);
		break;
	case CHANGE_RENAMED:
		move(rec->other, rec->path);
		if (rec->aside)
			move(rec->aside, rec->other);
		break;
	}
}

/* Some of the sectors of a write. */
static void put_some(const struct record *rec, uint64_t *random)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, place_of(rec->ino), O_WRONLY | O_CLOEXEC, 0);

	for (uint64_t at = 0; fd >= 0 && at < rec->is.len;) {
		uint64_t n = SHIM_SECTOR_BYTES - (rec->off + at) % SHIM_SECTOR_BYTES;

		if (n > rec->is.len - at)
			n = rec->is.len - at;
		if (undo_random(random) & 1 &&
		    syscall(SYS_pwrite64, fd, rec->is.v + at, n, rec->off + at) != (ssize_t)n)
			die("sector");
		at += n;
	}
	syscall(SYS_close, fd);
}

static void lose_data(uint64_t *keep)
{
	for (size_t i = nrecords; i--;) {
		if (records[i].what == CHANGE_DATA && !records[i].durable)
			take_back(&records[i]);
	}
	for (size_t i = 0; keep && i < nrecords; i++) {
		const struct record *rec = &records[i];
		unsigned dice = (unsigned)(undo_random(keep) >> 62);

		if (rec->what != CHANGE_DATA || rec->durable || !dice)
			continue;
		if (dice == 1)
			put_some(rec, keep);
		else
			put_bytes(rec, &rec->is);
	}
}

void undo_lose(uint64_t *keep)
{
	size_t nnames = 0, stay;

	lose_data(keep);
	for (size_t i = 0; i < nrecords; i++)
		nnames += records[i].what != CHANGE_DATA && !records[i].durable;
	stay = keep && nnames ? (size_t)(undo_random(keep) % (nnames + 1)) : 0;
	for (size_t i = nrecords; i-- && nnames > stay;) {
		if (records[i].what == CHANGE_DATA || records[i].durable)
			continue;
		take_back(&records[i]);
		nnames--;
	}
}
