/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savedfiles SOUND THEIRS OURS - are the files that one repair saved all there after another repair?
 *
 * Three images, read with libext2fs: before the damage (- : not known), repaired by e2fsck, repaired
 * by dafsck. Every name in THEIRS has to be in OURS: the same path, or one in lost+found where the
 * file has the same inode number or the same content, or any path if it is in lost+found in THEIRS or
 * has a name there that is not in SOUND (one that e2fsck made up, for a name that was there twice).
 * Of the file there: type, device, link target, mode, owner, size, content and attributes.
 *
 * What is not said (and no more than that):
 *  1. a property that is in OURS as it was in SOUND under that path, or under that inode number, is
 *     right, whatever it is in THEIRS (content: by 512 bytes);
 *  2. OURS may hold more: a longer file, bytes where THEIRS has zeros that are as in SOUND, more
 *     attributes, more names.
 * So bytes in OURS that are neither those of THEIRS nor those of SOUND are said, also where THEIRS has
 * nothing; and a name that is in its place in THEIRS and in lost+found in OURS ("moved"). Sizes of
 * directories, times, flags and inode numbers are not compared.
 *
 * A line a difference (at most 6), the kind first: lost, moved, type, device, target, mode, owner,
 * size, content, attribute. Exit status: 0 all there, 1 something is not, 2 trouble.
 */
#include "config.h"

#include <err.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ext2fs/ext2fs.h>
#include <uthash.h>

enum { MOST_SHOWN = 6, PIECE = 512, DEPTH_MAX = 200 };

/* A run of written blocks. */
struct run {
	uint64_t lblk, pblk, len;
};

/* An inode that has a name. */
struct file {
	uint32_t ino;
	struct ext2_inode_large raw;
	struct run *runs;
	size_t nruns, room;
	uint8_t *inline_data;
	uint64_t sum; /* of content and size, when summed */
	bool summed;
	UT_hash_handle hh;
};

struct name {
	char *path;
	struct file *file;
	bool lost; /* below lost+found */
	UT_hash_handle hh;
};

struct side {
	const char *image;
	ext2_filsys fs;
	int fd;
	uint32_t block_size;
	struct file *files;
	struct name *names;
};

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

static void *must(void *memory)
{
	if (!memory)
		err(2, NULL);
	return memory;
}

/* ---- reading one image ---- */

static uint64_t size_of(const struct file *f)
{
	return EXT2_I_SIZE(&f->raw);
}

static bool has_content(const struct file *f)
{
	return LINUX_S_ISREG(f->raw.i_mode);
}

static void add_run(struct file *f, uint64_t lblk, uint64_t pblk, uint64_t len)
{
	struct run *last = f->nruns ? &f->runs[f->nruns - 1] : NULL;

	if (last && last->lblk + last->len == lblk && last->pblk + last->len == pblk) {
		last->len += len;
		return;
	}
	if (f->nruns == f->room) {
		f->room = f->room ? 2 * f->room : 4;
		f->runs = must(reallocarray(f->runs, f->room, sizeof(*f->runs)));
	}
	f->runs[f->nruns++] = (struct run){ lblk, pblk, len };
}

static int add_block(ext2_filsys fs, blk64_t *blk, e2_blkcnt_t lblk, blk64_t ref, int at, void *arg)
{
	(void)fs;
	(void)ref;
	(void)at;
	if (lblk >= 0)
		add_run(arg, (uint64_t)lblk, *blk, 1);
	return 0;
}

