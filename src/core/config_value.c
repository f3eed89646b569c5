/* core/config_value.c - one value of each kind: from text, to text, and what is allowed.
 * Numbers are whole and have at most one unit; a size and a duration are written with the largest unit that divides
 * them, so what is rendered parses to the same value. A duration without a unit is refused, except 0: seconds and
 * milliseconds are too easily mistaken for each other. */
#include "core/check.h"
#include "core/config_internal.h"
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};
/* Ascending; a table ends with a NULL name. The first of a size or count is the unit of a bare number. */
static const struct unit count_units[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {NULL, 0}};
static const struct unit size_units[] = {{"", 1},           {"B", 1},          {"KiB", 1u << 10},
                                         {"MiB", 1u << 20}, {"GiB", 1u << 30}, {NULL, 0}};
static const struct unit duration_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                             {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit microsecond_units[] = {{"us", 1}, {"ms", 1000}, {NULL, 0}};

static const char *const bool_choices[] = {"false", "true", NULL};
static const char *const level_choices[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_choices[] = {"logfmt", "json", NULL};

/* What a kind is made of: a number with units, one of some words (stored as its index), or text (neither). */
static const struct kind {
    const char *what; /* for messages */
    const struct unit *units;
    const char *const *choices;
    size_t field_size; /* of a number or choice */
} kinds[] = {
    [CONFIG_KIND_COUNT] = {"a number, such as 500 or 10k", count_units, NULL, sizeof(uint32_t)},
    [CONFIG_KIND_POWER] = {"a power of two", count_units, NULL, sizeof(uint32_t)},
    [CONFIG_KIND_BYTES] = {"a size, such as 4096 or 64KiB", size_units, NULL, sizeof(uint32_t)},
    [CONFIG_KIND_SIZE] = {"a size, such as 64MiB", size_units, NULL, sizeof(uint64_t)},
    [CONFIG_KIND_MICROSECONDS] = {"a duration with its unit, such as 50us", microsecond_units, NULL, sizeof(uint32_t)},
    [CONFIG_KIND_DURATION] = {"a duration with its unit, such as 500ms or 30s", duration_units, NULL, sizeof(uint32_t)},
    [CONFIG_KIND_PERIOD] = {"a duration with its unit, such as 12h or 30d", duration_units, NULL, sizeof(uint64_t)},
    [CONFIG_KIND_BOOL] = {"true or false", NULL, bool_choices, sizeof(bool)},
    [CONFIG_KIND_LEVEL] = {"a level", NULL, level_choices, sizeof(enum logger_level)},
    [CONFIG_KIND_FORMAT] = {"a format", NULL, format_choices, sizeof(enum logger_format)},
    [CONFIG_KIND_TEXT] = {"text", NULL, NULL, 0},
    [CONFIG_KIND_LIST] = {"a list with commas", NULL, NULL, 0},
};
_Static_assert(sizeof(enum logger_level) == sizeof(uint32_t) && sizeof(enum logger_format) == sizeof(uint32_t),
               "choices are stored as their index");

/* ---- fields ---------------------------------------------------------------------------------------- */

static void *field_of(struct config *config, const struct config_row *row)
{
    return (char *)config + row->offset;
}
static const void *field_read(const struct config *config, const struct config_row *row)
{
    return (const char *)config + row->offset;
}

static void field_set_number(struct config *config, const struct config_row *row, uint64_t number)
{
    size_t size = kinds[row->kind].field_size;
    ASSERT(size == sizeof number || number >> (8 * size) == 0);
    memcpy(field_of(config, row), &number, size); /* little-endian: the low bytes come first */
}

uint64_t config_value_number(const struct config *config, const struct config_row *row)
{
    ASSERT(kinds[row->kind].field_size > 0);
    uint64_t number = 0;
    memcpy(&number, field_read(config, row), kinds[row->kind].field_size);
    return number;
}

/* ---- numbers --------------------------------------------------------------------------------------- */

static void number_render(const struct unit *units, uint64_t number, char *text, size_t text_size)
{
    const struct unit *best = &units[0];
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (number > 0 && number % unit->factor == 0 && unit->factor > best->factor) best = unit;
    snprintf(text, text_size, "%" PRIu64 "%s", number / best->factor, best->name);
}

void config_value_number_text(const struct config_row *row, uint64_t number, char *text, size_t text_size)
{
    ASSERT(kinds[row->kind].units != NULL);
    number_render(kinds[row->kind].units, number, text, text_size);
}

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t') at++;
    return at;
}

/* Digits, blanks, a unit. False on anything else or beyond 64 bits. */
static bool number_parse(const struct kind *kind, const char *value, uint64_t *number)
{
    const char *at = value;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number))
            return false;
    if (at == value) return false;
    at = skip_blanks(at);
    if (*at == '\0' && *number == 0) return true;
    for (const struct unit *unit = kind->units; unit->name != NULL; unit++)
        if (strcmp(at, unit->name) == 0) return !__builtin_mul_overflow(*number, unit->factor, number);
    return false;
}

