/* core/config.c - the rows of the table and the four sources.
 * Every value goes through config_put(): find the row, refuse a second value from the same source, parse, and keep it
 * unless a source of higher priority was there before. A value is checked even when another one covers it. */
#include "core/config.h"
#include "core/check.h"
#include "core/config_internal.h"
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT_PREFIX "RINGPOST_"
#define CLIENT_PREFIX      "RINGPOST_CLI_" /* of the command line client's own variables */
#define PLACE_MAX          512 /* bytes of "file:line" in a message */
#define NAME_MAX_BYTES     64  /* longer than any option's name */

#define CONFIG_MEMBER_COUNT(name)        name
#define CONFIG_MEMBER_POWER(name)        name
#define CONFIG_MEMBER_BYTES(name)        name##_bytes
#define CONFIG_MEMBER_SIZE(name)         name##_bytes
#define CONFIG_MEMBER_MICROSECONDS(name) name##_us
#define CONFIG_MEMBER_DURATION(name)     name##_ms
#define CONFIG_MEMBER_PERIOD(name)       name##_ms
#define CONFIG_MEMBER_BOOL(name)         name
#define CONFIG_MEMBER_LEVEL(name)        name
#define CONFIG_MEMBER_FORMAT(name)       name
#define CONFIG_MEMBER_TEXT(name)         name
#define CONFIG_MEMBER_LIST(name)         name

const struct config_row config_rows[CONFIG_OPTION_COUNT] = {
#define CONFIG_AS_ROW(row_kind, row_name, row_default, row_min, row_max, row_meaning)                                  \
    [CONFIG_OPTION_##row_name] = {.name = #row_name,                                                                   \
                                  .value_default = row_default,                                                        \
                                  .meaning = row_meaning,                                                              \
                                  .kind = CONFIG_KIND_##row_kind,                                                      \
                                  .min = row_min,                                                                      \
                                  .max = row_max,                                                                      \
                                  .offset = offsetof(struct config, CONFIG_MEMBER_##row_kind(row_name))},
    CONFIG_LIST(CONFIG_NO_GROUP, CONFIG_AS_ROW)
#undef CONFIG_AS_ROW
};

/* Where a value stands and what its key looks like there. */
struct place {
    enum config_source source;
    const char *file_name; /* CONFIG_FILE only */
    uint32_t line;         /* CONFIG_FILE only */
    const char *key;       /* as written */
};

struct message { /* of the first fault */
    char *text;
    size_t size;
};

/* ---- saying what is wrong -------------------------------------------------------------------------- */

/* "file:line", or the source in words. */
static void place_name(const struct place *place, char name[PLACE_MAX])
{
    static const char *const names[] = {"default", "", "environment", "command line"};
    if (place->source == CONFIG_FILE)
        snprintf(name, PLACE_MAX, "%.*s:%u", PLACE_MAX / 2, place->file_name, place->line);
    else
        snprintf(name, PLACE_MAX, "%s", names[place->source]);
}

/* "PLACE: " and the reason; bytes that would spoil a terminal are replaced. */
__attribute__((format(printf, 3, 4))) static enum result refuse(const struct message *message,
                                                                const struct place *place, const char *format, ...)
{
    char name[PLACE_MAX];
    place_name(place, name);
    if (message->size == 0) return RESULT_MALFORMED;
    size_t len = (size_t)snprintf(message->text, message->size, "%s: ", name);
    va_list arguments;
    va_start(arguments, format);
    if (len < message->size) vsnprintf(message->text + len, message->size - len, format, arguments);
    va_end(arguments);
    for (char *at = message->text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f) *at = '?';
    return RESULT_MALFORMED;
}

/* Insertions, removals and replacements between two names. */
static size_t edit_distance(const char *left, const char *right)
{
    size_t row[NAME_MAX_BYTES + 1], width = strlen(right);
    if (width > NAME_MAX_BYTES) return SIZE_MAX;
    for (size_t j = 0; j <= width; j++) row[j] = j;
    for (size_t i = 0; left[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t best = diagonal + (left[i] != right[j]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[width];
}

static enum result refuse_unknown(const struct message *message, const struct place *place, const char *name)
{
    const char *nearest = NULL;
    size_t nearest_distance = 4; /* farther is a guess, not a typing error */
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        size_t distance = edit_distance(name, config_rows[i].name);
        if (distance >= nearest_distance) continue;
        nearest = config_rows[i].name;
        nearest_distance = distance;
    }
    if (nearest == NULL) return refuse(message, place, "%.80s: there is no such option", place->key);
    return refuse(message, place, "%.80s: there is no such option; did you mean %s?", place->key, nearest);
}

static enum result refuse_value(const struct message *message, const struct place *place, const struct config_row *row,
                                const char *value, const char *reason)
{
    char range[CONFIG_SHORT_MAX];
    config_value_range(row, range);
    return refuse(message, place, "%s = \"%.80s\": %s; allowed: %s", place->key, value, reason, range);
}

/* ---- one value ------------------------------------------------------------------------------------- */

static const struct config_row *row_find(const char *name)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++)
        if (strcmp(config_rows[i].name, name) == 0) return &config_rows[i];
    return NULL;
}

const struct config_row *config_option_in(const char *item)
{
    char name[NAME_MAX_BYTES];
    size_t len = strcspn(item, " \t=:");
    if (len >= sizeof name || strspn(item + len, " \t=:") == 0) return NULL;
    memcpy(name, item, len);
    name[len] = '\0';
    return row_find(name);
}

/* Checks the value and, unless a source of higher priority gave one, keeps it. `further`: a further line of a list. */
static enum result row_put(struct config *config, const struct config_row *row, const struct place *place,
                           const char *value, bool further, const struct message *message)
{
    char trimmed[CONFIG_ITEMS_MAX * (CONFIG_TEXT_MAX + 2)], reason[CONFIG_SHORT_MAX];
    while (*value == ' ' || *value == '\t') value++;
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) len--;
    if (len >= sizeof trimmed) return refuse_value(message, place, row, value, "it is too long");
    memcpy(trimmed, value, len);
    trimmed[len] = '\0';

    struct config_origin *origin = &config->origins[row - config_rows];
    bool covered = origin->source > place->source;
    struct config scratch, *target = config;
    if (covered) {
        config_init_defaults(&scratch);
        target = &scratch;
    }
    bool parsed =
        further ? config_value_extend(target, row, trimmed, reason) : config_value_parse(target, row, trimmed, reason);
    if (!parsed) return refuse_value(message, place, row, trimmed, reason);
    if (!covered) *origin = (struct config_origin){place->source, place->line};
    return RESULT_OK;
}

void config_init_defaults(struct config *config)
{
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        char reason[CONFIG_SHORT_MAX];
        bool parsed = config_value_parse(config, &config_rows[i], config_rows[i].value_default, reason);
        ASSERT(parsed);
    }
}

