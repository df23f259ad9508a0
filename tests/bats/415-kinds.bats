#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck on kinds of damage that testers of file systems keep images of: each with e2fsck's verdict, repaired, nothing lost.

load helpers
load repair

none=(-O none,filetype,sparse_super,ext_attr)
plain=(-O ^metadata_csum)

super() { # IMAGE OFFSET BYTES : a field of the first superblock
  printf '%b' "$3" | dd of="$1" bs=1 seek=$((1024 + $2)) conv=notrunc status=none
}

# Damage to --strict alone, and -p mends it.
noted() { # IMAGE CODE
  run_tool 0 dafsck -fn "$1"
  run_tool 4 dafsck -fn --strict "$1"
  has_output "[$2]"
  run_tool 1 dafsck -fp "$1"
  run_tool 0 dafsck -fn --strict "$1"
}

@test "a journal inode that is marked as encrypted is none" {
  fresh journal
  db journal "sif <8> flags 0x80800"
  row journal journal.inode
}

@test "bitmaps on bad blocks move" {
  local block
  fresh bad "${none[@]}"
  # The first two blocks behind the descriptors, and a block of a file.
  block=$(dumpe2fs bad 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -n 1)
  printf '%s\n' "$block" "$((block + 1))" "$(pblk bad /file 3)" >list
  e2fsck -fy -l list bad >e2fsck.log 2>&1 || true
  db bad "set_bg 0 block_bitmap $block" "set_bg 0 inode_bitmap $((block + 1))"
  row bad badblocks.block-bitmap
}

@test "what has no name goes to the root when there is nothing to make lost+found of" {
  local i
  truncate -s 300K full
  mke2fs -q -F -b 1024 -N 32 "${none[@]}" full
  {
    echo "rmdir lost+found"
    for i in $(seq 1 23); do echo "write src/dir/n1 f$i"; done
    echo "unlink f5"
    echo "unlink f6"
  } >script
  debugfs -w -f script full >/dev/null 2>&1
  run_tool 0 dumpe2fs -h full
  has_output "Free inodes:              0"
  dafsck -fy full >said || [ $? -eq 1 ]
  assert_fsck_clean full
  run_tool 0 dafsck -fn --strict full
  run_tool 0 debugfs -R "ls -l /" full
  [ "$(grep -c '#[0-9]' <<<"$output")" -eq 2 ]
}

@test "repairs that lack room end, and say so" {
  local i
  truncate -s 120K full
  mke2fs -q -F -b 1024 -m 0 "${none[@]}" full
  seq 1 40000 | head -c 200000 >most
  { for i in $(seq 1 9); do echo "write most f$i"; done; } >script
  debugfs -w -f script full >/dev/null 2>&1
  e2fsck -fy full >/dev/null 2>&1 || true
  # A directory of one block, which is full of free names; every block is in use: the root cannot be made anew.
  db full "clri <2>" "set_inode_field <11> links_count 0"
  run_tool 0 timeout 20 sh -c "dafsck -fy full; [ \$? -lt 6 ]"
  lacks_output "after 64 rounds"
}

@test "an uninitialised last group, with blocks that are none behind its end" {
  truncate -s 3996K last
  mke2fs -q -F -b 1024 -g 1024 -O none,extent,flex_bg,uninit_bg,filetype,sparse_super -N 512 last
  db last "set_bg 3 flags 7" "set_bg 3 checksum calc"
  run_tool 4 dafsck -fn last
  has_output "[bitmap.block-padding]"
  run_tool 1 dafsck -fy last
  assert_fsck_clean last
}

@test "superblocks: groups of an odd size, flex groups that cannot be, not marked clean" {
  truncate -s 10M odd
  mke2fs -q -F -b 1024 -g 2048 -O none,filetype,resize_inode,sparse_super -N 512 odd
  cp odd state
  super odd 206 '\x60\xea'
  run_tool 4 dafsck -fn odd
  has_output "[super.primary]"
  run_tool 1 dafsck -fy odd
  assert_fsck_clean odd
  super state 58 '\0\0'
  noted state super.state
  truncate -s 4M flex
  mke2fs -q -F -b 1024 -O none,extent,flex_bg,filetype flex
  super flex 372 '\xff'
  run_tool 4 dafsck -fn flex
  has_output "[super.flex-size]"
  run_tool 1 dafsck -fy flex
  assert_fsck_clean flex
}