static void load_extents(struct side *side, struct file *f)
{
	struct ext2fs_extent ex;
	ext2_extent_handle_t handle;
	errcode_t code;

	if (ext2fs_extent_open2(side->fs, f->ino, (void *)&f->raw, &handle))
		return;
	for (code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &ex); !code;
	     code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &ex))
		if (ex.e_flags & EXT2_EXTENT_FLAGS_LEAF && !(ex.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			add_run(f, ex.e_lblk, ex.e_pblk, ex.e_len);
	ext2fs_extent_free(handle);
}

static void load_inline(struct side *side, struct file *f)
{
	size_t bytes = 0;

	f->inline_data = must(calloc(1, EXT2_INODE_SIZE(side->fs->super) + 65536));
	if (ext2fs_inline_data_get(side->fs, f->ino, (void *)&f->raw, f->inline_data, &bytes))
		bytes = 0;
}

static void load_content(struct side *side, struct file *f)
{
	if (!has_content(f))
		return;
	if (f->raw.i_flags & EXT4_INLINE_DATA_FL)
		load_inline(side, f);
	else if (f->raw.i_flags & EXT4_EXTENTS_FL)
		load_extents(side, f);
	else
		ext2fs_block_iterate3(side->fs, f->ino, BLOCK_FLAG_DATA_ONLY | BLOCK_FLAG_READ_ONLY,
				      NULL, add_block, f);
}

static struct file *get_file(struct side *side, uint32_t ino)
{
	struct file *f;

	HASH_FIND(hh, side->files, &ino, sizeof(ino), f);
	if (f)
		return f;
	f = must(calloc(1, sizeof(*f)));
	f->ino = ino;
	if (ext2fs_read_inode_full(side->fs, ino, (void *)&f->raw, sizeof(f->raw)))
		memset(&f->raw, 0, sizeof(f->raw));
	load_content(side, f);
	HASH_ADD(hh, side->files, ino, sizeof(f->ino), f);
	return f;
}

struct walk {
	struct side *side;
	const char *path;
	unsigned depth;
};

static void walk_dir(struct side *side, uint32_t ino, const char *path, unsigned depth);

static int add_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *de, int offset, int blocksize,
		    char *buf, void *arg)
{
	struct walk *walk = arg;
	int len = ext2fs_dirent_name_len(de);
	struct name *name, *other;

	(void)dir;
	(void)entry;
	(void)offset;
	(void)blocksize;
	(void)buf;
	if (!de->inode || (len == 1 && de->name[0] == '.') ||
	    (len == 2 && !memcmp(de->name, "..", 2)))
		return 0;
	name = must(calloc(1, sizeof(*name)));
	if (asprintf(&name->path, "%s/%.*s", walk->path, len, de->name) < 0)
		err(2, NULL);
	name->lost = !strncmp(name->path, "/lost+found/", 12);
	name->file = get_file(walk->side, de->inode);
	HASH_FIND_STR(walk->side->names, name->path, other);
	if (other) {
		free(name->path);
		free(name);
		return 0;
	}
	HASH_ADD_KEYPTR(hh, walk->side->names, name->path, strlen(name->path), name);
	if (LINUX_S_ISDIR(name->file->raw.i_mode))
		walk_dir(walk->side, de->inode, name->path, walk->depth + 1);
	return 0;
}

static void walk_dir(struct side *side, uint32_t ino, const char *path, unsigned depth)
{
	struct walk walk = { side, path, depth };

	if (depth < DEPTH_MAX)
		ext2fs_dir_iterate2(side->fs, ino, 0, NULL, add_name, &walk);
}

static void load(struct side *side, const char *image)
{
	errcode_t code;

	side->image = image;
	side->fd = open(image, O_RDONLY | O_CLOEXEC);
	if (side->fd < 0)
		err(2, "%s", image);
	code = ext2fs_open(image, EXT2_FLAG_64BITS | EXT2_FLAG_IGNORE_CSUM_ERRORS, 0, 0,
			   unix_io_manager, &side->fs);
	if (code)
		errx(2, "%s: %s", image, error_message(code));
	side->block_size = side->fs->blocksize;
	walk_dir(side, EXT2_ROOT_INO, "", 0);
}

static struct name *find_name(struct side *side, const char *path)
{
	struct name *name = NULL;

	if (side->image)
		HASH_FIND_STR(side->names, path, name);
	return name;
}

static struct file *find_file(struct side *side, uint32_t ino)
{
	struct file *f = NULL;

	if (side->image)
		HASH_FIND(hh, side->files, &ino, sizeof(ino), f);
	return f;
}

/* ---- content ---- */

/* The bytes of one logical block; false: all zeros, and buf is. What is behind the size is zeros. */
static bool read_block(struct side *side, const struct file *f, uint64_t lblk, uint8_t *buf)
{
	uint64_t at = lblk * side->block_size, size = size_of(f);
	size_t low = 0, high = f->nruns, mid;
	bool some = false;

	memset(buf, 0, side->block_size);
	if (at >= size)
		return false;
	if (f->inline_data) {
		if (size > 65536 || lblk)
			return false;
		memcpy(buf, f->inline_data, size < side->block_size ? size : side->block_size);
		return true;
	}
	while (low < high) {
		mid = (low + high) / 2;
		if (f->runs[mid].lblk + f->runs[mid].len <= lblk)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == f->nruns || f->runs[low].lblk > lblk)
		return false;
	if (pread(side->fd, buf, side->block_size,
		  (off_t)((f->runs[low].pblk + lblk - f->runs[low].lblk) * side->block_size)) < 0)
		err(2, "%s", side->image);
	if (size - at < side->block_size)
		memset(buf + (size - at), 0, side->block_size - (size - at));
	for (uint32_t i = 0; i < side->block_size && !some; i++)
		some = buf[i];
	return some;
}