/* ---- the file -------------------------------------------------------------------------------------- */

struct file_load {
    struct config *config;
    FILE *stream;
    struct place place; /* of the line being read */
    struct message message;
    enum result res;
    bool indented;
    const struct config_row *previous;            /* the option of the last key = value */
    uint32_t line_of_option[CONFIG_OPTION_COUNT]; /* 0: not seen yet */
};

/* Where the comment of a line begins: at # or ;, first or after a blank; SIZE_MAX: it has none. */
static size_t comment_begin(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((line[i] == '#' || line[i] == ';') && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return i;
    return SIZE_MAX;
}

/* Looks at a whole line before libinih does, which would cut a long one, skip what it does not know and keep a # after a value. */
static void file_check_line(struct file_load *load, char *line, size_t len)
{
    static const char mark[] = "\xef\xbb\xbf"; /* some editors begin a file with it */
    if (load->place.line == 1 && strncmp(line, mark, 3) == 0) memset(line, ' ', 3);
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) len--; /* the end of the line */
    for (size_t i = 0; i < len && load->res == RESULT_OK; i++) {
        if ((unsigned char)line[i] >= ' ' || line[i] == '\t') continue;
        load->res = refuse(&load->message, &load->place, "there is a control character in the line");
    }
    size_t comment = comment_begin(line, len), indent = strspn(line, " \t");
    if (comment != SIZE_MAX) line[comment] = '\0';
    load->indented = indent > 0;
    if (load->res == RESULT_OK && line[indent] == '[')
        load->res = refuse(&load->message, &load->place, "sections are not used; remove the line");
}

/* The rest of a line that is longer than libinih takes: nothing is lost of a comment. */
static bool skip_comment(struct file_load *load, const char *line, size_t len)
{
    if (comment_begin(line, len) == SIZE_MAX) return false;
    for (int byte = 0; byte != '\n' && byte != EOF;) byte = getc(load->stream);
    return true;
}

