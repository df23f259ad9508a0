#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsdebug: its requests against debugfs's, ways to give requests, JSON, damaged images.

load helpers

# img, with one of everything in it.
filled() {
  make_tree src
  run_tool 0 mkdafs -q -b 4096 img 64M
  run_tool 0 dawrite -f img import src
}

# Both tools' output of the requests in FILE, which must be the same. debugfs prints large group numbers as negative ones.
same_as_debugfs() { # IMAGE FILE
  debugfs -f "$2" "$1" 2>/dev/null | sed -e 's/^debugfs: /dafsdebug: /' -e 's/-294967296/4000000000/' >theirs
  dafsdebug -k -f "$2" "$1" >ours 2>ours.err || true
  diff -u theirs ours | head -n 50
  cmp theirs ours
}

last_inode() { echo $((10 + $(dumpe2fs -h "$1" 2>/dev/null | awk '/^Inode count/ { n = $3 } /^Free inodes/ { f = $3 } END { print n - f }'))); }

@test "inodes, trees and maps as debugfs shows them" {
  filled
  for i in $(seq 1 "$(last_inode img)"); do
    printf '%s\n' "ex <$i>" "ex -n <$i>" "ex -l <$i>" "imap <$i>" "testi <$i>"
    # POSIX ACLs: debugfs shows the bytes of the disk, dafsdebug the attribute's. Devices and short symlinks: debugfs takes
    # what they have for block numbers.
    debugfs -R "stat <$i>" img 2>/dev/null | grep -q -e posix_acl -e special -e 'Fast link' || printf '%s\n' "stat <$i>" "blocks <$i>" "bmap <$i> 0" "bmap <$i> 7"
  done >requests
  same_as_debugfs img requests
}

@test "block maps as debugfs shows them" {
  run_tool 0 mkdafs -q -b 1024 -O ^extents,^64bit,^has_journal img 64M
  head -c 3000000 /dev/urandom >data
  debugfs -w -R "write data f" img
  truncate -s 20M sparse
  printf x | dd of=sparse bs=1 seek=19000000 conv=notrunc status=none
  debugfs -w -R "write sparse s" img
  printf '%s\n' "stat f" "blocks f" "stat s" "blocks s" "stat <7>" "blocks <7>" "bmap f 11" "bmap f 12" "bmap f 268" "bmap f 2000" "bmap s 5" >requests
  same_as_debugfs img requests
  dafsdebug -R "cat f" img | cmp - data
  dafsdebug -R "cat s" img | cmp - sparse
}

@test "directories as debugfs shows them" {
  filled
  for dir in / /many /lost+found /deep /empty; do
    printf '%s\n' "ls $dir" "ls -p $dir" "ls -c $dir"
  done >requests
  same_as_debugfs img requests
  # debugfs escapes odd bytes of names in ls only.
  debugfs -R "htree_dump /many" img 2>/dev/null | sed -n '1,/^Entry #0/p' >theirs
  dafsdebug -R "htree_dump /many" img | sed -n '1,/^Entry #0/p' | diff -u theirs -
  run_tool 0 mkdafs -q -b 1024 -N 20000 big 64M
  mkdir names
  (cd names && seq -f 'a_rather_long_file_name_%g' 1 9000 | xargs touch)
  run_tool 0 dawrite -f big import names /d
  printf 'htree_dump /d\nls /d\n' >requests
  same_as_debugfs big requests
  grep -q 'Indirect levels: 1' ours
}

@test "ls: long listing, deleted entries, relative paths" {
  filled
  run_tool 0 dafsdebug -R "ls -l /" img
  [[ $output == *$'\n'"     "*"  100755 ("*")"* || $output == *"  100644 (1) "* ]]
  has_output " 3-Feb-1960 04:05 zero"
  has_output "31-Dec-2100 23:59 zeros"
  run_tool 0 mkdafs -q plain 16M
  for name in one two three; do echo $name | run_tool 0 dawrite -f plain write /$name; done
  debugfs -w -R "rm two" plain
  run_tool 0 dafsdebug -R "ls" plain
  lacks_output two
  run_tool 0 dafsdebug -R "ls -d" plain
  [[ $output =~ \<[0-9]+\>' ('[0-9]+') two' ]]
  printf 'cd deep/a\npwd\nls\ncd b/../b\npwd\ncd <2>\nls -p hello\n' >requests
  run_tool 1 dafsdebug -f requests img
  has_output "PATH: /deep/a"
  has_output "PATH: /deep/a/b"
  has_stderr "hello: Not a directory"
  has_stderr "stopped at requests:7"
}