@test "-p goes on where nothing has to be decided, and notes are no repairs" {
  # Nothing to be replayed: nothing is lost with the journal's superblock.
  fresh idle
  poke idle "$(pblk idle '<8>')" 0 'xxxx'
  run_tool 4 dafsck -fn idle
  has_output "[journal.super-empty]"
  run_tool 1 dafsck -fp idle
  assert_fsck_clean idle
  run_tool 0 dafsck -fn --strict idle
  # Something is.
  fresh busy
  printf 'jo\njw -b 5000 /dev/zero\njc\n' | debugfs -w -f - busy >/dev/null 2>&1
  poke busy "$(pblk busy '<8>')" 0 'xxxx'
  run_tool 4 dafsck -fp busy
  has_output "[journal.super]"
  # A device's number beside the journal's inode.
  fresh device "${plain[@]}"
  super device 228 '\x37'
  noted device journal.device
  # Names in other letters wait for a person, and keep nothing from being mended.
  fresh fold "${plain[@]}" -O casefold -E encoding=utf8
  db fold "mkdir /fold" "sif /fold flags 0x40080000" "ln /dir/n1 /fold/name" "ln /dir/n2 /fold/NAME"
  run_tool 1 dafsck -fp fold
  run_tool 0 dafsck -fp fold
  has_output "[entry.duplicate-folded]"
  run_tool 4 dafsck -fp --strict fold
  # A note is repaired and not counted, as with e2fsck.
  fresh note "${plain[@]}" -O ^has_journal
  super note 352 '\0'
  cp note theirs
  run_tool 0 dafsck -fy note
  has_output "[super.hash-hint]"
  run_tool 0 e2fsck -fy theirs
}

@test "a directory block that was written without checksums costs no name, and needs no answer" {
  local block
  fresh tail
  # . and .., and one entry that fills the block.
  block=$(pblk tail /dir/sub)
  poke tail "$block" 28 '\xe8\x03'
  poke tail "$block" 1012 '\0\0\0\0\0\0\0\0\0\0\0\0'
  cp tail preen
  row tail dir.no-checksum
  run_tool 1 dafsck -fp preen
  assert_fsck_clean preen
}

@test "an index of three levels is sound, and is found damaged when it is" {
  local image node
  # More leaves of three names each than two levels can lead to.
  python3 - >names.tar <<'END'
import sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT)
tar.addfile(tarfile.TarInfo("f"))
for i in range(48000):
    link = tarfile.TarInfo("d/" + "n" * 240 + "%06d" % i)
    link.type, link.linkname = tarfile.LNKTYPE, "f"
    tar.addfile(link)
END
  run_tool 0 mkdafs -q -F -b 1024 -O large_dir -d names.tar image 48M
  debugfs -R "htree_dump d" image 2>/dev/null | head -n 20 >index
  grep -q "Indirect levels: 2" index
  assert_fsck_clean image
  run_tool 0 dafsck -fn --strict image
  # The second entry of the root leads to a node of nodes: its second entry's hash is one that comes later.
  node=$(pblk image d "$(sed -n 's/^Entry #1: .*block \([0-9]*\)$/\1/p' index | head -n 1)")
  cp --sparse=always image other
  poke image "$node" 16 '\xff\xff\xff\x7f'
  # There is no such node.
  wipe other "$node"
  for image in image other; do
    run_tool 4 dafsck -fn "$image"
    run_tool 1 dafsck -fy "$image"
    assert_fsck_clean "$image"
    [ "$(debugfs -R "ls -p d" "$image" 2>/dev/null | grep -c nnnn)" -eq 48000 ]
  done
}

@test "what a journal's replay damages is repaired after it" {
  local image table
  head -c 1024 /dev/zero >zeros
  # A block of the inode table, with the inodes of files.
  fresh inodes
  table=$(dumpe2fs inodes 2>/dev/null | sed -n 's/.*Inode table at \([0-9]*\)-.*/\1/p' | head -n 1)
  db inodes "jo" "jw -b $((table + 8)) zeros" "jc"
  # The superblock itself: e2fsck gives up, whose copy it would need is found before that.
  fresh super
  db super "jo" "jw -b 1 zeros" "jc"
  for image in inodes super; do
    run_tool 0 dafsck -fn "$image"
    has_output "[journal.pending]"
    run_tool 1 dafsck -fy "$image"
    has_stderr "replaying the journal"
    assert_fsck_clean "$image"
    run_tool 0 dafsck -fn --strict "$image"
  done
  [ -z "$(comm -3 <(of_src) <(hashes super))" ]
}
