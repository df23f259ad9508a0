/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mutate - the tools' mains as functions (tool_*.c): a child is forked for each, without exec. */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

int mutate_dawrite(int argc, char **argv);
int mutate_dafsck(int argc, char **argv);
int mutate_dafsdebug(int argc, char **argv);

#endif