static bool number_store(struct config *config, const struct config_row *row, const char *value,
                         char reason[CONFIG_SHORT_MAX])
{
    uint64_t number;
    if (!number_parse(&kinds[row->kind], value, &number)) {
        snprintf(reason, CONFIG_SHORT_MAX, "it is not %s", kinds[row->kind].what);
        return false;
    }
    if (number < row->min || number > row->max) {
        snprintf(reason, CONFIG_SHORT_MAX, "it is too %s", number < row->min ? "small" : "large");
        return false;
    }
    if (row->kind == CONFIG_KIND_POWER && (number & (number - 1)) != 0) {
        snprintf(reason, CONFIG_SHORT_MAX, "it is not a power of two");
        return false;
    }
    field_set_number(config, row, number);
    return true;
}

/* ---- choices, text, lists -------------------------------------------------------------------------- */

static bool choice_store(struct config *config, const struct config_row *row, const char *value,
                         char reason[CONFIG_SHORT_MAX])
{
    const char *const *choices = kinds[row->kind].choices;
    for (uint64_t i = 0; choices[i] != NULL; i++) {
        if (strcmp(value, choices[i]) != 0) continue;
        field_set_number(config, row, i);
        return true;
    }
    snprintf(reason, CONFIG_SHORT_MAX, "it is none of the words allowed");
    return false;
}

/* Blanks that nobody sees, which a copy from a web page brings: U+00A0, U+200B to U+200F, U+2028 to U+202F, U+3000, U+FEFF. */
static bool has_invisible(const char *text)
{
    static const char *const prefixes[] = {"\xc2\xa0", "\xe3\x80\x80", "\xef\xbb\xbf"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (strstr(text, prefixes[i]) != NULL) return true;
    for (const char *at = text; (at = strstr(at, "\xe2\x80")) != NULL; at += 2) {
        unsigned char last = (unsigned char)at[2];
        if ((last >= 0x8b && last <= 0x8f) || (last >= 0xa8 && last <= 0xaf)) return true;
    }
    return false;
}

static bool has_variable(const char *text)
{
    for (const char *at = text; (at = strchr(at, '$')) != NULL; at++)
        if (isalpha((unsigned char)at[1]) || at[1] == '_' || at[1] == '{' || at[1] == '(') return true;
    return false;
}

/* NULL: it can stand in a line of a file, and means there what somebody who wrote it for a shell would expect. */
static const char *text_fault(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f || text[i] == ';') return "control characters and ; are not allowed";
    if (text[0] == '#' || strstr(text, " #") != NULL || strstr(text, "\t#") != NULL) return "a # first or after a blank begins a comment";
    if (has_invisible(text)) return "there is a character in it that cannot be seen";
    if (len > 0 && (strchr("\"'`", text[0]) != NULL || strchr("\"'`", text[len - 1]) != NULL)) return "write it without quotes";
    if (text[0] == '~') return "~ is not replaced: write the whole path";
    if (has_variable(text)) return "$ and a name are not replaced: write the value itself";
    return NULL;
}

static bool text_is_plain(const char *text, char reason[CONFIG_SHORT_MAX])
{
    const char *fault = text_fault(text, strlen(text));
    if (fault != NULL) snprintf(reason, CONFIG_SHORT_MAX, "%s", fault);
    return fault == NULL;
}

static bool text_store(struct config *config, const struct config_row *row, const char *value,
                       char reason[CONFIG_SHORT_MAX])
{
    size_t len = strlen(value);
    if (!text_is_plain(value, reason)) return false;
    if (len < row->min || len > row->max) {
        snprintf(reason, CONFIG_SHORT_MAX, "it is too %s", len < row->min ? "short" : "long");
        return false;
    }
    memcpy(field_of(config, row), value, len + 1);
    return true;
}

