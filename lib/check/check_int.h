/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check_int - what the checker's files share: the run, the geometry, the maps, the workers.
 *
 * How a pass runs. The work is cut into items (a group's inode table, a batch of directories);
 * workers take items in any order. A worker looks with `scan` set: its findings are not reported,
 * they put the thing (inode, directory) off; what it would add to the shared maps is staged and
 * published only when the thing is sound. Afterwards everything that was put off is looked at
 * again, alone, in order, with findings reported. So findings come in a stable order and are
 * independent of threads, and sound things cost little.
 *
 * Invariants:
 *  1. structures are read in place, so the host is little-endian like the disk (asserted below);
 *  2. published claims commute: a block's second claim lands in dup whoever comes first;
 *  3. nothing on disk is followed before its bounds were checked, and no walk visits a node of one
 *     tree twice.
 */
#ifndef DAFS_CHECK_CHECK_INT_H
#define DAFS_CHECK_CHECK_INT_H

#include "check/bits.h"
#include "check/problem.h"

#include "base/siphash.h"
#include "image/etree.h"
#include "image/image.h"
#include "image/undo.h"
#include "model/extlist.h"

#include <pthread.h>
#include <string.h>
#include <ext2fs/ext2_ext_attr.h>
#include <ext2fs/ext3_extents.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the checker reads structures in place");

#define DAFS_CK_FLEX_LOG_MAX	31 /* of s_log_groups_per_flex */
#define DAFS_CK_EXTRA_ISIZE_MIN 4  /* i_extra_isize and i_checksum_hi */

/* ---- geometry (geom.c) ---- */
struct dafs_ck_geom {
	uint64_t blocks;
	uint64_t clusters; /* of all groups */
	uint32_t block_size, block_bits;
	uint32_t cbits; /* log2 blocks a cluster */
	uint32_t first; /* s_first_data_block */
	uint32_t groups, bpg, cpg, ipg;
	uint32_t inodes, first_ino;
	uint32_t inode_size, inodes_per_blk, itable_blks;
	uint32_t desc_size, desc_blks, descs_per_blk;
	uint32_t csum_seed;
	bool csum;    /* metadata_csum */
	bool gd_csum; /* descriptors have checksums (either sort), uninit flags count */
	bool extents, inline_data, filetype, dir_index, large_dir, ea_inode, bit64, bigalloc,
		huge_file;
	bool flex_bg, meta_bg, xattr, casefold, encrypt, quota, hurd, imagic, shared_blocks;
};

struct dafs_ck_range {
	uint64_t start, len;
};

/* ---- what is known of an inode ---- */
enum {
	DAFS_CKI_TYPE = 7, /* EXT2_FT_* */
	DAFS_CKI_USED = 0x8,
	DAFS_CKI_BAD = 0x10, /* fields to be complained about when its name is known */
	DAFS_CKI_BB = 0x20,  /* lies in a bad block */
	DAFS_CKI_IMAGIC = 0x40,
	DAFS_CKI_CASEFOLD = 0x80,
	DAFS_CKI_EA = 0x100, /* holds an attribute's value */
	DAFS_CKI_ENC = 0x200,
};
struct dafs_ck_ino {
	uint16_t links;	       /* as on disk */
	_Atomic uint16_t refs; /* counted */
	uint16_t flags;
};
#define DAFS_CK_INO_CHUNK 1024u
#define DAFS_CK_INO_WORDS (DAFS_CK_INO_CHUNK / 64)
struct dafs_ck_chunk {
	_Atomic uint64_t plain[DAFS_CK_INO_WORDS]; /* in use: a regular file, one link */
	_Atomic uint64_t named[DAFS_CK_INO_WORDS]; /* ... that has a name */
	uint64_t odd[DAFS_CK_INO_WORDS];	   /* the others have a row */
	uint16_t base[DAFS_CK_INO_WORDS];	   /* rows of the words in front */
	uint16_t n, room;			   /* of rows */
	struct dafs_ck_ino *rows;
};

/* A run of a directory's blocks; pblk 0: a hole. */
struct dafs_ck_dext {
	uint64_t pblk;
	uint32_t lblk, len;
};

struct dafs_ck_dir {
	uint32_t ino;
	uint32_t dotdot; /* what .. says; 0: unknown */
	uint32_t parent; /* who names it; 0: nobody */
	uint32_t generation;
	uint32_t iflags;
	uint32_t ndext;
	uint64_t size;
	uint64_t dext; /* first run in run->dexts */
	uint8_t state; /* pass 2, 3 */
	bool gone;     /* cleared after pass 1 */
};

/* A subdirectory's name: who names it, where. */
struct dafs_ck_claim {
	uint32_t child, dir;
	uint64_t pblk;
	uint32_t lblk;
	uint32_t off;
};

struct dafs_ck;

/* Results of one item of pass 1, kept apart until all are there. */
struct dafs_ck_part {
	struct dafs_ck_vec dirs;  /* dafs_ck_dir; .dext is relative to the part */
	struct dafs_ck_vec dexts; /* dafs_ck_dext */
	struct dafs_ck_vec later; /* uint32_t: inodes put off */
};

/* One inode while pass 1 looks at it. */
struct dafs_ck_inode {
	uint32_t ino;
	struct ext2_inode_large *raw; /* inode_size bytes, at least 256 with zeros behind */
	uint16_t cki;		      /* DAFS_CKI_* to publish */
	uint16_t links;		      /* to publish */
	bool csum_bad;
	bool garbage; /* checksum bad, and so are those of most inodes of its block */
	bool dirty;   /* changed by a repair */
	bool cleared;
	bool is_dir, is_reg;
	uint64_t clusters;			 /* that it owns */
	uint64_t ea_ibody_blks, ea_ibody_inodes; /* charged for values in inodes */
	uint64_t ea_block_blks, ea_block_inodes;
	int64_t last_blk;      /* last logical block mapped, -1: none */
	int64_t last_init_blk; /* last written one */
	uint64_t prev_pblk;    /* physical block before, for fragmentation and clusters */
	uint64_t next_lblk;    /* extents: first logical block not yet mapped */
	int64_t last_dir_blk;
	uint32_t illegal;
	uint64_t ea_blk; /* attribute block it refers to, judged; 0: none */
	uint64_t quota_bytes, quota_inodes;
	bool fragmented;
	bool has_tree; /* an extent tree of depth */
	uint8_t depth;
	bool rebuild; /* the block map is to be written anew */
	bool convert; /* ... as extents */
};

struct dafs_ck_stats {
	uint64_t dirs, regs, links, fast_links, chars, blocks, fifos, socks;
	uint64_t ind, dind, tind, depth[8], fragmented;
	uint64_t large_files, large_dirs;
};

/* Reference to an attribute value's inode, to an attribute block, an encryption policy: sorted and
 * counted after the pass. */
struct dafs_ck_policy {
	uint32_t ino;
	uint32_t id; /* 0: none that can be read */
	uint8_t len;
	uint8_t bytes[40];
};

struct dafs_ck_quota_item {
	uint32_t id[3];
	int64_t bytes, inodes;
};

struct dafs_ck_worker {
	struct dafs_ck *ck;
	unsigned index;
	bool scan;  /* findings put off */
	bool quiet; /* what was decided before is done again, in silence */
	bool put_off;
	struct dafs_ck_part *part;
	struct dafs_ck_vec claims;   /* dafs_ck_range in clusters */
	struct dafs_ck_vec dexts;    /* of the inode at hand */
	struct dafs_ck_vec ea_refs;  /* uint32_t: value inodes referred to */
	struct dafs_ck_map seen;     /* nodes of the tree at hand */
	struct dafs_ck_vec policies; /* dafs_ck_policy */
	struct dafs_ck_map quota[3]; /* id + 1 -> index in quota_sums */
	struct dafs_ck_vec quota_sums[3];
	struct dafs_ck_vec subdirs;	/* dafs_ck_claim */
	struct dafs_ck_vec refs;	/* uint32_t: inodes that the directory at hand names */
	struct dafs_ck_vec new_subdirs; /* dafs_ck_claim of the directory at hand */
	struct dafs_ck_map names;	/* its names' keys */
	struct dafs_ck_flat *flat;	/* while a map is collected (remap.c) */
	struct dafs_ck_vec owners;	/* pass 1b: inodes with blocks claimed twice */
	struct dafs_ck_vec later;	/* uint32_t: directories put off (indexes) */
	struct dafs_ck_stats stats;
	uint8_t *level[16]; /* scratch blocks: of a block map by level */
	uint8_t *xblk;	    /* of attributes */
	uint8_t *tmp;	    /* of anything short */
	uint8_t *raw;	    /* pass 1: the inode at hand */
	uint8_t *window;    /* blocks read ahead; pass 1: of an inode table */
	uint64_t win_start, win_len;
	uint64_t ahead_start, ahead_len; /* blocks the host is to be told of */
	size_t dir_at;			 /* pass 2: place of the directory at hand in dir_order */
	errcode_t err;			 /* first failure that ends the run */
};

struct dafs_ck {
	/* What image/'s pure helpers (checksums, hashes, layouts) look at: sizes, seeds and
	 * features. Never opened. */
	struct dafs_image img;
	struct struct_ext2_filsys fs;
	struct dafs_ctx *ctx;
	struct dafs_dev *dev;
	const struct dafs_check_opts *opts;
	struct dafs_check_report *rep;
	struct dafs_siphash_key secret; /* of names' keys */

	/* Repairs. */
	enum dafs_check_mode mode; /* of this round of rounds */
	bool fixing;		   /* mode is not NO */
	bool trial;		   /* preen: is everything safe to repair? Nothing is reported */
	bool unsafe;		   /* ... no */
	bool sound;		   /* a trial found nothing: what passes 1 and on look at stands */
	bool again;	    /* a repair made what earlier passes know out of date: start over */
	bool no_room;	    /* for a repair */
	bool tidied;	    /* directories, as was asked for */
	bool listed;	    /* bad blocks, as was asked for */
	bool unsharing;	    /* shared blocks are cloned, as was asked for */
	bool stuck;	    /* a repair of this round found no room */
	uint64_t round_sum; /* of the findings to be repaired in this round, in any order */
	unsigned round;
	unsigned announced;		     /* the last pass whose title was reported */
	bool jnl_error;			     /* the journal remembers one: all is looked at */
	uint64_t changes;		     /* repairs so far */
	struct dafs_ck_map decided;	     /* key of a finding -> enum decision (check.c) */
	uint64_t left[DAFS_CHECK_FATAL + 1]; /* of this round */
	struct dafs_ck_vec remaps; /* dafs_ck_remap: inodes whose block map is to be written anew */
	struct dafs_ck_vec
		lost_index;	  /* uint32_t: directories whose index was dropped in this run */
	struct dafs_ck_vec moves; /* relocate.c */
	struct dafs_ck_vec zeros; /* dafs_ck_range: to be zeroed after the commit */
	unsigned want;		  /* DAFS_CKW_*: to be made in the next room */
	bool backups;		  /* copies of superblock and descriptors are to be written */
	bool layout_moved;	  /* descriptors say other places than on the device */
	struct dafs_undo *undo;	  /* NULL: none. All goes through the commit then */

	union {
		struct ext2_super_block sb;
		uint8_t sb_bytes[1024];
	};
	uint64_t sb_blk; /* where sb came from, 0: the primary */
	struct dafs_ck_geom g;
	uint8_t *gd;	  /* descriptors, one behind the other */
	uint32_t gd_grp;  /* group whose copy they are of */
	uint32_t ngroups; /* of the arrays by group, for freeing them */
	bool gd_bad_any;
	uint8_t *gd_flags;	    /* DAFS_CKG_* for each group */
	struct dafs_ck_range *meta; /* static metadata, sorted, merged */
	size_t nmeta;

	struct dafs_ck_bits found;	       /* clusters in use */
	struct dafs_ck_bits dup;	       /* clusters claimed more than once */
	_Atomic(struct dafs_ck_chunk *) *inos; /* inos.c; NULL: none in use */
	size_t nchunks;
	struct dafs_ck_map refs_over; /* ino -> names beyond what inos has room for */
	bool refs_nomem;
	pthread_mutex_t refs_lock;

	struct dafs_ck_part **parts; /* by group */
	struct dafs_ck_dir *dirs;    /* sorted by ino */
	size_t ndirs;
	uint32_t *dir_order; /* pass 2: directories by their first blocks */
	struct dafs_ck_dext *dexts;
	size_t ndexts;

	struct dafs_ck_map ea_blocks; /* block -> index + 1 in ea_infos */
	struct dafs_ck_vec ea_infos;  /* dafs_ck_ea_block (xattr.c) */
	pthread_mutex_t ea_lock;
	struct dafs_ck_map ea_inodes;  /* value inode -> references */
	struct dafs_ck_vec policies;   /* sorted by ino */
	struct dafs_ck_map bad_blocks; /* block + 1 -> 1 */
	struct dafs_ck_map unreadable; /* block + 1: a finding was made */
	struct dafs_ck_map quota[3];
	struct dafs_ck_vec quota_sums[3];

	uint32_t *free_clusters, *free_inodes; /* pass 5, by group */
	struct dafs_ck_vec uninit_tables;      /* uninit.c: dafs_ck_range */
	bool uninit_listed;
	struct dafs_ck_worker *workers;
	unsigned nworkers;
	struct dafs_ck_worker *main; /* workers[0]; serial work runs on it with scan off */
	const struct ext2fs_nls_table *nls;
	_Atomic uint64_t progress;
	_Atomic uint64_t node_budget; /* nodes that walks may still visit although claimed before */
	uint32_t lost_found;	      /* 0: not known, or there is none */
	bool lost_tried;	      /* it was looked for in this round */
	struct dafs_ck_map lost_names;
	bool low_dtime; /* deletion times below the number of inodes are links of the orphan list */
};

enum {
	DAFS_CKG_BB_BAD = 1, /* block bitmap is not where it could be read */
	DAFS_CKG_IB_BAD = 2,
	DAFS_CKG_IT_BAD = 4,
	DAFS_CKG_CSUM_BAD = 8,
	DAFS_CKG_BB_CLASH = 0x10, /* lies on another structure */
	DAFS_CKG_IB_CLASH = 0x20,
	DAFS_CKG_IT_CLASH = 0x40,
	DAFS_CKG_LATER = 0x80, /* pass 5: put off */
};

/* What pass 0 wants moved, by group, and made. */
enum { DAFS_CKM_BB = 1, DAFS_CKM_IB = 2, DAFS_CKM_IT = 4 };
enum { DAFS_CKW_RESIZE = 1, DAFS_CKW_MMP = 2, DAFS_CKW_JOURNAL = 4 };

/* ---- the crew (crew.c) ---- */
#define DAFS_CK_WINDOW_BYTES (256u << 10)
errcode_t dafs_ck_crew_init(struct dafs_ck *ck); /* scratch memory of all workers, for a round */
void dafs_ck_crew_fini(struct dafs_ck *ck);
typedef errcode_t (*dafs_ck_item_fn)(struct dafs_ck_worker *w, uint64_t item);
/* Run fn over items [0, n) on all workers with scan set. The first error ends it. */
errcode_t dafs_ck_parallel(struct dafs_ck *ck, uint64_t n, dafs_ck_item_fn fn);
/* The same; ahead is called for each item some time before fn, to say what it will read
 * (dafs_ck_ahead). */
typedef void (*dafs_ck_ahead_fn)(struct dafs_ck_worker *w, uint64_t item);
errcode_t dafs_ck_parallel_ahead(struct dafs_ck *ck, uint64_t n, dafs_ck_item_fn fn,
				 dafs_ck_ahead_fn ahead);

/* ---- findings (find.c) ---- */
/* A finding. With scan: put off, false. Else reported and counted; true when it is to be repaired
 * now. */
bool dafs_ck_find(struct dafs_ck_worker *w, const struct dafs_finding *f);
#define DAFS_CK_FIND(w, name, ...)                                                                 \
	dafs_ck_find(w, &(struct dafs_finding){ .code = DAFS_CK_##name, ##__VA_ARGS__ })

/* ---- blocks and inodes (io.c) ---- */
/* Read count blocks. Blocks that cannot be read are zeros and make a finding (with scan: put off).
 * Errors: ENOMEM only. */
errcode_t dafs_ck_read(struct dafs_ck_worker *w, uint64_t pblk, uint64_t count, void *buf);
/* One block through the worker's window; run: how many blocks from it on will be wanted next, more:
 * how many behind those are worth reading with them. Good until the next call. */
errcode_t dafs_ck_read_window(struct dafs_ck_worker *w, uint64_t pblk, uint64_t run, uint64_t more,
			      uint8_t **buf);
/* A hint that the blocks will be read soon. Neighbours are merged and passed on together, by flush
 * at the latest. */
void dafs_ck_ahead(struct dafs_ck_worker *w, uint64_t pblk, uint64_t len);
void dafs_ck_ahead_flush(struct dafs_ck_worker *w);
static inline bool dafs_ck_in_window(const struct dafs_ck_worker *w, uint64_t pblk)
{
	return pblk >= w->win_start && pblk < w->win_start + w->win_len;
}
/* Give a block new contents (copied, checksums are the caller's). Visible to later reads; on disk
 * after the commit. Serial phases only. */
errcode_t dafs_ck_write(struct dafs_ck_worker *w, uint64_t pblk, const void *buf);
/* Give a block that was taken in this round its contents: at once where nothing on the device can
 * refer to it, else as dafs_ck_write. For data that may be much. */
errcode_t dafs_ck_write_fresh(struct dafs_ck_worker *w, uint64_t pblk, const void *buf);
/* Give an inode new contents, checksum made here. Serial phases only. */
errcode_t dafs_ck_write_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw);
/* Copy of one inode (inode_size bytes, zeros up to 256). False: its table cannot be located. */
bool dafs_ck_read_inode(struct dafs_ck_worker *w, uint32_t ino, struct ext2_inode_large *raw);
/* Memory for that. */
struct ext2_inode_large *dafs_ck_raw_alloc(const struct dafs_ck *ck);
/* Does the device have the inode's type, size and map as they are now? */
bool dafs_ck_inode_unchanged(struct dafs_ck *ck, uint32_t ino);

/* ---- room for repairs (space.c): serial, after pass 1b ---- */
/* blks blocks in a row (bigalloc: whole clusters), near a goal or within [from, to): the first one,
 * marked in ck->found; 0: there are none. */
uint64_t dafs_ck_take(struct dafs_ck *ck, uint64_t goal_pblk, uint64_t blks);
uint64_t dafs_ck_take_within(struct dafs_ck *ck, uint64_t from_pblk, uint64_t to_pblk,
			     uint64_t blks);
/* Blocks and inodes get in use or free in the bitmaps as they lie in the image, counts included;
 * bits that are so already are left out of account. A group without a bitmap gets one when blocks
 * get in use: of all that passes 1 and 1b found. */
errcode_t dafs_ck_bitmap_blks(struct dafs_ck *ck, uint64_t pblk, uint64_t len, bool used);
errcode_t dafs_ck_bitmap_inode(struct dafs_ck *ck, uint32_t ino, bool is_dir, bool used);
uint64_t dafs_ck_goal(const struct dafs_ck *ck, uint32_t ino); /* of an inode's blocks */
/* Report that there was no room. Always false. */
bool dafs_ck_no_room(struct dafs_ck_worker *w, const char *what);
/* Is there a free block and a free inode? */
bool dafs_ck_room_for_dir(const struct dafs_ck *ck);
/* A free inode, its table block in order; 0: there is none. */
errcode_t dafs_ck_take_inode(struct dafs_ck *ck, uint32_t *ino);

/* ---- structures in a new place (relocate.c) ---- */
void dafs_ck_want_move(struct dafs_ck *ck, uint32_t grp, unsigned what);
errcode_t dafs_ck_write_mmp(struct dafs_ck *ck);
/* An empty journal's superblock for a journal of blks blocks, into a block; the superblock's copy
 * of the journal inode (journal.c). */
void dafs_ck_journal_super(const struct dafs_ck *ck, uint64_t blks, void *block);
void dafs_ck_journal_backup(struct dafs_ck *ck, const struct ext2_inode_large *raw);

/* ---- block maps anew (remap.c) ---- */
struct dafs_ck_flat {
	struct dafs_extlist xl;	   /* the sound part of a map */
	struct dafs_blklist nodes; /* blocks that hold it */
	uint64_t clusters;	   /* of both */
};
enum {
	DAFS_CKR_FILL = 1,    /* a directory's holes are to be closed */
	DAFS_CKR_CONVERT = 2, /* to extents */
};
struct dafs_ck_remap {
	uint32_t ino;
	unsigned what; /* DAFS_CKR_* */
};
void dafs_ck_want_remap(struct dafs_ck_worker *w, uint32_t ino, unsigned what);
/* The map of an inode as pass 1 accepted it, what was decided there repeated in silence. */
errcode_t dafs_ck_flat_read(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			    struct dafs_ck_flat *flat);
void dafs_ck_flat_fini(struct dafs_ck_flat *flat);
/* Append to a list; a piece that does not follow what is there is left out. False: no memory. */
bool dafs_ck_flat_add(struct dafs_extlist *xl, uint64_t lblk, uint64_t pblk, uint64_t len,
		      bool unwritten);
/* Write xl as the map of an inode whose map held flat (NULL: a new one), whose nodes are used again
 * unless somebody else claims them too. Sets i_block, i_blocks, flags; writes the inode. ENOSPC. */
errcode_t dafs_ck_flat_replace(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			       const struct dafs_ck_flat *flat, const struct dafs_extlist *xl);
errcode_t dafs_ck_flat_write(struct dafs_ck *ck, uint32_t ino, struct ext2_inode_large *raw,
			     const struct dafs_extlist *xl);
/* The same into blocks: direct and indirect ones (mapwrite.c). nodes: at least what it takes, see
 * dafs_ck_indirect_blks. */
uint64_t dafs_ck_indirect_blks(const struct dafs_ck *ck, const struct dafs_extlist *xl);
errcode_t dafs_ck_indirect_encode(struct dafs_ck *ck, const struct dafs_extlist *xl,
				  const struct dafs_blklist *nodes, struct ext2_inode_large *raw);

/* A block for logical block lblk of a directory mapped by xl: with bigalloc the one that its
 * cluster has for it. 0: no room. */
uint64_t dafs_ck_dir_blk(struct dafs_ck *ck, uint32_t ino, const struct dafs_extlist *xl,
			 uint32_t lblk);

/* ---- blocks claimed more than once (dup.c, clone.c) ---- */
struct dafs_ck_owner {
	uint32_t ino;
	uint64_t clusters; /* that others claim too */
	uint64_t first_pblk;
	bool metadata; /* the file system itself is among the others */
};
/* Give each of n inodes blocks of its own, the last claim keeps the old ones. The round starts
 * over.
 */
errcode_t dafs_ck_clone_all(struct dafs_ck *ck, const struct dafs_ck_owner *owners, size_t n);

/* ---- directories changed (dirfix.c, lost.c) ---- */
/* Is there a name in a directory? claim->child: whose; 0: no. */
errcode_t dafs_ck_dir_find(struct dafs_ck *ck, uint32_t dir, const char *name, uint8_t len,
			   struct dafs_ck_claim *claim);
/* The same for an entry other than . and .. of an inode. */
errcode_t dafs_ck_dir_find_ino(struct dafs_ck *ck, uint32_t dir, uint32_t ino,
			       struct dafs_ck_claim *claim);
/* Keys of all its names into a map. */
errcode_t dafs_ck_dir_names(struct dafs_ck *ck, uint32_t dir,
			    uint64_t (*key)(const char *name, size_t len),
			    struct dafs_ck_map *names);
/* Forget the entry that the claim is about. */
errcode_t dafs_ck_entry_clear(struct dafs_ck *ck, const struct dafs_ck_claim *claim);
/* Add a name. An inline directory gets a block, an indexed one loses its index for now. ENOSPC: no
 * room for another block. The round starts over. */
errcode_t dafs_ck_dir_add(struct dafs_ck *ck, uint32_t dir, const char *name, uint8_t len,
			  uint32_t ino, unsigned type);
/* The entry .. of a directory. The round starts over. */
errcode_t dafs_ck_dotdot_set(struct dafs_ck *ck, struct dafs_ck_dir *dir, uint32_t parent);
/* An empty leaf (dots: with . and ..) into buf, checksum and all. */
void dafs_ck_leaf_make(const struct dafs_ck *ck, uint32_t dir, uint32_t generation, bool dots,
		       uint32_t parent, uint8_t *buf);
/* Is there nothing but . and .. in a directory's first block, as in the root of an index? */
bool dafs_ck_root_alone(const struct dafs_ck *ck, const uint8_t *buf);
/* An index block becomes a leaf without names (a root keeps . and ..). False: it is no sound root.
 */
bool dafs_ck_linearise(const struct dafs_ck *ck, uint32_t seed, bool root, uint8_t *buf);
/* Make a directory in a new inode (*ino 0) or the one given, with one block; not linked anywhere.
 * parent 0: its own. ENOSPC. The round starts over. */
errcode_t dafs_ck_dir_make(struct dafs_ck *ck, uint32_t *ino, uint32_t parent, uint16_t mode);
/* lost+found, looked for once a round and made where it may be; 0: there is none. */
errcode_t dafs_ck_lost_found(struct dafs_ck *ck, uint32_t *ino);
/* Give an inode the name #INO in lost+found. *done: it has it. */
errcode_t dafs_ck_reconnect(struct dafs_ck *ck, uint32_t ino, bool *done);

/* ---- geometry, descriptors (geom.c) ---- */
/* Derive numbers from sb. NULL, or the name of the first field that makes no sense. */
const char *dafs_ck_geom_init(struct dafs_ck_geom *g, const struct ext2_super_block *sb);
bool dafs_ck_has_super(const struct dafs_ck *ck, uint32_t grp);
uint64_t dafs_ck_grp_first(const struct dafs_ck *ck, uint32_t grp);
uint64_t dafs_ck_grp_blks(const struct dafs_ck *ck, uint32_t grp);
/* Where block i of the descriptors' copy of grp's copy lies (grp 0: the primary). */
uint64_t dafs_ck_desc_blk(const struct dafs_ck *ck, uint32_t grp, uint32_t i);
struct ext4_group_desc *dafs_ck_gd(const struct dafs_ck *ck, uint32_t grp);
uint64_t dafs_ck_gd_block_bitmap(const struct dafs_ck *ck, uint32_t grp);
uint64_t dafs_ck_gd_inode_bitmap(const struct dafs_ck *ck, uint32_t grp);
uint64_t dafs_ck_gd_itable(const struct dafs_ck *ck, uint32_t grp);
uint32_t dafs_ck_gd_free_blks(const struct dafs_ck *ck, uint32_t grp); /* clusters */
uint32_t dafs_ck_gd_free_inodes(const struct dafs_ck *ck, uint32_t grp);
uint32_t dafs_ck_gd_dirs(const struct dafs_ck *ck, uint32_t grp);
uint32_t dafs_ck_gd_unused(const struct dafs_ck *ck, uint32_t grp);
uint16_t dafs_ck_gd_csum(const struct dafs_ck *ck, uint32_t grp);
/* Inodes of the group that pass 1 looks at (0: none). */
uint32_t dafs_ck_grp_scan_inodes(const struct dafs_ck *ck, uint32_t grp);
/* Static blocks of a group's superblock copy and descriptors: up to 3 runs into r. */
unsigned dafs_ck_grp_super_runs(const struct dafs_ck *ck, uint32_t grp, struct dafs_ck_range *r);
/* The third copy of block i of the descriptors, where meta_bg has one; 0: none. */
uint64_t dafs_ck_desc_blk_last(const struct dafs_ck *ck, uint32_t i);
/* Changing a descriptor (meta.c): the fields, then seal for its checksum. */
void dafs_ck_gd_set_block_bitmap(struct dafs_ck *ck, uint32_t grp, uint64_t value);
void dafs_ck_gd_set_inode_bitmap(struct dafs_ck *ck, uint32_t grp, uint64_t value);
void dafs_ck_gd_set_itable(struct dafs_ck *ck, uint32_t grp, uint64_t value);
void dafs_ck_gd_set_free_blks(struct dafs_ck *ck, uint32_t grp, uint32_t value);
void dafs_ck_gd_set_free_inodes(struct dafs_ck *ck, uint32_t grp, uint32_t value);
void dafs_ck_gd_set_dirs(struct dafs_ck *ck, uint32_t grp, uint32_t value);
void dafs_ck_gd_set_unused(struct dafs_ck *ck, uint32_t grp, uint32_t value);
void dafs_ck_gd_set_bitmap_csum(struct dafs_ck *ck, uint32_t grp, bool inodes, const uint8_t *bits);
void dafs_ck_gd_seal(struct dafs_ck *ck, uint32_t grp);
/* Encode superblock and descriptors, and commit all that was written. */
errcode_t dafs_ck_commit(struct dafs_ck *ck);
/* After that, with nothing left wrong: give what no inode has back to the host (discard.c). */
errcode_t dafs_ck_discard(struct dafs_ck *ck);
uint32_t dafs_ck_sb_csum(const struct ext2_super_block *sb);
bool dafs_ck_is_meta(const struct dafs_ck *ck, uint64_t pblk);
static inline bool dafs_ck_blk_ok(const struct dafs_ck *ck, uint64_t pblk)
{
	return pblk >= ck->g.first && pblk < ck->g.blocks;
}
static inline uint64_t dafs_ck_cluster(const struct dafs_ck *ck, uint64_t pblk)
{
	return (pblk - ck->g.first) >> ck->g.cbits;
}

/* ---- passes ---- */
errcode_t dafs_ck_open_super(
	struct dafs_ck *ck); /* open.c: superblock and descriptors, from wherever they are good */
/* open.c: gd_flags and meta, of descriptors that may have changed. */
errcode_t dafs_ck_judge_layout(struct dafs_ck *ck);
errcode_t dafs_ck_pass0(struct dafs_ck *ck);   /* super.c */
errcode_t dafs_ck_journal(struct dafs_ck *ck); /* journal.c */
errcode_t dafs_ck_orphans(struct dafs_ck *ck); /* orphan.c: list and file, before pass 1 */
/* Finish what was begun with an inode on the orphan list or in the orphan file (release.c). *next
 * (may be NULL): the list's next one. */
errcode_t dafs_ck_release(struct dafs_ck *ck, uint32_t ino, uint32_t *next);
errcode_t dafs_ck_pass1(struct dafs_ck *ck);	   /* pass1.c */
errcode_t dafs_ck_pass1b(struct dafs_ck *ck);	   /* dup.c */
errcode_t dafs_ck_relocate(struct dafs_ck *ck);	   /* relocate.c */
errcode_t dafs_ck_remap_all(struct dafs_ck *ck);   /* remap.c */
errcode_t dafs_ck_pass2(struct dafs_ck *ck);	   /* pass2.c */
errcode_t dafs_ck_pass3(struct dafs_ck *ck);	   /* pass3.c */
errcode_t dafs_ck_reindex_all(struct dafs_ck *ck); /* reindex.c */
errcode_t dafs_ck_tidy_dirs(struct dafs_ck *ck);
errcode_t dafs_ck_bad_list(struct dafs_ck *ck); /* badlist.c */
errcode_t dafs_ck_pass4(struct dafs_ck *ck);	/* pass4.c */
errcode_t dafs_ck_pass5(struct dafs_ck *ck);	/* pass5.c */
/* A group's bitmaps as passes 1 to 4 found them to be. */
errcode_t dafs_ck_write_bitmaps(struct dafs_ck *ck, uint32_t grp);
errcode_t dafs_ck_write_block_bitmap(struct dafs_ck *ck, uint32_t grp); /* and the free count */
/* Groups without a block bitmap (uninit.c). A descriptor that fails its checksum is not believed:
 * its bitmap is expected to be there, whatever the flag says. */
bool dafs_ck_flagged_uninit(const struct dafs_ck *ck, uint32_t grp);
bool dafs_ck_block_uninit(const struct dafs_ck *ck, uint32_t grp);
/* What such a bitmap stands for, a block of bits: the group's own metadata, and nothing else. */
void dafs_ck_uninit_blocks(const struct dafs_ck *ck, uint32_t grp, uint8_t *bits);
/* Bitmaps and inode tables of uninitialised groups that lie in this one are in use whatever its
 * bitmap says, as for libext2fs: set in bits. *changed: some were not. Serial phases only.
 * ENOMEM. */
errcode_t dafs_ck_add_tables(struct dafs_ck *ck, uint32_t grp, uint8_t *bits, bool *changed);
errcode_t dafs_ck_orphan_file(struct dafs_ck *ck); /* orphan.c */
errcode_t dafs_ck_quota_check(struct dafs_ck *ck); /* quota.c */

/* ---- inodes ---- */
/* What is known of inodes (inos.c). */
errcode_t dafs_ck_inos_init(struct dafs_ck *ck);
void dafs_ck_inos_fini(struct dafs_ck *ck);
static inline struct dafs_ck_chunk *dafs_ck_ino_chunk(const struct dafs_ck *ck, uint32_t ino)
{
	if (!ino || ino > ck->g.inodes)
		return NULL;
	return atomic_load_explicit(&ck->inos[(ino - 1) / DAFS_CK_INO_CHUNK], memory_order_acquire);
}
/* Rows in front of bit at. */
static inline unsigned dafs_ck_ino_rank(const struct dafs_ck_chunk *chunk, unsigned at)
{
	uint64_t before = chunk->odd[at / 64] & ((UINT64_C(1) << at % 64) - 1);

	return chunk->base[at / 64] + (before ? (unsigned)__builtin_popcountll(before) : 0);
}
/* NULL: it has none. */
static inline struct dafs_ck_ino *dafs_ck_ino_row(const struct dafs_ck_chunk *chunk, uint32_t ino)
{
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK;

	return chunk->odd[at / 64] >> at % 64 & 1 ? &chunk->rows[dafs_ck_ino_rank(chunk, at)]
						  : NULL;
}
/* DAFS_CKI_*; 0: not in use, or not looked at. */
static inline unsigned dafs_ck_ino_flags(const struct dafs_ck *ck, uint32_t ino)
{
	const struct dafs_ck_chunk *chunk = dafs_ck_ino_chunk(ck, ino);
	const struct dafs_ck_ino *row;
	unsigned at = (ino - 1) % DAFS_CK_INO_CHUNK;

	if (!chunk)
		return 0;
	if (atomic_load_explicit(&chunk->plain[at / 64], memory_order_relaxed) >> at % 64 & 1)
		return DAFS_CKI_USED | EXT2_FT_REG_FILE;
	row = dafs_ck_ino_row(chunk, ino);
	return row ? row->flags : 0;
}
uint16_t dafs_ck_ino_links(const struct dafs_ck *ck, uint32_t ino); /* as on disk */
/* What pass 1 found. Several threads may put inodes of different groups. ENOMEM. */
errcode_t dafs_ck_ino_put(struct dafs_ck *ck, uint32_t ino, unsigned flags, uint16_t links);
/* Set and clear flags. Serial phases only. ENOMEM. */
errcode_t dafs_ck_ino_change(struct dafs_ck *ck, uint32_t ino, unsigned add, unsigned drop);
/* Names counted. Adding is thread-safe; nothing is counted for an inode that is not known. */
uint32_t dafs_ck_refs(const struct dafs_ck *ck, uint32_t ino);
void dafs_ck_refs_add(struct dafs_ck *ck, uint32_t ino);
/* Of the 64 inodes from ino on (ino - 1 a multiple of 64) those in use, ino's in bit 0; the
 * directories among them are added to *dirs. */
uint64_t dafs_ck_ino_used_word(const struct dafs_ck *ck, uint32_t ino, unsigned *dirs);
/* Likewise those in use that are not just regular files with one link and one name. */
uint64_t dafs_ck_ino_unsettled_word(const struct dafs_ck *ck, uint32_t ino);
struct dafs_ck_dir *dafs_ck_dir(const struct dafs_ck *ck, uint32_t ino); /* NULL: no directory */
/* Inodes with a number that means something (inores.c). True: done with it. */
bool dafs_ck_inode_numbered(struct dafs_ck_worker *w, struct dafs_ck_inode *in);
bool dafs_ck_is_quota_inum(const struct dafs_ck *ck, uint32_t ino);
void dafs_ck_inode_look(struct dafs_ck_worker *w, struct dafs_ck_inode *in); /* inode.c */
void dafs_ck_inode_blocks(struct dafs_ck_worker *w, struct dafs_ck_inode *in,
			  bool with_ea); /* blocks.c */
/* Make it a deleted inode. */
void dafs_ck_inode_clear(struct dafs_ck_worker *w, struct dafs_ck_inode *in);
/* The same for an inode that was published; the round starts over. */
errcode_t dafs_ck_inode_delete(struct dafs_ck *ck, uint32_t ino);
bool dafs_ck_has_blocks(const struct dafs_ck *ck, const struct ext2_inode_large *raw);
bool dafs_ck_is_fast_symlink(const struct ext2_inode_large *raw);
bool dafs_ck_device_ok(const struct ext2_inode_large *raw);
bool dafs_ck_symlink_ok(struct dafs_ck_worker *w, uint32_t ino, const struct ext2_inode_large *raw);
/* Complaints about a BAD inode whose name is known (dir 0: none). True: it was cleared. */
bool dafs_ck_bad_inode(struct dafs_ck_worker *w, uint32_t dir, uint32_t ino);
static inline uint64_t dafs_ck_size(const struct ext2_inode_large *raw)
{
	return raw->i_size | (uint64_t)raw->i_size_high << 32;
}
static inline uint64_t dafs_ck_acl(const struct dafs_ck *ck, const struct ext2_inode_large *raw)
{
	uint64_t high = ck->g.bit64 && !ck->g.hurd ? raw->osd2.linux2.l_i_file_acl_high : 0;

	return raw->i_file_acl | high << 32;
}
static inline unsigned dafs_ck_type(uint16_t mode) /* EXT2_FT_* */
{
	static const uint8_t types[16] = {
		[1] = EXT2_FT_FIFO,   [2] = EXT2_FT_CHRDEV,   [4] = EXT2_FT_DIR,
		[6] = EXT2_FT_BLKDEV, [8] = EXT2_FT_REG_FILE, [10] = EXT2_FT_SYMLINK,
		[12] = EXT2_FT_SOCK
	};

	return types[mode >> 12];
}

/* ---- block maps: every block of an inode ---- */
void dafs_ck_extents(struct dafs_ck_worker *w, struct dafs_ck_inode *in);    /* extent.c */
void dafs_ck_indirect(struct dafs_ck_worker *w, struct dafs_ck_inode *in);   /* indirect.c */
void dafs_ck_walk_map(struct dafs_ck_worker *w, struct dafs_ck_inode *in);   /* either */
void dafs_ck_bad_blocks(struct dafs_ck_worker *w, struct dafs_ck_inode *in); /* badblk.c */
errcode_t dafs_ck_bad_blocks_load(struct dafs_ck *ck); /* the list, before pass 1 */
/* Claim clusters (staged); one run of a directory. */
void dafs_ck_claim(struct dafs_ck_worker *w, uint64_t cluster, uint64_t len);
void dafs_ck_claim_blk(struct dafs_ck_worker *w, uint64_t pblk);
void dafs_ck_add_dext(struct dafs_ck_worker *w, uint64_t pblk, uint64_t lblk, uint64_t len);
/* Nodes of extent trees (extnode.c). */
#define DAFS_CK_TREE_DEPTH_MAX                                                                     \
	15u /* more is not needed; e2fsck meets trees of depth 7 in the wild */
#define DAFS_CK_UNWRITTEN (1u << 15) /* in ee_len */
/* Magic and counts of a header with room_bytes for itself and its entries. */
bool dafs_ck_extent_header_ok(const void *header, size_t room_bytes);
static inline uint64_t dafs_ck_leaf_pblk(const struct ext3_extent *ex)
{
	return ex->ee_start | (uint64_t)ex->ee_start_hi << 32;
}
static inline uint64_t dafs_ck_index_pblk(const struct ext3_extent_idx *ix)
{
	return ix->ei_leaf | (uint64_t)ix->ei_leaf_hi << 32;
}
/* Why the block is no node; NULL: it is one. */
const char *dafs_ck_node_wrong(const struct dafs_ck *ck, const struct ext3_extent_header *eh);
/* The depth that the entries of a sound root tell; what its header says where they tell none:
 * entries of one kind make no sense as the other. Uses level[0]; w->err. */
unsigned dafs_ck_root_depth(struct dafs_ck_worker *w, const struct ext3_extent_header *eh);
/* Bigalloc: does mapping lblk to pblk behind (last_lblk, last_pblk) break the cluster rule? */
bool dafs_ck_misaligned(const struct dafs_ck *ck, const struct dafs_ck_inode *in, uint64_t pblk,
			uint64_t lblk);
/* Physical block of logical block 0; 0: none. */
uint64_t dafs_ck_first_blk(struct dafs_ck_worker *w, const struct ext2_inode_large *raw);
/* Call fn for every physical run that the inode maps or that holds its map; unsound parts are
 * skipped. For blocks claimed twice. */
typedef void (*dafs_ck_run_fn)(struct dafs_ck_worker *w, void *arg, uint64_t lblk, uint64_t pblk,
			       uint64_t len, bool map);
void dafs_ck_walk(struct dafs_ck_worker *w, uint32_t ino, const struct ext2_inode_large *raw,
		  dafs_ck_run_fn fn, void *arg);

/* ---- extended attributes (xattr.c) ---- */
void dafs_ck_xattr_ibody(struct dafs_ck_worker *w, struct dafs_ck_inode *in);
/* True: the inode owns (a share of) its attribute block. */
bool dafs_ck_xattr_block(struct dafs_ck_worker *w, struct dafs_ck_inode *in);
/* The inode is published: count its reference to in->ea_blk, claim the block at the first one. */
void dafs_ck_xattr_publish(struct dafs_ck_worker *w, const struct dafs_ck_inode *in);
errcode_t dafs_ck_xattr_finish(struct dafs_ck *ck);
void dafs_ck_xattr_fini(struct dafs_ck *ck);
/* An attribute in the inode. NULL: not there or the area is damaged. *value_len its size. */
const uint8_t *dafs_ck_xattr_find(const struct dafs_ck *ck, const struct ext2_inode_large *raw,
				  unsigned index, const char *name, uint32_t *value_len);
/* Remove an attribute from the inode, if it is there. */
void dafs_ck_xattr_drop(const struct dafs_ck *ck, struct ext2_inode_large *raw, unsigned index,
			const char *name);
/* Inline data changed: so does the attribute's hash, if it has one. */
void dafs_ck_xattr_rehash(const struct dafs_ck *ck, struct ext2_inode_large *raw);
/* Size of inline data beyond the 60 bytes in i_block; false: there is no system.data attribute. */
bool dafs_ck_inline_size(const struct dafs_ck *ck, const struct ext2_inode_large *raw,
			 uint32_t *extra_bytes);

/* ---- encryption (crypt.c) ---- */
/* Check an encrypted inode's policy and remember it. False: the inode was cleared. */
bool dafs_ck_policy_look(struct dafs_ck_worker *w, struct dafs_ck_inode *in);
errcode_t dafs_ck_policies_finish(struct dafs_ck *ck);
uint32_t dafs_ck_policy_id(const struct dafs_ck *ck, uint32_t ino); /* 0: none, ~0: damaged */

/* ---- quota (quota.c) ---- */
/* Add in->quota_bytes and quota_inodes to the sums of its owners. */
void dafs_ck_quota_charge(struct dafs_ck_worker *w, const struct dafs_ck_inode *in);
uint32_t dafs_ck_quota_inum(const struct dafs_ck *ck, unsigned type);
/* Before pass 1: numbers that lead to users' files. */
errcode_t dafs_ck_quota_numbers(struct dafs_ck *ck);
uint32_t *dafs_ck_quota_slot(struct dafs_ck *ck, unsigned type); /* where the superblock has it */

/* ---- directories ---- */
errcode_t dafs_ck_dir_look(struct dafs_ck_worker *w, struct dafs_ck_dir *dir); /* dir.c */

/* htree (htree.c): one directory's index while its blocks go by. */
struct dafs_ck_dx_blk {
	uint32_t min, max;	     /* hashes of the names in the block */
	uint32_t node_min, node_max; /* what the index promises */
	uint32_t parent;
	uint8_t kind;  /* enum dafs_ck_dx_kind */
	uint8_t flags; /* DAFS_CK_DX_* */
};
enum dafs_ck_dx_kind { DAFS_CK_DX_UNSEEN, DAFS_CK_DX_ROOT, DAFS_CK_DX_NODE, DAFS_CK_DX_LEAF };
struct dafs_ck_dx {
	struct dafs_ck_dx_blk *blks;
	uint32_t nblks;
	unsigned hash_version; /* as ext2fs_dirhash2 wants it, signedness included */
	unsigned depth;
	bool bad; /* given up: the index is to be cleared */
};
/* Begin; the index is not looked at when there is no memory for it (w->err). nblks: blocks of the
 * directory. */
void dafs_ck_dx_begin(struct dafs_ck_worker *w, struct dafs_ck_dx *dx, uint32_t nblks);
void dafs_ck_dx_end(struct dafs_ck_dx *dx);
/* What block lblk is, by its first entry. */
enum dafs_ck_dx_kind dafs_ck_dx_kind(const struct dafs_ck *ck, const struct dafs_ck_dx *dx,
				     uint32_t lblk, const uint8_t *buf);
/* Judge a root or node and note what it refers to. */
void dafs_ck_dx_block(struct dafs_ck_worker *w, const struct dafs_ck_dir *dir,
		      struct dafs_ck_dx *dx, uint32_t lblk, const uint8_t *buf);
void dafs_ck_dx_name(struct dafs_ck_dx *dx, uint32_t lblk, uint32_t hash);
/* All blocks went by: do index and names agree? */
void dafs_ck_dx_judge(struct dafs_ck_worker *w, const struct dafs_ck_dir *dir,
		      struct dafs_ck_dx *dx);
/* Hash of a name in this directory; false: it cannot be told. */
bool dafs_ck_dx_hash(const struct dafs_ck *ck, const struct dafs_ck_dir *dir, unsigned version,
		     const char *name, uint8_t len, uint32_t *hash, uint32_t *minor);
#endif