/* libinih's reader: one line, or NULL at the end and after a fault. */
static char *file_read_line(char *line, int size, void *context)
{
    struct file_load *load = context;
    int len = 0, byte = 0;
    if (load->res != RESULT_OK) return NULL;
    load->place.line++;
    while (len < size - 1 && byte != '\n' && (byte = getc(load->stream)) != EOF) line[len++] = (char)byte;
    line[len] = '\0';
    bool is_long = len == size - 1 && byte != '\n' && !skip_comment(load, line, (size_t)len);
    if (ferror(load->stream))
        load->res = result_from_errno(errno != 0 ? errno : EIO);
    else if (is_long)
        load->res = refuse(&load->message, &load->place, "the line is longer than %d bytes", size - 2);
    else if (len > 0)
        file_check_line(load, line, (size_t)len);
    return len > 0 && load->res == RESULT_OK ? line : NULL;
}

static enum result file_put(struct file_load *load, const char *name, const char *value)
{
    struct place *place = &load->place;
    place->key = name;
    bool further = load->indented && load->previous != NULL;
    if (further && load->previous->kind != CONFIG_KIND_LIST)
        return refuse(&load->message, place, "an indented line goes on with a list, but %s is none", name);
    const struct config_row *row = row_find(name), *meant = further ? config_option_in(value) : NULL;
    if (meant != NULL)
        return refuse(&load->message, place, "an indented line goes on with the list %s: begin it without a blank to set %s", name, meant->name);
    if (row == NULL) return refuse_unknown(&load->message, place, name);
    uint32_t *seen_line = &load->line_of_option[row - config_rows];
    if (*seen_line != 0 && !further)
        return refuse(&load->message, place, "%s was set in line %u already", name, *seen_line);
    *seen_line = place->line;
    load->previous = row;
    return row_put(load->config, row, place, value, further, &load->message);
}

static int file_on_pair(void *context, const char *section, const char *name, const char *value)
{
    struct file_load *load = context;
    ASSERT(section[0] == '\0'); /* file_check_line() refuses sections */
    if (load->res == RESULT_OK) load->res = file_put(load, name, value);
    return load->res == RESULT_OK;
}

enum result config_load_stream(struct config *config, FILE *stream, const char *name, char *text, size_t text_size)
{
    struct file_load load = {
        .config = config,
        .stream = stream,
        .place = {.source = CONFIG_FILE, .file_name = name},
        .message = {text, text_size},
    };
    snprintf(config->file_name, sizeof config->file_name, "%s", name);
    int bad_line = ini_parse_stream(file_read_line, &load, file_on_pair, &load);
    if (load.res == RESULT_OK && bad_line > 0) {
        load.place.line = (uint32_t)bad_line;
        return refuse(&load.message, &load.place, "it is not of the form key = value");
    }
    if (load.res == RESULT_OK && bad_line < 0) load.res = RESULT_NOMEM;
    if (load.res != RESULT_OK && load.res != RESULT_MALFORMED)
        snprintf(text, text_size, "%s: cannot be read: %s", name, result_text(load.res));
    return load.res;
}

enum result config_load_file(struct config *config, const char *path, char *text, size_t text_size)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        int error = errno;
        snprintf(text, text_size, "%s: cannot be opened: %s", path, strerror(error));
        return result_from_errno(error);
    }
    enum result res = config_load_stream(config, stream, path, text, text_size);
    fclose(stream);
    return res;
}

/* ---- environment and command line ------------------------------------------------------------------ */

/* An option's name from a key: `from` becomes `to`, letters must be capitals or must not be and become small. False: it
 * cannot be the name of an option. */
