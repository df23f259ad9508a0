/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savedfiles SOUND THEIRS OURS - are the files that one repair saved all there after another
 * repair?
 *
 * Three images, read with libext2fs: before the damage (- : not known), repaired by e2fsck,
 * repaired by dafsck. Every name in THEIRS has to be in OURS: the same path, or one in lost+found
 * where the file has the same inode number or the same content, or any path if it is in lost+found
 * in THEIRS or has a name there that is not in SOUND (one that e2fsck made up, for a name that was
 * there twice). Of the file there: type, device, link target, mode, owner, size, content and
 * attributes.
 *
 * What is not said (and no more than that):
 *  1. a property that is in OURS as it was in SOUND under that path, or under that inode number, is
 *     right, whatever it is in THEIRS (content: by 512 bytes);
 *  2. a block of THEIRS that is a copy of an extent node may be a hole;
 *  3. OURS may hold more: a longer file, bytes where THEIRS has zeros that are as in SOUND, more
 *     attributes, more names.
 * So bytes in OURS that are neither those of THEIRS nor those of SOUND are said, also where THEIRS
 * has nothing; and a name that is in its place in THEIRS and in lost+found in OURS ("moved"). Sizes
 * of directories, times, flags and inode numbers are not compared, nor the mode of lost+found,
 * which either may have made.
 *
 * A line a difference (at most 6), the kind first: lost, moved, type, device, target, mode, owner,
 * size, content, attribute. Exit status: 0 all there, 1 something is not, 2 trouble.
 */
#include "config.h"

#include "imgtree.h"

#include <err.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 6, PIECE = 512 };

static unsigned shown;

