/* core/config_internal.h - what the three files of config share: the table as rows, and values of each kind.
 *   config.c         the rows, the sources
 *   config_value.c   text to value and back, for every kind
 *   config_render.c  example file, values in force, documentation */
#ifndef CORE_CONFIG_INTERNAL_H
#define CORE_CONFIG_INTERNAL_H

#include "core/config.h"

enum config_kind {
    CONFIG_KIND_COUNT,
    CONFIG_KIND_POWER,
    CONFIG_KIND_BYTES,
    CONFIG_KIND_SIZE,
    CONFIG_KIND_MICROSECONDS,
    CONFIG_KIND_DURATION,
    CONFIG_KIND_PERIOD,
    CONFIG_KIND_BOOL,
    CONFIG_KIND_LEVEL,
    CONFIG_KIND_FORMAT,
    CONFIG_KIND_TEXT,
    CONFIG_KIND_LIST
};

struct config_row {
    const char *name, *value_default, *meaning;
    enum config_kind kind;
    uint64_t min, max;
    size_t offset; /* of the field in struct config */
};
extern const struct config_row config_rows[CONFIG_OPTION_COUNT];

/* The option that an item of a list sets, if it looks as if it was meant to: "  log_level = debug" below a list. Else NULL. */
const struct config_row *config_option_in(const char *item);

/* Longest text a value other than a list has, and longest reason or range. */
#define CONFIG_SHORT_MAX 256

/* Parses `value` into the row's field. False: nothing is changed and `reason` says what is wrong with it. */
bool config_value_parse(struct config *config, const struct config_row *row, const char *value,
                        char reason[CONFIG_SHORT_MAX]);
/* The same for a further line of a list: its items come after those the field has. */
bool config_value_extend(struct config *config, const struct config_row *row, const char *value,
                         char reason[CONFIG_SHORT_MAX]);
/* The field of a kind that is a number, in its base unit (bytes, ms, us). */
uint64_t config_value_number(const struct config *config, const struct config_row *row);
/* `number` as a value of that row. */
void config_value_number_text(const struct config_row *row, uint64_t number, char *text, size_t text_size);
/* The field as text that parses to the same value; a list gives its items joined by `separator`. */
void config_value_render(const struct config *config, const struct config_row *row, const char *separator,
                         struct writer *out);
/* What is allowed, in words: "1s .. 10m", "true, false". */
void config_value_range(const struct config_row *row, char range[CONFIG_SHORT_MAX]);

#endif
