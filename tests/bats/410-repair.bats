#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck -y, a kind of damage a row. For every row: dafsck -n finds it under its name; after -y neither e2fsck nor dafsck --strict has
# anything to say; every file that e2fsck -y saves is there, and every file whose contents were not what was damaged.

load helpers
load repair

# The image in place, damaged after it was copied to ./before: found as CODE and repaired, and all files are as they were.
kept() { # IMAGE CODE [PREEN'S EXIT STATUS]
  local image=$1 n=0 got=0 preen=0
  echo "== $image"
  e2fsck -fn "$image" >/dev/null 2>&1 || n=$?
  dafsck -fn "$image" >/dev/null || got=$?
  [ $((n != 0)) -eq $((got != 0)) ] || { echo "e2fsck $n, dafsck $got"; return 1; }
  dafsck -fn --strict "$image" >found 2>&1 || true
  grep -q "\[$2\]" found || { echo "not found as $2:"; cat found; return 1; }
  cp --sparse=always "$image" preened
  dafsck -fp preened >said 2>&1 || preen=$?
  [ "$preen" -eq "${3:-4}" ] || { echo "preen: $preen"; cat said; return 1; }
  dafsck -fy "$image" >said 2>&1 || [ $? -eq 1 ]
  assert_fsck_clean "$image" >/dev/null
  "$DAFS_BUILDDIR/tests/lib/savedfiles" - before "$image"
}

plain=(-O ^metadata_csum)

@test "blocks claimed twice are cloned" {
  fresh two "${plain[@]}"
  db two "sif /other block[5] $(pblk two /file)"
  row two dup.inode other
  fresh meta "${plain[@]}"
  db meta "sif /dir/n3 block[5] 1"
  row meta dup.inode dir/n3
  fresh many "${plain[@]}"
  local b
  b=$(pblk many /file)
  db many "sif /dir/n3 block[5] $b" "sif /dir/n4 block[5] $b" "sif /dir/n5 block[5] $b"
  row many dup.inode dir/n3 dir/n4 dir/n5
  fresh bigal "${plain[@]}" -O bigalloc,^resize_inode -C 8192
  db bigal "sif /other block[5] $(pblk bigal /file)"
  row bigal dup.inode other
}

@test "directories: cut off, in a circle, with two names, with damaged entries" {
  fresh cut
  db cut "unlink /dir"
  row cut tree.unconnected
  fresh circle
  db circle "ln /dir /dir/sub/again" "unlink /dir"
  row circle tree.loop
  fresh names
  db names "ln /dir/sub /second"
  row names entry.link-to-directory
  fresh twice "${plain[@]}"
  sed -i 's/uniquename13/uniquename12/' twice
  other=1 row twice entry.duplicate
  fresh slash "${plain[@]}"
  sed -i 's/uniquename12/unique\/ame12/' slash
  row slash entry.name
  fresh type "${plain[@]}"
  sed -i 's/\x0c\x01uniquename12/\x0c\x02uniquename12/' type
  row type entry.type
  fresh length "${plain[@]}"
  poke length "$(pblk length /dir/sub)" 16 '\3\0'
  row length dir.corrupt
  fresh dot "${plain[@]}"
  poke dot "$(pblk dot /dir/sub)" 8 'x'
  row dot dir.dot-not-first
  fresh dotdot "${plain[@]}"
  poke dotdot "$(pblk dotdot /dir/sub)" 12 '\2\0\0\0'
  row dotdot tree.dotdot
  fresh gone
  db gone "clri /dir/n7"
  row gone entry.unused dir/n7
  fresh block "${plain[@]}"
  wipe block "$(pblk block /dir/sub)"
  row block dir.corrupt
}