@test "the file system as debugfs shows it" {
  filled
  e2freefrag img | grep -v '^Device' >theirs
  dafsdebug -R freefrag img | grep -v '^Device' | diff -u theirs -
  for kib in 4 64 1024; do
    e2freefrag -c $kib img | grep -v '^Device' >theirs
    dafsdebug -R "freefrag -c $kib" img | grep -v '^Device' | diff -u theirs -
  done
  run_tool 1 dafsdebug -R "freefrag -c 3" img
  printf '%s\n' stats "stats -h" "testb 1 300" "testb 9000 20" "icheck 1 5 300 1000 4000 9000 9100 20000 40000" >requests
  same_as_debugfs img requests
  for request in "ncheck 2 11 12 13 14 15 16 17 18 19" "ncheck -c 12 20 30"; do
    debugfs -R "$request" img 2>/dev/null | sed 's,//,/,' | sort >theirs
    dafsdebug -R "$request" img | sort | diff -u theirs -
  done
}

@test "buddy: what the kernel counts" {
  need_root_loop
  make_tree src
  rm -rf src/attr
  for args in "-b 1024 img 64M" "-b 4096 img 300M"; do
    rm -f img
    # shellcheck disable=SC2086
    run_tool 0 mkdafs -q $args
    run_tool 0 dawrite -f img import src
    mount_ro img mnt
    dev=$(findmnt -n -o SOURCE --target mnt)
    tail -n +2 "/proc/fs/ext4/${dev#/dev/}/mb_groups" | sed -E 's/ +/ /g; s/ ?\] ?.*/ ]/' >theirs
    unmount mnt
    dafsdebug -R buddy img | tail -n +2 | sed -E 's/ +/ /g; s/ ?\] ?.*/ ]/' >ours
    [ "$(wc -l <theirs)" -gt 2 ]
    diff -u theirs ours
    dafsdebug -R "buddy 1" img | tail -n 1 | sed -E 's/ +/ /g; s/ ?\] ?.*/ ]/' | cmp - <(sed -n 2p ours)
  done
}

@test "contents: cat, dump, dump -p" {
  filled
  for file in hello zero zeros large holes deep/a/b/c/d/e/f/g/leaf; do
    dafsdebug -R "cat $file" img | cmp - "src/$file"
    run_tool 0 dafsdebug -R "dump /$file out" img
    cmp out "src/$file"
  done
  run_tool 0 dafsdebug -R "dump /holes sparse" img
  [ "$(stat -c %b sparse)" -lt 100 ]
  run_tool 0 dafsdebug -R "cat /fast-link" img
  [ "$output" = hello ]
  run_tool 0 dafsdebug -R "dump -p /zeros with" img
  [ "$(stat -c '%a %y' with)" = "$(stat -c '%a %y' src/zeros)" ]
  run_tool 1 dafsdebug -R "cat /fifo" img
  has_stderr "/fifo: has no contents"
  run_tool 1 dafsdebug -R "cat /nope" img
  [ "$stderr" = "dafsdebug: /nope: No such file or directory" ]
  run_tool 1 dafsdebug -R "dump /hello no/such/out" img
  has_stderr "no/such/out: No such file or directory"
  run_tool 1 bash -c 'dafsdebug -R "cat /large" img >/dev/full'
  has_stderr "standard output: No space left on device"
}

