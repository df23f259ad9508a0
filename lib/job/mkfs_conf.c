/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mkfs_conf - see mkfs_conf.h.
 *
 * A conf is a flat list of relations, each with the path it stands at ("section", "subsection"
 * or none); the files are small, so looking up is a walk through the list.
 */
#include "config.h"

#include "job/mkfs_conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

/* Bigger than any configuration that means well. */
#define MAX_FILE_BYTES (1 << 20)
#define MAX_DEPTH      8

struct relation {
	STAILQ_ENTRY(relation) next;
	const char *section;
	const char *sub; /* NULL: directly in the section */
	const char *tag; /* NULL: this says that the subsection exists */
	const char *value;
};

struct dafs_mkfs_conf {
	STAILQ_HEAD(, relation) relations;
	char *text; /* all strings point into it */
};

/* What e2fsprogs 1.47 has compiled in, as Debian ships it. */
static const char builtin[] =
	"[defaults]\n"
	"base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr\n"
	"default_mntopts = acl,user_xattr\n"
	"enable_periodic_fsck = 0\n"
	"blocksize = 4096\n"
	"inode_size = 256\n"
	"inode_ratio = 16384\n"
	"[fs_types]\n"
	"ext3 = {\nfeatures = has_journal\n}\n"
	"ext4 = {\n"
	"features = "
	"has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize\n"
	"}\n"
	"small = {\nblocksize = 1024\ninode_ratio = 4096\n}\n"
	"floppy = {\nblocksize = 1024\ninode_ratio = 8192\n}\n"
	"big = {\ninode_ratio = 32768\n}\n"
	"huge = {\ninode_ratio = 65536\n}\n"
	"news = {\ninode_ratio = 4096\n}\n"
	"largefile = {\ninode_ratio = 1048576\nblocksize = -1\n}\n"
	"largefile4 = {\ninode_ratio = 4194304\nblocksize = -1\n}\n"
	"hurd = {\nblocksize = 4096\ninode_size = 128\nwarn_y2038_dates = 0\n}\n";

/* Where the parser is. */
struct parser {
	struct dafs_ctx *ctx;
	struct dafs_mkfs_conf *conf;
	const char *name;
	unsigned line;
	const char *section;	    /* NULL: before the first one */
	const char *sub[MAX_DEPTH]; /* open subsections; only the first level is ever asked for */
	unsigned depth;
	bool shadowed;	     /* sub[0] stood here before: the first one counts */
	const char *opening; /* "tag =" was seen, its brace is to come on a line of its own */
};

