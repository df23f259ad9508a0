/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz - what the fuzzers share: images in memory, inputs as patches of sound images, and what is
 * done with an image that was patched.
 *
 * A target has LLVMFuzzerInitialize and LLVMFuzzerTestOneInput, called by libFuzzer's main or by
 * replay.c; fuzz_mutate.c has the image targets' mutator. Nothing is kept from one input to the
 * next.
 *
 * An input of the image targets is
 *	base	1 byte: which sound image (fuzz_base.c)
 *	what	1 byte: what is done with it (enum fuzz_do)
 *	records, each: kind, owner, where (2 bytes), offset (2), length (2), bytes
 * and a record puts its bytes over a structure of that image. With FUZZ_FIX in `what` checksums are
 * made right afterwards, so that what is behind them is reached. Numbers are little endian. Lengths
 * past the end of the input are cut.
 *
 * The bases are made by mkdafs' and dawrite's own functions with a fixed clock, UUID and hash seed;
 * seeds are records with the structures as they are (fuzz_seed.c).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "image/image.h"
#include "job/session.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* The two of an image target, whose seeds write_seeds makes. */
#define FUZZ_IMAGE_TARGET(write_seeds)                               \
	int LLVMFuzzerInitialize(int *argc, char ***argv)            \
	{                                                            \
		(void)argc, (void)argv;                              \
		fuzz_seeds(write_seeds);                             \
		return 0;                                            \
	}                                                            \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) \
	{                                                            \
		fuzz_image(data, size);                              \
		return 0;                                            \
	}

/* --- memory for an image (fuzz_mem.c) --- */

#define FUZZ_CHUNK_BYTES 1024u
#define FUZZ_MOST_BYTES (16u << 20)

struct fuzz_mem {
	struct dafs_dev_ops ops; /* first: the device finds its memory by it */
	uint8_t *bytes;
	uint64_t size_bytes, room_bytes;
	uint8_t *dirty; /* chunk by chunk, since fuzz_mem_reset */
};

/* Devices that are opened from now on are this memory. */
void fuzz_mem_use(struct fuzz_mem *mem);
void fuzz_mem_init(struct fuzz_mem *mem, uint64_t size_bytes);
/* Put bytes over it; what is past its end is cut. */
void fuzz_mem_put(struct fuzz_mem *mem, uint64_t off, const void *bytes, size_t len_bytes);
/* As from again. */
void fuzz_mem_reset(struct fuzz_mem *mem, const struct fuzz_mem *from);

/* The address to open, and a folder for what has to be on a disk: the first call makes it. */
const char *fuzz_address(void);
const char *fuzz_folder(void);

/* --- sound images (fuzz_base.c) --- */

struct fuzz_base {
	const char *name;
	uint32_t size_kib, block_size;
	const char *features, *extended;
	uint32_t inode_size, cluster_size, blks_per_group;
	bool journal;
	bool ready;
	struct fuzz_mem sound;
	struct dafs_image *img; /* sound, open for reading: where things are, and checksum seeds */
};

extern struct fuzz_base fuzz_bases[];
extern const size_t fuzz_nbases;

/* The base of that number, made when it is asked for first. */
struct fuzz_base *fuzz_base(size_t number);

/* A copy of it to work on, as sound as it; one of each base. */
struct fuzz_mem *fuzz_copy(size_t number);

/* The one context; its clock stands still. */
extern struct dafs_ctx fuzz_ctx;

/* Quiet the output, make the context. Once. */
void fuzz_begin(void);
/* End the process: a base could not be made, or a promise of ours was broken. */
void fuzz_die(const char *what, errcode_t err) __attribute__((noreturn));

/* --- patches (fuzz_patch.c, fuzz_log.c) --- */

enum fuzz_kind {
	FUZZ_BLOCK,	/* where: block */
	FUZZ_SUPER,	/* 1024 bytes */
	FUZZ_DESCS,	/* descriptors, where: the block of them */
	FUZZ_INODE,	/* where: number */
	FUZZ_EXTENTS,	/* tree block of inode owner, where: block */
	FUZZ_LEAF,	/* directory blocks */
	FUZZ_ROOT,
	FUZZ_NODE,
	FUZZ_XATTRS,	/* where: block */
	FUZZ_BBITMAP,	/* where: group */
	FUZZ_IBITMAP,
	FUZZ_LOG,	/* where: block of the journal */
	FUZZ_FC,	/* bytes of the fast-commit area; where: block of it */
	FUZZ_KINDS,
};

enum fuzz_do {
	FUZZ_FIX = 1,	     /* checksums are made right */
	FUZZ_LOOK = 2,	     /* dafsdebug */
	FUZZ_CHECK = 4,	     /* dafsck -fn */
	FUZZ_REPAIR = 8,     /* dafsck -fy */
	FUZZ_EDIT = 16,	     /* dawrite */
	FUZZ_NO_CSUM = 32,   /* dafsdebug -n */
	FUZZ_JSON = 64,	     /* dafsdebug --json */
	FUZZ_BACKUP = 128,   /* -b: a backup superblock */
};

enum { FUZZ_HEAD_BYTES = 2, FUZZ_RECORD_BYTES = 8, FUZZ_PATCHES_MOST = 64 };

struct fuzz_record {
	uint8_t kind, owner;
	uint16_t where, off;
	const uint8_t *bytes;
	size_t len;
};

/* The next record (fuzz_seed.c) of [*at, end); false: there is none. */
bool fuzz_record_next(const uint8_t **at, const uint8_t *end, struct fuzz_record *rec);

/* Put all records over mem, a copy of base. */
void fuzz_patch(const struct fuzz_base *base, struct fuzz_mem *mem, bool fix, const uint8_t *at,
		const uint8_t *end);

/* Checksums of the log and of fast commits (fuzz_log.c), of a journal as it is mapped in base. */
void fuzz_log_fix(const struct fuzz_base *base, struct fuzz_mem *mem);
/* Offset of a block of the journal in the image; 0: there is none. */
uint64_t fuzz_log_off(const struct fuzz_base *base, uint32_t lblk);
/* The first block of its fast-commit area. */
uint32_t fuzz_log_fc_first(const struct fuzz_base *base);

/* --- what is done with an image (fuzz_run.c) --- */

/* One input of an image target. */
void fuzz_image(const uint8_t *data, size_t size);

/* --- seeds (fuzz_seed.c) --- */

/* An input of an image target that is being put together. */
struct fuzz_input {
	uint8_t bytes[1 << 18];
	size_t len;
};
void fuzz_input_begin(struct fuzz_input *in, size_t base, uint8_t what);
void fuzz_input_add(struct fuzz_input *in, const struct fuzz_record *rec);

/* With DAFS_FUZZ_SEEDS=FOLDER in the environment: write writes the target's seeds there with
 * fuzz_seed_write, and the process ends; with DAFS_FUZZ_BASES=FOLDER the sound images are written
 * there as files. To be called first. */
void fuzz_seeds(void (*write)(void));
void fuzz_seed_write(const char *name, const uint8_t *data, size_t size);
void fuzz_seed_input(const char *name, const struct fuzz_input *in);
/* Every inode of every base: its bytes, and those of its blocks that kinds (bits of enum fuzz_kind)
 * has. Those without such blocks are left out unless FUZZ_INODE is all that is asked for. */
void fuzz_seed_inodes(unsigned kinds);
/* Every structure of a base; its bytes stay where they are. */
void fuzz_structures(size_t number, void (*fn)(void *arg, const struct fuzz_record *rec),
		     void *arg);

#endif
