#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# es, cache, resv: pending work as dafsdebug shows it, before and after the flush.

load helpers

# The es tree as "type:start+length" words.
es() { dafsdebug --json -R "es $1" img | jq -r '[.entries[] | "\(.status):\(.logical)+\(.length)"] | join(" ")'; }

setup() {
  dafs_setup
  need jq
  run_tool 0 mkdafs -q -b 4096 img 64M
  head -c 40960 /dev/urandom >ten
}

@test "es: written, delayed, unwritten and holes" {
  run_tool 0 dawrite -f img put ten /f
  [ "$(es /f)" = "written:0+10" ]
  run_tool 0 dawrite img write -o 61440 --from ten /f
  [ "$(es /f)" = "written:0+10 hole:10+5 delayed:15+10" ]
  run_tool 0 dawrite img fallocate /f 45056 8192
  run_tool 0 dawrite img punch /f 4096 8192
  [ "$(es /f)" = "written:0+1 hole:1+2 written:3+7 hole:10+1 delayed:11+2 hole:13+2 delayed:15+10" ]
  run_tool 0 dafsdebug -R "es /f" img
  has_output "/f: inode 12, 102400 bytes, 12 blocks delayed, 12 clusters reserved"
  run_tool 0 dawrite img flush
  [ "$(es /f)" = "written:0+1 hole:1+2 written:3+7 hole:10+1 unwritten:11+2 hole:13+2 written:15+10" ]
  run_tool 0 dafsdebug -R "es <12>" img
  has_output "0 blocks delayed, 0 clusters reserved"
}

@test "es: a file that is only pending, relative paths, what is no file" {
  run_tool 0 dawrite img mkdir /d
  run_tool 0 dawrite img put ten /d/f
  run_tool 0 dafsdebug -R "es /d/f" img
  has_output "/d/f: no inode yet, 40960 bytes, 10 blocks delayed, 10 clusters reserved"
  run_tool 0 dawrite -f img mkdir /e
  run_tool 0 dawrite img put ten /e/g
  run_tool 0 bash -c 'printf "cd e\nes g\n" | dafsdebug img'
  has_output "g: no inode yet"
  run_tool 1 dafsdebug -R "es /e" img
  has_stderr "/e: only regular files are delayed"
  run_tool 1 dafsdebug -R "es /nope" img
}

@test "cache and resv follow what is pending" {
  run_tool 0 dafsdebug -R cache img
  [ "$output" = "Nothing is pending." ]
  run_tool 0 dafsdebug --json -R resv img
  free=$(jq .free_clusters <<<"$output")
  [ "$free" -eq "$(dumpe2fs -h img 2>/dev/null | awk '/^Free blocks/ { print $3 }')" ]
  [ "$(jq .dirty_clusters <<<"$output")" -eq 0 ]
  run_tool 0 dawrite img put ten /f
  run_tool 0 dawrite img mkdir /d
  run_tool 0 dafsdebug --json -R "cache -l" img
  [ "$(jq -c '[.new_inodes, .changed_inodes, .removed_inodes, .names, .dirty_blocks, .delayed_blocks, .commands]' <<<"$output")" = "[2,1,0,2,10,10,2]" ]
  [ "$(jq -r '[.pending[].path] | sort | join(" ")' <<<"$output")" = "/ /d /f" ]
  run_tool 0 dafsdebug --json -R resv img
  [ "$(jq -c '[.free_clusters, .dirty_clusters, .promised_inodes]' <<<"$output")" = "[$free,10,2]" ]
  [ "$(jq '.left_for_root == .free_clusters - .dirty_clusters - .promised_clusters' <<<"$output")" = true ]
  run_tool 0 dafsdebug -R cache img
  has_output "Inodes:   3: 2 new, 1 changed, 0 removed"
  run_tool 0 dawrite img rm /f
  run_tool 0 dafsdebug --json -R resv img
  [ "$(jq -c '[.dirty_clusters, .promised_inodes]' <<<"$output")" = "[0,1]" ]
  run_tool 0 dawrite img flush
  run_tool 0 dafsdebug -R cache img
  [ "$output" = "Nothing is pending." ]
}

@test "--cache, and a cache that does not fit" {
  run_tool 0 dawrite --cache "$T/elsewhere" img put ten /f
  run_tool 0 dafsdebug -R cache img
  [ "$output" = "Nothing is pending." ]
  run_tool 0 dafsdebug --cache "$T/elsewhere" -R "es /f" img
  has_output "10 blocks delayed"
  run_tool 0 dawrite img put ten /g
  debugfs -w -R "ssv mtime now" img
  run_tool 1 dafsdebug -R "es /g" img
  has_stderr "changed behind its offline cache"
  run_tool 0 dafsdebug -R "ls -p" img
}