static bool name_copy(char name[NAME_MAX_BYTES], const char *key, size_t len, char from, char to, bool capitals)
{
    if (len >= NAME_MAX_BYTES) return false;
    for (size_t i = 0; i < len; i++) {
        char byte = key[i] == from ? to : key[i];
        bool letter = isalpha((unsigned char)byte) != 0;
        if (letter && (isupper((unsigned char)byte) != 0) != capitals) return false;
        name[i] = (char)tolower((unsigned char)byte);
    }
    name[len] = '\0';
    return true;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static bool is_digits(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* "tcp://10.0.0.1:7800": no value of an option whose name ends in PORT would look so. */
static bool is_endpoint(const char *value)
{
    static const char *const schemes[] = {"tcp://", "udp://", "sctp://"};
    for (size_t i = 0; i < COUNT_OF(schemes); i++)
        if (strncmp(value, schemes[i], strlen(schemes[i])) == 0) return true;
    return false;
}

/* What Kubernetes sets in every container beside a service called ringpost (or ringpost-…), and Docker in one linked to such a container:
 * told by name and form of value together, so that RINGPOST_PORT=7800, a typing error, is still one. */
static bool is_injected(const char *name, const char *value)
{
    const char *service_port = strstr(name, "SERVICE_PORT"), *port = strstr(name, "PORT_");
    if (ends_with(name, "SERVICE_HOST")) return strpbrk(value, ".:") != NULL;
    if (service_port != NULL) return is_digits(value);
    if (ends_with(name, "PORT") && port == NULL) return is_endpoint(value);
    if (port != NULL && port[5] >= '0' && port[5] <= '9') {
        const char *protocol = port + 5 + strspn(port + 5, "0123456789");
        bool known = strncmp(protocol, "_TCP", 4) == 0 || strncmp(protocol, "_UDP", 4) == 0 || strncmp(protocol, "_SCTP", 5) == 0;
        const char *what = known ? strchr(protocol + 1, '_') : NULL;
        return known && (what == NULL ? is_endpoint(value) : strcmp(what, "_PROTO") == 0 || strcmp(what, "_PORT") == 0 || strcmp(what, "_ADDR") == 0);
    }
    return strncmp(name, "ENV_", 4) == 0 || (strcmp(name, "NAME") == 0 && value[0] == '/');
}

static void note_injected(struct config *config, const char *key)
{
    if (config->injected_count++ == 0) snprintf(config->injected_first, sizeof config->injected_first, "%s", key);
}

static enum result environment_put(struct config *config, const char *entry, const struct message *message)
{
    size_t key_len = strcspn(entry, "=");
    char key[NAME_MAX_BYTES + sizeof ENVIRONMENT_PREFIX], name[NAME_MAX_BYTES] = "";
    snprintf(key, sizeof key, "%.*s", key_len < sizeof key ? (int)key_len : (int)sizeof key - 1, entry);
    struct place place = {.source = CONFIG_ENVIRONMENT, .key = key};
    size_t prefix_len = strlen(ENVIRONMENT_PREFIX);
    bool usable = name_copy(name, entry + prefix_len, key_len - prefix_len, '_', '_', true);
    const struct config_row *row = usable ? row_find(name) : NULL;
    bool has_value = entry[key_len] == '=';
    if (row == NULL && has_value && is_injected(key + prefix_len, entry + key_len + 1)) {
        note_injected(config, key);
        return RESULT_OK;
    }
    if (row == NULL || !has_value) return refuse_unknown(message, &place, name);
    if (config->origins[row - config_rows].source == CONFIG_ENVIRONMENT) return refuse(message, &place, "%s is there twice", key);
    return row_put(config, row, &place, entry + key_len + 1, false, message);
}

enum result config_load_environment(struct config *config, char *const *environment, char *text, size_t text_size)
{
    struct message message = {text, text_size};
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0) continue;
        if (strncmp(*environment, CLIENT_PREFIX, strlen(CLIENT_PREFIX)) == 0) continue;
        enum result res = environment_put(config, *environment, &message);
        if (res != RESULT_OK) return res;
    }
    return RESULT_OK;
}

bool config_knows(const char *name)
{
    char copy[NAME_MAX_BYTES];
    return name_copy(copy, name, strlen(name), '-', '_', false) && row_find(copy) != NULL;
}

enum result config_set(struct config *config, const char *name, const char *value, char *text, size_t text_size)
{
    struct message message = {text, text_size};
    char key[NAME_MAX_BYTES + 2], copy[NAME_MAX_BYTES] = "";
    snprintf(key, sizeof key, "--%.*s", NAME_MAX_BYTES - 1, name);
    struct place place = {.source = CONFIG_FLAG, .key = key};
    const struct config_row *row = name_copy(copy, name, strlen(name), '-', '_', false) ? row_find(copy) : NULL;
    if (row == NULL) return refuse_unknown(&message, &place, copy);
    if (config->origins[row - config_rows].source == CONFIG_FLAG)
        return refuse(&message, &place, "%s was given already", key);
    return row_put(config, row, &place, value, false, &message);
}

/* ---- saying what is set ---------------------------------------------------------------------------- */

void config_describe(const struct config *config, enum config_option option, char *text, size_t text_size)
{
    const struct config_row *row = &config_rows[option];
    const struct config_origin *origin = &config->origins[option];
    struct place place = {.source = origin->source, .file_name = config->file_name, .line = origin->line};
    char name[PLACE_MAX];
    place_name(&place, name);
    struct writer value;
    writer_init(&value, CONFIG_SHORT_MAX);
    config_value_render(config, row, ",", &value);
    snprintf(text, text_size, "%s = %.*s (%s)", row->name, (int)value.len, (const char *)value.data, name);
    writer_deinit(&value);
}

const char *config_name(enum config_option option) { return config_rows[option].name; }

uint64_t config_number(const struct config *config, enum config_option option) { return config_value_number(config, &config_rows[option]); }

void config_number_text(enum config_option option, uint64_t number, char *text, size_t text_size)
{
    config_value_number_text(&config_rows[option], number, text, text_size);
}
