# SPDX-License-Identifier: GPL-2.0-or-later
# fsck-lib.bash: what tests/fsck-compare and tests/fsck-random share: dafsck beside e2fsck on one image, $work/image.
#
# Sourced. DAFS_BUILDDIR tells where dafsck is; DAFS_FSCK_SECONDS (10) is the time a run of it may take, DAFS_FSCK_KBYTES
# (2 GiB) the address space (0: any). With DAFS_SANITIZED: 60 seconds, and any. $work is a scratch folder; it goes at the end.
dafsck=${DAFS_BUILDDIR:-$PWD}/dafsck/dafsck
limit=${DAFS_FSCK_SECONDS:-${DAFS_SANITIZED:+60}}
limit=${limit:-10}
room=${DAFS_FSCK_KBYTES:-${DAFS_SANITIZED:+0}}
room=${room:-2097152}
[ -x "$dafsck" ] || { echo "${0##*/}: no dafsck in ${DAFS_BUILDDIR:-$PWD}" >&2; exit 2; }
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

# Contents and names of an image's files: type, content, path; a line each. The files stay in $work/NAME. A damaged size may
# be anything: what is over 16 MiB is cut off. False: it took too long.
inventory() { # IMAGE NAME
  local ended=0
  rm -rf "${work:?}/$2"
  mkdir "$work/$2"
  (
    trap '' XFSZ
    ulimit -f 16384
    exec timeout 120 debugfs -R "rdump / $work/$2" "$1"
  ) >/dev/null 2>&1 || ended=$?
  (
    cd "$work/$2" || exit
    find . -type f -print0 | xargs -0r sha1sum | sed -E 's/^(\\?[0-9a-f]+)  /f \1\t/'
    find . -mindepth 1 -type l -printf 'l %l\t%p\n'
    find . -mindepth 1 ! -type f ! -type l -printf '%y\t%p\n'
  ) | LC_ALL=C sort
  [ "$ended" -ne 124 ]
}

# What e2fsck says beside the passes' titles and the summary.
remarks() {
  grep -avE '^(Pass [0-9]|e2fsck 1\.|$)|: [0-9]+/[0-9]+ files \(' || true
}

# Does one file hold all that the other one holds, and maybe more where that has zeros or has ended? What is as it was before
# the damage ($sound, an image, if there) is right in any case.
holds_more() { # PATH
  local theirs=$work/tree.theirs/$1 ours=$work/tree/$1
  [ -f "$theirs" ] && [ -f "$ours" ] || return
  : >"$work/before"
  [ -z "${sound:-}" ] || debugfs -R "dump \"/${1#./}\" $work/before" "$sound" >/dev/null 2>&1
  perl -e '
    open A, "<", $ARGV[0] or exit 1; open B, "<", $ARGV[1] or exit 1; open C, "<", $ARGV[2] or exit 1;
    while (my $n = read A, $a, 512) {
      read B, $b, 512;
      read C, $c, 512;
      exit 1 if substr($b, 0, $n) ne $a && $a =~ /[^\0]/ && $b ne $c;
    }' "$theirs" "$ours" "$work/before"
}

# Every file of the first inventory is in the second one. One that moved is in lost+found there; one that e2fsck put into
# lost+found may have kept its name; one that is as it was before the damage ($work/list.sound, if there) needs no more.
saved() { # LIST-OF-E2FSCK LIST-OF-DAFSCK
  LC_ALL=C comm -23 "$1" "$2" >"$work/moved.all"
  [ -f "$work/list.sound" ] || : >"$work/list.sound"
  LC_ALL=C comm -12 "$work/list.sound" "$2" | cut -f2 >"$work/as-before"
  LC_ALL=C awk -F'\t' 'FNR == NR { good[$1]; next } !($2 in good)' "$work/as-before" "$work/moved.all" >"$work/moved"
  LC_ALL=C comm -13 "$1" "$2" >"$work/extra"
  LC_ALL=C awk -F'\t' '
    FNR == NR { if ($2 ~ /^\.\/lost\+found\//) lost[$1]++; else named[$1]++; next }
    lost[$1]-- > 0 { next }
    $2 ~ /^\.\/lost\+found\// && named[$1]-- > 0 { next }
    { print }' "$work/extra" "$work/moved" | while IFS=$'\t' read -r what path; do
    holds_more "$path" || printf '%s %s\n' "${what:0:10}" "$path"
  done | head -n 3
}

# The verdict on $work/image; why it differs, or nothing. Exit codes of e2fsck -fn and -fy are told.
verdict() { # N Y
  local got=0 strict=0
  run_dafsck "$work/out" -fn "$work/image" || got=$?
  [ "$got" -lt 99 ] || { echo "did not end ($got)"; return; }
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
  inventory "$work/theirs" tree.theirs >"$work/list.theirs" || return
  inventory "$work/image" tree >"$work/list" || { echo "its files cannot be read in time"; return; }
  lost=$(saved "$work/list.theirs" "$work/list")
  [ -z "$lost" ] || echo "not saved: ${lost//$'\n'/, }"
}
