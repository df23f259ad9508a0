/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shell - requests typed on a terminal: line editing, history, completion of requests and of names
 * in the image (libedit). An interrupt ends the running request, not the shell.
 */
#include "config.h"

#include <editline/readline.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "dafsdebug/dafsdebug.h"

#define HISTORY_LINES 1000

/* libedit's callbacks have no argument. */
static struct dafsdebug *shell_dd;

/* ---- completion ---- */

struct matches {
	char **v;
	size_t n, room;
};

static void add_match(struct matches *m, char *text)
{
	if (!text || dafs_array_grow(&m->v, m->n + 1, &m->room, sizeof(*m->v))) {
		free(text);
		return;
	}
	m->v[m->n++] = text;
	m->v[m->n] = NULL;
}

static void match_requests(struct matches *m, const char *text)
{
	for (const struct dafs_cli_cmd *row = dafsdebug_requests; row->name; row++)
		if (!strncmp(row->name, text, strlen(text)))
			add_match(m, strdup(row->name));
}

struct name_match {
	struct matches *m;
	const char *dir; /* as typed, with its slash */
	int dir_len;
	const char *begins;
};

static errcode_t match_entry(void *arg, const struct dafs_inspect_dirent *de)
{
	struct name_match *nm = arg;
	size_t len = strlen(nm->begins);
	bool is_dir = de->file_type == EXT2_FT_DIR;
	char *text;

	if (len > de->name_len || memcmp(de->name, nm->begins, len) ||
	    (de->name[0] == '.' && !len))
		return 0;
	if (asprintf(&text, "%.*s%.*s%s", nm->dir_len, nm->dir, de->name_len, de->name,
		     is_dir ? "/" : "") < 0)
		return ENOMEM;
	add_match(nm->m, text);
	return 0;
}

/* Names of the image that begin with text, which may have directories in front. */
static void match_names(struct matches *m, const char *text)
{
	const char *slash = strrchr(text, '/');
	struct name_match nm = { .m = m, .dir = text, .begins = slash ? slash + 1 : text };
	struct dafs_image *img = shell_dd->img;
	struct dafs_inspect in;
	char *dir;
	uint32_t ino;

	nm.dir_len = (int)(nm.begins - text);
	dir = strndup(text, (size_t)nm.dir_len);
	if (!dir || !img)
		goto out;
	if (dafs_inspect_resolve(img, shell_dd->cwd, dir, true, &ino))
		goto out;
	if (!dafs_inspect_load(img, ino, &in))
		dafs_inspect_dir(img, &in, 0, match_entry, &nm);
	dafs_inspect_fini(&in);
out:
	free(dir);
}

/* What all matches begin with. */
static char *common_start(const struct matches *m)
{
	size_t len = strlen(m->v[0]);

	for (size_t i = 1; i < m->n; i++)
		for (size_t k = 0; k < len; k++)
			if (m->v[i][k] != m->v[0][k])
				len = k;
	return strndup(m->v[0], len);
}

/* readline's form: the common start, then the matches. */
static char **complete(const char *text, int start, int end)
{
	struct matches m = { 0 };
	char **list;

	(void)end;
	rl_attempted_completion_over = 1;
	if (start)
		match_names(&m, text);
	else
		match_requests(&m, text);
	if (!m.n)
		return NULL;
	rl_completion_append_character = m.v[0][strlen(m.v[0]) - 1] == '/' ? '\0' : ' ';
	list = calloc(m.n + 2, sizeof(*list));
	if (list) {
		list[0] = common_start(&m);
		memcpy(list + 1, m.v, m.n * sizeof(*list));
	}
	free(m.v);
	return list;
}

/* ---- the loop ---- */

errcode_t dafsdebug_shell(struct dafsdebug *dd)
{
	static char name[] = "dafsdebug";
	char *line;

	shell_dd = dd;
	rl_readline_name = name;
	rl_attempted_completion_function = complete;
	using_history();
	stifle_history(HISTORY_LINES);
	dafs_cli_rearm(&dd->cli);
	while (!dd->quit) {
		line = readline("dafsdebug: ");
		if (!line && !dd->cli.ctx.cancel)
			break;
		if (line && line[strspn(line, " \t")]) {
			add_history(line);
			dafsdebug_run_line(dd, line);
		} else if (!line) {
			putchar('\n');
		}
		free(line);
		dafs_cli_rearm(&dd->cli);
	}
	if (!dd->quit)
		putchar('\n');
	clear_history();
	return 0; /* a shell that was used as it should has not failed, whatever its requests did */
}
