# SPDX-License-Identifier: GPL-2.0-or-later
# A flush that was cut off, and what others did to the image before the next command: it happened once, or not at all.
load helpers

setup() {
  dafs_setup
  PATH=$DAFS_BUILDDIR/tests/fault:$PATH
}

# The image and its cache as a flush left them that was stopped before operation N, in left/.
cut_off() { # WORKLOAD PHASE N
  local made
  rm -rf left
  made=$(faults --work "$1" --phase "$2" --fault stop --at "$3" --leave | tail -n 1)
  mv "$made" left
  rm -rf "$made.trash"
}

tree_of() { # IMAGE: every path with its attributes and content, as text
  rm -rf tree
  mkdir tree
  dafsdebug -R 'rdump / tree' "$1" >/dev/null || return 1
  (cd tree && find . -printf '%y %m %s %n %p %l\n' -type f -exec cksum {} + | sort)
}

# The same, of a flush that nothing happened to.
undisturbed() { # WORKLOAD PHASE
  cut_off "$1" "$2" 1
  dawrite -q left/img flush
  tree_of left/img >"want.$1"
}

kernel_has_it() { # IMAGE OPTIONS [COMMAND...]
  local image=$1 options=$2 dev
  shift 2
  mkdir -p mnt
  dev=$(losetup -f --show "$image")
  mount -t ext4 -o "$options" "$dev" mnt
  mounted+=("$PWD/mnt")
  [ $# -eq 0 ] || "$@"
  umount mnt
  losetup -d "$dev"
}

# COMMAND was pending on `full`, and its flush is killed at its Nth fdatasync: what is left is sound for others too, and the next flush
# ends it.
killed_flush() { # N COMMAND...
  local at=$1
  shift
  cp --sparse=always full img
  dawrite -q img "$@"
  strace -f -qq -o trace -e trace=fdatasync -e inject=fdatasync:signal=KILL:when="$at" dawrite -q img flush || true
  cp --sparse=always img between
  e2fsck -fy -E journal_only between >/dev/null || [ $? -eq 1 ]
  assert_fsck_clean between
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  [ ! -e img.dacache ]
}

@test "e2fsck and the kernel replay the journal of a cut-off flush: what is left is settled all the same" {
  run_tool 0 faults --others --work rename-over --phase part --fault stop --stride 2
  has_output " 0 failures"
  run_tool 0 faults --others --work recreate --phase flush --fault lose --stride 3
  has_output " 0 failures"
}

@test "a full e2fsck after a cut-off flush, which marks groups without use: what is left is settled all the same" {
  local at checked=0
  for at in $(seq 160 12 240); do
    cut_off file-split flush "$at"
    dumpe2fs -h left/img 2>/dev/null | grep -q needs_recovery || continue
    cp --sparse=always left/img replayed
    e2fsck -p replayed >/dev/null || [ $? -eq 1 ]
    e2fsck -fy left/img >/dev/null || [ $? -eq 1 ]
    [ "$(dumpe2fs left/img 2>/dev/null | grep -c BLOCK_UNINIT)" -gt "$(dumpe2fs replayed 2>/dev/null | grep -c BLOCK_UNINIT)" ] || continue
    checked=$((checked + 1))
    run_tool 0 dawrite -q left/img flush
    assert_fsck_clean left/img
    run_tool 0 dawrite left/img stat /more
    [ ! -e left/img.dacache ]
    [ "$checked" -lt 2 ] || break
  done
  [ "$checked" -ge 1 ] || skip "this e2fsck marks no groups"
}

@test "the database's journal cannot be made while a flush of a part is settled: the cache stays" {
  local at n tried=0
  need strace
  need sqlite3
  undisturbed rename-over flush
  for at in $(seq 30 2 70); do
    cut_off rename-over part "$at"
    # What a killed writer left in the database is taken back; its journal goes.
    [ "$(sqlite3 left/img.dacache/cache.db 'SELECT count(*) FROM flushed')" -gt 0 ] || continue
    [ ! -e left/img.dacache/cache.db-journal ] || rm left/img.dacache/cache.db-journal
    # One of the calls that open it fails, and only that one.
    for n in {1..6}; do
      rm -rf try
      cp -a left try
      strace -f -qq -o trace -P "$PWD/try/img.dacache/cache.db-journal" -e trace=openat \
        -e "inject=openat:error=ENOSPC:when=$n" dawrite -q try/img ls / >/dev/null || true
      grep -q INJECTED trace || break
      run_tool 0 dawrite -q try/img flush
      assert_fsck_clean try/img
      tree_of try/img | cmp - want.rename-over
      tried=$((tried + 1))
    done
    [ "$tried" -lt 8 ] || break
  done
  [ "$tried" -gt 0 ]
}

@test "a replay that was cut off itself and came again is no change; a transaction more is" {
  local at tried=0
  for at in $(seq 20 2 60); do
    cut_off rename-over part "$at"
    dumpe2fs -h left/img 2>/dev/null | grep -q needs_recovery || continue
    tried=$((tried + 1))
    # What such a replay leaves: an empty log, its number one higher, and the mark still there.
    e2fsck -p left/img >/dev/null || [ $? -eq 1 ]
    for again in 1 2 3; do
      debugfs -w -R 'feature needs_recovery' left/img
      e2fsck -p left/img >/dev/null || [ $? -eq 1 ]
    done
    cp -a left more
    run_tool 0 dawrite -q left/img flush
    assert_fsck_clean left/img
    [ ! -e left/img.dacache ]
    debugfs -w -f - more/img <<<$'jo\njw -b 100 /dev/zero\njc'
    e2fsck -p more/img >/dev/null || [ $? -eq 1 ]
    run_tool 1 dawrite -q more/img flush
    has_stderr "changed behind its offline cache"
    rm -rf more
  done
  [ "$tried" -gt 0 ]
}

@test "image and cache are copied away in the middle of a flush: the copy goes on from there" {
  local work at
  for work in rename-over no-journal; do
    undisturbed "$work" flush
    for at in 20 28 30 32 36; do
      cut_off "$work" flush "$at"
      rm -rf elsewhere
      mkdir elsewhere
      cp -a left/img elsewhere/other
      [ ! -e left/img.dacache ] || cp -a left/img.dacache elsewhere/other.dacache
      rm -rf left
      run_tool 0 dawrite -q elsewhere/other flush
      assert_fsck_clean elsewhere/other
      tree_of elsewhere/other | cmp - "want.$work"
      [ ! -e elsewhere/other.dacache ]
    done
  done
}

@test "an image is one by whatever name: a flush cut off through a link is settled by the file's own name" {
  undisturbed no-journal flush
  cut_off no-journal flush 30
  ln -s left/img link
  run_tool 0 dawrite -q link ls /
  run_tool 0 dawrite -q left/img flush
  assert_fsck_clean left/img
  tree_of left/img | cmp - want.no-journal
}

@test "a reader, too, settles a part that was committed, and sees what is pending over it" {
  local at found=0
  for at in 33 37 41 45 49; do
    cut_off rename-over part "$at"
    run_tool 0 dawrite left/img ls -l /
    grep -q conf <<<"$output"
    [[ $stderr != *"finishing an interrupted flush"* ]] || found=1
    run_tool 0 dawrite -q left/img flush
    assert_fsck_clean left/img
  done
  [ "$found" = 1 ]
}

@test "the kernel wrote between a flush that was cut off and the next command: refused by name" {
  need_root_loop
  local at
  # Before the commit, and behind it with the rest still pending.
  for at in 20 36; do
    cut_off rename-over part "$at"
    kernel_has_it left/img noinit_itable touch mnt/by-others
    run_tool 1 dawrite left/img flush
    has_stderr "changed behind its offline cache"
    has_stderr "left/img"
    [ -e left/img.dacache/cache.db ]
    run_tool 0 dawrite -q left/img discard
    assert_fsck_clean left/img
  done
  # Nothing is left to meet the change when everything was committed.
  cut_off rename-over flush 34
  kernel_has_it left/img noinit_itable touch mnt/by-others
  run_tool 0 dawrite -q left/img flush
  run_tool 0 dawrite left/img ls /
  has_output by-others
  [ ! -e left/img.dacache ]
}

@test "another tool wrote between a flush that was cut off and the next command: refused by name" {
  local at
  for at in 20 36; do
    cut_off rename-over part "$at"
    e2fsck -p left/img || [ $? -le 1 ]
    run_tool 0 debugfs -w -R 'write left/img.dacache/spool by-others' left/img
    run_tool 1 dawrite left/img flush
    has_stderr "changed behind its offline cache"
  done
}

@test "the log goes on where it ended, and round its end; e2fsck and the kernel replay it" {
  local start end
  cut_off journal-wrap flush 100
  run_tool 0 debugfs -R 'logdump -S' left/img
  start=$(sed -n 's/^Journal starts at block \([0-9]*\),.*/\1/p' <<<"$output")
  end=$(sed -n 's/.* at block \([0-9]*\): end of journal.*/\1/p' <<<"$output" | tail -n 1)
  [ "$end" -lt "$start" ]
  run_tool 0 faults --others --work journal-wrap --phase flush --fault stop --stride 60
  has_output " 0 failures"
}

@test "an image whose journal is on another device is refused by name, for writing" {
  need_root_loop
  local journal disk
  truncate -s 16M jdev img
  journal=$(losetup -f --show jdev)
  disk=$(losetup -f --show img)
  mke2fs -q -F -b 4096 -O journal_dev "$journal"
  mke2fs -q -F -b 4096 -t ext4 -J device="$journal" "$disk"
  losetup -d "$disk" "$journal"
  run_tool 1 dawrite img mkdir /d
  has_stderr external
  e2fsck -n img || true
  [ ! -e img.dacache ]
}

@test "removing more than a journal holds is cut into transactions, and each can be cut off" {
  local files=6000 i
  [ -z "${DAFS_TEST_LONG:-}" ] || files=100000
  mkdafs -q -b 1024 -J size=1 -N $((files + files / 20 + 100)) img $((files / 100 + 64))M
  many_tar "$files" "big/d%03d/f%06d" 20
  dawrite -q img import many.tar /
  dawrite -q img flush
  cp --sparse=always img full
  run_tool 0 dawrite -q img rm -r /big
  run_tool 0 dawrite --json img flush
  [ "$(jq .transactions <<<"$output")" -gt 1 ]
  assert_fsck_clean img
  run_tool 1 dawrite img stat /big
  need strace
  for i in 8 20; do
    killed_flush "$i" rm -r /big
    run_tool 1 dawrite img stat /big
  done
}

@test "a directory larger than the journal is removed name by name, with links and moves out of it" {
  mkdafs -q -b 1024 -J size=1 -N 7000 img 48M
  run_tool 0 python3 - <<'PY'
import io, tarfile
name = "big/a-name-so-long-that-a-directory-block-holds-only-a-few-of-its-kind-%04d"
with tarfile.open("wide.tar", "w", format=tarfile.GNU_FORMAT) as tar:
    for i in range(5000):
        info = tarfile.TarInfo(name % i)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"%04d" % i))
    for i in range(0, 5000, 50):
        info = tarfile.TarInfo("out/h%04d" % i)
        info.type, info.linkname = tarfile.LNKTYPE, name % i
        tar.addfile(info)
    info = tarfile.TarInfo("big/sub/deep")
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(info)
PY
  dawrite -q img import wide.tar /
  dawrite -q img flush
  # A file that comes out of the tree takes the tree's own name; a directory survives it.
  run_tool 0 dawrite -q img script - <<'EOF'
