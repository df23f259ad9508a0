#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# dafsck as a drop-in for e2fsck: its options, modes, exit status, and the undo file.

load helpers

# A small image with files and one name too many.
damaged() { # FILE [MKE2FS-OPTION...]
  local image=$1
  shift
  rm -rf src
  mkdir -p src/dir
  seq 1 20000 >src/file
  for i in $(seq 1 40); do echo "$i" >"src/dir/n$i"; done
  rm -f "$image"
  mke2fs -q -F -t ext4 -d src "$@" "$image" 24M >/dev/null 2>&1
  printf '%s\n' "clri /dir/n5" "clri /dir/n9" "sif /file size 1" "unlink /dir/n7" | debugfs -w -f - "$image" >/dev/null 2>&1
}
# Nothing but what -p may repair.
slightly() { # FILE
  damaged "$1"
  e2fsck -fy "$1" >/dev/null 2>&1 || true
  debugfs -w -R "sif /file links_count 5" "$1" 2>/dev/null
}

@test "-n, -p, -y: what each may do, and the exit status" {
  damaged img
  cp img was
  run_tool 4 dafsck -fn img
  cmp img was
  run_tool 4 dafsck -fp img
  has_output "RUN dafsck MANUALLY"
  cmp img was
  run_tool 4 dafsck -fa img
  run_tool 1 dafsck -fy img
  has_output "REPAIRED"
  assert_fsck_clean img
  run_tool 0 dafsck -fy img
  # What needs a person counts here, although e2fsck -n does not count it.
  mke2fs -q -F -t ext4 summary 24M
  debugfs -w -R "ssv want_extra_isize 7" summary 2>/dev/null
  run_tool 0 dafsck -fn summary
  run_tool 4 dafsck -fp summary
  slightly img
  run_tool 1 dafsck -fa img
  assert_fsck_clean img
  run_tool 0 dafsck -p img
  has_output "clean, "
  run_tool 16 dafsck -n -y img
  run_tool 16 dafsck -p -n img
}

@test "dirty without damage is made valid: 1 by what e2fsck's verdict counts, then clean" {
  damaged img
  e2fsck -fy img >/dev/null 2>&1 || true
  debugfs -w -R "ssv state 0" img 2>/dev/null
  cp img theirs
  local want=0
  e2fsck -p theirs >/dev/null 2>&1 || want=$?
  run_tool "$want" dafsck -p img
  run_tool 0 dafsck -p img
  has_output "clean, "
}

@test "without a terminal nothing is asked: one line, status 8, the image untouched" {
  damaged img
  cp img was
  run_tool 8 dafsck -f img </dev/null
  has_stderr "say -n, -p or -y"
  run_tool 8 dafsck -f --json img
  cmp img was
}

@test "on a terminal each repair is asked for: y, n, a, Enter, end of input" {
  need python3
  damaged img
  cp img sound
  cat >ask.py <<'END'
import os, pty, sys, time
answers, argv = sys.argv[1].encode().decode("unicode_escape"), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(argv[0], argv)
out = b""
asked = 0
while True:
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    out += piece
    while out.count(b"<y>? ") > asked:
        reply = answers[asked] if asked < len(answers) else "\x04"
        asked += 1
        os.write(fd, (reply if reply in "\n\x04" else reply + "\n").encode())
print(out.decode(errors="replace"))
print("asked", asked)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
  run_tool 4 python3 ask.py nnnnnnnnnnnnnnnnnnnnnnnnnnnnn dafsck -f img
  # Nobody answers any more: as no.
  run_tool 4 python3 ask.py n dafsck -f img
  has_output "asked 2"
  run_tool 1 python3 ask.py a dafsck -f img
  has_output "asked 1"
  assert_fsck_clean img
  cp sound img
  run_tool 1 python3 ask.py '\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n' dafsck -f img
  assert_fsck_clean img
  cp sound img
  run_tool 5 python3 ask.py ynyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy dafsck -f img
}

@test "-z: e2undo brings the image back byte for byte" {
  local options
  for options in "" "-O ^has_journal" "-b 1024" "-b 4096 -O bigalloc,^resize_inode"; do
    echo "== $options"
    # shellcheck disable=SC2086 # a list of options
    damaged img $options
    cp img was
    run_tool 1 dafsck -fy -z undo img
    has_stderr "e2undo undo img"
    e2fsck -fn img
    run ! cmp -s img was
    run_tool 0 e2undo undo img
    cmp img was
    rm undo
  done
}

