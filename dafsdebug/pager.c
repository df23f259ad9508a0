/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pager - standard output through a pager while one request runs, on a terminal only.
 *
 * DEBUGFS_PAGER, then PAGER, name it (a shell command; "" or "__none__": no pager); else "pager" or
 * "less", where there is one. The pager leaving early is no error: SIGPIPE is ignored meanwhile,
 * and the error state of standard output is taken back.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dafsdebug/dafsdebug.h"

static pid_t pager_pid; /* 0: none runs */
static int saved_stdout = -1;
static void (*saved_sigpipe)(int);

static const char *pager_command(void)
{
	static const char *const usual[] = { "/usr/bin/pager", "/usr/bin/less", "/bin/more" };
	const char *name = secure_getenv("DEBUGFS_PAGER");

	if (!name)
		name = secure_getenv("PAGER");
	if (name)
		return *name && strcmp(name, "__none__") ? name : NULL;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (!access(usual[i], X_OK))
			return usual[i];
	return NULL;
}

static void become_pager(const char *command, int in)
{
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_IGN); /* an interrupt is for the request, not for what is shown of it */
	dup2(in, STDIN_FILENO);
	setenv("LESS", "FRX", 0);
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

void dafsdebug_pager_begin(void)
{
	const char *command = isatty(STDOUT_FILENO) ? pager_command() : NULL;
	int fds[2];

	if (!command || pager_pid || pipe2(fds, O_CLOEXEC))
		return;
	fflush(stdout);
	saved_stdout = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	pager_pid = saved_stdout < 0 ? -1 : fork();
	if (!pager_pid)
		become_pager(command, fds[0]);
	close(fds[0]);
	if (pager_pid > 0) {
		saved_sigpipe = signal(SIGPIPE, SIG_IGN);
		dup2(fds[1], STDOUT_FILENO);
	} else if (saved_stdout >= 0) {
		close(saved_stdout);
	}
	pager_pid = pager_pid > 0 ? pager_pid : 0;
	close(fds[1]);
}

void dafsdebug_pager_end(void)
{
	if (!pager_pid)
		return;
	fflush(stdout);
	clearerr(stdout);
	dup2(saved_stdout, STDOUT_FILENO);
	close(saved_stdout);
	while (waitpid(pager_pid, NULL, 0) < 0 && errno == EINTR)
		;
	signal(SIGPIPE, saved_sigpipe);
	pager_pid = 0;
}
