#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# Same input, same bytes: whatever the order in which the host lists names, the threads, the time, the user's settings.

load helpers

UUID=0d8c2f3e-5b1a-4c6d-9e7f-112233445566

setup() {
  dafs_setup
  make_tree src
  # A second copy made in another order: the host's directories list it differently, its inode numbers differ.
  local tar="tar --xattrs --acls --sparse --warning=no-timestamp"
  mkdir copy
  (cd src && find . ! -type d -print0 | sort -rz | $tar -c --null --no-recursion -T - -f ../others.tar)
  (cd src && find . -depth -type d -print0 | $tar -c --null --no-recursion -T - -f ../dirs.tar)
  $tar -C copy --xattrs-include='*' -xpf others.tar
  $tar -C copy --xattrs-include='*' -xpf dirs.tar
  treecmp src copy
  export SOURCE_DATE_EPOCH=1700000000
}

fill() { # IMAGE SRC [OPTION...]
  local image=$1 src=$2
  shift 2
  run_tool 0 mkdafs -q -F -b 4096 -U $UUID -E hash_seed=$UUID "$@" -d "$src" "$image" 64M
}

same() { cmp "$1" "$2" || { echo "$1 and $2 differ"; return 1; }; }

@test "mkdafs -d: two copies, threads, umask, locale, time zone, hour" {
  fill one src
  assert_fsck_clean one
  fill two copy
  same one two
  fill three src --threads 1
  same one three
  fill four copy --threads 7
  same one four
  (umask 0077 && fill five src)
  same one five
  sleep 1.1
  LC_ALL=C TZ=Pacific/Kiritimati fill six src
  same one six
  fill seven src --no-sync
  same one seven
}

@test "UUID and hash seed follow from the time when they are not given" {
  run_tool 0 mkdafs -q -b 4096 -d src one 64M
  sleep 1.1
  run_tool 0 mkdafs -q -b 4096 -d copy two 64M
  same one two
  SOURCE_DATE_EPOCH=1700000001 run_tool 0 mkdafs -q -b 4096 -d copy three 64M
  run_tool 1 cmp one three
}

@test "a tar archive gives the bytes of another one of the same entries" {
  tar -C src --sort=name --format=pax --xattrs --acls -cf one.tar .
  fill one one.tar
  fill two one.tar --threads 1
  same one two
  gzip -k one.tar
  fill three one.tar.gz
  same one three
}

@test "import into an image, at once or pending over several calls" {
  fill base src
  for image in one two three four; do cp --sparse=always base $image; done
  run_tool 0 dawrite -q -f one import src /again
  run_tool 0 dawrite -q -f --threads 1 two import copy /again
  same one two
  run_tool 0 dawrite -q three import src /again
  run_tool 0 dawrite -q three flush
  (umask 0027 && run_tool 0 dawrite -q four import copy /again)
  TZ=Asia/Tokyo run_tool 0 dawrite -q four flush
  same three four
  # Beside the first way only the mark of the commit and the checksums over it differ: in the superblocks.
  assert_fsck_clean one
  assert_fsck_clean three
  [ "$(cmp -l one three | wc -l)" -le 64 ]
}

@test "a script and its flush: threads, umask, locale, time zone, hour, one process or two" {
  run_tool 0 mkdafs -q -b 4096 -U $UUID -E hash_seed=$UUID base 64M
  {
    echo "import src /in"
    for i in $(seq 1 200); do echo "write --from src/hello /in/many/w$i"; done
    for i in $(seq 1 40 200); do echo "write -a --from src/large /in/many/w$i"; done
    for i in $(seq 1 5 200); do echo "touch -d '2001-02-03 04:05:06' /in/many/w$i"; done
    printf '%s\n' "mkdir -p /x/y" "mv /in/many/w7 /x/y/w" "ln /x/y/w /x/l" "rm -r /in/deep" "truncate /in/large 70000" \
      "punch /in/many/w4 8192 8192" "setfattr -n user.k -v v /x/l" "mknod /x/fifo p"
  } >script
  sed 's,import src,import copy,; s,--from src,--from copy,' script >script.copy
  threads() { # IMAGE SCRIPT [OPTION...]
    cp --sparse=always base "$1"
    run_tool 0 dawrite -q -f "${@:3}" "$1" script "$2"
  }
  threads one script
  assert_fsck_clean one
  for n in 1 2 3 4 5 6 7 8; do
    threads two script.copy --threads $n
    same one two
  done
  sleep 1.1
  (umask 0077 && threads two script)
  same one two
  (export LC_ALL=C TZ=Pacific/Kiritimati && threads two script.copy --no-sync)
  same one two
  # Over two processes: pending in between.
  for image in two three; do cp --sparse=always base $image; done
  run_tool 0 dawrite -q two script script
  run_tool 0 dawrite -q two flush
  (umask 0007 && TZ=Asia/Tokyo run_tool 0 dawrite -q --threads 5 three script script.copy)
  LC_ALL=C run_tool 0 dawrite -q --threads 2 three flush
  same two three
  assert_fsck_clean two
}

@test "mkdafs -d: any number of threads" {
  fill one src
  for n in 1 2 3 4 5 6 7 8; do
    # What was there before decides which tables are known to be zero.
    rm -f two
    fill two copy --threads $n
    same one two
  done
}
