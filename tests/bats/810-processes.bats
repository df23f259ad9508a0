# SPDX-License-Identifier: GPL-2.0-or-later
# Real processes: killed at any instant, many at once, without room, interrupted by signals.
load helpers

# Every file that was acknowledged is there with its content; files beyond that are whole, too.
check_numbers() { # IMAGE ACKNOWLEDGED
  local want
  dawrite -q "$1" flush || return 1
  assert_fsck_clean "$1"
  run_tool 0 dafsdebug -R 'ls -p /' "$1"
  while read -r want; do
    grep -q "/f$want/" <<<"$output" || { echo "f$want was acknowledged and is not there"; return 1; }
    [ "$(dawrite "$1" cat "/f$want")" = "content of $want" ] || { echo "f$want has other content"; return 1; }
  done <"$2"
}

@test "kill -9 of commands and flushes at random instants loses nothing that was acknowledged" {
  local rounds=50 i pid
  [ -z "${DAFS_TEST_LONG:-}" ] || rounds=500
  mkdafs -q img 16M
  : >acked
  RANDOM=${DAFS_TEST_SEED:-7}
  for ((i = 1; i <= rounds; i++)); do
    (
      printf 'content of %s' "$i.a" | dawrite -q img write "/f$i.a" && echo "$i.a" >>acked
      [ $((i % 3)) -ne 0 ] || dawrite -q img flush
      printf 'content of %s' "$i.b" | dawrite -q img write "/f$i.b" && echo "$i.b" >>acked
    ) 3>&- &
    pid=$!
    sleep "0.0$((RANDOM % 100 + 100))"
    # Whatever the subshell runs at this instant; it goes on with its next command.
    pgrep -P "$pid" | xargs -r kill -9 2>/dev/null || true
    wait "$pid" || true
  done
  [ "$(wc -l <acked)" -gt 10 ]
  check_numbers img acked
}

@test "many processes write one image: every write is there, none twice" {
  local procs=8 writes=15 p i
  [ -z "${DAFS_TEST_LONG:-}" ] || { procs=32 writes=100; }
  mkdafs -q -N 8192 img 32M
  for ((p = 0; p < procs; p++)); do
    (
      for ((i = 0; i < writes; i++)); do
        printf '%s-%s\n' "$p" "$i" | dawrite -q --lock-timeout 600 img write -a /log || echo "$p-$i" >>refused
        printf 'content of %s.%s' "$p" "$i" | dawrite -q --lock-timeout 600 img write "/f$p.$i" && echo "$p.$i" >>"acked.$p"
      done
    ) 3>&- &
  done
  wait
  [ ! -e refused ]
  cat acked.* >acked
  [ "$(wc -l <acked)" -eq $((procs * writes)) ]
  dawrite -q img flush
  dawrite img cat /log >log
  [ "$(wc -l <log)" -eq $((procs * writes)) ]
  [ "$(sort -u log | wc -l)" -eq $((procs * writes)) ]
  assert_fsck_clean img
  run_tool 0 dafsdebug -R 'ls -p /' img
  for ((p = 0; p < procs; p++)); do grep -q "/f$p.$((writes - 1))/" <<<"$output"; done
}

@test "a second process waits with a message, and gives up after --lock-timeout" {
  mkdafs -q img 8M
  mkfifo pipe
  dawrite -q img write /slow <pipe 3>&- &
  exec 9>pipe
  sleep 0.3
  run_tool 1 dawrite --lock-timeout 1 img ls /
  has_stderr "in use by another process, waiting"
  printf 'at last' >&9
  exec 9>&-
  wait
  run_tool 0 dawrite --lock-timeout 30 img cat /slow
  [ "$output" = "at last" ]
}

@test "SIGINT and SIGTERM end a command; what was pending stays" {
  local sig pid
  mkdafs -q img 8M
  printf 'kept' | dawrite -q img write /kept
  for sig in INT TERM; do
    mkfifo "pipe.$sig"
    # A job in the background ignores SIGINT unless it is asked not to.
    env --default-signal=INT,TERM dawrite -q img write "/slow.$sig" <"pipe.$sig" 3>&- 2>"stderr.$sig" &
    pid=$!
    exec 9>"pipe.$sig"
    printf 'some bytes' >&9
    sleep 0.3
    kill "-$sig" "$pid"
    # In a process of its own: nobody may be reading any more.
    (printf 'more bytes' >&9) || true
    exec 9>&-
    if wait "$pid"; then echo "SIG$sig was not noticed"; return 1; fi
    run_tool 0 dawrite img cat /kept
    [ "$output" = kept ]
    run_tool 1 dawrite img cat "/slow.$sig"
  done
  dawrite -q img flush
  assert_fsck_clean img
}

@test "no room under the cache: the command is refused, what was pending stays" {
  mkdafs -q img 16M
  printf 'kept' | dawrite -q img write /kept
  head -c 4M /dev/urandom >four
  # dawrite takes SIGXFSZ as what it is, an error of the write.
  run_tool 1 bash -c 'trap "" XFSZ; ulimit -f 1024; dawrite -q img put four /four'
  has_stderr "File too large"
  run_tool 0 dawrite img cat /kept
  run_tool 1 dawrite img stat /four
  dawrite -q img put four /four
  dawrite -q img flush
  assert_fsck_clean img
  dawrite img cat /four | cmp - four
}

@test "a full file system under image and cache: refused, and complete once there is room" {
  need_root_loop
  mkdir small
  mount -t tmpfs -o size=12M tmpfs small
  mounted+=("$PWD/small")
  truncate -s 64M small/img
  mkdafs -q -F -E nodiscard -O ^has_journal small/img 64M || mkdafs -q -F small/img 64M
  head -c 3M /dev/urandom >three
  dawrite -q small/img put three /three
  # Room for the spool, not for the image's own blocks beside it.
  fallocate -l "$(df --output=avail -B1 small | tail -n 1)" small/ballast || true
  run_tool 1 dawrite -q small/img flush
  has_stderr "No space left on device"
  rm small/ballast
  run_tool 0 dawrite -q small/img flush
  assert_fsck_clean small/img
  dawrite small/img cat /three | cmp - three
}

@test "new files in any number are one transaction of a small journal" {
  local files=20000
  [ -z "${DAFS_TEST_LONG:-}" ] || files=200000
  mkdafs -q -J size=4 -N $((files + 1000)) -b 4096 img 2G
  many_tar "$files" "d%03d/f%06d" 1000
  run_tool 0 dawrite img import many.tar /
  run_tool 0 dawrite --json img flush
  grep -qE '"transactions": 1$' <<<"$output"
  assert_fsck_clean img
}