@test "inline data" {
  mkdir -p src/d
  printf 'short' >src/f
  head -c 120 /dev/urandom >src/g
  echo in >src/d/name
  truncate -s 16M img
  mke2fs -q -F -t ext4 -O inline_data -d src img
  printf '%s\n' "stat /f" "stat /g" "stat /d" "ls /d" "ls -p /d" >requests
  same_as_debugfs img requests
  grep -q 'Size of inline data: 120' ours
  dafsdebug -R "cat /g" img | cmp - src/g
  run_tool 1 dafsdebug -R "bmap /f 0" img
}

@test "one request, a script, standard input: the first error ends it, with its status" {
  run_tool 0 mkdafs -q img 16M
  run_tool 0 dafsdebug -R 'stat "<2>"' img
  run_tool 1 dafsdebug -R 'stat /nope' img
  [ "$stderr" = "dafsdebug: /nope: No such file or directory" ]
  run_tool 1 dafsdebug -R 'nonsense' img
  has_stderr "unknown command 'nonsense'"
  run_tool 1 dafsdebug -R 'stat' img
  has_stderr "stat: too few arguments; usage: stat PATH"
  run_tool 1 dafsdebug -R 'stat "/' img
  run_tool 0 dafsdebug -R '' img
  printf '# comment\n\nimap <2>\n  imap <11> # here too\nstat /nope\nimap <7>\n' >requests
  run_tool 1 dafsdebug -f requests img
  has_output "dafsdebug: imap <2>"
  has_output "Inode 11 is part"
  lacks_output "Inode 7 is part"
  has_stderr "stopped at requests:5"
  run_tool 1 dafsdebug -k -f requests img
  has_output "Inode 7 is part"
  run_tool 1 bash -c 'dafsdebug img <requests'
  has_stderr "stopped at standard input:5"
  run_tool 1 bash -c 'dafsdebug -f - img <requests'
  lacks_output "Inode 7 is part"
  run_tool 0 bash -c 'printf "imap <2>\nquit\nnonsense\n" | dafsdebug -q img'
  [ "$(wc -l <<<"$output")" -eq 2 ]
  run_tool 1 dafsdebug -f nope img
  has_stderr "nope: No such file or directory"
  run_tool 1 dafsdebug -R pwd -f requests img
  run_tool 1 dafsdebug -R pwd
  has_stderr "no image is open"
  run_tool 1 dafsdebug -R pwd nope
  [ "$stderr" = "dafsdebug: nope: No such file or directory" ]
  printf 'open img\npwd\nclose\npwd\n' >requests
  run_tool 1 dafsdebug -f requests
  has_stderr "stopped at requests:4"
  run_tool 0 dafsdebug -R "help frag"
  has_output "frag [-m] [PATH...]"
}

# shown N TEXT: wait until the shell has printed TEXT for the Nth time, half a minute at most: the
# keys that follow are then read by what the test means, however slow the machine is.
shown() {
  for _ in {1..600}; do
    [ "$(grep -o -- "$2" out | wc -l)" -lt "$1" ] || break
    sleep 0.05
  done
  sleep 0.2
}

@test "the shell: completion, history, an interrupt" {
  need script
  run_tool 0 mkdafs -q img 16M
  run_tool 0 dawrite -f img mkdir /a_directory
  echo x | run_tool 0 dawrite -f img write /a_directory/only_file
  : >out
  # script gives a terminal to both ends. exec: a shell in between would die of the interrupt.
  (
    shown 1 'dafsdebug: '
    printf 'im\ta_d\ton\t\n'
    shown 1 'is part of block group'
    # Two in a row: neither ends the shell.
    printf '\003'
    sleep 0.2
    printf '\003'
    sleep 0.2
    printf 'nonsense\n'
    shown 1 "unknown command 'nonsense'"
    printf '\033[A\033[A\n'
    shown 2 'is part of block group'
    printf 'quit\n'
    sleep 0.3
  ) | TERM=dumb DEBUGFS_PAGER=cat script -qfec "exec dafsdebug img" /dev/null >out 2>&1
  cat -v out
  [ "$(grep -c 'is part of block group' out)" -eq 2 ]
  grep -q "unknown command 'nonsense'" out
}

