/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage [-l LEAST] [-n MOST] [-k KIND] [-s always|never] SEED IMAGE - damages a sound ext2/3/4
 * image in place, as the seed says.
 *
 * LEAST (1) to MOST (3) damages: a field or all of some structure is flipped, zeroed, swapped,
 * duplicated, or made to lead somewhere else, and its checksum is made right again or not; or
 * something of several steps (damage_cases.c). -k keeps to structures of one kind (a name that it
 * prints), -s says whether checksums are made right (else: three times in four). Prints
 * a line each: structure, inode or group, block, what was done, and whether the checksum was made
 * right ("sealed").
 *
 * The same seed does the same to the same image. damage -t IMAGE damages nothing: it gives all
 * inodes the same times, so that images that are made again are the same.
 */
#include "config.h"

#include "damage.h"

#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELDS_MAX 1024u

uint64_t dmg_random(struct damage *d, uint64_t n)
{
	uint64_t x;

	d->rng += UINT64_C(0x9E3779B97F4A7C15);
	x = d->rng;
	x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
	x ^= x >> 31;
	return n ? x % n : x;
}

void dmg_read(struct damage *d, uint64_t off, void *buf, size_t bytes)
{
	ssize_t got = pread(d->fd, buf, bytes, (off_t)off);

	if (got < 0)
		err(2, "read");
	memset((uint8_t *)buf + got, 0, bytes - (size_t)got);
}

void dmg_write(struct damage *d, uint64_t off, const void *buf, size_t bytes)
{
	if (pwrite(d->fd, buf, bytes, (off_t)off) != (ssize_t)bytes)
		err(2, "write");
}

const struct place *dmg_pick(struct damage *d, unsigned kind)
{
	if (!d->count[kind])
		return NULL;
	return &d->places[d->first[kind] + dmg_random(d, d->count[kind])];
}

static const struct place *pick_any(struct damage *d)
{
	return &d->places[dmg_random(d, d->nplaces)];
}

uint64_t dmg_some_blk(struct damage *d, const struct place *p)
{
	uint64_t blks = ext2fs_blocks_count(d->fs->super);
	const struct place *other;

	switch (dmg_random(d, 10)) {
	case 0:
		return p ? p->blk : 0;
	case 1:
		return blks - 1 + dmg_random(d, 3);
	case 2:
		return dmg_random(d, 4);
	case 3:
		return dmg_random(d, 0) & UINT32_MAX;
	case 4:
	case 5:
		return dmg_random(d, blks);
	case 6:
		other = dmg_pick(d, K_DATA);
		return other ? other->blk : 0;
	default:
		/* Every kind alike. */
		do {
			other = dmg_pick(d, (unsigned)dmg_random(d, K_KINDS));
		} while (!other);
		return other->blk;
	}
}

uint32_t dmg_some_ino(struct damage *d, const struct place *p)
{
	const struct ext2_super_block *sb = d->fs->super;
	const struct place *other;

	switch (dmg_random(d, 8)) {
	case 0:
		return p ? p->ino : 0;
	case 1:
		return (uint32_t)dmg_random(d, 13);
	case 2:
		return sb->s_inodes_count - 1 + (uint32_t)dmg_random(d, 3);
	case 3:
		return (uint32_t)dmg_random(d, sb->s_inodes_count + 1);
	case 4:
		other = dmg_pick(d, K_INO_DIR);
		return other ? other->ino : EXT2_ROOT_INO;
	case 5:
		return (uint32_t)dmg_random(d, 0);
	default:
		other = pick_any(d);
		return other->ino;
	}
}

uint64_t dmg_get(const uint8_t *buf, const struct field *f)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < f->bytes && i < 8; i++)
		value |= (uint64_t)buf[f->off + i] << 8 * i;
	return value;
}

void dmg_put(uint8_t *buf, const struct field *f, uint64_t value)
{
	for (unsigned i = 0; i < f->bytes && i < 8; i++)
		buf[f->off + i] = (uint8_t)(value >> 8 * i);
}

void dmg_store(struct damage *d, const struct place *p, uint8_t *buf, bool seal)
{
	if (seal)
		dmg_seal(d, p, buf);
	dmg_write(d, p->off, buf, p->bytes);
}

void dmg_say(const struct place *p, bool sealed, const char *format, ...)
{
	va_list args;

	if (p) {
		printf("%s", dmg_kind_name(p->kind));
		if (p->ino)
			printf(" of inode %u", p->ino);
		if (p->kind == K_DESC || p->kind == K_BLOCK_BITMAP || p->kind == K_INODE_BITMAP ||
		    p->kind == K_SUPER_COPY)
			printf(" of group %u", p->grp);
		printf(", block %llu: ", (unsigned long long)p->blk);
	}
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	puts(sealed ? ", sealed" : "");
}