@test "indexes of directories" {
  fresh root "${plain[@]}"
  poke root "$(pblk root /big)" 28 '\x77'
  row root htree.hash
  fresh node "${plain[@]}"
  poke node "$(pblk node /big)" 40 '\xff\xff\xff\x7f'
  row node htree.invalid
  fresh far "${plain[@]}"
  poke far "$(pblk far /big)" 44 '\xff\xff\xff\x0f'
  row far htree.block
  fresh count "${plain[@]}"
  poke count "$(pblk count /big)" 34 '\xff\xff'
  row count htree.count
  fresh csum
  db csum "sif /big flags 0x80000" "sif /dir/sub flags 0x81000"
  row csum htree.root
}

@test "the root directory and lost+found" {
  fresh nodir
  db nodir "sif <2> mode 0100644"
  row nodir inode.root-no-dir
  fresh noroot
  db noroot "clri <2>"
  row noroot tree.no-root
  fresh wiped "${plain[@]}"
  wipe wiped "$(pblk wiped /)"
  row wiped dir.corrupt
  fresh nolost
  db nolost "rmdir /lost+found" "unlink /dir/n8" "unlink /file"
  row nolost tree.no-lost-found
  fresh lostfile
  db lostfile "rmdir /lost+found" "write src/file lost+found" "unlink /dir/n8"
  row lostfile tree.lost-found-file
}

@test "inodes: without a name, wrong fields, wrong counts" {
  fresh loose
  db loose "unlink /dir/n8" "unlink /file" "unlink /link"
  row loose tree.unattached
  fresh links
  db links "sif /file links_count 9"
  row links inode.links
  fresh size
  db size "sif /other size 1"
  row size inode.size other
  fresh mode
  db mode "sif /dir/n8 mode 0"
  row mode inode.mode dir/n8
  fresh many
  db many "sif /dir/n8 dtime 1600000000" "sif /dir/n9 blocks 99" "sif /dir/n10 flags 0" "sif /dir/n11 faddr 3"
  row many inode.dtime dir/n10
  fresh csum
  db csum "sif /dir/n8 checksum 0x1234"
  row csum inode.checksum
  fresh orphans
  local a b
  a=$(ino orphans /dir/n8) b=$(ino orphans /dir/n9)
  db orphans "unlink /dir/n8" "unlink /dir/n9" "sif <$a> links_count 0" "sif <$b> links_count 0" "sif <$a> dtime $b" \
    "ssv last_orphan $a"
  row orphans inode.orphan dir/n8 dir/n9
}

@test "extent trees: header, order, overlap, cycle, out of bounds" {
  fresh header "${plain[@]}"
  db header "sif /other block[0] 7"
  row header extent.header other
  fresh start "${plain[@]}"
  db start "sif /other block[5] 99999999"
  row start extent.start other
  local image holes=() i
  for i in $(seq 1 2 20); do holes+=("punch /other $i $i"); done
  for image in overlap order cycle index; do
    fresh "$image" "${plain[@]}"
    db "$image" "${holes[@]}"
    cp "$image" before
    local leaf
    leaf=$(debugfs -R "ex /other" "$image" 2>/dev/null | awk '$1 == "0/" { print $8; exit }')
    [ -n "$leaf" ]
    case $image in
      overlap) poke overlap "$leaf" 16 '\5' ;;
      order) poke order "$leaf" 24 '\x77' ;;
      cycle) poke cycle "$leaf" 6 '\1' && poke cycle "$leaf" 16 "$(printf '\\x%02x\\x%02x' $((leaf & 255)) $((leaf >> 8)))" ;;
      index) db index "sif /other block[3] 50" ;;
    esac
    case $image in
      overlap) other=1 row overlap extent.too-long other ;;
      order) row order extent.order other ;;
      cycle) other=1 row cycle 'extent\.[a-z-]*' other ;;
      index) row index extent.index other ;;
    esac
  done
  # An extent that took another one's place goes, not the two behind it.
  fresh place "${plain[@]}"
  db place "${holes[@]}"
  local four six
  four=$(pblk place /other 4) six=$(pblk place /other 6)
  poke place "$(debugfs -R "ex /other" place 2>/dev/null | awk '$1 == "0/" { print $8; exit }')" 24 '\6'
  cp place was
  other=1 row place extent.order other
  dafsck -fy was >/dev/null || [ $? -eq 1 ]
  [ "$(pblk was /other 4) $(pblk was /other 6)" = "$four $six" ]
  fresh lead "${plain[@]}"
  db lead "${holes[@]}" "sif /other block[4] 2"
  other=1 row lead extent.node other
  fresh blockmap "${plain[@]}" -O ^extent,^64bit
  db blockmap "sif /other block[IND] 99999999"
  row blockmap block.illegal other
}

