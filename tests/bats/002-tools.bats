#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What all four tools have in common: help, version, completion, usage errors, and manual pages that agree.

load helpers

each_tool() { # FUNCTION
  local tool
  for tool in mkdafs dawrite dafsck dafsdebug; do "$1" "$tool"; done
}

usage_status() { [ "$1" = dafsck ] && echo 16 || echo 1; }

@test "--help goes to standard output and names the tool" {
  check() {
    run_tool 0 "$1" --help
    [[ $output == "Usage: $1 "* ]]
    [ -z "$stderr" ]
    [ "$(awk 'length > 80' <<<"$output" | grep -cv -e '^  [a-z]' -e '^Usage:')" -eq 0 ]
  }
  each_tool check
}

@test "--version and -V" {
  check() {
    run_tool 0 "$1" --version
    [[ $output =~ ^"$1 (dafs) "[0-9]+\.[0-9]+\.[0-9]+$ ]]
    run_tool 0 "$1" -V
  }
  each_tool check
}

@test "wrong usage is one line on standard error" {
  check() {
    local status_wanted
    status_wanted=$(usage_status "$1")
    run_tool "$status_wanted" "$1" --no-such-option x
    [ "$(wc -l <<<"$stderr")" -eq 1 ]
    has_stderr "$1: unknown or ambiguous option --no-such-option"
    [ -z "$output" ]
  }
  each_tool check
  for tool in mkdafs dawrite; do
    run_tool 1 $tool
    has_stderr "$tool: too few operands"
  done
  run_tool 16 dafsck
  has_stderr "dafsck: no image is named"
}

@test "completion is valid bash and completes options" {
  check() {
    "$1" --completion >c.bash
    bash -n c.bash
    run_tool 0 bash -c '. ./c.bash; COMP_WORDS=('"$1"' --he) COMP_CWORD=1; _'"$1"'; echo "${COMPREPLY[*]}"'
    [ "$output" = --help ]
  }
  each_tool check
}

@test "a full standard output is a failure" {
  check() {
    run_tool 1 bash -c "exec $1 --help >/dev/full"
    has_stderr "$1: standard output: No space left on device"
  }
  for tool in mkdafs dawrite dafsdebug; do check $tool; done
  run_tool 8 bash -c 'exec dafsck --help >/dev/full'
}

@test "manual pages and --help agree" {
  check() { run_tool 0 "$DAFS_SRCDIR/tests/check-man" "$1" "$DAFS_SRCDIR/man/$1.8"; }
  each_tool check
}

@test "manual pages are well-formed" {
  need groff
  for page in "$DAFS_SRCDIR"/man/*.[0-9]; do
    run_tool 0 groff -man -Tutf8 -ww -z "$page"
    [ -z "$stderr" ]
  done
}
