/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tool_dafsdebug - dafsdebug's main under another name, for mutate.c. */
#include "tests/fuzz/mutate.h"

#define main mutate_dafsdebug
#include "dafsdebug/main.c"
