/* storage/format.c - see format.h. */
#include "storage/format.h"
#include "core/check.h"
#include "storage/datadir.h"
#include "storage/wholefile.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define FORMAT_SUMMED 4 /* the first format with a sum and a copy */
#define SUM_LINE_SIZE 21 /* "sum=", 16 digits, newline */

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

size_t format_render(const struct format *format, char text[FORMAT_SIZE_MAX])
{
    int len = snprintf(text, FORMAT_SIZE_MAX, "format=%u\nshards=%u\nid=%s\n", format->number, format->shards, format->id);
    ASSERT(len > 0 && len + SUM_LINE_SIZE < FORMAT_SIZE_MAX);
    if (format->number >= FORMAT_SUMMED)
        len += snprintf(text + len, SUM_LINE_SIZE + 1, "sum=%016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, (size_t)len));
    return (size_t)len;
}

static bool sum_fits(const char *text, size_t len)
{
    if (len < SUM_LINE_SIZE) return false;
    char line[SUM_LINE_SIZE + 1];
    snprintf(line, sizeof line, "sum=%016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, len - SUM_LINE_SIZE));
    return memcmp(line, text + len - SUM_LINE_SIZE, SUM_LINE_SIZE) == 0;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value > max) return false;
    *number = value;
    return true;
}

static bool id_is_sound(const char *id)
{
    return strlen(id) == FORMAT_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == FORMAT_ID_SIZE - 1;
}

/* False when the value of a known key is none. */
static bool take_line(struct format *format, const char *key, const char *value)
{
    uint64_t number = 0;
    if (strcmp(key, "shards") == 0) {
        if (!parse_number(value, DATADIR_SHARDS_MAX, &number)) return false;
        format->shards = (uint32_t)number;
    } else if (strcmp(key, "id") == 0) {
        if (!id_is_sound(value)) return false;
        strcpy(format->id, value);
    }
    return true;
}

static bool take_lines(struct format *format, char *rest)
{
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char *value = strchr(line, '=');
        if (value == NULL) continue;
        *value++ = '\0';
        if (!take_line(format, line, value)) return false;
    }
    return format->shards > 0 && format->id[0] != '\0';
}

/* Of another format's FORMAT. */
static uint64_t number_of(const char *text)
{
    static const char key[] = "format=";
    if (strncmp(text, key, sizeof key - 1) != 0) return 0;
    char digits[12];
    snprintf(digits, sizeof digits, "%.*s", (int)strcspn(text + sizeof key - 1, "\n"), text + sizeof key - 1);
    uint64_t number = 0;
    return parse_number(digits, UINT32_MAX, &number) ? number : 0;
}

enum result format_parse(struct format *format, const char *text, size_t len)
{
    *format = (struct format){0};
    char copy[FORMAT_SIZE_MAX], again[FORMAT_SIZE_MAX];
    if (len >= sizeof copy || memchr(text, '\0', len) != NULL) return RESULT_CORRUPT;
    memcpy(copy, text, len);
    copy[len] = '\0';
    format->number = (uint32_t)number_of(copy);
    if (format->number == 0 || (format->number >= FORMAT_SUMMED && !sum_fits(text, len))) return RESULT_CORRUPT;
    if (format->number < DATADIR_FORMAT_OLDEST || format->number > DATADIR_FORMAT) return RESULT_UNSUPPORTED;
    if (!take_lines(format, copy)) return RESULT_CORRUPT;
    bool as_written = format_render(format, again) == len && memcmp(again, text, len) == 0;
    return format->number >= FORMAT_SUMMED || as_written ? RESULT_OK : RESULT_CORRUPT;
}

/* ---- the two -------------------------------------------------------------------------------------------------------- */

static enum result load_one(int dir_fd, const char *name, struct format *format)
{
    char text[FORMAT_SIZE_MAX];
    size_t len;
    *format = (struct format){0};
    enum result result = wholefile_read(dir_fd, name, text, sizeof text, &len);
    return result == RESULT_OK ? format_parse(format, text, len) : result;
}

static bool is_newer(const struct format *a, const struct format *b) { return a->number > b->number; }

/* Both are good. */
static enum result load_newer(const struct format *first, const struct format *copy, struct format *out, bool *same,
                              const char **complaint)
{
    if (strcmp(first->id, copy->id) != 0 || first->shards != copy->shards) {
        *complaint = "FORMAT and FORMAT.copy are of two different directories";
        return RESULT_CORRUPT;
    }
    *out = is_newer(copy, first) ? *copy : *first;
    *same = !is_newer(copy, first) && !is_newer(first, copy);
    return RESULT_OK;
}

enum result format_load(int dir_fd, struct format *format, bool *same, const char **complaint)
{
    struct format first, copy;
    *same = false;
    *complaint = NULL;
    enum result of_first = load_one(dir_fd, FORMAT_NAME, &first), of_copy = load_one(dir_fd, FORMAT_COPY_NAME, &copy);
    *format = of_first == RESULT_OK || of_first == RESULT_UNSUPPORTED ? first : copy;
    if (of_first == RESULT_UNSUPPORTED) return of_first;
    if (of_copy == RESULT_UNSUPPORTED) {
        *format = copy;
        return of_copy;
    }
    if (of_first == RESULT_OK && of_copy == RESULT_OK) return load_newer(&first, &copy, format, same, complaint);
    if (of_first == RESULT_OK) {
        bool never_had_one = of_copy == RESULT_MISSING && first.number < FORMAT_SUMMED;
        *complaint = never_had_one ? NULL : of_copy == RESULT_MISSING ? "FORMAT.copy is missing" : "FORMAT.copy is damaged";
        return RESULT_OK;
    }
    if (of_copy == RESULT_OK) {
        *complaint = of_first == RESULT_MISSING ? "FORMAT is missing" : "FORMAT is damaged";
        return RESULT_OK;
    }
    return of_first == RESULT_MISSING ? of_copy : of_first;
}

enum result format_store(int dir_fd, const struct format *format)
{
    char text[FORMAT_SIZE_MAX];
    size_t len = format_render(format, text);
    enum result result = wholefile_write(dir_fd, FORMAT_COPY_NAME, text, len);
    return result == RESULT_OK ? wholefile_write(dir_fd, FORMAT_NAME, text, len) : result;
}
