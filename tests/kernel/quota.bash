# SPDX-License-Identifier: GPL-2.0-or-later
# tests/kernel/quota.bash: the same changes by uid 1000 in an image with quota limits, by the kernel and by dawrite; each says
# of every change whether it was accepted. Sourced by 250-quota.bats.
#
#   quota_ops SEED N            N changes, one a line
#   quota_kernel DIR            what the kernel says to them (stdin), in the mounted DIR/u, which belongs to 1000:1000
#   quota_dafs IMAGE            what dawrite says, in /u
#
# Changes take a block at a time: where the kernel runs out in the middle of a write it keeps the first part, dawrite nothing.

quota_ops() {
  awk -v seed="$1" -v n="$2" 'BEGIN {
    srand(seed)
    kinds = split("make block block block block block mkdir rm trunc symlink attr rename chgrp link punch", kind, " ")
    for (i = 0; i < n; i++)
      print kind[1 + int(rand() * kinds)], 1 + int(rand() * 12), 1 + int(rand() * 12)
  }'
}

# The change "$1 $2 $3" as shell commands; a file that is to be changed is there.
quota_kernel_op() {
  local long
  printf -v long '%0100d' 7
  case $1 in
  make) [ -e "f$2" ] || : >"f$2" ;;
  block) [ ! -e "f$2" ] || dd if=/dev/zero bs=4096 count=1 conv=notrunc oflag=append of="f$2" status=none ;;
  mkdir) [ -e "d$2" ] || mkdir "d$2" ;;
  rm) rm -f "f$2" "s$2" && { [ ! -e "d$2" ] || rmdir "d$2"; } ;;
  trunc) [ ! -e "f$2" ] || truncate -s "$(($3 % 4 * 4096))" "f$2" ;;
  symlink) [ -h "s$2" ] || ln -s "$long" "s$2" ;;
  attr) [ ! -e "f$2" ] || setfattr -n user.a -v "$long$long$long$long$long" "f$2" ;;
  rename) [ ! -e "f$2" ] || [ "$2" = "$3" ] || mv -f "f$2" "f$3" ;;
  chgrp) [ ! -e "f$2" ] || chgrp "$((1000 + $3 % 2 * 1000))" "f$2" ;;
  link) [ ! -e "f$2" ] || [ -e "l$3" ] || ln "f$2" "l$3" ;;
  punch) [ ! -e "f$2" ] || falloc -p "f$2" 4096 8192 ;;
  esac
}

quota_kernel() {
  export -f quota_kernel_op
  # shellcheck disable=SC2016
  (cd "$1/u" && setpriv --reuid 1000 --regid 1000 --groups 1000,2000 bash -c '
    while read -r op; do quota_kernel_op $op 2>/dev/null && echo "ok $op" || echo "no $op"; done')
}

# The same as lines for dawrite script; -e and -h are asked of what is pending.
quota_dafs_op() {
  local img=$1 long
  shift
  printf -v long '%0100d' 7
  there() { dawrite "$img" stat "/u/$1" >/dev/null 2>&1; }
  case $1 in
  make) there "f$2" || printf 'touch /u/f%s\nchown 1000:1000 /u/f%s\n' "$2" "$2" ;;
  block) ! there "f$2" || printf 'write -a --from %s /u/f%s\n' "$block" "$2" ;;
  mkdir) there "d$2" || printf 'mkdir /u/d%s\nchown 1000:1000 /u/d%s\n' "$2" "$2" ;;
  rm) printf 'rm -rf /u/f%s /u/s%s /u/d%s\n' "$2" "$2" "$2" ;;
  trunc) ! there "f$2" || printf 'truncate /u/f%s %s\n' "$2" "$(($3 % 4 * 4096))" ;;
  symlink) there "s$2" || printf 'ln -s %s /u/s%s\nchown 1000:1000 /u/s%s\n' "$long" "$2" "$2" ;;
  attr) ! there "f$2" || printf 'setfattr -n user.a -v %s /u/f%s\n' "$long$long$long$long$long" "$2" ;;
  rename) ! there "f$2" || [ "$2" = "$3" ] || printf 'mv /u/f%s /u/f%s\n' "$2" "$3" ;;
  chgrp) ! there "f$2" || printf 'chown 1000:%s /u/f%s\n' "$((1000 + $3 % 2 * 1000))" "$2" ;;
  link) ! there "f$2" || there "l$3" || printf 'ln /u/f%s /u/l%s\n' "$2" "$3" ;;
  punch) ! there "f$2" || printf 'punch /u/f%s 4096 8192\n' "$2" ;;
  esac
}

quota_dafs() {
  local op block
  block=$(mktemp)
  head -c 4096 /dev/zero >"$block"
  while read -r op; do
    # shellcheck disable=SC2086
    quota_dafs_op "$1" $op >"$block.script"
    dawrite -q --no-sync "$1" script "$block.script" 2>"$block.err" && echo "ok $op" || echo "no $op"
    grep -v 'Disk quota exceeded' "$block.err" || true
  done
  rm -f "$block" "$block".*
}