@test "extent trees: what is wrong with one field costs nothing" {
  local holes=() i leaf
  seq 1 60000 >src/wide
  fresh wide "${plain[@]}"
  for i in $(seq 1 2 330); do holes+=("punch /wide $i $i"); done
  db wide "${holes[@]}"
  cp wide before
  # The depth: of a root with extents, with index entries; impossible.
  for i in "/other block[1] 0x00010004" "/other block[1] 0x00ff0004" "/wide block[1] 4" "/wide block[1] 0x00300004"; do
    cp wide depth && db depth "sif $i"
    kept depth extent.root-depth
  done
  # A length that reaches over four others (with no holes between them: what is in a hole cannot be told).
  cp wide long && db long "fallocate /wide 0 328"
  cp long before
  leaf=$(debugfs -R "ex /wide" long 2>/dev/null | awk '$1 == "0/" { print $8; exit }')
  poke long "$leaf" 28 '\x09'
  kept long extent.too-long
  cp wide before
  # A block that is mapped to the node that maps it: a hole (as it is in `before`).
  cp wide own
  leaf=$(debugfs -R "ex /wide" own 2>/dev/null | awk '$1 == "0/" { print $8; exit }')
  db before "punch /wide 2 2"
  poke own "$leaf" 32 "$(printf '\\x%02x\\x%02x' $((leaf & 255)) $((leaf >> 8)))"
  kept own block.own-map
  cp wide before
  # An index entry that says too little for the node before it, and one that says less than that.
  for i in 3 0; do
    cp wide range && db range "sif /wide block[6] $i"
    kept range extent.index
  done
  # The last but one extent lies behind the end of the file: it alone goes.
  cp wide far
  db far "punch /wide 4 400"
  cp far before && db before "punch /wide 0 0"
  leaf=$(debugfs -R "ex /wide" far 2>/dev/null | awk '$1 == "0/" { print $8; exit }')
  [ -n "$leaf" ]
  poke far "$leaf" 15 '\x10'
  kept far extent.order
  cp wide before
  # Behind the last possible block: the only extent of a file goes to its beginning.
  cp wide behind && db behind "sif /other block[3] 0xffffffff"
  kept behind extent.too-far
  # The depth in a node's own header; a size in front of the last blocks.
  cp wide node && poke node "$leaf" 6 '\x02'
  kept node extent.node-depth 1
  cp wide short && db short "sif /wide size 100000"
  kept short inode.size-short
}

@test "an index over a directory with far more holes than blocks: its names stay" {
  fresh sparse "${plain[@]}" -O ^extent,^64bit
  local blocks n
  blocks=$(debugfs -R "stat /big" sparse 2>/dev/null | sed -n 's/.*Group:.*Size: //p')
  [ "$blocks" -ge 8192 ]
  # One block more, far behind the others, where a name is.
  cp sparse before
  n=$(pblk sparse /big 7)
  db sparse "sif /big block[IND] 0" "sif /big block[7] 0" "sif /big size 307200"
  dd if=/dev/zero of=ind bs=1024 count=1 status=none
  printf "$(printf '\\x%02x\\x%02x' $((n & 255)) $((n >> 8)))" | dd of=ind bs=1 seek=1000 conv=notrunc status=none
  db sparse "testb 11000" "setb 11000" "sif /big block[IND] 11000"
  dd if=ind of=sparse bs=1024 seek=11000 conv=notrunc status=none
  dafsck -fn sparse >found 2>&1 || true
  grep -q 'most blocks are missing \[htree.invalid\]' found || { cat found; return 1; }
  cp sparse theirs
  e2fsck -fy theirs >/dev/null 2>&1 || [ $? -eq 1 ]
  dafsck -fy sparse >said 2>&1 || [ $? -eq 1 ]
  assert_fsck_clean sparse >/dev/null
  "$DAFS_BUILDDIR/tests/lib/savedfiles" before theirs sparse
}

