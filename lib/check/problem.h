/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * problem - the table of everything the checker can find.
 *
 * One row a cause: P(NAME, "id", CLASS, REPAIR, ask, message, help). The id is for scripts and
 * never changes its meaning; rows may be added anywhere. The class follows e2fsck's verdict
 * (check.h). REPAIR says which run may do it: NONE (nothing to do by itself), SAFE (preen too), YES
 * (only when asked). In a message: %i ino, %d dir, %g group, %b block, %l logical block, %n length,
 * %o offset, %f found, %w wanted, %x/%X the same in hex, %r referenced inode, %N the entry's name,
 * %t text.
 */
#ifndef DAFS_CHECK_PROBLEM_H
#define DAFS_CHECK_PROBLEM_H

#include "check/check.h"

/* clang-format off */
#define DAFS_CK_PROBLEMS(P) \
	/* ---- superblock, descriptors, journal ---- */ \
	P(SB_PRIMARY, "super.primary", DAMAGE, YES, "restore", \
	  "primary superblock: %t; the copy in block %b is used", \
	  "The first superblock cannot be used; a backup took its place.") \
	P(SB_CSUM, "super.checksum", DAMAGE, YES, "fix", \
	  "the superblock fails its checksum, and no copy is better", \
	  "The superblock is damaged or was changed without its checksum.") \
	P(SB_UNUSABLE, "super.unusable", FATAL, NONE, NULL, "superblock: %t", \
	  "Neither the superblock nor a copy of it describes a file system.") \
	P(SB_FIELD, "super.field", FATAL, NONE, NULL, "superblock: %t is %f, out of range", \
	  "A size in the superblock is impossible.") \
	P(SB_DESC_SIZE, "super.desc-size", DAMAGE, YES, "fix", \
	  "superblock: descriptors of %f bytes, should be %w", \
	  "The size of a group descriptor is impossible; that of all known kernels is taken.") \
	P(SB_SHORT, "super.size", SUMMARY, NONE, NULL, \
	  "the file system has %f blocks, the device only %w", \
	  "The image or device is shorter than the file system in it.") \
	P(SB_SHORT_FIX, "super.cut-off", DAMAGE, NONE, NULL, \
	  "the file system has %f blocks, the device only %w: it cannot be made whole", \
	  "What super.size says, in a run that repairs.") \
	P(SB_INODES, "super.inodes", DAMAGE, YES, "fix", \
	  "superblock: %f inodes, but the groups have %w", \
	  "The count of inodes is not groups times inodes per group.") \
	P(SB_FIRST_META_BG, "super.first-meta-bg", SUMMARY, YES, "clear", \
	  "superblock: first_meta_bg is %f, the descriptors have %w blocks", \
	  "meta_bg begins behind the last descriptor block.") \
	P(SB_MIN_EXTRA, "super.min-extra-isize", SUMMARY, YES, "fix", \
	  "superblock: required extra inode size %f is not possible", \
	  "s_min_extra_isize does not fit the inode size.") \
	P(SB_WANT_EXTRA, "super.want-extra-isize", SUMMARY, YES, "fix", \
	  "superblock: wanted extra inode size %f is not possible", \
	  "s_want_extra_isize does not fit the inode size.") \
	P(SB_TWO_CSUMS, "super.two-checksums", SUMMARY, SAFE, "fix", \
	  "features metadata_csum and uninit_bg are both set", \
	  "metadata_csum replaces uninit_bg; only one of them may be set.") \
	P(SB_SEED, "super.csum-seed", SUMMARY, SAFE, "fix", \
	  "feature metadata_csum_seed is set without metadata_csum", \
	  "A checksum seed means nothing without checksums.") \
	P(SB_64BIT, "super.64bit", SUMMARY, SAFE, "fix", "feature 64bit is set without extent", \
	  "Blocks beyond 32 bits can only be mapped by extents.") \
	P(SB_BIGALLOC, "super.bigalloc", DAMAGE, YES, "fix", "feature bigalloc is set without extent", \
	  "Clusters can only be mapped by extents.") \
	P(SB_RESIZE_META, "super.resize-meta-bg", SUMMARY, YES, "fix", \
	  "features resize_inode and meta_bg exclude each other", \
	  "With meta_bg there is nothing for the resize inode to keep.") \
	P(SB_RESERVED_GDT, "super.reserved-gdt", SUMMARY, YES, "fix", \
	  "superblock: %f reserved descriptor blocks without a resize inode", \
	  "s_reserved_gdt_blocks must be 0 without resize_inode.") \
	P(SB_FUTURE, "super.future", SUMMARY, SAFE, "fix", "superblock: %t lies in the future", \
	  "A time in the superblock has not come yet.") \
	P(SB_HURD, "super.hurd-filetype", SUMMARY, YES, "clear", \
	  "the creator is GNU/Hurd, which knows no filetype feature", \
	  "The filetype feature does not go with this creator.") \
	P(SB_REV, "super.revision", SUMMARY, SAFE, "fix", \
	  "revision 0 file system with feature flags", \
	  "Features need revision 1; old kernels do not look at them.") \
	P(SB_STRAY, "super.stray-inode", DAMAGE, SAFE, "forget", \
	  "superblock: inode %i is named as the %t, but is none", \
	  "The number leads to a file of a user; the file stays.") \
	P(SB_STATE, "super.state", SUMMARY, SAFE, "mark", \
	  "the file system is not marked as cleanly unmounted", \
	  "It is, or was, mounted without a journal, or an earlier check left something.") \
	P(SB_FLEX, "super.flex-size", DAMAGE, YES, "fix", \
	  "the size of flex groups, 2^%f groups, is impossible", \
	  "No e2fsck opens the file system; it only says where new structures go.") \
	P(SB_UUID, "super.uuid", NOTE, SAFE, "make one", "the file system has no UUID", \
	  "The UUID field is all zeros.") \
	P(SB_HASH_HINT, "super.hash-hint", NOTE, SAFE, "set", \
	  "superblock: neither signed nor unsigned directory hash is set", \
	  "Without the hint, machines of another sort hash names otherwise.") \
	P(SB_BACKUP, "super.backup", SUMMARY, SAFE, "write", \
	  "the superblock's copy in group %g differs in %t", \
	  "Backups no longer describe the same file system.") \
	P(GD_PRIMARY, "desc.primary", DAMAGE, YES, "restore", \
	  "group descriptors: %t in group %g; the copies at block %b are used", \
	  "The first copy of the descriptors cannot be used; a backup took its place.") \
	P(GD_BLOCK_BITMAP, "desc.block-bitmap", DAMAGE, YES, "relocate", \
	  "group %g: block bitmap at %b, outside of the group", \
	  "The descriptor places the block bitmap where it cannot be.") \
	P(GD_INODE_BITMAP, "desc.inode-bitmap", DAMAGE, YES, "relocate", \
	  "group %g: inode bitmap at %b, outside of the group", \
	  "The descriptor places the inode bitmap where it cannot be.") \
	P(GD_ITABLE, "desc.inode-table", DAMAGE, YES, "relocate", \
	  "group %g: inode table at %b, outside of the group", \
	  "The descriptor places the inode table where it cannot be; its inodes are lost.") \
	P(GD_BB_CONFLICT, "desc.block-bitmap-conflict", DAMAGE, YES, "relocate", \
	  "group %g: block bitmap at %b lies on other metadata", \
	  "Two structures claim the block.") \
	P(GD_IB_CONFLICT, "desc.inode-bitmap-conflict", DAMAGE, YES, "relocate", \
	  "group %g: inode bitmap at %b lies on other metadata", \
	  "Two structures claim the block.") \
	P(GD_IT_CONFLICT, "desc.inode-table-conflict", DAMAGE, YES, "relocate", \
	  "group %g: inode table block %b lies on other metadata", \
	  "Two structures claim the block.") \
	P(GD_CSUM, "desc.checksum", SUMMARY, SAFE, "fix", \
	  "group %g: descriptor checksum is %x, should be %X", \
	  "The descriptor does not match its checksum.") \
	P(GD_UNINIT, "desc.uninit", SUMMARY, SAFE, "fix", \
	  "group %g: marked uninitialised, but the feature is not set", \
	  "Uninitialised groups need uninit_bg or metadata_csum.") \
	P(GD_UNINIT_LAST, "desc.uninit-last", SUMMARY, SAFE, "fix", \
	  "group %g: the last group's block bitmap is marked uninitialised", \
	  "The last group has padding bits and must be initialised.") \
	P(GD_UNUSED, "desc.unused-inodes", SUMMARY, SAFE, "fix", \
	  "group %g: %f inodes said to be unused, only %w are free", \
	  "bg_itable_unused is larger than the free inodes allow.") \
	P(GD_ROOT_HIDDEN, "desc.root-unused", DAMAGE, YES, "fix", \
	  "group %g: the root directory's inode is said to be unused", \
	  "The flags or bg_itable_unused would hide all files.") \
	P(RESIZE_INODE, "resize.invalid", SUMMARY, YES, "recreate", "the resize inode is not valid: %t", \
	  "Inode 7 does not map the reserved descriptor blocks.") \
	P(RESIZE_LOOP, "resize.loop", DAMAGE, NONE, NULL, "the resize inode's map leads to block %b twice", \
	  "Its blocks cannot be counted; the inode is made anew.") \
	P(RESIZE_CLEAR, "resize.not-clear", SUMMARY, YES, "clear", \
	  "the resize inode holds blocks, but the feature is not set", \
	  "Inode 7 must be empty without resize_inode.") \
	P(JNL_INODE, "journal.inode", DAMAGE, YES, "recreate", "the journal inode %i is not valid: %t", \
	  "The journal cannot be found; nothing can be replayed from it.") \
	P(JNL_SUPER, "journal.super", DAMAGE, YES, "reset", "journal superblock: %t", \
	  "The journal's own superblock is damaged; what it holds cannot be replayed.") \
	P(JNL_SUPER_IDLE, "journal.super-empty", DAMAGE, SAFE, "make an empty journal", \
	  "journal superblock: %t, and nothing is to be replayed", \
	  "The journal's own superblock is damaged; nothing is lost with it.") \
	P(JNL_DEVICE, "journal.device", SUMMARY, SAFE, "clear", \
	  "the superblock names a device for a journal beside inode %i", \
	  "No kernel mounts a file system that has both.") \
	P(JNL_LOG, "journal.log", SUMMARY, YES, "reset", "the bounds of the journal's log: %t", \
	  "No kernel mounts the file system; what the log holds cannot be replayed.") \
	P(JNL_ERROR, "journal.error", SUMMARY, SAFE, "clear", \
	  "the journal remembers an error of the file system (%f)", \
	  "A kernel met an error and could not note it in the superblock; all is checked.") \
	P(JNL_V2_FIELDS, "journal.v1-fields", SUMMARY, YES, "clear", \
	  "the version 1 journal superblock has version 2 fields", \
	  "Fields beyond the version 1 superblock must be zero.") \
	P(JNL_EXTERNAL, "journal.external", DAMAGE, NONE, NULL, "external journal: %t", \
	  "The file system's journal is on a device that was not found or does not fit.") \
	P(JNL_BOTH, "journal.both", DAMAGE, YES, "clear", \
	  "the superblock names an external journal beside inode %i", \
	  "A file system has one journal; the one in it is kept.") \
	P(JNL_STRAY, "journal.stray", DAMAGE, YES, "clear", \
	  "the superblock names an external journal, but has_journal is not set", \
	  "There is no journal to be found, and none is asked for.") \
	P(JNL_FEATURE, "journal.feature", DAMAGE, NONE, NULL, \
	  "the journal has an unknown feature (%t %x)", \
	  "A newer journal format; neither replayed nor changed.") \
	P(JNL_NO_FLAG, "journal.no-feature", SUMMARY, SAFE, "clear", \
	  "there is a journal (inode %i), but has_journal is not set", \
	  "The journal is left over from a removal that did not finish.") \
	P(JNL_RECOVER_FLAG, "journal.recover-flag", SUMMARY, SAFE, "clear", \
	  "needs_recovery is set, but there is no journal", \
	  "Nothing can be recovered without a journal.") \
	P(JNL_DATA, "journal.data", SUMMARY, YES, "replay", \
	  "the journal holds transactions, but needs_recovery is not set", \
	  "The flag was lost, or the superblock is an old copy.") \
	P(JNL_TORN, "journal.torn", SUMMARY, SAFE, "clear", \
	  "the journal (inode %i) could not be replayed to its end", \
	  "Replay stops at the damage; later transactions are lost.") \
	P(JNL_BACKUP, "journal.backup", SUMMARY, SAFE, "back up", \
	  "the superblock's copy of the journal's block map is out of date", \
	  "The copy helps to find the journal when inode 8 is damaged.") \
	P(JNL_NEEDS, "journal.pending", NOTE, NONE, NULL, \
	  "the journal holds transactions that this read-only check leaves alone", \
	  "The file system was not unmounted; replay may change what was found.") \
	P(ORPHAN_HEAD, "orphan.head", SUMMARY, YES, "clear", \
	  "the orphan list begins with inode %i, which cannot be", \
	  "The superblock's list of deleted open files is damaged.") \
	P(ORPHAN_LIST, "orphan.list", DAMAGE, YES, "end it", \
	  "the orphan list leads from inode %i to inode %r, which cannot be", \
	  "The list is damaged: what it says of other inodes may be wrong as well.") \
	P(ORPHAN_INODE, "orphan.inode", NOTE, SAFE, "finish", "inode %i was %t when the system went down", \
	  "What was begun is finished, as mounting the file system would do.") \
	P(QUOTA_INODE, "quota.inode", SUMMARY, YES, "fix", "%t quota inode number %i is not valid", \
	  "The superblock names a quota file that cannot be one.") \
	P(NOT_SETTLED, "run.not-settled", DAMAGE, NONE, NULL, \
	  "repairs go on to change the file system after %f rounds", \
	  "Nothing is lost; run the check again, and report it as a mistake of dafsck.") \
	P(NO_ROOM, "run.no-room", DAMAGE, NONE, NULL, "no room for a repair: %t", \
	  "The file system is too full for what the repair needs.") \
	P(MMP_BLOCK, "mmp.block", DAMAGE, SAFE, "clear", "multi-mount protection: block %b is not valid", \
	  "The MMP block lies outside of the file system.") \
	P(MMP_MAGIC, "mmp.magic", DAMAGE, SAFE, "fix", "multi-mount protection: block %b has no magic", \
	  "The MMP block holds something else.") \
	P(MMP_CSUM, "mmp.checksum", DAMAGE, SAFE, "fix", \
	  "multi-mount protection: block %b fails its checksum", "The MMP block is damaged.") \
	P(MMP_BUSY, "mmp.busy", FATAL, NONE, NULL, \
	  "multi-mount protection: the file system is in use by another machine or check", \
	  "The MMP sequence says that somebody has it open.") \
	P(READ_ERROR, "io.read", DAMAGE, NONE, NULL, "block %b cannot be read (%t)", \
	  "The device failed; the block is treated as zeros.") \
	/* ---- inodes ---- */ \
	P(INO_GARBAGE, "inode.garbage", DAMAGE, YES, "clear", "inode %i holds garbage", \
	  "The inode fails its checksum and so do its neighbours in the block.") \
	P(INO_CSUM, "inode.checksum", DAMAGE, SAFE, "fix", \
	  "inode %i is sound but fails its checksum", \
	  "All fields are possible, only the checksum is wrong.") \
	P(INO_ORPHAN, "inode.orphan", DAMAGE, YES, "fix", "inode %i was on a lost orphan list", \
	  "Its deletion time is a link of the orphan list.") \
	P(INO_DTIME_ZERO, "inode.no-dtime", DAMAGE, SAFE, "fix", \
	  "inode %i is deleted but has no deletion time", \
	  "Deleted inodes carry the time of the deletion.") \
	P(INO_DTIME_SET, "inode.dtime", DAMAGE, SAFE, "fix", \
	  "inode %i is in use but has a deletion time", \
	  "Inodes in use have no deletion time.") \
	P(INO_CASEFOLD_NODIR, "inode.casefold-file", DAMAGE, YES, "clear the flag", \
	  "inode %i is casefolded but no directory", "Only directories can be casefolded.") \
	P(INO_CASEFOLD_FEATURE, "inode.casefold-feature", DAMAGE, YES, "clear the flag", \
	  "directory %i is casefolded, but the feature is not set", \
	  "The superblock lacks casefold.") \
	P(INO_EXT_AND_INLINE, "inode.inline-and-extents", DAMAGE, YES, "fix", \
	  "inode %i is marked as having both extents and inline data (looks like %t)", \
	  "Only one of the flags can be right.") \
	P(INO_INLINE_FEATURE, "inode.inline-feature", DAMAGE, YES, "set the feature", \
	  "inode %i has inline data, but the feature is not set", \
	  "The superblock lacks inline_data.") \
	P(INO_INLINE_SET, "inode.inline-flag", DAMAGE, YES, "clear", \
	  "inode %i is marked as inline but holds no inline data", \
	  "The flag is set where the feature is not, and nothing confirms it.") \
	P(INO_INLINE_NO_ATTR, "inode.inline-lost", DAMAGE, YES, "truncate", \
	  "inode %i: the attribute that holds inline data is missing", \
	  "Inline data needs system.data in the inode.") \
	P(INO_EXT_FEATURE, "inode.extents-feature", DAMAGE, YES, "set the feature", \
	  "inode %i has extents, but the feature is not set", "The superblock lacks extent.") \
	P(INO_EXT_SET, "inode.extents-flag", DAMAGE, YES, "clear", \
	  "inode %i is marked as having extents but holds none", \
	  "The flag is set where the feature is not, and there is no extent header.") \
	P(INO_EXT_UNSET, "inode.extents-unmarked", DAMAGE, SAFE, "fix", \
	  "inode %i has extents but is not marked so", "The extent flag is missing.") \
	P(INO_BAD_BLOCKS, "inode.badblocks-invalid", DAMAGE, YES, "clear", \
	  "the bad blocks inode is not valid", \
	  "Inode 1 has a mode, an owner, links or attributes.") \
	P(INO_ROOT_NODIR, "inode.root-no-dir", DAMAGE, YES, "clear", "the root inode is no directory", \
	  "Inode 2 must be a directory; a new one is made.") \
	P(INO_ROOT_DTIME, "inode.root-dtime", DAMAGE, SAFE, "fix", \
	  "the root directory has a deletion time", "The root is never deleted.") \
	P(INO_RESERVED_MODE, "inode.reserved-mode", DAMAGE, SAFE, "clear", \
	  "reserved inode %i has mode %f", "Reserved inodes are empty or regular.") \
	P(INO_JNL_MODE, "inode.journal-mode", DAMAGE, SAFE, "fix", "the journal is no regular file", \
	  "Inode 8 must be a regular file.") \
	P(INO_JNL_CLEAR, "inode.journal-unused", SUMMARY, SAFE, "clear", \
	  "the journal inode is not in use but holds blocks", \
	  "Left over from a removed journal.") \
	P(INO_QUOTA_MODE, "inode.quota-mode", DAMAGE, SAFE, "clear", "quota inode %i is no regular file", \
	  "Quota files are regular files.") \
	P(INO_QUOTA_CLEAR, "inode.quota-unused", DAMAGE, SAFE, "clear", \
	  "quota inode %i is not in use but holds blocks", "Left over from disabled quota.") \
	P(INO_ORPHAN_MODE, "inode.orphan-file-mode", DAMAGE, SAFE, "clear", \
	  "the orphan file, inode %i, is no regular file", "The orphan file is a regular file.") \
	P(INO_ORPHAN_CLEAR, "inode.orphan-file-unused", DAMAGE, SAFE, "clear", \
	  "inode %i is named as orphan file, but the feature is not set", \
	  "Left over from a removed orphan file.") \
	P(INO_IMAGIC, "inode.imagic", DAMAGE, YES, "clear", "inode %i has the imagic flag", \
	  "The flag belongs to AFS servers and needs its feature.") \
	P(INO_EXTRA_ISIZE, "inode.extra-isize", DAMAGE, SAFE, "fix", \
	  "inode %i: extra size %f is not possible", \
	  "The size of the inode's extra fields does not fit the inode.") \
	P(INO_OLD_TIMES, "inode.times", SUMMARY, SAFE, "fix", \
	  "inode %i has times beyond 2310 that are likely before 1970", \
	  "An old kernel wrote the epoch bits of dates before 1970 wrongly.") \
	P(INO_IS_DIR, "inode.is-directory", DAMAGE, YES, "fix", \
	  "inode %i has mode %f but looks like a directory", \
	  "Its first block holds . and .. entries.") \
	P(INO_SYMLINK_EXT, "inode.symlink-extents", DAMAGE, YES, "clear", \
	  "fast symlink %i is marked as having extents", "A short target stands in the inode.") \
	P(INO_SPECIAL_FLAGS, "inode.special-flags", DAMAGE, SAFE, "clear", \
	  "special file %i is marked as having extents or inline data", \
	  "Devices, fifos and sockets have no data.") \
	P(INO_IMMUTABLE, "inode.special-immutable", SUMMARY, SAFE, "clear", \
	  "special file %i is immutable or append-only", \
	  "The flag cannot be set on such files; the inode may be damaged.") \
	P(INO_SPECIAL_SIZE, "inode.special-size", DAMAGE, SAFE, "fix", "special file %i has size %f", \
	  "Devices, fifos and sockets have no size.") \
	P(INO_ENC_XATTR, "inode.encrypt-no-policy", DAMAGE, YES, "clear the flag", \
	  "inode %i is marked encrypted but has no encryption policy", \
	  "The attribute with the policy is missing.") \
	P(INO_ENC_BAD, "inode.encrypt-policy", DAMAGE, YES, "clear", \
	  "encrypted inode %i has a damaged encryption policy", \
	  "Without the policy the file cannot be decrypted.") \
	P(INO_SIZE, "inode.size", DAMAGE, SAFE, "fix", "inode %i: size is %f, should be %w", \
	  "The size does not cover the blocks that are mapped, or is too large for them.") \
	P(INO_SIZE_TREE, "inode.size-short", DAMAGE, YES, "fix", "inode %i: size is %f, should be %w", \
	  "The extent tree maps written blocks behind the size; no block is given up.") \
	P(INO_BLOCKS, "inode.blocks", DAMAGE, SAFE, "fix", "inode %i: block count is %f, should be %w", \
	  "i_blocks is not what the inode's blocks add up to.") \
	P(INO_LINK_BLOCKS, "inode.symlink-blocks", DAMAGE, YES, "fix", \
	  "symlink %i has its target in the inode, and a block count of %f", \
	  "The count makes the target look like a block map.") \
	P(INO_EMPTY_DIR, "inode.empty-directory", DAMAGE, SAFE, "clear", "directory %i has no blocks", \
	  "A directory has at least one block.") \
	P(INO_BIGALLOC_MAP, "inode.bigalloc-blockmap", DAMAGE, YES, "convert", \
	  "inode %i maps blocks without extents on a bigalloc file system", \
	  "bigalloc needs extents.") \
	/* ---- block maps ---- */ \
	P(INO_BLOCK_MAP, "inode.blockmap", SUMMARY, SAFE, "convert", \
	  "inode %i maps its blocks one by one, extents were asked for", \
	  "Said with -E bmap2extent only.") \
	P(BLK_ILLEGAL, "block.illegal", DAMAGE, YES, "clear", \
	  "inode %i: block %l is mapped to %b, which does not exist", \
	  "A block number outside of the file system.") \
	P(BLK_OWN_MAP, "block.own-map", DAMAGE, YES, "clear", \
	  "inode %i: block %l is mapped to %b, which is the block that says so", \
	  "A block of the file's map cannot hold its data: what was there cannot be found.") \
	P(BLK_TOO_MANY, "block.too-many-illegal", DAMAGE, YES, "clear the inode", \
	  "inode %i has %f illegal blocks", "Most of the map is garbage.") \
	P(BLK_TOOBIG, "block.too-far", DAMAGE, YES, "clear", \
	  "inode %i: block %l lies beyond what %t can hold", \
	  "The logical block is past the largest possible size.") \
	P(BLK_MAP_METADATA, "block.map-on-metadata", DAMAGE, NONE, NULL, \
	  "inode %i: block %b of its map lies on the file system's metadata", \
	  "The map cannot be trusted; the double claim is resolved first.") \
	P(BLK_MISALIGNED, "block.cluster", DAMAGE, YES, "fix", \
	  "inode %i: block %l at %b breaks the cluster rule", \
	  "With bigalloc a logical cluster lies in one physical cluster, aligned alike.") \
	P(EXT_HEADER, "extent.header", DAMAGE, YES, "clear the inode", \
	  "inode %i has a damaged extent header", "The extent tree's root is not one.") \
	P(EXT_ROOT_DEPTH, "extent.root-depth", DAMAGE, YES, "fix", \
	  "inode %i: the extent tree's depth is said to be %f, should be %w", \
	  "The root's entries are of the other kind, or of none.") \
	P(EXT_NODE, "extent.node", DAMAGE, YES, "clear", \
	  "inode %i: extent block %b (from block %l) is damaged: %t", \
	  "A node of the extent tree is not one; what it mapped is lost.") \
	P(EXT_NODE_DEPTH, "extent.node-depth", SUMMARY, SAFE, "fix", \
	  "inode %i: extent block %b says its depth is %f, should be %w", \
	  "A node's depth follows from its place in the tree; a kernel refuses to read the file.") \
	P(EXT_START, "extent.start", DAMAGE, YES, "clear", \
	  "inode %i: extent at %l, length %n, begins at block %b, which does not exist", \
	  "The physical start is outside of the file system.") \
	P(EXT_END, "extent.end", DAMAGE, YES, "clear", \
	  "inode %i: extent at %l, block %b, length %n ends outside of the file system", \
	  "The physical end is outside of the file system.") \
	P(EXT_LENGTH, "extent.length", DAMAGE, YES, "clear", "inode %i: extent at %l has length 0", \
	  "An extent maps at least one block.") \
	P(EXT_ORDER, "extent.order", DAMAGE, YES, "clear", \
	  "inode %i: extent at %l, block %b, length %n is out of order", \
	  "Extents are sorted by their logical block.") \
	P(EXT_FAR, "extent.too-far", DAMAGE, YES, "fix", \
	  "inode %i: extent at %l, block %b, length %n lies behind any file's end", \
	  "Put where the file goes on, if its size says that it does; else cleared.") \
	P(EXT_LONG, "extent.too-long", DAMAGE, YES, "shorten", \
	  "inode %i: extent at %l, block %b, is longer than its place by %n", \
	  "It reaches over extents behind it in its node, which stay; it ends where they begin.") \
	P(EXT_BOUNDS, "extent.bounds", DAMAGE, YES, "clear", \
	  "inode %i: extent at %l, block %b, length %n reaches past its node's range", \
	  "The parent says where the node ends.") \
	P(EXT_OVERLAP, "extent.overlap", DAMAGE, YES, "clear", \
	  "inode %i: extent at %l, block %b, length %n overlaps the one before", \
	  "A logical block is mapped twice.") \
	P(EXT_INDEX, "extent.index", DAMAGE, YES, "fix", \
	  "inode %i: index says block %l, its node begins with %w", \
	  "An index carries the first block of its node.") \
	P(EXT_CSUM, "extent.checksum", DAMAGE, YES, "fix", \
	  "inode %i: extent block %b is sound but fails its checksum", \
	  "All extents are possible, only the checksum is wrong.") \
	P(EXT_DIR_UNWRITTEN, "extent.directory-unwritten", DAMAGE, SAFE, "fix", \
	  "directory %i: block %l is marked unwritten", "Directories have no unwritten blocks.") \
	P(EXT_DIR_GAP, "extent.directory-gap", DAMAGE, YES, "fix", \
	  "directory %i: block %l should be block %w", "A directory has no holes.") \
	P(EXT_DEPTH, "extent.depth", SUMMARY, LATER, "rebuild", \
	  "inode %i: extent tree of depth %f, %w would do", \
	  "The tree is deeper than any file of that file system needs.") \
	P(EXT_SLACK, "extent.slack", NOTE, YES, "rebuild", \
	  "inode %i: extent tree could be %t (level %f)", \
	  "The tree takes more blocks than it needs.") \
	/* ---- extended attributes ---- */ \
	P(EA_BLOCK_READ, "xattr.read", DAMAGE, YES, "clear", \
	  "inode %i: attribute block %b cannot be read", "The device failed.") \
	P(EA_MAGIC, "xattr.magic", DAMAGE, YES, "clear", "inode %i: block %b is no attribute block", \
	  "The block's magic number is wrong.") \
	P(EA_BLOCKS, "xattr.blocks", DAMAGE, YES, "clear", \
	  "inode %i: attribute block %b says it has %f blocks", "There is only one.") \
	P(EA_COLLISION, "xattr.collision", DAMAGE, YES, "clear", \
	  "inode %i: attributes overlap (block %b)", "Names or values lie on each other.") \
	P(EA_NAME, "xattr.name", DAMAGE, YES, "clear", \
	  "inode %i: attribute block %b holds a name that cannot be", "Name or name index is wrong.") \
	P(EA_VALUE, "xattr.value", DAMAGE, YES, "clear", \
	  "inode %i: attribute block %b holds a value that does not fit", \
	  "Offset and size lead out of the block.") \
	P(EA_NAME_LEN, "xattr.name-length", DAMAGE, SAFE, "clear", \
	  "inode %i: attribute name of %f bytes does not fit", "In-inode attributes are damaged.") \
	P(EA_VALUE_SIZE, "xattr.value-size", DAMAGE, SAFE, "clear", \
	  "inode %i: attribute value of %f bytes does not fit", "In-inode attributes are damaged.") \
	P(EA_HASH, "xattr.hash", DAMAGE, SAFE, "clear", "inode %i: attribute hash %x is wrong", \
	  "The hash over name and value does not match.") \
	P(EA_INODE, "xattr.value-inode", DAMAGE, SAFE, "clear", \
	  "inode %i: inode %r cannot hold an attribute's value", \
	  "A large value's inode number is wrong.") \
	P(EA_INODE_FLAG, "xattr.value-inode-flag", DAMAGE, SAFE, "fix", \
	  "inode %i: inode %r holds an attribute's value but is not marked so", \
	  "The ea_inode flag is missing.") \
	P(EA_CSUM, "xattr.checksum", DAMAGE, YES, "fix", \
	  "inode %i: attribute block %b is sound but fails its checksum", \
	  "All attributes are possible, only the checksum is wrong.") \
	P(EA_REFS, "xattr.refcount", DAMAGE, YES, "fix", \
	  "attribute block %b has reference count %f, should be %w", \
	  "The count of inodes that share the block is wrong.") \
	/* ---- bad blocks inode ---- */ \
	P(BB_ILLEGAL, "badblocks.illegal", DAMAGE, YES, "clear", \
	  "the bad blocks inode names block %b, which does not exist", \
	  "A block number outside of the file system.") \
	P(BB_MAP_METADATA, "badblocks.map-on-metadata", DAMAGE, YES, "clear", \
	  "the bad blocks inode's indirect block %b lies on metadata", \
	  "The list of bad blocks is damaged.") \
	P(BB_MAP_CLAIMED, "badblocks.map-claimed", DAMAGE, YES, "clear", \
	  "the bad blocks inode's indirect block %b is bad or claimed", \
	  "The list of bad blocks is damaged.") \
	P(BB_PRIMARY, "badblocks.primary", DAMAGE, YES, "clear", \
	  "block %b of the primary superblock and descriptors is listed as bad", \
	  "Nothing can replace them; most likely the list is wrong.") \
	P(BB_BACKUP, "badblocks.backup", NOTE, NONE, NULL, \
	  "group %g: a block (%b) of the superblock's copies is bad", "The copy is of no use.") \
	P(BB_BLOCK_BITMAP, "badblocks.block-bitmap", DAMAGE, YES, "relocate", \
	  "group %g: the block bitmap (%b) is on a bad block", "It has to move.") \
	P(BB_INODE_BITMAP, "badblocks.inode-bitmap", DAMAGE, YES, "relocate", \
	  "group %g: the inode bitmap (%b) is on a bad block", "It has to move.") \
	P(BB_SELF, "badblocks.self", DAMAGE, YES, "clear", \
	  "the list of bad blocks names the block that holds inode 1", \
	  "The list cannot be read from a bad block.") \
	/* ---- blocks claimed more than once ---- */ \
	P(DUP_INODE, "dup.inode", DAMAGE, YES, "clone", \
	  "inode %i shares %n blocks (first %b) with %t", \
	  "Blocks are claimed by more than one file; each gets its own copy.") \
	P(DUP_CLONE, "dup.no-space", DAMAGE, YES, "delete the file", \
	  "inode %i: no room to give it its own copy of %n blocks", \
	  "The file system is too full to clone.") \
	/* ---- directories ---- */ \
	P(DIR_HOLE, "dir.hole", DAMAGE, YES, "allocate", "directory %i: block %l is missing", \
	  "A directory has no holes; an empty block takes the place.") \
	P(DIR_READ, "dir.read", DAMAGE, YES, "clear", "directory %i: block %l (%b) cannot be read", \
	  "The device failed; the block is treated as empty.") \
	P(DIR_CORRUPT, "dir.corrupt", DAMAGE, YES, "salvage", \
	  "directory %i: block %l is damaged at offset %o", "An entry's length leads nowhere.") \
	P(DIR_FINAL, "dir.last-entry", DAMAGE, YES, "fix", \
	  "directory %i: the last entry of block %l has length %f, should be %w", \
	  "The entries do not fill the block.") \
	P(DIR_CSUM, "dir.checksum", DAMAGE, SAFE, "fix", \
	  "directory %i: block %l is sound but fails its checksum", "Only the checksum is wrong.") \
	P(DIR_NO_CSUM, "dir.no-checksum", DAMAGE, SAFE, "fix", "directory %i: block %l has no checksum", \
	  "The entry that keeps the checksum is missing.") \
	P(DIR_INLINE_SIZE, "dir.inline-size", DAMAGE, YES, "fix", \
	  "inline directory %i: size %f is no multiple of 4", "Entries are aligned to 4 bytes.") \
	P(DOT_MISSING, "dir.dot-missing", DAMAGE, YES, "fix", "directory %i has no . entry", \
	  "The first entry names the directory itself.") \
	P(DOT_NOT_FIRST, "dir.dot-not-first", DAMAGE, YES, "fix", \
	  "directory %i: the first entry is %N, should be .", "The first entry names the directory itself.") \
	P(DOT_INODE, "dir.dot-inode", DAMAGE, YES, "fix", "directory %i: . refers to inode %f", \
	  "It must refer to the directory itself.") \
	P(DOT_BIG, "dir.dot-big", SUMMARY, LATER, "split", "directory %i: the . entry takes %f bytes", \
	  "Something else may stand behind it.") \
	P(DOT_TERM, "dir.dot-name", DAMAGE, YES, "fix", "directory %i: the %t entry's name is not terminated", \
	  "Old kernels need the NUL.") \
	P(DOTDOT_MISSING, "dir.dotdot-missing", DAMAGE, YES, "fix", "directory %i has no .. entry", \
	  "The second entry names the parent.") \
	P(DOTDOT_NOT_SECOND, "dir.dotdot-not-second", DAMAGE, YES, "fix", \
	  "directory %i: the second entry is %N, should be ..", "The second entry names the parent.") \
	P(ENT_INODE, "entry.inode", DAMAGE, YES, "clear", \
	  "directory %d: entry %N refers to inode %r, which does not exist", \
	  "The inode number is out of range or reserved.") \
	P(ENT_BAD_BLOCK, "entry.bad-block", DAMAGE, YES, "clear", \
	  "directory %d: entry %N refers to inode %r, which lies in a bad block", \
	  "The inode cannot be read.") \
	P(ENT_UNUSED, "entry.unused", DAMAGE, SAFE, "clear", \
	  "directory %d: entry %N refers to inode %r, which is not in use", \
	  "The file was deleted or its inode cleared.") \
	P(ENT_UNINIT, "entry.uninit", DAMAGE, SAFE, "fix", \
	  "directory %d: entry %N refers to inode %r in group %g, whose inodes are marked unused", \
	  "The descriptor hides inodes that are in use.") \
	P(ENT_DOT, "entry.link-to-dot", DAMAGE, YES, "clear", \
	  "directory %d: entry %N is a link to the directory itself", "Only . may be.") \
	P(ENT_LINK_DIR, "entry.link-to-directory", DAMAGE, YES, "clear", \
	  "directory %d: entry %N is a second link to directory %r", \
	  "A directory has one name.") \
	P(ENT_LINK_ROOT, "entry.link-to-root", DAMAGE, YES, "clear", \
	  "directory %d: entry %N is a link to the root directory", "The root has no name.") \
	P(ENT_NAME, "entry.name", DAMAGE, YES, "fix", \
	  "directory %d: entry %N has a name with / or NUL in it", "Such a name cannot be reached.") \
	P(ENT_NAME_UTF8, "entry.utf8", DAMAGE, YES, "fix", \
	  "directory %d: entry %N is not valid UTF-8", "A strict casefolded directory asks for it.") \
	P(ENT_EMPTY, "entry.empty-name", DAMAGE, YES, "clear", "directory %d: an entry for inode %r has no name", \
	  "Names have at least one byte.") \
	P(ENT_SHORT_ENC, "entry.encrypted-name", DAMAGE, YES, "clear", \
	  "directory %d: encrypted name %N is too short", "Encrypted names have at least 16 bytes.") \
	P(ENT_DUP_DOT, "entry.second-dot", DAMAGE, YES, "clear", "directory %d has a second %N entry", \
	  "Only the first two entries may be . and ..") \
	P(ENT_TYPE, "entry.type", DAMAGE, YES, "fix", \
	  "directory %d: entry %N has file type %f, should be %w", \
	  "The type in the entry is not the inode's.") \
	P(ENT_TYPE_UNSET, "entry.no-type", SUMMARY, SAFE, "fix", \
	  "directory %d: entry %N has no file type, should be %w", "Left over from before the feature.") \
	P(ENT_TYPE_SET, "entry.type-without-feature", DAMAGE, SAFE, "clear", \
	  "directory %d: entry %N has file type %f without the feature", \
	  "The byte belongs to the name's length then.") \
	P(ENT_DUP, "entry.duplicate", DAMAGE, YES, "rename", "directory %d: name %N occurs twice", \
	  "One of the two cannot be reached.") \
	P(ENT_DUP_FOLDED, "entry.duplicate-folded", SUMMARY, LATER, "rename", \
	  "directory %d: name %N occurs before in other letters", \
	  "In a casefolded directory only one of the two can be reached.") \
	P(ENT_ENC_PLAIN, "entry.encrypted-dir-plain", DAMAGE, YES, "clear", \
	  "encrypted directory %d: entry %N refers to inode %r, which is not encrypted", \
	  "Everything below an encrypted directory is encrypted.") \
	P(ENT_ENC_POLICY, "entry.encryption-policy", DAMAGE, YES, "clear", \
	  "encrypted directory %d: entry %N refers to inode %r of another policy", \
	  "Parent and child share one encryption policy.") \
	P(HT_NODIR, "htree.no-directory", DAMAGE, SAFE, "clear the index", \
	  "inode %i is marked as indexed but is no directory", "Only directories have indexes.") \
	P(HT_FEATURE, "htree.feature", DAMAGE, SAFE, "clear the index", \
	  "directory %i is indexed, but the feature is not set", "The superblock lacks dir_index.") \
	P(HT_ROOT, "htree.root", DAMAGE, SAFE, "clear the index", "directory %i: the index root is damaged", \
	  "Block 0 of an indexed directory holds the root.") \
	P(HT_HASH, "htree.hash", DAMAGE, SAFE, "clear the index", "directory %i: hash version %f is not known", \
	  "The index uses a hash that does not exist or does not fit the directory.") \
	P(HT_FLAGS, "htree.flags", DAMAGE, SAFE, "clear the index", "directory %i: index flags are not known", \
	  "An incompatible flag is set in the root.") \
	P(HT_DEPTH, "htree.depth", DAMAGE, SAFE, "clear the index", "directory %i: index depth %f is too large", \
	  "Two levels, or three with large_dir.") \
	P(HT_ROOT_CSUM, "htree.root-checksum", DAMAGE, SAFE, "clear the index", \
	  "directory %i: the index root fails its checksum", "The index is built anew.") \
	P(HT_NODE_CSUM, "htree.node-checksum", DAMAGE, SAFE, "clear the index", \
	  "directory %i: index block %l fails its checksum", "The index is built anew.") \
	P(HT_LIMIT, "htree.limit", DAMAGE, SAFE, "clear the index", \
	  "directory %i: index block %l has limit %f, should be %w", "The node's room is fixed.") \
	P(HT_COUNT, "htree.count", DAMAGE, SAFE, "clear the index", \
	  "directory %i: index block %l has count %f", "More entries than room, or none.") \
	P(HT_ORDER, "htree.order", DAMAGE, SAFE, "clear the index", \
	  "directory %i: index block %l is not sorted", "Hashes ascend within a node.") \
	P(HT_BLOCK, "htree.block", DAMAGE, YES, "clear the index", \
	  "directory %i: index block %l refers to block %f, which does not exist", \
	  "The index leads out of the directory.") \
	P(HT_INVALID, "htree.invalid", DAMAGE, YES, "clear the index", \
	  "directory %i: the index is wrong at block %l: %t", \
	  "Blocks that are not reached, reached twice, or hold hashes that belong elsewhere.") \
	/* ---- inodes seen through their names ---- */ \
	P(BAD_MODE, "inode.mode", DAMAGE, YES, "clear", "inode %i has mode %f, which does not exist", \
	  "The file type is none of the seven.") \
	P(BAD_DEVICE, "inode.device", DAMAGE, YES, "clear", "inode %i is no possible %t", \
	  "A device, fifo or socket with a block map.") \
	P(BAD_SYMLINK, "inode.symlink", DAMAGE, YES, "clear", "symlink %i is not valid", \
	  "Size and target do not fit, or the target cannot be found.") \
	P(BAD_FADDR, "inode.faddr", DAMAGE, YES, "clear", "inode %i: fragment address is %f, should be 0", \
	  "Fragments do not exist.") \
	P(BAD_FRAG, "inode.frag", DAMAGE, YES, "clear", "inode %i: fragment fields are set", \
	  "Fragments do not exist.") \
	P(BAD_SIZE_HIGH, "inode.size-high", DAMAGE, YES, "clear", \
	  "directory %i: upper half of its size is %f, should be 0", "Directories are smaller than 4 GiB.") \
	P(BAD_BLOCKS_HI, "inode.blocks-high", DAMAGE, YES, "clear", \
	  "inode %i: upper half of its block count is %f, should be 0", "The huge_file feature is not set.") \
	P(BAD_ACL_HI, "inode.acl-high", DAMAGE, SAFE, "clear", \
	  "inode %i: upper half of its attribute block is %f, should be 0", "The 64bit feature is not set.") \
	P(BAD_ACL_FEATURE, "inode.acl-feature", DAMAGE, YES, "clear", \
	  "inode %i: attribute block %b, but the feature is not set", "The superblock lacks ext_attr.") \
	P(BAD_ACL, "inode.acl", DAMAGE, YES, "clear", "inode %i: attribute block %b does not exist", \
	  "The block number is outside of the file system.") \
	P(FEATURE_LARGE_FILE, "super.large-file", DAMAGE, SAFE, "set the feature", \
	  "there are files over 2 GiB, but large_file is not set", "Old kernels must know.") \
	P(FEATURE_LARGE_DIR, "super.large-dir", DAMAGE, SAFE, "set the feature", \
	  "there are directories over 2 GiB, but large_dir is not set", \
	  "Old kernels must know.") \
	P(FEATURE_DIR_NLINK, "super.dir-nlink", DAMAGE, SAFE, "set the feature", \
	  "there are directories with over 65000 links, but dir_nlink is not set", \
	  "Old kernels must know.") \
	/* ---- connectivity and links ---- */ \
	P(ROOT_MISSING, "tree.no-root", DAMAGE, YES, "make one", "there is no root directory", \
	  "Inode 2 is free or was cleared.") \
	P(LPF_MISSING, "tree.no-lost-found", SUMMARY, SAFE, "make one", "there is no lost+found", \
	  "The directory that takes in what was found without a name.") \
	P(LPF_NOTDIR, "tree.lost-found-file", DAMAGE, YES, "unlink", \
	  "lost+found (inode %i) is no directory", "Its name is needed for a directory.") \
	P(LPF_ENCRYPTED, "tree.lost-found-encrypted", DAMAGE, YES, "clear", \
	  "lost+found is encrypted", "Nothing could be linked there without the key.") \
	P(DIR_UNCONNECTED, "tree.unconnected", DAMAGE, YES, "reconnect", \
	  "directory %i cannot be reached (was in %d)", "It is linked into lost+found.") \
	P(DIR_LOOP, "tree.loop", DAMAGE, YES, "reconnect", \
	  "directory %i is its own ancestor", "The circle is cut and linked into lost+found.") \
	P(DOTDOT_WRONG, "tree.dotdot", DAMAGE, YES, "fix", \
	  "directory %i: .. refers to inode %f, should be %w", "The parent is another directory.") \
	P(UNATTACHED_EMPTY, "tree.unattached-empty", DAMAGE, SAFE, "clear", \
	  "inode %i has no name and no data", "Nothing is lost with it.") \
	P(UNATTACHED, "tree.unattached", DAMAGE, YES, "reconnect", "inode %i has no name", \
	  "It is linked into lost+found.") \
	P(LINKS, "inode.links", DAMAGE, SAFE, "fix", "inode %i: link count is %f, should be %w", \
	  "The count of names is wrong.") \
	P(EA_LINKS, "xattr.value-refs", DAMAGE, SAFE, "fix", \
	  "inode %i holds an attribute's value: reference count is %f, should be %w", \
	  "The count of attributes that use the value is wrong.") \
	/* ---- bitmaps and summaries ---- */ \
	P(BMAP_BLOCKS, "bitmap.blocks", DAMAGE, SAFE, "fix", \
	  "group %g: block bitmap: %n %t, first %b", "The bitmap is not what is in use.") \
	P(BMAP_TABLES, "bitmap.tables", SUMMARY, SAFE, "fix", \
	  "group %g: tables of uninitialised groups are marked free", \
	  "A kernel believes the bitmap that is there, and may give the blocks to a file.") \
	P(BMAP_INODES, "bitmap.inodes", DAMAGE, SAFE, "fix", \
	  "group %g: inode bitmap: %n %t, first %i", "The bitmap is not what is in use.") \
	P(BMAP_BLOCK_PAD, "bitmap.block-padding", DAMAGE, SAFE, "fix", \
	  "group %g: padding of the block bitmap is not set", "Bits past the last block must be set.") \
	P(BMAP_INODE_PAD, "bitmap.inode-padding", DAMAGE, SAFE, "fix", \
	  "group %g: padding of the inode bitmap is not set", "Bits past the last inode must be set.") \
	P(BMAP_BLOCK_CSUM, "bitmap.block-checksum", DAMAGE, SAFE, "fix", \
	  "group %g: block bitmap fails its checksum", "The bits are right, only the checksum is wrong.") \
	P(BMAP_INODE_CSUM, "bitmap.inode-checksum", DAMAGE, SAFE, "fix", \
	  "group %g: inode bitmap fails its checksum", "The bits are right, only the checksum is wrong.") \
	P(BMAP_BLOCK_UNINIT, "bitmap.block-uninit", DAMAGE, SAFE, "fix", \
	  "group %g: blocks are in use (first %b), but it is marked uninitialised", \
	  "The block bitmap counts as empty.") \
	P(BMAP_INODE_UNINIT, "bitmap.inode-uninit", DAMAGE, SAFE, "fix", \
	  "group %g: inodes are in use (first %i), but it is marked uninitialised", \
	  "The inode bitmap counts as empty.") \
	P(GRP_FREE_BLOCKS, "group.free-blocks", DAMAGE, SAFE, "fix", \
	  "group %g: free blocks are %f, counted %w", "The descriptor's count is wrong.") \
	P(GRP_FREE_INODES, "group.free-inodes", DAMAGE, SAFE, "fix", \
	  "group %g: free inodes are %f, counted %w", "The descriptor's count is wrong.") \
	P(GRP_DIRS, "group.directories", DAMAGE, SAFE, "fix", \
	  "group %g: directories are %f, counted %w", "The descriptor's count is wrong.") \
	P(SB_FREE_BLOCKS, "super.free-blocks", SUMMARY, SAFE, "fix", \
	  "free blocks are %f, counted %w", "The superblock's count is out of date.") \
	P(SB_FREE_INODES, "super.free-inodes", SUMMARY, SAFE, "fix", \
	  "free inodes are %f, counted %w", "The superblock's count is out of date.") \
	/* ---- orphan file and quota ---- */ \
	P(ORPHAN_FLAG, "orphan.present", DAMAGE, SAFE, "clear", \
	  "orphan_present is set, but the orphan file is empty", "The flag was left behind.") \
	P(ORPHAN_NO_JOURNAL, "orphan.no-journal", DAMAGE, SAFE, "remove", \
	  "there is an orphan file (inode %i) but no journal", "Orphans are found again by the journal.") \
	P(ORPHAN_FILE, "orphan.file", DAMAGE, SAFE, "fix", "orphan file, block %l: %t", \
	  "The orphan file is made anew.") \
	P(ORPHAN_DIRTY, "orphan.entries", DAMAGE, SAFE, "clear", \
	  "orphan file, block %l: holds entries", \
	  "Files that were deleted while open; their space is freed by the repair.") \
	P(QUOTA_USAGE, "quota.usage", DAMAGE, SAFE, "fix", \
	  "%t quota: id %i has %N %f recorded, uses %w", "The quota file's usage is out of date.") \
	P(QUOTA_TREE, "quota.tree", SUMMARY, SAFE, "make anew", "%t quota file: %N", \
	  "Another magic, or a loop in the tree; usage is right all the same.") \
	P(QUOTA_FILE, "quota.file", DAMAGE, SAFE, "make anew", "%t quota file is damaged: %N", \
	  "The quota file cannot be read.")
/* clang-format on */

enum dafs_ck_code {
#define DAFS_CK_ENUM(name, ...) DAFS_CK_##name,
	DAFS_CK_PROBLEMS(DAFS_CK_ENUM)
#undef DAFS_CK_ENUM
		DAFS_CK_CODES
};

#endif