mv /big/a-name-so-long-that-a-directory-block-holds-only-a-few-of-its-kind-0007 /seven
mv /big/sub /sub
rm -r /big
mv /seven /big
EOF
  run_tool 0 dawrite --json img flush
  [ "$(jq .transactions <<<"$output")" -gt 2 ]
  assert_fsck_clean img
  run_tool 0 dawrite img cat /big
  [ "$output" = 0007 ]
  run_tool 0 dawrite img cat /out/h0150
  [ "$output" = 0150 ]
  run_tool 0 dawrite img stat /sub/deep
  [ "$(dafsdebug -R 'ls -p /out' img | grep -c /h)" -eq 100 ]
}

@test "links and renames that only go together are flushed, however many blocks of the image they change" {
  local i before
  # An inode a block: the journal holds 1004 blocks.
  mkdafs -q -b 1024 -I 1024 -J size=1 -N 2400 img 24M
  for i in {0..599}; do echo "mkdir /w/d$i"; done >make
  for i in {0..1099}; do echo "mknod /r/f$i p"; done >>make
  for i in {0..599}; do echo "ln /one /w/d$i/one"; done >links
  echo "rm /r/f1099" >rotate
  for i in {1098..0}; do echo "mv /r/f$i /r/f$((i + 1))"; done >>rotate
  dawrite -q img mkdir -p /w /r /zz
  echo linked | dawrite -q img write /one
  dawrite -q img script make
  dawrite -q img flush
  dawrite -q img script links
  dawrite -q img write /r/beside <<<beside
  dawrite -q img write /a-first <<<first
  run_tool 1 dawrite img flush
  has_stderr "img: flush --redo commits without the journal"
  assert_fsck_clean img
  [ -e img.dacache ]
  dawrite -q img write /zz/after <<<after
  before=$(dumpe2fs -h img | sed -n 's/^Journal sequence: *//p')
  run_tool 0 dawrite --json img flush --redo
  [ "$(jq .journaled_blocks <<<"$output")" -gt 1004 ]
  # All but the one set went by the journal.
  [ $(($(dumpe2fs -h img | sed -n 's/^Journal sequence: *//p') - before)) -eq $((2 * ($(jq .transactions <<<"$output") - 1))) ]
  [ "$(jq .transactions <<<"$output")" -gt 1 ]
  assert_fsck_clean img
  run_tool 0 dawrite img stat /w/d599/one
  has_output "Links: 601"
  dawrite -q img rm -r /w
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  run_tool 0 dawrite img stat /one
  has_output "Links: 1"
  before=$(dawrite img stat /r/f7 | grep -o 'Inode: *[0-9]*')
  dawrite -q img script rotate
  dawrite -q img mkdir /after
  run_tool 1 dawrite -q img flush
  assert_fsck_clean img
  run_tool 0 dawrite -q img flush --redo
  assert_fsck_clean img
  [ "$(dawrite img stat /r/f8 | grep -o 'Inode: *[0-9]*')" = "$before" ]
  run_tool 1 dawrite img stat /r/f0
  run_tool 0 dawrite img stat /after
  [ ! -e img.dacache ]
  [ -z "$(compgen -G 'img.*redo*')" ]
}