@test "the pager, on a terminal only" {
  need script
  run_tool 0 mkdafs -q img 16M
  export DEBUGFS_PAGER='sed s/^/paged:/'
  run_tool 0 dafsdebug -R "stat <2>" img
  lacks_output paged:
  script -qec 'dafsdebug -R "stat <2>" img' /dev/null >out </dev/null
  grep -q '^paged:Inode: 2' out
  PAGER='sed s/^/other:/' script -qec 'dafsdebug -R "stat <2>" img' /dev/null >out </dev/null
  grep -q '^paged:Inode: 2' out
  DEBUGFS_PAGER=__none__ PAGER='sed s/^/other:/' script -qec 'dafsdebug -R "stat <2>" img' /dev/null >out </dev/null
  grep -q '^Inode: 2' out
  DEBUGFS_PAGER='head -n 1' script -qec 'dafsdebug -R stats img; echo status $?' /dev/null >out </dev/null
  grep -q 'status 0' out
}

@test "--json: one value a request" {
  need jq
  filled
  dafsdebug --json -k -f - img >out <<'X'
stat /hello
stat /slow-link
ls /
ls -p /many
ex /large
blocks /large
bmap /large 0
imap /hello
testi /hello
testb 100 3
icheck 300 9000
ncheck 12 13
stats
stats -h
freefrag -c 64
buddy 0
htree_dump /many
ea_list /attr/file
frag /large /many
frag
es /large
cache
resv
pwd
X
  [ "$(jq -s length out)" -eq 24 ]
  [ "$(jq -s '.[0].size, (.[0].extents | length), .[0].checksum_ok' -c out | tr '\n' ' ')" = "6 1 true " ]
  [ "$(jq -s -r '.[1].target' out)" = "$(readlink src/slow-link)" ]
  [ "$(jq -s '[.[2][].name] | index("hello") != null' out)" = true ]
  [ "$(jq -s '[.[3][] | select(.name_hex != null)] | length' out)" -eq 1 ]
  [ "$(jq -s '.[4].extents == .[5].extents' out)" = true ]
  [ "$(jq -s '.[6].physical == .[4].extents[0].physical' out)" = true ]
  [ "$(jq -s '[.[16].leaves[].entries[].name | select(startswith("file-"))] | length' out)" -eq 300 ]
  [ "$(jq -s '.[18][0].fragments, .[18][0].extents[0].length' -c out | tr '\n' ' ')" = "1 $(jq -s '.[4].extents[0].length' out) " ]
  run_tool 1 dafsdebug --json -R "stat /nope" img
  [ -z "$output" ]
}

@test "backup superblocks" {
  run_tool 0 mkdafs -q -b 1024 img 64M
  dd if=/dev/zero of=img bs=1024 seek=1 count=1 conv=notrunc status=none
  run_tool 1 dafsdebug -R "stats -h" img
  has_stderr "img: Not an ext2/ext3/ext4 file system"
  run_tool 0 dafsdebug -s 8193 -b 1024 -R "ls -p" img
  has_output "lost+found"
  run_tool 0 dafsdebug -s 8193 -R "stats -h" img
  has_output "Block count:              65536"
  run_tool 0 bash -c 'echo "open -s 8193 img
ls -p" | dafsdebug'
  run_tool 1 dafsdebug -s 8194 -R "stats -h" img
  has_stderr "no backup superblock at block 8194"
  run_tool 1 dafsdebug -s 8193 -b 3000 -R "stats -h" img
}

