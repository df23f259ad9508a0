#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# mkdafs makes what mke2fs 1.47 makes: dumpe2fs tells both apart by identity and lifetime counter only, and with the
# identity given the images are the same, byte for byte.

load helpers

UUID=11111111-2222-3333-4444-555555555555
SEED=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee

# Without identity: UUIDs, seeds, times, what depends on them (checksums), and how much was written.
facts() {
  dumpe2fs "$@" 2>/dev/null | sed -E \
    -e '/^(Filesystem UUID|Directory Hash Seed|Lifetime writes|Checksum|Checksum seed|Journal checksum):/d' \
    -e '/^(Filesystem created|Last write time|Last checked|Last mount time):/d' \
    -e 's/,? ?csum 0x[0-9a-f]+//; /mmp_time|mmp_sequence/d'
}

make_both() { # SIZE OPTION...
  local size=$1 type=(-t ext4)
  shift
  [[ " $* " != *" -t "* ]] || type=()
  rm -rf a b
  mkdir a b
  cd a
  mke2fs -q "${type[@]}" "$@" image "$size" >../mke2fs.log 2>&1 </dev/null || { cat ../mke2fs.log; return 1; }
  cd ../b
  run_tool 0 mkdafs -q "$@" image "$size"
  cd ..
  [ "$(stat -c %s a/image)" = "$(stat -c %s b/image)" ]
}

same_facts() { # SIZE OPTION...
  make_both "$@"
  facts a/image >a.txt
  facts b/image >b.txt
  diff a.txt b.txt
  assert_fsck_clean b/image
}

# The bytes that differ, but for s_kbytes_written and the checksum over it in the superblock and its backups.
differing_bytes() {
  local bs
  bs=$(dumpe2fs -h a/image 2>/dev/null | awk '/^Block size/ { print $3 }')
  { cmp -l a/image b/image || true; } | awk -v bs="$bs" '{
    o = $1 - 1
    r = o < 4096 && o >= 1024 && o < 2048 ? o - 1024 : o % bs
    if (!((r >= 376 && r < 384) || (r >= 1020 && r < 1024))) n++
  } END { print n + 0 }'
}

same_bytes() { # SIZE OPTION...
  export E2FSPROGS_FAKE_TIME=1700000000
  make_both "$@" -U $UUID -E hash_seed=$SEED
  [ "$(differing_bytes)" -eq 0 ]
}

@test "defaults, from 500 KiB to 600 MiB, odd sizes among them" {
  for size in 500K 1M 2M 3071K 3072K 8M 12345K 65537K 511M 600M; do same_facts $size; done
}

@test "block sizes" {
  for bs in 1024 2048 4096; do same_facts 64M -b $bs; done
  same_facts 100001K -b 1024
  same_facts 12345 -b 2048
  same_facts 64M -b -2048
}

@test "64bit and checksums, on and off" {
  same_facts 64M -O ^64bit
  same_facts 64M -O ^64bit,^extent
  same_facts 64M -O ^metadata_csum
  same_facts 64M -O ^metadata_csum,uninit_bg
  same_facts 64M -O metadata_csum_seed
  same_facts 64M -b 4096 -O ^64bit,^metadata_csum
}

@test "journals" {
  same_facts 64M -O ^has_journal
  same_facts 64M -J size=4
  same_facts 600M -J size=64,location=100M
  same_facts 600M -O fast_commit
  same_facts 600M -O fast_commit -J size=16,fast_commit_size=1024
  same_facts 64M -O ^has_journal -j
}

@test "bigalloc" {
  same_facts 512M -O bigalloc
  same_facts 512M -O bigalloc -C 16384
  same_facts 512M -O bigalloc -b 1024
  same_facts 600M -O bigalloc -C 1M
}

@test "layout of groups" {
  same_facts 600M -O meta_bg,^resize_inode
  same_facts 600M -O meta_bg,^resize_inode,^flex_bg -b 1024
  same_facts 64M -O ^flex_bg
  same_facts 600M -G 4
  same_facts 600M -G 64
  same_facts 600M -g 8192
  same_facts 600M -E packed_meta_blocks
  same_facts 64M -E desc_size=128
}

@test "backup superblocks" {
  same_facts 600M -O sparse_super2
  same_facts 600M -O sparse_super2 -E num_backup_sb=1
  same_facts 600M -O sparse_super2 -E num_backup_sb=0
  same_facts 600M -O sparse_super2,^sparse_super,^resize_inode
  same_facts 600M -O ^sparse_super,^resize_inode
}

@test "room to grow" {
  same_facts 64M -E resize=10G
  same_facts 64M -O ^resize_inode
  same_facts 600M -E resize=4T
}

@test "inodes" {
  same_facts 64M -I 128
  same_facts 64M -I 512 -b 4096
  same_facts 64M -I 1024
  same_facts 64M -i 65536
  same_facts 64M -N 100
  same_facts 64M -N 100000
  same_facts 64M -O inline_data
}

@test "reserved blocks, labels, policies" {
  same_facts 64M -m 0
  same_facts 64M -m 1.5
  same_facts 64M -L hello -M /mnt/x -e panic
  same_facts 64M -L more-than-sixteen-bytes
  same_facts 64M -e remount-ro
  same_facts 64M -E root_owner=1000:70000
  same_facts 64M -E test_fs
  same_facts 64M -o freebsd
}

