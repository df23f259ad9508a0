# SPDX-License-Identifier: GPL-2.0-or-later
# fsck-lib.bash: what tests/fsck-compare and tests/fsck-random share: dafsck beside e2fsck on one image, $work/image.
#
# Sourced. DAFS_BUILDDIR tells where dafsck is; DAFS_FSCK_SECONDS (10) is the time a run of it may take, DAFS_FSCK_KBYTES
# (2 GiB) the address space (0: any). With DAFS_SANITIZED: 60 seconds, and any. $work is a scratch folder; it goes at the end.
dafsck=${DAFS_BUILDDIR:-$PWD}/dafsck/dafsck
savedfiles=${DAFS_BUILDDIR:-$PWD}/tests/lib/savedfiles
limit=${DAFS_FSCK_SECONDS:-${DAFS_SANITIZED:+60}}
limit=${limit:-10}
room=${DAFS_FSCK_KBYTES:-${DAFS_SANITIZED:+0}}
room=${room:-2097152}
for tool in "$dafsck" "$savedfiles"; do
  [ -x "$tool" ] || { echo "${0##*/}: no $tool" >&2; exit 2; }
done
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

run_dafsck() { # OUTPUT ARGUMENT...
  local out=$1
  shift
  (
    [ "$room" -eq 0 ] || ulimit -v "$room"
    exec timeout -k 5 "$limit" "$dafsck" "$@"
  ) >"$out" 2>&1 </dev/null
}

# What e2fsck says beside the passes' titles and the summary.
remarks() {
  grep -avE '^(Pass [0-9]|e2fsck 1\.|MMP interval is|$)|: [0-9]+/[0-9]+ files \(' || true
}

# What of the files in THEIRS is not in OURS (tests/lib/savedfiles says what that means). $sound: the image before the damage,
# if there is one.
saved() { # THEIRS OURS
  timeout -k 5 120 "$savedfiles" "${sound:--}" "$1" "$2" 2>&1 || [ $? -lt 2 ] || echo "cannot be compared"
}

# The verdict on $work/image; why it differs, or nothing. Exit codes of e2fsck -fn and -fy are told.
verdict() { # N Y
  local got=0 strict=0
  run_dafsck "$work/out" -fn "$work/image" || got=$?
  [ "$got" -lt 99 ] || { echo "did not end ($got)"; return; }
  # (e2fsck -n that gives up, as it does at an error in the journal that it may not note, is no verdict if -y finds nothing.)
  [ "$1" -lt 8 ] || [ "$2" -ne 0 ] || return
  if [ $((got != 0)) -ne $(($1 != 0)) ]; then
    echo "e2fsck $1, dafsck $got"
  elif [ "$1" -eq 0 ] && [ "$2" -eq 1 ]; then
    run_dafsck "$work/out" -fn --strict "$work/image" || strict=$?
    [ "$strict" -eq 4 ] || echo "--strict gives $strict"
  fi
}

# What e2fsck -fy makes of a copy of $work/image: $work/theirs; prints its exit code.
repair_theirs() {
  local code=0
  cp --sparse=always "$work/image" "$work/theirs"
  timeout -k 5 60 e2fsck -fy "$work/theirs" >"$work/out.theirs" 2>&1 </dev/null || code=$?
  echo "$code"
}

# Repairs $work/image; why the result is not as it should be, or nothing. Where e2fsck -fy gave up as well (exit code Y of 8 or
# more), dafsck may; what it calls repaired has to be.
repairs() { # Y
  local got=0 again=0 said lost
  run_dafsck "$work/out" -fy "$work/image" || got=$?
  [ "$got" -lt 99 ] || { echo "did not end ($got)"; return; }
  [ "$got" -le 1 ] || [ "$1" -lt 8 ] || return
  [ "$got" -le 1 ] || echo "exit status $got"
  said=$(timeout -k 5 60 e2fsck -fn "$work/image" 2>&1 </dev/null | remarks | head -n 2)
  [ -z "$said" ] || echo "e2fsck -fn: ${said//$'\n'/ | }"
  run_dafsck "$work/out2" -fn --strict "$work/image" || again=$?
  [ "$again" -eq 0 ] || echo "a second run: $again"
  [ "$1" -lt 8 ] && [ -z "${no_files:-}" ] || return
  lost=$(saved "$work/theirs" "$work/image")
  [ -z "$lost" ] || echo "not saved: ${lost//$'\n'/, }"
}

