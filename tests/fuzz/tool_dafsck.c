/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tool_dafsck - dafsck's main under another name, for mutate.c. */
#include "tests/fuzz/mutate.h"

#define main mutate_dafsck
#include "dafsck/main.c"