@test "-z: an undo file of this state is continued, everything else is refused" {
  damaged img
  cp img was
  run_tool 1 dafsck -fy -z undo img
  run_tool 0 dafsck -fy -z undo img
  cp undo kept
  run_tool 0 e2undo undo img
  cmp img was
  # Of another image, or no undo file, or the image, or a device.
  run_tool 0 mke2fs -q -F other 8M
  run_tool 8 dafsck -fy -z undo other
  has_stderr "another image"
  cmp undo kept
  echo text >file
  run_tool 8 dafsck -fy -z file img
  has_stderr "file"
  [ "$(cat file)" = text ]
  seq 1 1000 >file
  run_tool 8 dafsck -fy -z file img
  has_stderr "not an undo file"
  run_tool 8 dafsck -fy -z img img
  run_tool 8 dafsck -fy -z /dev/null img
  run_tool 8 dafsck -fy -z no/such/place img
  cmp img was
  # Nothing is to be changed: no file is made.
  run_tool 4 dafsck -fn -z none img
  [ ! -e none ]
  # No room for it: nothing is changed.
  run_tool 8 bash -c "ulimit -f 8; trap '' XFSZ; exec dafsck -fy -z little img"
  cmp img was
}

@test "-z: e2fsck's own undo file is continued, and the other way round" {
  damaged img
  cp img was
  e2fsck -fp -z undo img >/dev/null 2>&1 || true
  run_tool 1 dafsck -fy -z undo img
  e2fsck -fy -z undo img >/dev/null
  run_tool 0 e2undo undo img
  cmp img was
}

@test "-z: with ?offset=, and with a name of its own" {
  damaged part
  truncate -s 3M img
  cat part >>img
  cp img was
  run_tool 1 dafsck -fy -z undo "img?offset=3M"
  run_tool 0 e2undo undo img
  cmp img was
  mkdir undos
  echo old >undos/e2fsck-part.e2undo
  E2FSPROGS_UNDO_DIR=$T/undos run_tool 1 dafsck -fy -z "" part
  tail -c +3145729 was >part.was
  run_tool 0 e2undo undos/e2fsck-part.e2undo part
  cmp part part.was
  E2FSPROGS_UNDO_DIR=none run_tool 8 dafsck -fy -z "" part
}

@test "-z: a replayed journal is undone as well" {
  damaged img
  cp img work
  printf '%s\n' "jo" "jw -b 5000 /dev/zero" "jc" | debugfs -w -f - work >/dev/null 2>&1
  cp work was
  run_tool 1 dafsck -fy -z undo work
  has_stderr "replaying the journal"
  run_tool 0 e2undo undo work
  cmp work was
}

@test "-E: what makes sense is done" {
  damaged img -O ^extent,^64bit
  e2fsck -fy img >/dev/null 2>&1 || true
  tune2fs -O extent img >/dev/null
  run_tool 1 dafsck -fy -E bmap2extent img
  has_output "[inode.blockmap]"
  assert_fsck_clean img
  debugfs -R "stat /file" img 2>/dev/null | grep -q EXTENTS
  debugfs -R "dump /file out" img 2>/dev/null
  seq 1 20000 | cmp -n 108894 - out
  run_tool 0 dafsck -fy -E bmap2extent img
  lacks_output "[inode.blockmap]"

  # Free blocks become holes; what is in use stays.
  run_tool 0 dafsck -fn img
  head -c 4M /dev/urandom >big
  debugfs -w -R "write big big" img 2>/dev/null
  debugfs -w -R "rm big" img 2>/dev/null
  local before
  before=$(stat -c %b img)
  cp --sparse=never img full
  run_tool 0 dafsck -fy -E discard full
  has_output "discarded"
  [ "$(stat -c %b full)" -lt "$before" ]
  assert_fsck_clean full
  debugfs -R "dump /file out" full 2>/dev/null
  seq 1 20000 | cmp -n 108894 - out
  damaged img
  run_tool 4 dafsck -fp -E discard img
  lacks_output "discarded"

  # The journal only.
  damaged img
  printf '%s\n' "jo" "jw -b 5000 /dev/zero" "jc" | debugfs -w -f - img >/dev/null 2>&1
  run_tool 0 dafsck -y -E journal_only img
  has_stderr "replaying the journal"
  dumpe2fs -h img >header 2>/dev/null
  run ! grep -q needs_recovery header
  run_tool 4 dafsck -fn img
  run_tool 1 dafsck -fy -E nodiscard,optimize_extents,ea_ver=2,no_optimize_extents,fixes_only,check_encoding img
}

