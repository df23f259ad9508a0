/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tool_dawrite - dawrite's main under another name, for mutate.c. */
#include "tests/fuzz/mutate.h"

#define main mutate_dawrite
#include "dawrite/main.c"
