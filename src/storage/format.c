/* storage/format.c - see format.h. */
#include "storage/format.h"
#include "core/check.h"
#include "storage/datadir.h"
#include "storage/wholefile.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_SUMMED 4 /* the first format with a sum and a copy */

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

bool format_parse_mark(const char *text, uint64_t *mark)
{
    if (!wholefile_is_hex(text, FORMAT_MARK_SIZE)) return false;
    *mark = strtoull(text, NULL, 16);
    return true;
}

size_t format_render(const struct format *format, char text[FORMAT_SIZE_MAX])
{
    const size_t room = FORMAT_SIZE_MAX - WHOLEFILE_SUM_SIZE;
    int len = snprintf(text, room, "format=%u\n", format->number);
    if (format->readable < format->number) len += snprintf(text + len, room - (size_t)len, "readable=%u\n", format->readable);
    len += snprintf(text + len, room - (size_t)len, "shards=%u\nid=%s\n", format->shards, format->id);
    if (format->number < FORMAT_SUMMED) return (size_t)len;
    len += snprintf(text + len, room - (size_t)len, "run=%" PRIu64 "\nmark=%016" PRIx64 "\n", format->run, format->mark);
    if (format->raising) len += snprintf(text + len, room - (size_t)len, "before=%016" PRIx64 "\n", format->before);
    ASSERT(len > 0 && (size_t)len < room);
    return wholefile_seal(text, (size_t)len);
}

/* False when the value of a known key is none. */
static bool take_line(void *context, const char *key, const char *value)
{
    struct format *format = context;
    uint64_t number = 0;
    if (strcmp(key, "shards") == 0) {
        if (!wholefile_number(value, DATADIR_SHARDS_MAX, &number)) return false;
        format->shards = (uint32_t)number;
    } else if (strcmp(key, "id") == 0) {
        if (!wholefile_is_hex(value, FORMAT_ID_SIZE - 1)) return false;
        strcpy(format->id, value);
    } else if (strcmp(key, "run") == 0) {
        return wholefile_number(value, UINT64_MAX, &format->run);
    } else if (strcmp(key, "mark") == 0) {
        return format_parse_mark(value, &format->mark);
    } else if (strcmp(key, "before") == 0) {
        format->raising = true;
        return format_parse_mark(value, &format->before);
    }
    return true;
}

/* Of any format's FORMAT; 0: none stands at `text`. */
static uint32_t number_at(const char *text, const char *key)
{
    const size_t key_len = strlen(key);
    if (strncmp(text, key, key_len) != 0) return 0;
    char digits[12];
    snprintf(digits, sizeof digits, "%.*s", (int)strcspn(text + key_len, "\n"), text + key_len);
    uint64_t number = 0;
    return wholefile_number(digits, UINT32_MAX, &number) ? (uint32_t)number : 0;
}

static void read_numbers(struct format *format, const char *text)
{
    format->number = format->readable = number_at(text, "format=");
    const char *line = strstr(text, "\nreadable=");
    uint32_t readable = line == NULL ? 0 : number_at(line + 1, "readable=");
    if (readable > 0 && readable < format->number) format->readable = readable;
}

enum result format_parse(struct format *format, const char *text, size_t len)
{
    *format = (struct format){0};
    char copy[FORMAT_SIZE_MAX], again[FORMAT_SIZE_MAX];
    if (len >= sizeof copy || memchr(text, '\0', len) != NULL) return RESULT_CORRUPT;
    memcpy(copy, text, len);
    copy[len] = '\0';
    read_numbers(format, copy);
    bool summed = format->number >= FORMAT_SUMMED || strstr(copy, "\nsum=") != NULL; /* or its number is what is damaged */
    if (format->number == 0 || (summed && !wholefile_is_sealed(text, len))) return RESULT_CORRUPT;
    if (format->number < DATADIR_FORMAT_OLDEST || format->readable > DATADIR_FORMAT) return RESULT_UNSUPPORTED;
    if (!wholefile_lines(copy, take_line, format) || format->shards == 0 || format->id[0] == '\0') return RESULT_CORRUPT;
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

static bool is_newer(const struct format *a, const struct format *b)
{
    if (a->number != b->number) return a->number > b->number;
    if (a->run != b->run) return a->run > b->run;
    return !a->raising && b->raising;
}

/* Both are good. */
static enum result load_newer(const struct format *first, const struct format *copy, struct format *out, bool *same,
                              const char **complaint)
{
    bool same_run = first->number == copy->number && first->run == copy->run;
    if (strcmp(first->id, copy->id) != 0 || first->shards != copy->shards || (same_run && first->mark != copy->mark)) {
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