/* ---- one field ---- */

static uint64_t changed(struct damage *d, const struct place *p, const struct field *f,
			uint64_t value)
{
	unsigned bits = f->bytes * 8u > 64 ? 64 : f->bytes * 8u;

	if (f->type == T_BLK && dmg_random(d, 3))
		return dmg_some_blk(d, p);
	if (f->type == T_INO && dmg_random(d, 3))
		return dmg_some_ino(d, p);
	if (f->type == T_BITS && dmg_random(d, 3))
		return value ^ UINT64_C(1) << dmg_random(d, bits);
	switch (dmg_random(d, 9)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return value + 1;
	case 3:
		return value - 1;
	case 4:
		return dmg_random(d, 0);
	case 5:
		return value * 2;
	case 6:
		return value + 4 * (1 + dmg_random(d, 8));
	default:
		return value ^ UINT64_C(1) << dmg_random(d, bits);
	}
}

/* The same field of another structure of the kind. */
static uint64_t borrowed(struct damage *d, const struct place *p, const struct field *f,
			 uint64_t value)
{
	const struct place *other = dmg_pick(d, p->kind);
	uint8_t bytes[8] = { 0 };

	if (other == p || f->off + f->bytes > other->bytes)
		return value + 1;
	dmg_read(d, other->off + f->off, bytes, f->bytes < 8 ? f->bytes : 8);
	return dmg_get(bytes, &(struct field){ .bytes = f->bytes });
}

static bool change_field(struct damage *d, const struct place *p, uint8_t *buf, bool seal)
{
	static struct field fields[FIELDS_MAX];
	size_t n = dmg_fields(d, p, buf, fields, FIELDS_MAX);
	uint64_t was, is;
	const struct field *f;

	if (!n)
		return false;
	f = &fields[dmg_random(d, n)];
	was = dmg_get(buf, f);
	is = dmg_random(d, 6) ? changed(d, p, f, was) : borrowed(d, p, f, was);
	dmg_put(buf, f, is);
	is = dmg_get(buf, f);
	if (is == was) {
		is ^= UINT64_C(1) << dmg_random(d, f->bytes * 8u > 64 ? 64 : f->bytes * 8u);
		dmg_put(buf, f, is);
	}
	dmg_say(p, seal, "%s at %u: 0x%llx is 0x%llx", f->name, f->off, (unsigned long long)was,
		(unsigned long long)is);
	dmg_store(d, p, buf, seal);
	return true;
}

/* Two fields of one structure change places. */
static bool swap_fields(struct damage *d, const struct place *p, uint8_t *buf, bool seal)
{
	static struct field fields[FIELDS_MAX];
	size_t n = dmg_fields(d, p, buf, fields, FIELDS_MAX);
	const struct field *a, *b;
	uint64_t kept;

	if (n < 2)
		return false;
	a = &fields[dmg_random(d, n)];
	b = &fields[dmg_random(d, n)];
	kept = dmg_get(buf, a);
	dmg_put(buf, a, dmg_get(buf, b));
	dmg_put(buf, b, kept);
	dmg_say(p, seal, "%s at %u and %s at %u swapped", a->name, a->off, b->name, b->off);
	dmg_store(d, p, buf, seal);
	return true;
}

/* ---- all of it ---- */

static void fill(struct damage *d, uint8_t *buf, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		buf[i] = (uint8_t)dmg_random(d, 256);
}

static bool change_whole(struct damage *d, const struct place *p, uint8_t *buf, bool seal)
{
	const struct place *other = dmg_pick(d, p->kind);
	uint32_t half = p->bytes / 2;
	const char *what;

	switch (dmg_random(d, 7)) {
	case 0:
		memset(buf, 0, p->bytes);
		what = "all zeros";
		break;
	case 1:
		memset(buf, 0xff, p->bytes);
		what = "all ones";
		break;
	case 2:
		fill(d, buf, p->bytes);
		what = "noise";
		break;
	case 3:
		memset(buf + half, 0, p->bytes - half);
		what = "second half is zeros";
		break;
	case 4:
		memmove(buf + 4, buf, p->bytes - 4);
		what = "moved by 4";
		break;
	case 5:
		dmg_read(d, other->off, buf, p->bytes);
		what = "a copy of another one";
		break;
	default:
		dmg_read(d, pick_any(d)->blk * d->fs->blocksize, buf, p->bytes);
		what = "overwritten by another block";
	}
	dmg_say(p, seal, "%s", what);
	dmg_store(d, p, buf, seal);
	return true;
}