@test "features with files of their own" {
  same_facts 64M -O orphan_file
  same_facts 64M -O orphan_file -E orphan_file_size=64K
  same_facts 64M -O mmp
  same_facts 64M -O mmp -E mmp_update_interval=7
  same_facts 64M -O quota
  same_facts 64M -O quota,project
  same_facts 64M -b 4096 -O quota -E quotatype=usrquota:prjquota
  same_facts 64M -O quota -E root_owner=1000:70000
}

@test "features of files" {
  same_facts 64M -O casefold
  same_facts 64M -E encoding=utf8,encoding_flags=strict
  same_facts 64M -O encrypt,verity,stable_inodes
  same_facts 64M -O ea_inode,large_dir
  same_facts 64M -O project
}

@test "types" {
  same_facts 64M -T largefile
  same_facts 64M -T news,small
  same_facts 600M -T floppy
  for type in ext2 ext3 ext4; do same_facts 64M -t $type; done
  same_facts 64M -O none
  same_facts 64M -O none,extent,has_journal
  same_facts 64M -r 0
}

@test "RAID geometry" {
  same_facts 64M -E stride=4,stripe_width=16
  same_facts 600M -E stride=16,stripe-width=64 -O ^flex_bg
}

@test "lazy and zeroed tables, on a new file and on one that was there" {
  for opts in lazy_itable_init=0 lazy_itable_init=1 lazy_journal_init=1 assume_storage_prezeroed nodiscard; do
    same_facts 64M -E $opts
    rm -rf a b
    mkdir a b
    truncate -s 64M a/image b/image
    mke2fs -q -t ext4 -E $opts a/image >/dev/null 2>&1
    run_tool 0 mkdafs -q -E $opts b/image
    diff <(facts a/image) <(facts b/image)
  done
}

@test "mke2fs.conf decides" {
  export MKE2FS_CONFIG=$T/own.conf
  cat >own.conf <<'END'
# types of our own
[defaults]
	base_features = sparse_super,filetype,dir_index,ext_attr,large_file ; not all
	default_mntopts = "acl"
	blocksize = 2048
	inode_size = 512
	reserved_ratio = 2.5
	enable_periodic_fsck = 0
	hash_alg = tea
[fs_types]
	ext4 = {
		features = has_journal,extent
		inode_ratio = 0x8000
		errors = remount-ro
	}
	flash =
	{
		features = "flex_bg,metadata_csum,64bit"
		flex_bg_size = 8
		options = stride=8,stripe_width=32
		packed_meta_blocks = yes
	}
	ext4 = {
		inode_size = 128
		default_features = ^dir_index
	}
END
  same_facts 100M
  same_facts 100M -T flash
  has() { dumpe2fs -h b/image 2>/dev/null | grep -qE "$1"; }
  has '^Block size: *2048$'
  has '^RAID stride: *8$'
  has '^Default directory hash: *tea$'
  has '^Errors behavior: *Remount read-only$'
}

@test "without a configuration there are built-in defaults" {
  export MKE2FS_CONFIG=$T/none.conf
  same_facts 64M
  same_facts 600M -T largefile
}

@test "with the identity given, every byte is the same" {
  same_bytes 64M
  same_bytes 64M -b 4096
  same_bytes 600M
  same_bytes 64M -O bigalloc,inline_data,orphan_file
  same_bytes 64M -O meta_bg,^resize_inode,^64bit -b 2048
  same_bytes 64M -O encrypt,casefold,ea_inode
  same_bytes 64M -b 4096 -O quota,project
  same_bytes 64M -t ext2
  same_bytes 64M -r 0
}

@test "sparse files of 16 TiB and more, in seconds and a few hundred megabytes" {
  mkdir big
  truncate -s 16T big/probe 2>/dev/null || { mount_big || skip "no file system here holds a file of 16 TiB"; }
  rm -f big/probe
  for opts in "-b 4096" "-O bigalloc -T huge" "-T largefile4"; do
    # shellcheck disable=SC2086
    run_tool 0 timeout 20 mkdafs -q $opts big/b 16T
    # shellcheck disable=SC2086
    mke2fs -q -t ext4 $opts big/a 16T >/dev/null 2>&1
    diff <(facts -h big/a) <(facts -h big/b)
    # Descriptors in the first group and in the last backup, past 2^32 blocks: what dumpe2fs takes ten seconds to tell.
    [ "$(stat -c %s big/b)" -eq $((16 << 40)) ]
    [ "$(stat -c %b big/b)" -le $(($(stat -c %b big/a) * 11 / 10)) ]
    rm -f big/a big/b
  done
}

# A tmpfs holds it where the test's own file system does not (ext4 ends at 16 TiB).
mount_big() {
  [ "$(id -u)" -eq 0 ] || { [ -w /dev/shm ] && rmdir big && ln -s "$(mktemp -d /dev/shm/dafs-test.XXXXXX)" big; return; }
  mount -t tmpfs tmpfs big 2>/dev/null && mounted+=("$T/big")
}
