/* core/config_render.c - the table as text: an example file, the values in force, and the documentation.
 * All three are made from the rows, so they cannot disagree with what the parser takes. */
#include "core/check.h"
#include "core/config_internal.h"
#include <stdarg.h>
#include <string.h>

#define COMMENT_WIDTH 100

/* The table in order, with its titles: a title stands alone, an option has none. */
static const struct {
    const char *title;
    enum config_option option;
} outline[] = {
#define AS_TITLE(title)            {title, CONFIG_OPTION_COUNT},
#define AS_OPTION(kind, name, ...) {NULL, CONFIG_OPTION_##name},
    CONFIG_LIST(AS_TITLE, AS_OPTION)
#undef AS_OPTION
#undef AS_TITLE
};

static void put(struct writer *out, const char *text)
{
    writer_raw(out, text, strlen(text));
}

/* Comment lines of at most COMMENT_WIDTH bytes, broken between words. */
static void put_comment(struct writer *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > COMMENT_WIDTH) {
            len = COMMENT_WIDTH;
            while (len > 0 && text[len] != ' ') len--;
            ASSERT(len > 0); /* no word is as wide as a line */
        }
        put(out, "# ");
        writer_raw(out, text, len);
        put(out, "\n");
        text += len;
        while (*text == ' ') text++;
    }
}

void config_render_defaults(struct writer *out)
{
    put_comment(
        out,
        "Ringpost: every option with its default. Remove the # before a line to change it. The environment "
        "(RINGPOST_ and the name in capitals) goes before this file, the command line (--name value) before both.");
    for (size_t i = 0; i < COUNT_OF(outline); i++) {
        if (outline[i].title != NULL) {
            put(out, "\n# ---- ");
            put(out, outline[i].title);
            put(out, " ----\n");
            continue;
        }
        const struct config_row *row = &config_rows[outline[i].option];
        char range[CONFIG_SHORT_MAX];
        config_value_range(row, range);
        put(out, "\n");
        put_comment(out, row->meaning);
        put(out, "# Allowed: ");
        put(out, range);
        put(out, "\n#");
        put(out, row->name);
        put(out, row->value_default[0] != '\0' ? " = " : " =");
        put(out, row->value_default);
        put(out, "\n");
    }
}

static void put_origin(const struct config *config, enum config_option option, struct writer *out)
{
    static const char *const sources[] = {"default", "file", "environment", "command line"};
    put(out, " ; ");
    put(out, sources[config->origins[option].source]);
    if (config->origins[option].source != CONFIG_FILE) return;
    char line[32];
    snprintf(line, sizeof line, ", line %u", config->origins[option].line);
    put(out, line);
}

void config_render(const struct config *config, struct writer *out)
{
    for (size_t i = 0; i < COUNT_OF(outline); i++) {
        if (outline[i].title != NULL) {
            put(out, i > 0 ? "\n# " : "# ");
            put(out, outline[i].title);
            put(out, "\n");
            continue;
        }
        const struct config_row *row = &config_rows[outline[i].option];
        put(out, row->name);
        put(out, " = ");
        config_value_render(config, row, "\n    ", out); /* one item a line: however many, the lines stay short */
        put_origin(config, outline[i].option, out);
        put(out, "\n");
    }
}

/* A table cell: | would end it. No row has one; the assert keeps it so. */
static void put_cell(struct writer *out, const char *text)
{
    ASSERT(strchr(text, '|') == NULL);
    put(out, text);
    put(out, " | ");
}

void config_render_markdown(struct writer *out)
{
    for (size_t i = 0; i < COUNT_OF(outline); i++) {
        if (outline[i].title != NULL) {
            put(out, i > 0 ? "\n**" : "**");
            put(out, outline[i].title);
            put(out, "**\n\n| Option | Default | Allowed | Meaning |\n| --- | --- | --- | --- |\n");
            continue;
        }
        const struct config_row *row = &config_rows[outline[i].option];
        char range[CONFIG_SHORT_MAX];
        config_value_range(row, range);
        put(out, "| `");
        put(out, row->name);
        put(out, "` | ");
        put_cell(out, row->value_default[0] != '\0' ? row->value_default : "(empty)");
        put_cell(out, range);
        put(out, row->meaning);
        put(out, " |\n");
    }
}