# Is it one of the cases where e2fsck -p asks and need not? doc/FSCK-COMPARE.md has them.
preen_explained() {
  local said
  said=$(tr '\n' ' ' <"$work/out.theirs")
  case $said in
    *'HTREE INDEX CLEARED'*'directory corrupted'*) ;;
    *'INLINE_DATA_FL flag but extended attribute not found'* | *'Error initializing quota context'*) ;;
    *'unused inodes area'*'FIXED'*'incorrect filetype (was '?', should be 0)'*) ;;
    *'_INODE_UNINIT is set'*'FIXED'*'incorrect filetype (was '?', should be 0)'*) ;;
    *'directory has no checksum'*'FIXED'*"Entry ''"* | *'directory has no checksum'*'FIXED'*'directory corrupted'*) ;;
    *'Journal version not supported'*) grep -q 'journal.super-empty' "$work/out" ;;
    *'has invalid inode #'*) grep -q 'super.stray-inode' "$work/out" ;;
    *'extent block passes checks, but checksum'*) ;;
    *'invalid unused inodes count'*'FIXED'*'Root inode not allocated'*) ;;
    *'Error reading block'* | *'Inode 7 has illegal block'*) ;;
    *) return 1 ;;
  esac
}

# dafsck -fp beside e2fsck -fp, on copies of $work/image: why they differ, or nothing. dafsck repairs nothing where e2fsck wants to
# be asked (exit status 4), and all or nothing; what it repairs is sound afterwards and has the files that e2fsck's has.
preens() {
  local theirs=0 ours=0 said lost
  cp --sparse=always "$work/image" "$work/preen.theirs"
  cp --sparse=always "$work/image" "$work/preen"
  timeout -k 5 60 e2fsck -fp "$work/preen.theirs" >"$work/out.theirs" 2>&1 </dev/null || theirs=$?
  [ "$theirs" -lt 99 ] || return
  run_dafsck "$work/out" -fp "$work/preen" || ours=$?
  [ "$ours" -lt 99 ] || { echo "-p did not end ($ours)"; return; }
  if [ "$ours" -ge 4 ]; then
    # (A journal is replayed, and a multi-mount block written, before anything is looked at.)
    [ "$ours" -ge 8 ] || cmp -s "$work/image" "$work/preen" || { dumpe2fs -h "$work/image"; dumpe2fs -h "${sound:-$work/image}"; } 2>&1 |
      grep -qE 'needs_recovery|mmp' || echo "-p: refused, and changed"
    return
  fi
  # (An e2fsck that gave up says nothing.)
  [ "$theirs" -lt 4 ] || [ "$theirs" -ge 8 ] || preen_explained || echo "-p: e2fsck $theirs, dafsck $ours"
  [ "$theirs" -ne 1 ] || [ "$ours" -eq 1 ] || grep -q 'Optimiz' "$work/out.theirs" || echo "-p: e2fsck 1, dafsck $ours"
  # (What e2fsck calls an optimisation it leaves undone as well.)
  timeout -k 5 60 e2fsck -fn "$work/preen" >"$work/out.preen" 2>&1 </dev/null && said='' ||
    said=$(remarks <"$work/out.preen" | head -n 2)
  [ -z "$said" ] || echo "-p, then e2fsck -fn: ${said//$'\n'/ | }"
  [ "$theirs" -lt 4 ] || return
  lost=$(saved "$work/preen.theirs" "$work/preen")
  [ -z "$lost" ] || echo "-p: not saved: ${lost//$'\n'/, }"
}