@test "a . entry that swallows the block: .. and all names stay" {
  local len
  for len in '\x00\x04' '\xff\xff' '\x40\x00'; do
    fresh dot "${plain[@]}"
    cp dot before
    poke dot "$(pblk dot /dir)" 4 "$len"
    kept dot 'dir.[a-z-]*'
  done
}

@test "numbers and counts that lead to files: the files stay" {
  fresh stray "${plain[@]}"
  cp stray before
  poke stray 1 620 "$(printf '\\x%02x' "$(ino stray /other)")"
  kept stray super.stray-inode 1
  cp before group && db group "ssv grp_quota_inum $(ino before /dir)"
  kept group super.stray-inode 1
  cp before target && db target "sif /link blocks 2"
  kept target inode.symlink-blocks
  cp before both && poke both 1 208 '\x11'
  kept both journal.both
  cp before device && poke device 1 228 '\x01'
  kept device journal.device 1
  cp before none && db none "feature -has_journal" "ssv journal_inum 0" "sif <8> links_count 0" && poke none 1 208 '\x11'
  kept none journal.stray
  cp stray before
  # The list of orphans leads to where no file is.
  cp before list && db list "sif /dir/n1 dtime 7" "ssv last_orphan $(ino list /dir/n1)"
  kept list inode.orphan
  fresh flag -O ^metadata_csum,^uninit_bg
  cp flag before
  poke flag 2 18 '\1'
  kept flag entry.uninit 1
  # Many entries lead to inodes that the descriptor calls never used.
  fresh hidden -O ^metadata_csum,uninit_bg
  cp hidden before
  db hidden "set_bg 0 itable_unused 1500" "set_bg 0 free_inodes_count 1500" "set_bg 0 checksum calc"
  kept hidden entry.uninit 1
  fresh quota -O quota,^metadata_csum
  cp quota before
  db quota "ssv usr_quota_inum $(ino quota /other)"
  kept quota super.stray-inode 1
  # Its header: the place of a free entry; the magic, which e2fsck does not look at.
  cp before entry && poke entry "$(pblk entry "<3>")" 28 '\x63'
  kept entry quota.file 1
  cp before magic && poke magic "$(pblk magic "<3>")" 0 '\x63'
  kept magic quota.tree 1
  # (A count of inodes that does not fit the groups: a copy of the superblock is better.)
  cp flag before
  cp before count && poke count 1 41 '\x02'
  kept count super.primary
  cp before flex && poke flex 1 372 '\xff'
  kept flex super.primary
  # A bitmap on a block that the list of bad blocks has.
  cp before badblock
  db badblock "sif <1> block[0] $(dumpe2fs badblock 2>/dev/null | awk '/Block bitmap at/ { gsub(/,/, ""); print $4; exit }')"
  kept badblock badblocks.block-bitmap
}

@test "bitmaps, counts, descriptors, superblock, resize inode" {
  fresh bits
  db bits "freeb 2000 300" "setb 6000 77" "freei <20>" "seti <1500>"
  row bits bitmap.blocks
  fresh wiped
  wipe wiped "$(dumpe2fs wiped 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -n 1)"
  row wiped bitmap.blocks
  fresh counts
  db counts "set_bg 0 free_blocks_count 7" "set_bg 0 used_dirs_count 77" "ssv free_blocks_count 7"
  row counts group.free-blocks
  fresh place
  db place "set_bg 0 block_bitmap 99999999" "set_bg 0 checksum calc"
  row place desc.primary
  fresh super
  wipe super 1
  row super super.primary
  fresh descs
  wipe descs 2
  row descs desc.primary
  fresh resize "${plain[@]}"
  db resize "sif <7> block[DIND] 0"
  row resize resize.invalid
  fresh backups
  wipe backups 8193
  row backups super.backup
}

