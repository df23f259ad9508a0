#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# rdump: trees out of the image as they went in, and no way out of the target directory.

load helpers

@test "a tree comes out as it went in" {
  make_tree src
  # Set-id bits are root's to bring out (the next test).
  [ "$(id -u)" -eq 0 ] || find src -type f -perm /6000 -exec chmod ug-s {} +
  run_tool 0 mkdafs -q -b 4096 img 64M
  run_tool 0 dawrite -f img import src
  mkdir out
  run_tool 0 dafsdebug -R "rdump / out" img
  rmdir out/lost+found
  touch -r src out
  compare_trees src out
  mkdir out2
  run_tool 0 dafsdebug -R "rdump /deep /hello <2> out2" img
  compare_trees src/deep out2/deep
  cmp src/hello out2/hello
  # Again over what is there: the same.
  run_tool 0 dafsdebug -R "rdump / out" img
  rmdir out/lost+found
  touch -r src out
  compare_trees src out
}

@test "as an ordinary user: owners and set-id bits stay behind" {
  [ "$(id -u)" -eq 0 ] || skip "needs root to become somebody else"
  need setpriv
  run_tool 0 mkdafs -q img 16M
  printf x | run_tool 0 dawrite -f img write /s
  run_tool 0 dawrite -f img chmod 4755 /s
  run_tool 0 dawrite -f img chown 5:6 /s
  run_tool 0 dawrite -f img mknod /null c 1 3
  printf y | run_tool 0 dawrite -f img write /t
  chmod 755 "$T"
  mkdir out
  chown 1234:1234 out
  run_tool 1 setpriv --reuid 1234 --regid 1234 --clear-groups "$(command -v dafsdebug)" -R "rdump / out" img
  has_stderr "out/null: Operation not permitted"
  [ "$(stat -c '%a %u' out/s)" = "755 1234" ]
  [ "$(cat out/t)" = y ]
}

# Without checksums names can be replaced in the image's bytes.
plain_image() { run_tool 0 mkdafs -q -O ^metadata_csum img 16M; }

@test "names with slashes, dots and NULs are left out" {
  plain_image
  for name in '.._.._escaped' '_absolute' 'nul-byte' '--' '---' good; do
    printf 'x' | run_tool 0 dawrite -f img write -- "/$name" 2>/dev/null || printf 'x' | run_tool 0 dawrite -f img write "/$name"
  done
  perl -0777 -pi -e 's/\.\._\.\._escaped/..\/..\/escaped/; s/_absolute/\/absolute/; s/nul-byte/nul\0byte/' img
  mkdir -p a/b/out
  run_tool 1 dafsdebug -R "rdump / a/b/out" img
  has_stderr "Path leads outside the target directory"
  [ "$(grep -c 'Path leads outside' <<<"$stderr")" -eq 3 ]
  [ ! -e a/escaped ]
  [ ! -e a/b/escaped ]
  [ ! -e /absolute ]
  [ -f a/b/out/good ]
  [ "$(find a -type f | wc -l)" -eq 3 ]
}

@test "a symlink and a directory of the same name" {
  plain_image
  mkdir outside out
  run_tool 0 dawrite -f img ln -s "$T/outside" /dirB
  run_tool 0 dawrite -f img mkdir /dirA
  printf 'x' | run_tool 0 dawrite -f img write /dirA/file
  perl -0777 -pi -e 's/dirA/dirB/' img
  run_tool 1 dafsdebug -R "rdump / out" img
  [ -z "$(ls outside)" ]
  [ "$(readlink out/dirB)" = "$T/outside" ]
}

@test "what was in the target before is not followed either" {
  run_tool 0 mkdafs -q img 16M
  run_tool 0 dawrite -f img mkdir /d
  printf 'new' | run_tool 0 dawrite -f img write /d/file
  printf 'new' | run_tool 0 dawrite -f img write /f
  printf 'new' | run_tool 0 dawrite -f img write /h
  mkdir outside out
  printf 'old' >outside/f
  printf 'old' >outside/h
  ln -s ../outside out/d
  ln -s ../outside/f out/f
  ln outside/h out/h
  run_tool 1 dafsdebug -R "rdump / out" img
  has_stderr "out/d: Not a directory"
  [ ! -e outside/file ]
  [ "$(cat outside/f)" = old ]
  [ "$(cat outside/h)" = old ]
  [ "$(cat out/f)" = new ]
  [ ! -L out/f ]
  [ "$(cat out/h)" = new ]
}

@test "a directory below itself is entered once" {
  plain_image
  run_tool 0 dawrite -f img mkdir /a /a/b
  printf 'x' | run_tool 0 dawrite -f img write /a/b/file
  debugfs -w -R "ln <2> /a/b/root" img
  debugfs -w -R "ln /a /a/b/again" img
  mkdir out
  run_tool 1 dafsdebug -R "rdump / out" img
  [ "$(grep -c 'directory with two names' <<<"$stderr")" -eq 2 ]
  [ "$(find out -type f | wc -l)" -eq 1 ]
  mkdir out2
  run_tool 1 dafsdebug -R "rdump a out2" img
  [ -f out2/a/b/file ]
}

@test "hard links, a deep tree, a missing target" {
  run_tool 0 mkdafs -q img 16M
  mkdir src
  dir=src
  for i in $(seq 1 300); do dir=$dir/d; done
  mkdir -p "$dir"
  printf 'deep' >"$dir/f"
  ln "$dir/f" src/g
  run_tool 0 dawrite -f img import src
  mkdir out
  run_tool 0 dafsdebug -R "rdump / out" img
  [ "$(cat out/g)" = deep ]
  [ "$(stat -c %h out/g)" -eq 2 ]
  compare_trees src/d out/d
  run_tool 1 dafsdebug -R "rdump / nope" img
  [ "$stderr" = "dafsdebug: nope: No such file or directory" ]
}