@test "one block less moves every leaf of an extent tree that is larger than the journal" {
  local i
  mkdafs -q -b 1024 -J size=1 img 200M
  dawrite -q img fallocate /f 0 172M
  dawrite -q img flush
  for ((i = 4; i < 172 * 1024; i += 2)); do echo "punch /f ${i}K 1K"; done >script
  run_tool 0 dawrite -q img script script
  run_tool 0 dawrite -q img flush
  assert_fsck_clean img
  run_tool 0 dawrite -q img punch /f 1K 1K
  run_tool 0 dawrite --json img flush --redo
  [ "$(jq .journaled_blocks <<<"$output")" -gt 1004 ]
  assert_fsck_clean img
  [ "$(dafsdebug -R 'frag /f' img | grep -c unwritten)" -eq $((1 + 1 + 86 * 1024 - 2)) ]
}

@test "a file in more groups than the journal holds bitmaps is freed piece by piece, and each can be cut off" {
  local i change
  truncate -s 12G probe 2>/dev/null || skip "no sparse file of 12 GiB here"
  rm probe
  mkdafs -q -b 1024 -J size=1 img 12G
  dawrite -q img fallocate /f 0 9G
  echo kept | dawrite -q img write /kept
  dawrite -q img flush
  mv img full
  for change in 'rm /f' 'truncate /f 5000' 'punch /f 1M 8G' 'mv /kept /f'; do
    cp --sparse=always full now
    # shellcheck disable=SC2086
    dawrite -q now $change
    dawrite -q now mkdir /more
    run_tool 0 dawrite --json now flush
    [ "$(jq .transactions <<<"$output")" -gt 1 ]
    assert_fsck_clean now
    run_tool 0 dawrite now stat /more
    [ ! -e now.dacache ]
  done
  run_tool 0 dawrite now cat /f
  [ "$output" = kept ]
  # Into groups whose bitmaps are live by now, one file is too much as well.
  dawrite -q now fallocate /again 0 9G
  run_tool 0 dawrite --json now flush
  [ "$(jq .transactions <<<"$output")" -gt 1 ]
  assert_fsck_clean now
  [ ! -e now.dacache ]
  need strace
  for i in 6 11; do
    killed_flush "$i" rm /f
    run_tool 1 dawrite img stat /f
  done
}