@test "journal: inode, superblock, transactions without the flag; none at all" {
  fresh inode
  db inode "sif <8> mode 0" "unlink /dir/n8"
  row inode journal.inode
  fresh lost
  db lost "clri <8>" "unlink /dir/n8"
  row lost journal.inode
  fresh super
  wipe super "$(pblk super '<8>')"
  row super journal.super-empty
  fresh number
  db number "ssv journal_inum 2000000000"
  row number journal.inode
  # Somebody's file stays one, and is not made a journal.
  fresh other
  db other "ssv journal_inum $(ino other /file)"
  row other 'journal\.[a-z]*'
  fresh clusters -O ^extent,^64bit
  db clusters "feature bigalloc"
  row clusters super.bigalloc
  fresh none -O ^has_journal
  db none "unlink /dir/n8" "freeb 2000 30"
  row none tree.unattached
  fresh ext3 -O ^extent,^64bit,^metadata_csum,^flex_bg -I 128
  db ext3 "unlink /dir/n8" "sif /dir/n9 block[0] 1"
  row ext3 dup.inode dir/n9
}

@test "features: inline data, large attribute values, casefold, quota, orphan file" {
  fresh inline "${plain[@]}" -O inline_data -I 256
  db inline "unlink /dir/n9" "sif /dir/n10 flags 0"
  row inline inode.size dir/n10
  fresh value -O ea_inode
  head -c 3000 /dev/urandom | base64 >value.text
  db value "ea_set -f value.text /file user.big" "unlink /dir/n9"
  row value tree.unattached
  fresh fold "${plain[@]}" -O casefold -E encoding=utf8
  db fold "mkdir /fold" "sif /fold flags 0x40080000" "ln /dir/n1 /fold/name" "ln /dir/n2 /fold/NAME"
  other=1 row fold entry.duplicate-folded
  fresh quota -O quota
  wipe quota "$(pblk quota '<3>' 1)"
  row quota quota.usage
  fresh orphan -O orphan_file
  local number
  number=$(dumpe2fs -h orphan 2>/dev/null | sed -n 's/^Orphan file inode: *//p')
  wipe orphan "$(pblk orphan "<$number>")"
  row orphan orphan.file
}

@test "multi-mount protection (slow: both checkers wait)" {
  [ -n "${DAFS_TEST_LONG:-}" ] || skip "DAFS_TEST_LONG"
  fresh mmp -O mmp
  db mmp "unlink /dir/n9"
  row mmp tree.unattached
}

@test "a killed repair leaves the image as it was or repaired: every fault at some operations" {
  local -a damage=("clri /dir/n5" "sif /file size 1" "unlink /dir/n7" "sif /dir/n9 links_count 7" "sif /dir/n11 block[5] 2"
    "freeb 900 60" "unlink /dir")
  fresh journal
  db journal "${damage[@]}"
  fresh none -O ^has_journal
  db none "${damage[@]}"
  fresh inode
  db inode "${damage[@]}" "sif <8> mode 0" "sif <8> block[0] 0"
  fresh super
  wipe super "$(pblk super '<8>')"
  db super "${damage[@]}"
  fresh replay
  db replay "jo" "jw -b 3000 /dev/zero" "jc"
  db replay "${damage[@]}"
  run_tool 0 "$DAFS_BUILDDIR/tests/fault/repairs" --stride "${DAFS_FAULT_STRIDE:-6}" journal none inode super replay
}

@test "the repair's fault injector sees what is not durable" {
  fresh journal
  db journal "unlink /dir" "unlink /file"
  run_tool 1 "$DAFS_BUILDDIR/tests/fault/repairs" --no-sync --fault reorder journal
}