@test "damage is named, and the rest is shown" {
  filled
  dir=$(dafsdebug -R "bmap /many 0" img)
  leaf=$(dafsdebug -R "bmap /many 2" img)
  file=$(dafsdebug -R "imap /hello" img | sed -n 's/.*block \([0-9]*\), offset \(0x[0-9a-f]*\)/\1 \2/p')
  block_size=$(dumpe2fs -h img 2>/dev/null | awk '/^Block size/ { print $3 }')
  # A byte of an inode, of a directory block, of its index.
  read -r block off <<<"$file"
  printf '\377' | dd of=img bs=1 seek=$((block * block_size + off + 0x70)) conv=notrunc status=none
  printf '\377\377\377' | dd of=img bs=1 seek=$((leaf * block_size + 4)) conv=notrunc status=none
  printf '\377\377' | dd of=img bs=1 seek=$((dir * block_size + 34)) conv=notrunc status=none
  run_tool 1 dafsdebug -R "stat /hello" img
  [[ $stderr =~ ^"dafsdebug: inode "[0-9]+": checksum: Corrupt inode"$ ]]
  has_output "Type: regular"
  has_output "EXTENTS:"
  run_tool 0 dafsdebug -n -R "stat /hello" img
  run_tool 0 dafsdebug -c -R "stat /hello" img
  run_tool 1 dafsdebug -R "cat /hello" img
  [ "$output" = hello ]
  run_tool 1 dafsdebug -R "ls -p /many" img
  has_stderr "directory block 0, offset 0: checksum: Corrupt directory"
  has_stderr "directory block 2, offset 0: checksum: Corrupt directory"
  has_stderr "directory block 2, offset 0: entry length: Corrupt directory"
  [ "$(grep -c /file- <<<"$output")" -gt 50 ]
  run_tool 1 dafsdebug -R "htree_dump /many" img
  has_stderr "number of index entries"
  # The name is found although the index is gone.
  name=$(grep -o 'file-[0-9]*' <<<"$(dafsdebug -R 'ls -p /many' img 2>/dev/null)" | tail -n 1)
  run_tool 0 dafsdebug -R "cat /many/$name" img
  run_tool 1 dafsdebug -R "testb 1" -c img
  has_stderr "bitmaps are not read with -c"
}

@test "a tree with a bad node shows what is left" {
  run_tool 0 mkdafs -q -b 1024 img 64M
  truncate -s 4M frag
  for i in $(seq 0 2 1000); do printf x | dd of=frag bs=4096 seek="$i" conv=notrunc status=none; done
  run_tool 0 dawrite -f img put frag /f
  run_tool 0 dafsdebug -R "ex -n /f" img
  node=$(awk 'END { print $8 }' <<<"$output")
  all=$(dafsdebug -R "ex -l /f" img | wc -l)
  dd if=/dev/zero of=img bs=1024 seek="$node" count=1 conv=notrunc status=none
  run_tool 1 dafsdebug -R "ex -l /f" img
  has_stderr "block $node: not an extent node of this depth"
  left=$(wc -l <<<"$output")
  [ "$left" -gt 100 ]
  [ "$left" -lt "$all" ]
  run_tool 1 dafsdebug -R "cat /f" img
  run_tool 1 dafsdebug -R "frag" img
  has_output "Damaged:       1 inodes"
}

@test "pending work is announced" {
  run_tool 0 mkdafs -q img 16M
  echo x | run_tool 0 dawrite img write /f
  run_tool 0 dafsdebug -R "ls -p" img
  has_stderr "img has pending work, which only es, cache and resv look at"
  lacks_output "/f/"
  run_tool 0 dafsdebug -q -R "ls -p" img
  [ -z "$stderr" ]
  run_tool 0 dafsdebug -R "resv" img
  [ -z "$stderr" ]
}

@test "logdump as debugfs shows it, and after the replay" {
  need_root_loop
  truncate -s 64M img
  mke2fs -q -F -t ext4 -b 1024 img
  mount_rw img mnt
  for i in $(seq 1 40); do echo "$i" >mnt/f$i; done
  sync
  rm -r mnt/f1*
  sync
  cp --sparse=always "$(losetup -n -O BACK-FILE "$(findmnt -n -o SOURCE --target mnt)")" crashed
  unmount mnt
  dumpe2fs -h crashed 2>/dev/null | grep -q needs_recovery
  printf '%s\n' logdump "logdump -a" "logdump -S" >requests
  same_as_debugfs crashed requests
  grep -q 'commit block' ours
  grep -q 'logged at journal block' ours
  run_tool 0 dafsdebug -R "ls -p" crashed
  lacks_output /f11/
  has_output /f2/
  run_tool 0 mkdafs -q -O ^has_journal plain 16M
  run_tool 1 dafsdebug -R logdump plain
  has_stderr "no journal"
}
