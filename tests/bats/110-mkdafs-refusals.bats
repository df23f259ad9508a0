#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What mkdafs refuses, what it says, and what it leaves behind: existing data, dry runs, bad options, addresses.

load helpers

# A refusal is one line with the cause, and the image is as it was (or still absent).
refuses() { # TEXT ARGUMENT...
  local text=$1 before=
  shift
  [ ! -e image ] || before=$(sha256sum <image)
  run_tool 1 mkdafs "$@"
  has_stderr "$text"
  [ "$(wc -l <<<"$stderr")" -eq 1 ]
  [ -z "$output" ]
  if [ -n "$before" ]; then [ "$(sha256sum <image)" = "$before" ]; else [ ! -e image ]; fi
}

@test "file systems are refused by name, overwritten with -F" {
  run_tool 0 mkdafs -q -L precious image 64M
  refuses "image: ext4 file system labelled 'precious': Existing data found" image
  run_tool 0 mkdafs -q -F -L new image
  [ "$(e2label image)" = new ]
  assert_fsck_clean image
}

@test "a file system behind another's signature does not come back" {
  need mkfs.btrfs blkid
  truncate -s 256M image
  mkfs.btrfs -q image
  refuses "btrfs file system" image
  run_tool 0 mkdafs -q -F -E nodiscard image
  [ "$(blkid -p -o value -s TYPE image)" = ext4 ]
}

@test "pending work of an old file system is existing data" {
  run_tool 0 mkdafs -q image 16M
  run_tool 0 dawrite image mkdir /pending
  rm image
  refuses "image (use -F to drop it): The image has pending work" image 16M
  run_tool 0 mkdafs -F image 16M
  has_stderr "what was pending for the old file system in image is dropped"
  [ ! -e image.dacache ]
  run_tool 0 dawrite image mkdir /new
  run_tool 0 dawrite image flush
  assert_fsck_clean image
}

@test "partition tables and swap are refused" {
  need sfdisk mkswap
  truncate -s 64M image
  printf 'label: gpt\nsize=32M, name=root\n' | sfdisk -q image
  refuses "image: gpt partition table" image
  rm image
  truncate -s 64M image
  printf 'label: dos\nsize=32M\n' | sfdisk -q image
  refuses "image: dos partition table" image
  rm image
  truncate -s 64M image
  mkswap -q image
  refuses "image: swap" image
}

@test "a partition is made in place, its neighbours and the table stay" {
  need sfdisk
  truncate -s 64M image
  printf 'label: gpt\nsize=32M, name=root\nsize=20M, name=data\n' | sfdisk -q image
  sfdisk -d image >before
  run_tool 0 mkdafs -q -L one image:p1
  run_tool 0 mkdafs -q -L two image:PARTLABEL=data
  refuses "image:p1: ext4 file system labelled 'one'" image:p1
  refuses "image:p3" image:p3
  sfdisk -d image | diff before -
  assert_fsck_clean 'image?offset=1048576'
  assert_fsck_clean 'image?offset=34603008'
  [ "$(dumpe2fs -h 'image?offset=34603008' 2>/dev/null | awk '/^Block count/ { print $3 }')" -eq 20480 ]
  refuses "image:p2: has 20971520 bytes" -F image:p2 21M
}

@test "offsets, in the address and as an option" {
  run_tool 0 mkdafs -q -E offset=1M image 8M
  [ "$(stat -c %s image)" -eq $((9 << 20)) ]
  assert_fsck_clean 'image?offset=1048576'
  refuses "ext4 file system" -E offset=1M image 8M
  refuses "ext4 file system" 'image?offset=1M' 8M
  refuses "-E offset beside an offset" -E offset=1M 'image?offset=1M' 8M
  run_tool 0 mkdafs -q 'other?offset=64K' 8M
  cmp -n 65536 other /dev/zero
  assert_fsck_clean 'other?offset=65536'
}

@test "a dry run touches nothing and tells what a real run does" {
  run_tool 0 mkdafs -n -b 4096 image 200M
  [ ! -e image ]
  has_output "Creating filesystem with 51200 4k blocks and 51200 inodes"
  [ "$(awk '/backups stored/ { getline; print }' <<<"$output")" = $'\t32768' ]
  run_tool 0 mkdafs -b 4096 image 200M
  [ "$(awk '/backups stored/ { getline; print }' <<<"$output")" = $'\t32768' ]
  touch -d '2001-02-03 04:05:06' image
  chmod 0444 image
  sum=$(sha256sum <image)
  # Where the backups of a file system are that is there already.
  run_tool 0 mkdafs -n -q -b 4096 image
  has_output "32768"
  [ "$(sha256sum <image)" = "$sum" ]
  [ "$(stat -c %Y image)" -eq "$(date -d '2001-02-03 04:05:06' +%s)" ]
}

