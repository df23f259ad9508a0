#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck's verdict beside e2fsck's: on sound images of many feature sets, and on images damaged field by field.

load helpers

# An image with some of everything that debugfs can make.
make_image() { # FILE SIZE MKE2FS-OPTION...
  local image=$1 size=$2
  shift 2
  mkdir -p src/dir/sub
  seq 1 3000 >src/file
  seq 1 200 >src/dir/small
  for i in $(seq 1 120); do : >"src/dir/sub/name-$i"; done
  ln -sf file src/link
  ln -sf "$(printf '%0100d' 7)" src/long-link
  mke2fs -q -F -d src "$@" "$image" "$size" >/dev/null 2>&1
}

# Commands for debugfs, one a line.
damage() { # IMAGE COMMAND...
  local image=$1
  shift
  printf '%s\n' "$@" | debugfs -w -f - "$image" >debugfs.log 2>&1 || true
}

same_verdict() { # IMAGE
  local want=0 got=0
  e2fsck -fn "$1" >e2fsck.log 2>&1 || want=$?
  dafsck -fn "$1" >dafsck.log 2>&1 || got=$?
  if [ $((want != 0)) -ne $((got != 0)) ]; then
    echo "e2fsck $want, dafsck $got"
    cat e2fsck.log dafsck.log
    return 1
  fi
}

@test "sound images of many feature sets: nothing found, e2fsck's summary line" {
  local -a sets=("-t ext4" "-t ext4 -b 1024" "-t ext4 -b 2048 -O ^metadata_csum,uninit_bg" "-t ext3" "-t ext2" "-t ext2 -b 1024 -O none"
    "-t ext4 -O bigalloc,^resize_inode" "-t ext4 -O meta_bg,^resize_inode" "-t ext4 -O inline_data" "-t ext4 -I 128 -O ^metadata_csum"
    "-t ext4 -O sparse_super2,^resize_inode" "-t ext4 -O ^64bit" "-t ext4 -O quota,project" "-t ext4 -O casefold -E encoding=utf8"
    "-t ext4 -O ea_inode,large_dir" "-t ext4 -O ^flex_bg" "-t ext4 -g 4096 -b 1024" "-t ext4 -O orphan_file" "-t ext4 -O mmp"
    "-t ext4 -O encrypt,verity,stable_inodes,fast_commit" "-t ext4 -O ^has_journal -b 65536")
  local set
  for set in "${sets[@]}"; do
    echo "== $set"
    # shellcheck disable=SC2086 # a list of options
    make_image img 48M $set || { echo "(mke2fs does not know some of it)"; continue; }
    # mke2fs -d does not count what it copies.
    [[ $set != *quota* ]] || e2fsck -fy img >/dev/null 2>&1 || true
    run_tool 0 dafsck -fn --strict img
    [ "$(tail -n 1 <<<"$output")" = "$(e2fsck -fn img 2>/dev/null | tail -n 1)" ]
  done
}

@test "exit status: usage 16, no file system 8, no file 8; a clean file system is passed over" {
  run_tool 16 dafsck
  run_tool 16 dafsck --no-such-option img
  run_tool 16 dafsck -B 1000 img
  run_tool 8 dafsck -n no-such-file
  has_stderr "no-such-file"
  head -c 2M /dev/zero >zeros
  run_tool 8 dafsck -fn zeros
  has_stderr zeros
  make_image img 16M -t ext4
  run_tool 0 dafsck -p img
  has_output "img: clean, "
}