static bool swap_whole(struct damage *d, const struct place *p, uint8_t *buf, bool seal)
{
	const struct place *other = dmg_pick(d, p->kind);
	uint8_t *theirs;

	if (other == p || other->bytes != p->bytes)
		return false;
	theirs = calloc(1, d->fs->blocksize);
	if (!theirs)
		err(2, NULL);
	dmg_read(d, other->off, theirs, other->bytes);
	dmg_say(p, seal, "swapped with block %llu, inode %u", (unsigned long long)other->blk,
		other->ino);
	dmg_store(d, other, buf, seal);
	dmg_store(d, p, theirs, seal);
	free(theirs);
	return true;
}

static bool damage_one(struct damage *d, int kind)
{
	bool seal = dmg_random(d, 4) != 0, done;
	const struct place *p;
	uint8_t *buf;

	if (d->seal)
		seal = d->seal > 0;
	if (kind < 0 && !dmg_random(d, 4))
		return dmg_case(d, seal);
	p = dmg_pick(d, kind < 0 ? (unsigned)dmg_random(d, K_KINDS) : (unsigned)kind);
	if (!p)
		return false;
	buf = calloc(1, d->fs->blocksize + 4096);
	if (!buf)
		err(2, NULL);
	dmg_read(d, p->off, buf, p->bytes);
	switch (dmg_random(d, 10)) {
	case 0:
		done = change_whole(d, p, buf, seal);
		break;
	case 1:
		done = swap_whole(d, p, buf, seal);
		break;
	case 2:
		done = swap_fields(d, p, buf, seal);
		break;
	default:
		done = change_field(d, p, buf, seal);
	}
	free(buf);
	return done;
}

static void set_times(const char *path)
{
	struct ext2_inode_large raw;
	ext2_inode_scan scan;
	ext2_filsys fs;
	uint32_t ino;

	if (ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs) ||
	    ext2fs_open_inode_scan(fs, 0, &scan))
		errx(2, "%s: cannot be opened", path);
	while (!ext2fs_get_next_inode_full(scan, &ino, (void *)&raw, sizeof(raw)) && ino) {
		/* (The values of attributes keep their counts in ctime.) */
		if (!raw.i_links_count || raw.i_flags & EXT4_EA_INODE_FL)
			continue;
		raw.i_atime = raw.i_ctime = raw.i_mtime = 1700000000;
		if (EXT2_INODE_SIZE(fs->super) > EXT2_GOOD_OLD_INODE_SIZE &&
		    raw.i_extra_isize >= 24) {
			raw.i_ctime_extra = raw.i_mtime_extra = raw.i_atime_extra = 0;
			raw.i_crtime = 1700000000;
			raw.i_crtime_extra = 0;
		}
		if (ext2fs_write_inode_full(fs, ino, (void *)&raw, sizeof(raw)))
			errx(2, "%s: inode %u cannot be written", path, ino);
	}
	ext2fs_close_inode_scan(scan);
	if (ext2fs_close_free(&fs))
		errx(2, "%s: cannot be written", path);
}

static int kind_of(const char *name)
{
	for (unsigned kind = 0; kind < K_KINDS; kind++)
		if (!strcmp(dmg_kind_name(kind), name))
			return (int)kind;
	errx(2, "no such kind: %s", name);
}

int main(int argc, char **argv)
{
	struct damage d = { 0 };
	uint64_t least = 1, most = 3, n;
	int opt, kind = -1;
	errcode_t code;

	while ((opt = getopt(argc, argv, "l:n:k:s:t:")) != -1) {
		if (opt == 'l')
			least = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			most = strtoull(optarg, NULL, 0);
		else if (opt == 's' && (!strcmp(optarg, "always") || !strcmp(optarg, "never")))
			d.seal = optarg[0] == 'a' ? 1 : -1;
		else if (opt == 'k')
			kind = kind_of(optarg);
		else if (opt == 't')
			return set_times(optarg), 0;
		else
			return 2;
	}
	if (argc - optind != 2 || !least || most < least)
		errx(2,
		     "usage: damage [-l LEAST] [-n MOST] [-k KIND] [-s always|never] SEED IMAGE");
	d.rng = strtoull(argv[optind], NULL, 0);
	code = ext2fs_open(argv[optind + 1],
			   EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS | EXT2_FLAG_FORCE |
				   EXT2_FLAG_JOURNAL_DEV_OK,
			   0, 0, unix_io_manager, &d.fs);
	if (code)
		errx(2, "%s: %s", argv[optind + 1], error_message(code));
	d.fd = open(argv[optind + 1], O_RDWR | O_CLOEXEC);
	if (d.fd < 0)
		err(2, "%s", argv[optind + 1]);
	dmg_find_all(&d);
	n = least + dmg_random(&d, most - least + 1);
	for (uint64_t done = 0, tries = 0; done < n && tries < 1000; tries++)
		done += damage_one(&d, kind);
	ext2fs_free(d.fs);
	free(d.places);
	return close(d.fd) ? 1 : 0;
}