@test "the list of backups is the one that mke2fs prints" {
  for size in 64M 600M 100G 5T; do
    : >x
    diff <(mke2fs -n -t ext4 -b 4096 x $size 2>/dev/null | sed -n '/^Superblock backups/,/^$/p' | sed '/^$/d') \
      <(mkdafs -n -b 4096 y $size | sed -n '/^Superblock backups/,$p')
  done
}

@test "-q is silent, -v tells more, output goes to standard output" {
  run_tool 0 mkdafs -q image 64M
  [ -z "$output$stderr" ]
  run_tool 0 mkdafs -F -v image
  has_output "8 block groups"
  has_output "Block size=1024 (log=0)"
  has_output "Features: has_journal,ext_attr,resize_inode,dir_index"
  [ -z "$stderr" ]
}

@test "--json" {
  need jq
  run_tool 0 mkdafs --json --no-sync -L x -U clear image 600M
  [ "$(jq -c '[.image, .created, .label, .blocks, .block_size, .backup_superblocks, .dry_run]' <<<"$output")" = \
    '["image",true,"x",153600,4096,[32768,98304],false]' ]
  refuses "Existing data found" --json image
}

@test "options that do not parse" {
  refuses "--block-size: 'x' is not a number" -b x image 64M
  refuses "block size 5000: a power of two" -b 5000 image 64M
  refuses "block size 512" -b 512 image 64M
  refuses "inode size 100" -I 100 image 64M
  refuses "60 (0 to 50)" -m 60 image 64M
  refuses "-E foo: unknown name" -E foo image 64M
  refuses "-E stride: 'x' is not a number" -E stride=x image 64M
  refuses "-E stride: a value is missing" -E stride image 64M
  refuses "-E num_backup_sb: 3 (0 to 2)" -E num_backup_sb=3 image 64M
  refuses "-E hash_seed: 'x' is not a UUID" -E hash_seed=x image 64M
  refuses "-E root_owner: '5' is not UID:GID" -E root_owner=5 image 64M
  refuses "-E root_perms: '888' is not an octal mode" -E root_perms=888 image 64M
  refuses "-E quotatype: 'x' is not a quota type" -O quota -E quotatype=x image 64M
  refuses "-E encoding: 'x' is not a known encoding" -E encoding=x image 64M
  refuses "-J foo: unknown name" -J foo=1 image 64M
  refuses "-O foo: unknown" -O foo image 64M
  refuses "-U foo: not a UUID" -U foo image 64M
  refuses "-e foo: not continue" -e foo image 64M
  refuses "-o foo: not an operating system" -o foo image 64M
  refuses "does not define the type foo" -t foo image 64M
  refuses "-r 7: no such revision" -r 7 image 64M
  refuses "'5Q' is not a size" image 5Q
  refuses "a size of 0" image 0
  refuses "unexpected operand 'x'" image 64M x
}

@test "options that do not go together" {
  refuses "64bit needs the feature extent" -O ^extent image 64M
  refuses "bigalloc needs the feature extent" -O bigalloc,^extent,^64bit image 64M
  refuses "-C needs the feature bigalloc" -C 65536 image 64M
  refuses "resize_inode and meta_bg exclude each other" -O meta_bg image 64M
  refuses "resize_inode needs the feature sparse_super" -O ^sparse_super image 64M
  refuses "metadata_csum_seed needs" -O metadata_csum_seed,^metadata_csum image 64M
  refuses "orphan_file needs the feature has_journal" -O orphan_file,^has_journal image 64M
  refuses "-G needs the feature flex_bg" -O ^flex_bg -G 4 image 64M
  refuses "a power of two is needed" -G 3 image 64M
  refuses "-g 1001: a multiple of 8" -g 1001 image 64M
  refuses "too small for the feature inline_data" -I 128 -O inline_data image 64M
  refuses "too small for the feature project" -I 128 -O project image 64M
  refuses "fast_commit_size needs the feature fast_commit" -J fast_commit_size=1024 image 64M
  refuses "more than half of the file system" -J size=60 image 64M
  refuses "do not fit: raise the ratio" -I 4096 -b 4096 image 64M
  refuses "fewer than 2^32 inodes" -N 4294967296 image 64M
  refuses "need the feature 64bit" -O ^64bit -b 1024 image 5T
  refuses "is not more than the file system has now" -E resize=1000 image 64M
  refuses "has no features" -r 0 -O extent image 64M
  refuses "larger than the system's pages" -b 65536 image 64M
  refuses "journal_dev: mkdafs makes no external journals" -O journal_dev image 64M
  refuses "external journal" -J device=/dev/null image 64M
  refuses "8 inodes are too few" image 100
  refuses "image: Not enough space to build proposed filesystem" image 10
}