static bool list_add(struct config_items *items, const struct config_row *row, const char *item, size_t len,
                     char reason[CONFIG_SHORT_MAX])
{
    if (len >= CONFIG_TEXT_MAX || items->count == row->max) {
        snprintf(reason, CONFIG_SHORT_MAX, "%s",
                 len >= CONFIG_TEXT_MAX ? "an item is too long" : "it has too many items");
        return false;
    }
    char *text = items->texts[items->count];
    memcpy(text, item, len);
    text[len] = '\0';
    if (!text_is_plain(text, reason)) return false;
    if (text[0] == '[') { /* alone on its line it would be a section */
        snprintf(reason, CONFIG_SHORT_MAX, "an item may not begin with [");
        return false;
    }
    const struct config_row *meant = config_option_in(text); /* rendered on a line of its own it would be refused */
    if (meant != NULL) {
        snprintf(reason, CONFIG_SHORT_MAX, "%s is an option: set it on a line of its own", meant->name);
        return false;
    }
    items->count++;
    return true;
}

bool config_value_extend(struct config *config, const struct config_row *row, const char *value,
                         char reason[CONFIG_SHORT_MAX])
{
    ASSERT(row->kind == CONFIG_KIND_LIST);
    struct config_items *items = field_of(config, row);
    uint32_t count_before = items->count;
    for (const char *at = skip_blanks(value); *at != '\0';) {
        size_t reach = strcspn(at, ","), len = reach;
        while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t')) len--;
        if (len > 0 && !list_add(items, row, at, len, reason)) {
            items->count = count_before;
            return false;
        }
        at += reach;
        if (*at == ',') at = skip_blanks(at + 1);
    }
    return true;
}

static bool list_store(struct config *config, const struct config_row *row, const char *value,
                       char reason[CONFIG_SHORT_MAX])
{
    struct config_items *items = field_of(config, row);
    uint32_t count_before = items->count;
    items->count = 0;
    if (config_value_extend(config, row, value, reason)) return true;
    items->count = count_before;
    return false;
}

const char *config_item(const struct config_items *items, uint32_t index)
{
    ASSERT(index < items->count);
    return items->texts[index];
}

/* ---- any kind -------------------------------------------------------------------------------------- */

bool config_value_parse(struct config *config, const struct config_row *row, const char *value,
                        char reason[CONFIG_SHORT_MAX])
{
    const struct kind *kind = &kinds[row->kind];
    if (kind->units != NULL) return number_store(config, row, value, reason);
    if (kind->choices != NULL) return choice_store(config, row, value, reason);
    if (row->kind == CONFIG_KIND_LIST) return list_store(config, row, value, reason);
    return text_store(config, row, value, reason);
}

static void list_render(const struct config_items *items, const char *separator, struct writer *out)
{
    for (uint32_t i = 0; i < items->count; i++) {
        if (i > 0) writer_raw(out, separator, strlen(separator));
        writer_raw(out, items->texts[i], strlen(items->texts[i]));
    }
}

void config_value_render(const struct config *config, const struct config_row *row, const char *separator,
                         struct writer *out)
{
    const struct kind *kind = &kinds[row->kind];
    if (row->kind == CONFIG_KIND_LIST) {
        list_render(field_read(config, row), separator, out);
        return;
    }
    char text[CONFIG_SHORT_MAX];
    if (kind->units != NULL)
        number_render(kind->units, config_value_number(config, row), text, sizeof text);
    else if (kind->choices != NULL)
        snprintf(text, sizeof text, "%s", kind->choices[config_value_number(config, row)]);
    else
        snprintf(text, sizeof text, "%s", (const char *)field_read(config, row));
    writer_raw(out, text, strlen(text));
}

void config_value_range(const struct config_row *row, char range[CONFIG_SHORT_MAX])
{
    const struct kind *kind = &kinds[row->kind];
    if (kind->units != NULL) {
        char min[32], max[32];
        number_render(kind->units, row->min, min, sizeof min);
        number_render(kind->units, row->max, max, sizeof max);
        snprintf(range, CONFIG_SHORT_MAX, "%s .. %s", row->min == 0 ? "0" : min, max);
        return;
    }
    if (row->kind == CONFIG_KIND_TEXT) {
        snprintf(range, CONFIG_SHORT_MAX, "%" PRIu64 " .. %" PRIu64 " bytes of text", row->min, row->max);
        return;
    }
    if (row->kind == CONFIG_KIND_LIST) {
        snprintf(range, CONFIG_SHORT_MAX, "up to %" PRIu64 " items with commas between", row->max);
        return;
    }
    size_t len = 0;
    for (size_t i = 0; kind->choices[i] != NULL; i++)
        len += (size_t)snprintf(range + len, CONFIG_SHORT_MAX - len, "%s%s", i > 0 ? ", " : "", kind->choices[i]);
}