/* The first mapped block at or after lblk that lies before the end; UINT64_MAX: none. */
static uint64_t next_block(const struct side *side, const struct file *f, uint64_t lblk)
{
	uint64_t end = size_of(f) / side->block_size + (size_of(f) % side->block_size != 0), at;

	if (f->inline_data)
		return lblk ? UINT64_MAX : 0;
	for (size_t i = 0; i < f->nruns; i++)
		if (f->runs[i].lblk + f->runs[i].len > lblk) {
			at = f->runs[i].lblk > lblk ? f->runs[i].lblk : lblk;
			return at < end ? at : UINT64_MAX;
		}
	return UINT64_MAX;
}

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
	for (; (lblk = next_block(side, f, lblk)) != UINT64_MAX; lblk++)
		if (read_block(side, f, lblk, buf)) {
			mix(&f->sum, &lblk, 8);
			mix(&f->sum, buf, side->block_size);
		}
	if (LINUX_S_ISLNK(f->raw.i_mode))
		mix(&f->sum, f->raw.i_block, sizeof(f->raw.i_block));
	free(buf);
	return f->sum;
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
		a = next_block(x->theirs, x->t, lblk);
		b = next_block(x->ours, x->o, lblk);
		lblk = a < b ? a : b;
		if (lblk == UINT64_MAX)
			break;
		read_block(x->theirs, x->t, lblk, buf);
		read_block(x->ours, x->o, lblk, buf + bs);
		if (!memcmp(buf, buf + bs, bs))
			continue;
		for (int i = 0; i < 2; i++) {
			memset(s[i], 0, bs);
			if (x->s[i])
				read_block(x->sound, x->s[i], lblk, s[i]);
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

	if (!right(mode_of(x->o), mode_of(x->t),
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

/* A symbolic link's target, ended by a zero. */
static void read_target(struct side *side, const struct file *f, uint8_t *buf)
{
	struct file reg = *f;

	memset(buf, 0, side->block_size + 1);
	if (f->raw.i_flags & EXT4_INLINE_DATA_FL) {
		size_t bytes = 0;

		if (size_of(f) < side->block_size)
			ext2fs_inline_data_get(side->fs, f->ino, (void *)&reg.raw, buf, &bytes);
	} else if (ext2fs_is_fast_symlink((void *)&reg.raw)) {
		memcpy(buf, f->raw.i_block, sizeof(f->raw.i_block));
	} else {
		reg.runs = NULL;
		reg.nruns = reg.room = 0;
		if (f->raw.i_flags & EXT4_EXTENTS_FL)
			load_extents(side, &reg);
		else
			add_run(&reg, 0, f->raw.i_block[0], 1);
		read_block(side, &reg, 0, buf);
		free(reg.runs);
	}
	if (size_of(f) < side->block_size)
		memset(buf + size_of(f), 0, side->block_size - size_of(f));
}

static void compare_target(struct trio *x)
{
	uint32_t bs = x->theirs->block_size;
	uint8_t *buf = must(calloc(4, bs + 1)), *ours = buf + bs + 1, *sound = ours + bs + 1;
	bool same;

	read_target(x->theirs, x->t, buf);
	read_target(x->ours, x->o, ours);
	same = !memcmp(buf, ours, bs);
	for (int i = 0; i < 2 && !same; i++)
		if (x->s[i] && LINUX_S_ISLNK(x->s[i]->raw.i_mode)) {
			read_target(x->sound, x->s[i], sound);
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
		if (!other->lost && !name->lost && find_name(x->sound, name->path))
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
	struct name *ours = find_name(x->ours, name->path), *sound;

	if (!ours || (name->lost && ours->file->ino != name->file->ino)) {
		ours = lost_like(x, name);
		if (!ours) {
			/* Names and nothing else: what it is has to be somewhere. */
			say("lost", name->path, " (inode %u)", name->file->ino);
			return;
		}
		if (!name->lost)
			say("moved", name->path, " to %s", ours->path);
	}
	sound = find_name(x->sound, ours->path);
	*x = (struct trio){ x->sound,
			    x->theirs,
			    x->ours,
			    ours->path,
			    { sound ? sound->file : NULL, find_file(x->sound, ours->file->ino) },
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
		load(&sound, argv[1]);
	load(&theirs, argv[2]);
	load(&ours, argv[3]);
	for (struct name *name = theirs.names; name; name = name->hh.next)
		compare_name(&x, name);
	if (shown > MOST_SHOWN)
		printf("and %u more\n", shown - MOST_SHOWN);
	return shown ? 1 : 0;
}