@test "places that are no images" {
  refuses "image: no size is given" image
  run_tool 1 mkdafs . 64M
  has_stderr "neither a file nor a block device"
  run_tool 1 mkdafs /dev/null 64M
  has_stderr "neither a file nor a block device"
  run_tool 1 mkdafs none/image 64M
  has_stderr "none/image: No such file or directory"
  : >image
  refuses "image: is empty, and no size is given" image
  if [ "$(id -u)" -ne 0 ]; then
    truncate -s 64M image
    chmod 0444 image
    refuses "image: Permission denied" image
  fi
}

@test "a broken mke2fs.conf is an error with its place" {
  export MKE2FS_CONFIG=$T/conf
  printf '[defaults]\nblocksize 4096\n' >conf
  refuses "conf:2: a line needs the form tag = value" image 64M
  printf '[defaults]\nblocksize = many\n[fs_types]\next4 = {\n}\n' >conf
  refuses "blocksize = many is not a number" image 64M
  printf '[fs_types]\next4 =\nx = y\n' >conf
  refuses "conf:3: { is missing" image 64M
  printf '[defaults]\nmake_hugefiles = yes\n[fs_types]\next4 = {\n}\n' >conf
  refuses "make_hugefiles is not supported" image 64M
}

@test "mounted devices and files are refused, also with -F" {
  need_root_loop
  run_tool 0 mkdafs -q image 64M
  mount_rw image mnt
  run_tool 1 mkdafs -F -F image
  has_stderr "mounted on"
  run_tool 1 mkdafs -F -F "$(findmnt -n -o SOURCE mnt)"
  has_stderr "mounted on"
  touch mnt/alive
  unmount mnt
  assert_fsck_clean image
}

@test "what the kernel mounts" {
  need_root_loop
  for opts in "" "-b 1024" "-O bigalloc" "-O inline_data,orphan_file" "-t ext2"; do
    rm -f image
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q $opts image 64M
    mount_rw image mnt
    [ -d mnt/lost+found ]
    cp -r "$DAFS_SRCDIR/tests" mnt/
    unmount mnt
    assert_fsck_clean image
  done
}

@test "reproducible with SOURCE_DATE_EPOCH" {
  export SOURCE_DATE_EPOCH=1700000000
  run_tool 0 mkdafs -q -L x -O mmp one 64M
  sleep 1.1
  run_tool 0 mkdafs -q -L x -O mmp two 64M
  cmp one two
  run_tool 0 mkdafs -q -L y three 64M
  [ "$(blkid -p -o value -s UUID one)" != "$(blkid -p -o value -s UUID three)" ]
  dumpe2fs -h one 2>/dev/null | grep -q '^Filesystem created: *Tue Nov 14 22:13:20 2023$'
  unset SOURCE_DATE_EPOCH
  run_tool 0 mkdafs -q four 8M
  run_tool 0 mkdafs -q five 8M
  [ "$(blkid -p -o value -s UUID four)" != "$(blkid -p -o value -s UUID five)" ]
}

@test "where mke2fs's file systems do not pass a check" {
  run_tool 0 mkdafs -q -G 1 -E packed_meta_blocks image 600M
  assert_fsck_clean image
  rm image
  run_tool 0 mkdafs -q -g 256 -b 1024 -E resize=1G image 200M
  assert_fsck_clean image
  rm image
  run_tool 0 mkdafs -q -O uninit_bg image 64M
  assert_fsck_clean image
  rm image
  run_tool 0 mkdafs -q -O bigalloc -m 50 image 2073K
  assert_fsck_clean image
  rm image
  run_tool 0 mkdafs -O orphan_file image 1467K
  has_stderr 'too small for a journal'
  assert_fsck_clean image
}

@test "the root directory's owner and permissions" {
  run_tool 0 mkdafs -q -E root_owner=1000:70000,root_perms=01777 image 8M
  debugfs -R 'stat <2>' image 2>/dev/null | grep -qE 'Mode: +01777 '
  debugfs -R 'stat <2>' image 2>/dev/null | grep -qE 'User: +1000 +Group: +70000 '
  assert_fsck_clean image
}

@test "a full disk under the image leaves no file" {
  [ "$(id -u)" -eq 0 ] || skip "a small tmpfs needs root"
  mkdir small
  mount -t tmpfs -o size=1M tmpfs small
  mounted+=("$T/small")
  run_tool 1 mkdafs small/image 4G
  has_stderr "No space left on device"
  [ ! -e small/image ]
}