static errcode_t syntax(const struct parser *p, const char *what)
{
	return dafs_fail(p->ctx, DAFS_ET_SYNTAX, "%s:%u: %s", p->name, p->line, what);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static const struct relation *find(const struct dafs_mkfs_conf *conf, const char *section,
				   const char *sub, const char *tag)
{
	const struct relation *relation;

	STAILQ_FOREACH(relation, &conf->relations, next) {
		if (same(relation->section, section) && same(relation->sub, sub) &&
		    same(relation->tag, tag))
			return relation;
	}
	return NULL;
}

static char *skip_blanks(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

static void cut_blanks(char *s)
{
	char *end = s + strlen(s);

	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
}

static bool ends_here(const char *s)
{
	return !*s || *s == ';' || *s == '#';
}

/* Take a quoted text in place: *s stands on the opening quote and is left behind the closing
 * one. */
static char *unquote(char **s)
{
	char *start = *s + 1, *in = start, *out = start;

	for (; *in && *in != '"'; in++) {
		if (*in == '\\' && in[1]) {
			in++;
			*out++ = *in == 'n' ? '\n' : *in == 't' ? '\t' : *in == 'b' ? '\b' : *in;
		} else {
			*out++ = *in;
		}
	}
	*s = *in ? in + 1 : in;
	*out = '\0';
	return start;
}

static errcode_t add(struct parser *p, const char *sub, const char *tag, const char *value)
{
	struct relation *relation = malloc(sizeof(*relation));

	if (!relation)
		return dafs_fail(p->ctx, ENOMEM, "%s", p->name);
	*relation =
		(struct relation){ .section = p->section, .sub = sub, .tag = tag, .value = value };
	STAILQ_INSERT_TAIL(&p->conf->relations, relation, next);
	return 0;
}

static errcode_t open_sub(struct parser *p, const char *tag)
{
	if (p->depth == MAX_DEPTH)
		return syntax(p, "nested too deep");
	p->sub[p->depth++] = tag;
	if (p->depth > 1)
		return 0;
	p->shadowed = find(p->conf, p->section, tag, NULL);
	return p->shadowed ? 0 : add(p, tag, NULL, NULL);
}

static errcode_t parse_section(struct parser *p, char *s)
{
	char *end = strchr(s, ']'), *rest;

	if (p->depth)
		return syntax(p, "a section inside of braces");
	if (!end)
		return syntax(p, "] is missing");
	rest = end + 1;
	if (*rest == '*')
		rest++;
	if (!ends_here(skip_blanks(rest)))
		return syntax(p, "text behind the section's name");
	*end = '\0';
	p->section = s + 1;
	return 0;
}

/* "tag = value" or "tag = {"; s is the line without leading blanks. */
static errcode_t parse_relation(struct parser *p, char *s)
{
	char *tag = s, *value = strchr(s, '=');

	if (!value || value == s)
		return syntax(p, "a line needs the form tag = value");
	*value++ = '\0';
	cut_blanks(tag);
	if (*tag == '"')
		tag = unquote(&s);
	else if (*tag && tag[strlen(tag) - 1] == '*')
		tag[strlen(tag) - 1] = '\0';
	if (!p->section)
		return syntax(p, "a relation before the first section");
	value = skip_blanks(value);
	if (!*value) {
		p->opening = tag;
		return 0;
	}
	if (*value == '{' && ends_here(skip_blanks(value + 1)))
		return open_sub(p, tag);
	if (*value == '"')
		value = unquote(&value);
	else
		value[strcspn(value, "#;")] = '\0';
	cut_blanks(value);
	/* Deeper ones are legal and nobody's. */
	if (p->depth > 1 || (p->depth && p->shadowed))
		return 0;
	return add(p, p->depth ? p->sub[0] : NULL, tag, value);
}

static errcode_t parse_line(struct parser *p, char *line)
{
	char *s = skip_blanks(line);
	const char *opening = p->opening;

	if (ends_here(s))
		return 0;
	if (opening) {
		p->opening = NULL;
		if (*s != '{' || !ends_here(skip_blanks(s + 1)))
			return syntax(p, "{ is missing");
		return open_sub(p, opening);
	}
	if (*s == '[')
		return parse_section(p, s);
	if (*s == '}') {
		if (!p->depth)
			return syntax(p, "} without {");
		p->depth--;
		return 0;
	}
	return parse_relation(p, s);
}

errcode_t dafs_mkfs_conf_parse(struct dafs_ctx *ctx, const char *name, const char *text,
			       struct dafs_mkfs_conf **ret)
{
	struct dafs_mkfs_conf *conf = calloc(1, sizeof(*conf));
	struct parser p = { .ctx = ctx, .conf = conf, .name = name };
	errcode_t err = 0;
	char *rest, *line;

	*ret = NULL;
	if (!conf)
		return dafs_fail(ctx, ENOMEM, "%s", name);
	STAILQ_INIT(&conf->relations);
	conf->text = strdup(text);
	if (!conf->text) {
		err = dafs_fail(ctx, ENOMEM, "%s", name);
		goto out;
	}
	rest = conf->text;
	while (!err && (line = strsep(&rest, "\n"))) {
		p.line++;
		err = parse_line(&p, line);
	}
	if (!err && p.opening)
		err = syntax(&p, "{ is missing");
out:
	if (err)
		dafs_mkfs_conf_free(conf);
	else
		*ret = conf;
	return err;
}

/* The whole of a file as a text; *text is NULL when there is no such file. */
static errcode_t read_text(struct dafs_ctx *ctx, const char *path, char **text)
{
	FILE *in = fopen(path, "re");
	errcode_t err = 0;
	size_t len;

	*text = NULL;
	if (!in)
		return errno == ENOENT ? 0 : dafs_fail(ctx, errno, "%s", path);
	*text = malloc(MAX_FILE_BYTES + 1);
	if (!*text) {
		err = dafs_fail(ctx, ENOMEM, "%s", path);
		goto out;
	}
	errno = 0;
	len = fread(*text, 1, MAX_FILE_BYTES + 1, in);
	if (ferror(in))
		err = dafs_fail(ctx, errno ? errno : EIO, "%s", path);
	else if (len > MAX_FILE_BYTES)
		err = dafs_fail(ctx, EFBIG, "%s", path);
	else
		(*text)[len] = '\0';
out:
	fclose(in);
	if (err) {
		free(*text);
		*text = NULL;
	}
	return err;
}

errcode_t dafs_mkfs_conf_load(struct dafs_ctx *ctx, struct dafs_mkfs_conf **ret)
{
	const char *path = secure_getenv("MKE2FS_CONFIG");
	errcode_t err;
	char *text;

	*ret = NULL;
	if (!path)
		path = DAFS_MKFS_CONF_PATH;
	err = read_text(ctx, path, &text);
	if (err)
		return err;
	err = dafs_mkfs_conf_parse(ctx, path, text ? text : builtin, ret);
	free(text);
	return err;
}

void dafs_mkfs_conf_free(struct dafs_mkfs_conf *conf)
{
	struct relation *relation;

	if (!conf)
		return;
	while ((relation = STAILQ_FIRST(&conf->relations))) {
		STAILQ_REMOVE_HEAD(&conf->relations, next);
		free(relation);
	}
	free(conf->text);
	free(conf);
}

bool dafs_mkfs_conf_has_type(const struct dafs_mkfs_conf *conf, const char *type)
{
	return find(conf, "fs_types", type, NULL);
}

const char *dafs_mkfs_conf_raw(const struct dafs_mkfs_conf *conf, const char *section,
			       const char *sub, const char *tag)
{
	const struct relation *relation = find(conf, section, sub, tag);

	return relation ? relation->value : NULL;
}

const char *dafs_mkfs_conf_str(const struct dafs_mkfs_types *types, const char *tag,
			       const char *def)
{
	const char *value = dafs_mkfs_conf_raw(types->conf, "defaults", NULL, tag);

	for (const char *const *name = types->names; *name; name++) {
		const char *own = dafs_mkfs_conf_raw(types->conf, "fs_types", *name, tag);

		if (own)
			value = own;
	}
	return value ? value : def;
}

static errcode_t bad_value(struct dafs_ctx *ctx, const char *tag, const char *value,
			   const char *what)
{
	return dafs_fail(ctx, DAFS_ET_SYNTAX, "mke2fs.conf: %s = %s is not %s", tag, value, what);
}

errcode_t dafs_mkfs_conf_int(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			     const char *tag, long def, long *ret)
{
	const char *value = dafs_mkfs_conf_str(types, tag, NULL);
	char *end;
	long number;

	*ret = def;
	if (!value)
		return 0;
	errno = 0;
	number = strtol(value, &end, 0);
	if (errno || end == value || *end)
		return bad_value(ctx, tag, value, "a number");
	*ret = number;
	return 0;
}

errcode_t dafs_mkfs_conf_real(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			      const char *tag, double def, double *ret)
{
	const char *value = dafs_mkfs_conf_str(types, tag, NULL);
	char *end;
	double number;

	*ret = def;
	if (!value)
		return 0;
	errno = 0;
	number = strtod(value, &end);
	if (errno || end == value || *end)
		return bad_value(ctx, tag, value, "a number");
	*ret = number;
	return 0;
}

static bool is_one_of(const char *value, const char *const *words)
{
	for (; *words; words++) {
		if (!strcasecmp(value, *words))
			return true;
	}
	return false;
}

errcode_t dafs_mkfs_conf_bool(struct dafs_ctx *ctx, const struct dafs_mkfs_types *types,
			      const char *tag, bool def, bool *ret)
{
	static const char *const yes[] = { "y", "yes", "true", "t", "1", "on", NULL };
	static const char *const no[] = { "n", "no", "false", "nil", "f", "0", "off", NULL };
	const char *value = dafs_mkfs_conf_str(types, tag, NULL);

	*ret = def;
	if (!value)
		return 0;
	if (is_one_of(value, yes))
		*ret = true;
	else if (is_one_of(value, no))
		*ret = false;
	else
		return bad_value(ctx, tag, value, "yes or no");
	return 0;
}