static void say(const char *kind, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(const char *kind, const char *path, const char *fmt, ...)
{
	va_list ap;

	if (shown++ >= MOST_SHOWN)
		return;
	printf("%s ", kind);
	for (const char *p = path; *p; p++)
		printf(*p > ' ' && *p < 127 ? "%c" : "\\%03o", (uint8_t)*p);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* ---- content ---- */

static void mix(uint64_t *sum, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		*sum = (*sum ^ p[i]) * UINT64_C(0x100000001B3);
}

static uint64_t content_sum(struct side *side, struct file *f)
{
	uint64_t size = size_of(f), lblk = 0;
	uint8_t *buf;

	if (f->summed)
		return f->sum;
	buf = must(malloc(side->block_size));
	f->summed = true;
	f->sum = UINT64_C(0xCBF29CE484222325);
	mix(&f->sum, &f->raw.i_mode, 2);
	mix(&f->sum, &size, 8);
	for (; (lblk = imgtree_next(side, f, lblk)) != UINT64_MAX; lblk++)
		if (imgtree_read(side, f, lblk, buf)) {
			mix(&f->sum, &lblk, 8);
			mix(&f->sum, buf, side->block_size);
		}
	if (LINUX_S_ISLNK(f->raw.i_mode))
		mix(&f->sum, f->raw.i_block, sizeof(f->raw.i_block));
	free(buf);
	return f->sum;
}

/* An extent tree's node: what e2fsck makes of a file's block that is also one of its map. */
static bool is_node(const uint8_t *block)
{
	return block[0] == 0x0a && block[1] == 0xf3 && block[2] <= block[4];
}

static bool zeros(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

struct trio {
	struct side *sound, *theirs, *ours;
	const char *path;  /* in ours */
	struct file *s[2]; /* in sound: by path, by number; or NULL */
	struct file *t, *o;
};

static void compare_content(struct trio *x)
{
	uint32_t bs = x->theirs->block_size, sound_bs = x->sound->image ? x->sound->block_size : bs;
	uint8_t *buf = must(malloc(4 * (size_t)bs)), *s[2] = { buf + 2 * bs, buf + 3 * bs };
	uint64_t lblk = 0, a, b;

	if (x->ours->block_size != bs || sound_bs != bs)
		errx(2, "%s: another block size", x->ours->image);
	for (;; lblk++) {
		a = imgtree_next(x->theirs, x->t, lblk);
		b = imgtree_next(x->ours, x->o, lblk);
		lblk = a < b ? a : b;
		if (lblk == UINT64_MAX)
			break;
		imgtree_read(x->theirs, x->t, lblk, buf);
		imgtree_read(x->ours, x->o, lblk, buf + bs);
		if (!memcmp(buf, buf + bs, bs) || (is_node(buf) && zeros(buf + bs, bs)))
			continue;
		for (int i = 0; i < 2; i++) {
			memset(s[i], 0, bs);
			if (x->s[i])
				imgtree_read(x->sound, x->s[i], lblk, s[i]);
		}
		for (uint32_t at = 0; at < bs; at += PIECE) {
			const uint8_t *ours = buf + bs + at, *theirs = buf + at;

			if (lblk * bs + at >= size_of(x->t) || !memcmp(theirs, ours, PIECE) ||
			    (x->s[0] && !memcmp(ours, s[0] + at, PIECE)) ||
			    (x->s[1] && !memcmp(ours, s[1] + at, PIECE)))
				continue;
			say("content", x->path, " (inode %u) at %llu: %s", x->o->ino,
			    (unsigned long long)(lblk * bs + at),
			    zeros(ours, PIECE)	   ? "zeros"
			    : zeros(theirs, PIECE) ? "bytes that were never there"
						   : "other bytes");
			goto out;
		}
	}
out:
	free(buf);
}

/* ---- attributes ---- */

struct attr_walk {
	struct trio *x;
	struct ext2_xattr_handle *ours, *sound[2];
};

static struct ext2_xattr_handle *attrs_of(struct side *side, struct file *f)
{
	unsigned raw = XATTR_HANDLE_FLAG_RAW; /* no conversion of ACLs */
	struct ext2_xattr_handle *handle;

	if (!f || ext2fs_xattrs_open(side->fs, f->ino, &handle))
		return NULL;
	ext2fs_xattrs_flags(handle, &raw, NULL);
	if (ext2fs_xattrs_read(handle))
		ext2fs_xattrs_close(&handle);
	return handle;
}

static bool same_attr(struct ext2_xattr_handle *handle, const char *name, const char *value,
		      size_t len)
{
	void *other = NULL;
	size_t other_len = 0;
	bool same = false;

	if (!handle || ext2fs_xattr_get(handle, name, &other, &other_len))
		return false;
	same = other_len == len && (!len || !memcmp(other, value, len));
	ext2fs_free_mem(&other);
	return same;
}

static int compare_attr(char *name, char *value, size_t len, void *arg)
{
	struct attr_walk *walk = arg;
	void *ours = NULL;
	size_t ours_len = 0;
	bool right = false;

	if (!strcmp(name, "system.data") || same_attr(walk->ours, name, value, len))
		return 0;
	if (!ext2fs_xattr_get(walk->ours, name, &ours, &ours_len)) {
		for (int i = 0; i < 2 && !right; i++)
			right = same_attr(walk->sound[i], name, ours, ours_len);
		ext2fs_free_mem(&ours);
		if (!right)
			say("attribute", walk->x->path, " (inode %u): %s has another value",
			    walk->x->o->ino, name);
		return 0;
	}
	say("attribute", walk->x->path, " (inode %u): %s is missing", walk->x->o->ino, name);
	return 0;
}

static void compare_attrs(struct trio *x)
{
	struct ext2_xattr_handle *theirs = attrs_of(x->theirs, x->t);
	struct attr_walk walk = { x, attrs_of(x->ours, x->o), { NULL, NULL } };
	size_t n = 0;

	if (theirs && !ext2fs_xattrs_count(theirs, &n) && n && !walk.ours) {
		say("attribute", x->path, " (inode %u): cannot be read", x->o->ino);
	} else if (theirs && n) {
		walk.sound[0] = attrs_of(x->sound, x->s[0]);
		walk.sound[1] = attrs_of(x->sound, x->s[1]);
		ext2fs_xattrs_iterate(theirs, compare_attr, &walk);
	}
	if (theirs)
		ext2fs_xattrs_close(&theirs);
	if (walk.ours)
		ext2fs_xattrs_close(&walk.ours);
	for (int i = 0; i < 2; i++)
		if (walk.sound[i])
			ext2fs_xattrs_close(&walk.sound[i]);
}

/* ---- one file ---- */

/* Is a number in OURS right: as in THEIRS, or as it was? */
static bool right(uint64_t ours, uint64_t theirs, const uint64_t sound[2], const struct trio *x)
{
	return ours == theirs || (x->s[0] && ours == sound[0]) || (x->s[1] && ours == sound[1]);
}

static uint64_t mode_of(const struct file *f)
{
	return f ? f->raw.i_mode & 07777 : 0;
}

static uint64_t owner_of(const struct file *f)
{
	return f ? (uint64_t)inode_uid(f->raw) << 32 | inode_gid(f->raw) : 0;
}

static void compare_numbers(struct trio *x)
{
	uint64_t size = size_of(x->o);

	if (strcmp(x->path, "/lost+found") != 0 &&
	    !right(mode_of(x->o), mode_of(x->t),
		   (uint64_t[2]){ mode_of(x->s[0]), mode_of(x->s[1]) }, x))
		say("mode", x->path, " (inode %u): %llo, not %llo", x->o->ino,
		    (unsigned long long)mode_of(x->o), (unsigned long long)mode_of(x->t));
	if (!right(owner_of(x->o), owner_of(x->t),
		   (uint64_t[2]){ owner_of(x->s[0]), owner_of(x->s[1]) }, x))
		say("owner", x->path, " (inode %u): %llx, not %llx", x->o->ino,
		    (unsigned long long)owner_of(x->o), (unsigned long long)owner_of(x->t));
	if (!LINUX_S_ISDIR(x->o->raw.i_mode) && size < size_of(x->t) &&
	    !right(size, size_of(x->t),
		   (uint64_t[2]){ x->s[0] ? size_of(x->s[0]) : 0, x->s[1] ? size_of(x->s[1]) : 0 },
		   x))
		say("size", x->path, " (inode %u): %llu, not %llu", x->o->ino,
		    (unsigned long long)size, (unsigned long long)size_of(x->t));
}

static void compare_target(struct trio *x)
{
	uint32_t bs = x->theirs->block_size;
	uint8_t *buf = must(calloc(4, bs + 1)), *ours = buf + bs + 1, *sound = ours + bs + 1;
	bool same;

	imgtree_target(x->theirs, x->t, buf);
	imgtree_target(x->ours, x->o, ours);
	same = !memcmp(buf, ours, bs);
	for (int i = 0; i < 2 && !same; i++)
		if (x->s[i] && LINUX_S_ISLNK(x->s[i]->raw.i_mode)) {
			imgtree_target(x->sound, x->s[i], sound);
			same = !memcmp(sound, ours, bs);
		}
	if (!same)
		say("target", x->path, " (inode %u)", x->o->ino);
	free(buf);
}

static bool is_device(const struct file *f)
{
	return LINUX_S_ISCHR(f->raw.i_mode) || LINUX_S_ISBLK(f->raw.i_mode);
}

static void compare_file(struct trio *x)
{
	uint16_t ours = x->o->raw.i_mode >> 12, theirs = x->t->raw.i_mode >> 12;

	if (ours != theirs) {
		if (!right(ours, theirs,
			   (uint64_t[2]){ x->s[0] ? x->s[0]->raw.i_mode >> 12 : 0,
					  x->s[1] ? x->s[1]->raw.i_mode >> 12 : 0 },
			   x))
			say("type", x->path, " (inode %u): %x, not %x", x->o->ino, ours, theirs);
		return;
	}
	compare_numbers(x);
	if (has_content(x->t))
		compare_content(x);
	if (LINUX_S_ISLNK(x->t->raw.i_mode))
		compare_target(x);
	if (is_device(x->t) && memcmp(x->o->raw.i_block, x->t->raw.i_block, 8))
		say("device", x->path, " (inode %u)", x->o->ino);
	compare_attrs(x);
}

/* ---- all of them ---- */

static struct name *lost_like(struct trio *x, const struct name *name)
{
	struct name *best = NULL;

	for (struct name *other = x->ours->names; other; other = other->hh.next) {
		if (!other->lost && !name->lost && imgtree_name(x->sound, name->path))
			continue;
		if (other->file->ino == name->file->ino)
			return other;
		if (!best && has_content(name->file) && has_content(other->file) &&
		    size_of(other->file) == size_of(name->file) &&
		    content_sum(x->ours, other->file) == content_sum(x->theirs, name->file))
			best = other;
	}
	return best;
}

static void compare_name(struct trio *x, const struct name *name)
{
	struct name *ours = imgtree_name(x->ours, name->path), *sound;

	if (!ours || (name->lost && ours->file->ino != name->file->ino)) {
		ours = lost_like(x, name);
		if (!ours) {
			/* Names and nothing else: what it is has to be somewhere. */
			say("lost", name->path, " (inode %u)", name->file->ino);
			return;
		}
		if (!name->lost && (!x->sound->image || imgtree_name(x->sound, name->path)))
			say("moved", name->path, " to %s", ours->path);
	}
	sound = imgtree_name(x->sound, ours->path);
	*x = (struct trio){ x->sound,
			    x->theirs,
			    x->ours,
			    ours->path,
			    { sound ? sound->file : NULL, imgtree_file(x->sound, ours->file->ino) },
			    name->file,
			    ours->file };
	compare_file(x);
}

int main(int argc, char **argv)
{
	struct side sound = { 0 }, theirs = { 0 }, ours = { 0 };
	struct trio x = { .sound = &sound, .theirs = &theirs, .ours = &ours };

	if (argc != 4)
		errx(2, "usage: savedfiles SOUND|- THEIRS OURS");
	if (strcmp(argv[1], "-"))
		imgtree_load(&sound, argv[1]);
	imgtree_load(&theirs, argv[2]);
	imgtree_load(&ours, argv[3]);
	for (struct name *name = theirs.names; name; name = name->hh.next)
		compare_name(&x, name);
	if (shown > MOST_SHOWN)
		printf("and %u more\n", shown - MOST_SHOWN);
	imgtree_free(&sound);
	imgtree_free(&theirs);
	imgtree_free(&ours);
	return shown ? 1 : 0;
}