@test "--json: every finding, with path and what was done" {
  need python3
  rm -rf src
  mkdir -p src/dir
  for i in $(seq 1 150); do echo "$i" >"src/dir/n$i"; done
  mke2fs -q -F -t ext4 -d src img 24M >/dev/null 2>&1
  for i in $(seq 1 150); do echo "sif /dir/n$i links_count 4"; done | debugfs -w -f - img >/dev/null 2>&1
  debugfs -w -R "unlink /dir/n3" img 2>/dev/null
  run_tool 1 dafsck -fy --json img
  python3 - "$BATS_TEST_TMPDIR/stdout" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
links = [f for f in report["findings"] if f["code"] == "inode.links"]
assert len(links) == 150, len(links)
assert all(f["done"] == "fixed" and f["found"] in (3, 4) and f["expected"] == 1 for f in links), links
paths = {f["path"] for f in links}
assert "/dir/n150" in paths and any(p.startswith("/lost+found/#") for p in paths), paths
assert report["repaired"] and report["status"] == 1, report["status"]
END
  truncate -s 0 img && truncate -s 2M img
  run_tool 8 dafsck -fn --json img
  python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$BATS_TEST_TMPDIR/stdout"
}

@test "options of e2fsck without a meaning here are refused by name" {
  damaged img
  cp img was
  local options
  for options in "-j dev" -s -S "-E fragcheck" "-E readahead_kb=0" \
    "-E inode_count_fullmap" "-E no_inode_count_fullmap" "-E ea_ver=1" "-E discard=1" "-E ea_ver" "-E none_such" "-E ^discard" \
    "-E discard -z undo" "-n -E discard" "-n -E bmap2extent" "-E bmap2extent,fixes_only" "-E ,"; do
    echo "== $options"
    # shellcheck disable=SC2086 # a list of options
    run_tool 16 dafsck -y $options img
    # shellcheck disable=SC2154 # of run_tool
    [ "$(wc -l <<<"$stderr")" -eq 1 ]
  done
  cmp img was
}

@test "-r, -F, -d, -t, -tt, -v, -V, -C" {
  damaged img
  run_tool 4 dafsck -fn -r -F -d -tt -v img
  has_output "rounds: 1, threads: "
  has_output "memory: "
  has_output "pass 1: "
  has_output "regular files"
  run_tool 4 dafsck -fn -t img
  lacks_output "pass 1: "
  run_tool 0 dafsck -V
  run_tool 4 dafsck -fn -C 3 img 3>steps
  grep -qE '^1 [0-9]+ [0-9]+ img$' steps
  run_tool 4 dafsck -fn -C -3 img 3>steps
  [ ! -s steps ]
  run_tool 16 dafsck -n -C x img
}

@test "a copy of the superblock is used, and the first one restored" {
  damaged img -b 1024
  e2fsck -fy img >/dev/null 2>&1 || true
  cp img sound
  dd if=/dev/zero of=img bs=1024 seek=1 count=1 conv=notrunc status=none
  cp img wiped
  run_tool 1 dafsck -fy img
  assert_fsck_clean img
  cp wiped img
  run_tool 1 dafsck -fy -b 8193 img
  assert_fsck_clean img
  cp wiped img
  run_tool 1 dafsck -fy -b 8193 -B 1024 img
  assert_fsck_clean img
  debugfs -R "dump /file out" img 2>/dev/null
  seq 1 20000 | cmp -n 108894 - out
  run_tool 8 dafsck -fn -b 8193 -B 4096 img
}

@test "-p after a crash: journal, orphans and what comes with them take no person" {
  damaged img
  e2fsck -fy img >/dev/null 2>&1 || true
  local a b
  a=$(debugfs -R "stat /dir/n8" img 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
  b=$(debugfs -R "stat /dir/n10" img 2>/dev/null | sed -n 's/^Inode: \([0-9]*\).*/\1/p')
  printf '%s\n' "unlink /dir/n8" "unlink /dir/n10" "sif <$a> links_count 0" "sif <$b> links_count 0" "sif <$a> dtime $b" \
    "ssv last_orphan $a" "jo" "jw -b 5000 /dev/zero" "jc" | debugfs -w -f - img >/dev/null 2>&1
  cp img theirs
  local want=0
  e2fsck -fp theirs || want=$?
  run_tool "$want" dafsck -fp img
  has_output "[orphan.inode]"
  assert_fsck_clean img
}