@test "each damaged field is found under its own name" {
  local -a cases=(
    "inode.size|sif /file size 1"
    "inode.blocks|sif /file blocks 9999"
    "inode.links|sif /file links_count 9"
    "inode.dtime|sif /file dtime 1700000000"
    "inode.mode|sif /file mode 0"
    "inode.extents-unmarked|sif /file flags 0"
    "inode.imagic|sif /file flags 0x82000"
    "inode.extra-isize|sif /file extra_isize 251"
    "inode.faddr|sif /file faddr 7"
    "inode.device|sif /file mode 010644"
    "xattr.magic|sif /file file_acl 1000"
    "inode.acl|sif /file file_acl 99999999"
    "extent.header|sif /file block[0] 7"
    "extent.start|sif /file block[5] 99999999"
    "dup.inode|sif /file block[5] 2"
    "tree.unattached|unlink /file"
    "tree.unconnected|unlink /dir"
    "entry.unused|clri /file"
    "inode.symlink|sif /link size 3"
    "entry.link-to-directory|ln /dir /again"
    "bitmap.blocks|freeb 5000 10
setb 6000 10"
    "bitmap.inodes|seti <1000>"
    "group.free-blocks|set_bg 0 free_blocks_count 7"
    "group.directories|set_bg 0 used_dirs_count 77"
    "group.free-inodes|set_bg 0 free_inodes_count 3"
    "inode.journal-mode|sif <8> mode 0"
    "inode.root-no-dir|sif <2> mode 0100644"
    "htree.hash|sif /dir/sub flags 0x81000"
  )
  local row id commands
  make_image sound 16M -t ext4 -O ^metadata_csum
  for row in "${cases[@]}"; do
    id=${row%%|*} commands=${row#*|}
    echo "== $id: $commands"
    cp sound img
    mapfile -t commands <<<"$commands"
    damage img "${commands[@]}"
    run_tool 4 dafsck -fn img
    has_output "[$id]"
    same_verdict img
  done
}

@test "a journal whose log begins nowhere: no damage, but no kernel takes it" {
  local super value
  make_image sound 16M -t ext4
  super=$(debugfs -R "bmap <8> 0" sound 2>/dev/null)
  # s_first, s_start
  for value in "20 0000" "20 7777" "28 7777"; do
    cp sound img
    printf '%b' "$(printf '%s' "${value#* }" | sed 's/./\\x0&/g')" |
      dd of=img bs=1 seek=$((super * 1024 + ${value% *})) conv=notrunc status=none
    run_tool 0 dafsck -fn img
    has_output "[journal.log]"
    same_verdict img
    run_tool 4 dafsck -fn --strict img
    run_tool 1 dafsck -fy img
    run_tool 0 dafsck -fn --strict img
    assert_fsck_clean img
  done

  # What the log holds is not lost with it.
  cp sound img
  printf '%s\n' "jo" "jw -b 9000 /dev/zero" "jc" | debugfs -w -f - img >/dev/null 2>&1
  printf '\0\0\0\0' | dd of=img bs=1 seek=$((super * 1024 + 20)) conv=notrunc status=none
  run_tool 0 dafsck -fn img
  has_output "[journal.log]"
  run_tool 0 dafsck -fy img
  has_stderr "replaying the journal"
  run_tool 0 dafsck -fn --strict img
  assert_fsck_clean img
}

@test "an error that the journal remembers: all is looked at, then it is forgotten" {
  make_image sound 16M -t ext4
  printf '\xff\xff\xff\xfb' |
    dd of=sound bs=1 seek=$(($(debugfs -R "bmap <8> 0" sound 2>/dev/null) * 1024 + 32)) conv=notrunc status=none
  cp sound img
  run_tool 1 dafsck -p img
  has_output "[journal.error]"
  run_tool 0 dafsck -n --strict img
  assert_fsck_clean img
  # With damage behind the mark "clean" as well.
  cp sound img
  damage img "unlink /file"
  run_tool 0 dafsck -fn sound
  run_tool 4 dafsck -n img
  has_output "[tree.unattached]"
  run_tool 4 dafsck -n --strict sound
  # A number that has no other sign.
  printf '\x80\0\0\0' |
    dd of=sound bs=1 seek=$(($(debugfs -R "bmap <8> 0" sound 2>/dev/null) * 1024 + 32)) conv=notrunc status=none
  run_tool 4 dafsck -fn --strict sound
  has_output "of the file system (2147483648)"
  run_tool 1 dafsck -fy sound
  assert_fsck_clean sound
}

@test "damaged checksums are found under their own name" {
  local -a cases=(
    "inode.checksum|sif /file checksum 0x1234"
    "desc.checksum|set_bg 1 checksum 0x1234"
    "bitmap.block-checksum|set_bg 0 block_bitmap_csum 0x1234"
    "bitmap.inode-checksum|set_bg 0 inode_bitmap_csum 0x1234"
  )
  local row
  make_image sound 24M -t ext4 -b 1024
  for row in "${cases[@]}"; do
    echo "== $row"
    cp sound img
    damage img "${row#*|}"
    run_tool 4 dafsck -fn --strict img
    has_output "[${row%%|*}]"
    same_verdict img
  done
}

@test "the superblock's own counts and notes: 0, with --strict 4" {
  make_image sound 16M -t ext4
  local field
  for field in "free_blocks_count 7" "free_inodes_count 7" "mtime 20990101" "want_extra_isize 7"; do
    echo "== $field"
    cp sound img
    damage img "ssv $field"
    run_tool 0 dafsck -fn img
    run_tool 4 dafsck -fn --strict img
    same_verdict img
  done
}

@test "a wiped superblock and wiped descriptors: a copy is used" {
  make_image img 40M -t ext4 -b 1024
  cp img wiped
  dd if=/dev/zero of=wiped bs=1024 seek=1 count=1 conv=notrunc status=none
  run_tool 4 dafsck -fn wiped
  has_output "[super.primary]"
  run_tool 4 dafsck -fn -b 8193 wiped
  lacks_output "[super.primary]"
  cp img wiped
  dd if=/dev/zero of=wiped bs=1024 seek=2 count=1 conv=notrunc status=none
  run_tool 4 dafsck -fn wiped
  has_output "[desc.primary]"
}

@test "an image shorter than its file system: said, as e2fsck does; not repaired" {
  make_image img 16M -t ext4
  truncate -s 15M img
  run_tool 0 e2fsck -fn img
  run_tool 0 dafsck -fn img
  has_output "[super.size]"
  run_tool 4 dafsck -fn --strict img
  run_tool 4 dafsck -fy img
  has_output "[super.cut-off]"
}

@test "findings and verdict are the same for any number of threads" {
  make_image img 64M -t ext4 -b 1024 -O ^metadata_csum
  damage img "sif /file block[5] 2" "clri /dir/small" "sif /dir/sub links_count 9" "freeb 9000 400" "unlink /dir/sub/name-7" \
    "sif /dir/sub/name-8 mode 0" "ln /dir /dir/sub/again"
  run_tool 4 dafsck -fn --threads 1 img
  local one=$output n
  for n in 2 3 8; do
    run_tool 4 dafsck -fn --threads "$n" img
    [ "$output" = "$one" ]
  done
}

@test "--json has every finding with its numbers" {
  need python3
  make_image img 16M -t ext4 -O ^metadata_csum
  damage img "sif /file size 1" "clri /dir/small"
  run_tool 4 dafsck -fn --json img
  python3 - "$BATS_TEST_TMPDIR/stdout" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["status"] == 4 and report["finished"], report
codes = {f["code"]: f for f in report["findings"]}
assert codes["inode.size"]["found"] == 1 and codes["inode.size"]["expected"] > 0, codes
assert codes["entry.unused"]["name"] == "small", codes
assert codes["inode.size"]["path"] == "/file" and codes["inode.size"]["done"] == "nothing", codes
assert codes["entry.unused"]["path"] == "/dir/small", codes
END
}

@test "the manual lists every finding, with class, repair and meaning" {
  run_tool 0 "$DAFS_SRCDIR/tests/check-codes" "$DAFS_BUILDDIR/dafsck/dafsck" "$DAFS_SRCDIR/man/dafsck.8"
}

@test "the collection of damaged images: e2fsck's verdict on every one" {
  local dir=${DAFS_FSCK_CORPUS:-$DAFS_SRCDIR/../shared/fsck-corpus}
  [ -f "$dir/verdicts.tsv" ] || skip "no collection (DAFS_FSCK_CORPUS)"
  run_tool 0 "$DAFS_SRCDIR/tests/fsck-compare" "$dir"
}
