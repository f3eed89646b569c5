/* storage/identity.c - see identity.h. */
#include "storage/identity.h"
#include "core/check.h"
#include "storage/wholefile.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

size_t identity_render(const struct identity *identity, char text[IDENTITY_SIZE_MAX])
{
    const size_t room = IDENTITY_SIZE_MAX - WHOLEFILE_SUM_SIZE;
    int len = snprintf(text, room, "id=%s\nshard=%u\nrun=%" PRIu64 "\nmark=%016" PRIx64 "\n", identity->id, identity->shard, identity->run,
                       identity->mark);
    ASSERT(len > 0 && (size_t)len < room);
    return wholefile_seal(text, (size_t)len);
}

static bool take_line(void *context, const char *key, const char *value)
{
    struct identity *identity = context;
    if (strcmp(key, "id") == 0) {
        if (!wholefile_is_hex(value, FORMAT_ID_SIZE - 1)) return false;
        strcpy(identity->id, value);
    } else if (strcmp(key, "shard") == 0) {
        uint64_t number;
        if (!wholefile_number(value, UINT16_MAX, &number)) return false;
        identity->shard = (uint16_t)number;
    } else if (strcmp(key, "run") == 0) {
        return wholefile_number(value, UINT64_MAX, &identity->run);
    } else if (strcmp(key, "mark") == 0) {
        return format_parse_mark(value, &identity->mark);
    }
    return true;
}

bool identity_parse(struct identity *identity, const char *text, size_t len)
{
    *identity = (struct identity){0};
    char copy[IDENTITY_SIZE_MAX];
    if (len >= sizeof copy || memchr(text, '\0', len) != NULL || !wholefile_is_sealed(text, len)) return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return wholefile_lines(copy, take_line, identity) && identity->id[0] != '\0' && identity->run > 0;
}

/* ---- the two -------------------------------------------------------------------------------------------------------- */

static enum result load_one(int shard_fd, const char *name, struct identity *identity)
{
    char text[IDENTITY_SIZE_MAX];
    size_t len;
    *identity = (struct identity){0};
    enum result result = wholefile_read(shard_fd, name, text, sizeof text, &len);
    if (result != RESULT_OK) return result;
    return identity_parse(identity, text, len) ? RESULT_OK : RESULT_CORRUPT;
}

enum result identity_load(int shard_fd, struct identity *identity, bool *same)
{
    struct identity first, copy;
    *same = false;
    enum result of_first = load_one(shard_fd, IDENTITY_NAME, &first), of_copy = load_one(shard_fd, IDENTITY_COPY_NAME, &copy);
    *identity = of_first == RESULT_OK ? first : copy;
    if (of_first == RESULT_OK && of_copy == RESULT_OK) {
        if (strcmp(first.id, copy.id) != 0 || first.shard != copy.shard) return RESULT_CORRUPT;
        if (copy.run > first.run) *identity = copy;
        *same = copy.run == first.run && copy.mark == first.mark;
        return RESULT_OK;
    }
    if (of_first == RESULT_OK || of_copy == RESULT_OK) return RESULT_OK;
    return of_first == RESULT_MISSING ? of_copy : of_first;
}

enum result identity_store(int shard_fd, const struct identity *identity)
{
    char text[IDENTITY_SIZE_MAX];
    size_t len = identity_render(identity, text);
    enum result result = wholefile_write(shard_fd, IDENTITY_COPY_NAME, text, len);
    return result == RESULT_OK ? wholefile_write(shard_fd, IDENTITY_NAME, text, len) : result;
}

/* ---- judging -------------------------------------------------------------------------------------------------------- */

struct identity identity_wanted(const struct format *format, uint16_t number)
{
    struct identity identity = {.shard = number, .run = format->run, .mark = format->mark};
    strcpy(identity.id, format->id);
    return identity;
}

static bool is_of_this_run(const struct format *format, const struct identity *found)
{
    if (found->run == format->run && found->mark == format->mark) return true;
    return format->raising && found->run == format->run - 1 && found->mark == format->before;
}

const char *identity_judge(const struct format *format, uint16_t number, enum result loaded, const struct identity *found, char *text,
                           size_t text_size)
{
    const bool never_had_one = format->run == 0 || (format->raising && format->run == 1);
    if (loaded == RESULT_MISSING && never_had_one) return NULL;
    if (loaded == RESULT_MISSING)
        snprintf(text, text_size, "has no IDENTITY: it is not the directory that was served before");
    else if (loaded == RESULT_CORRUPT)
        snprintf(text, text_size, "IDENTITY is damaged, and IDENTITY.copy cannot replace it");
    else if (loaded != RESULT_OK)
        snprintf(text, text_size, "IDENTITY cannot be read (%s)", result_text(loaded));
    else if (strcmp(found->id, format->id) != 0)
        snprintf(text, text_size, "belongs to another installation (%s, not %s)", found->id, format->id);
    else if (found->shard != number)
        snprintf(text, text_size, "is the directory of shard %u, or a copy of it", found->shard);
    else if (is_of_this_run(format, found))
        return NULL;
    else if (found->run < format->run)
        snprintf(text, text_size, "is a copy from run %" PRIu64 " of the server, the last was run %" PRIu64, found->run, format->run);
    else if (found->run > format->run)
        snprintf(text, text_size, "is from run %" PRIu64 " of the server, but FORMAT only from run %" PRIu64 ": they come from different backups",
                 found->run, format->run);
    else
        snprintf(text, text_size, "is from another life of this installation: run %" PRIu64 " was made twice, from two copies", found->run);
    return text;
}

/* ---- all of them ---------------------------------------------------------------------------------------------------- */

static int open_shard_directory(int dir_fd, uint16_t number)
{
    char name[SHARD_DIRECTORY_SIZE];
    snprintf(name, sizeof name, SHARD_DIRECTORY, number);
    return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* `of_shard` is behind the shard's name in `text`. */
static const char *judge_directory(int dir_fd, const struct format *format, uint16_t number, char *of_shard, size_t size)
{
    int shard_fd = open_shard_directory(dir_fd, number);
    if (shard_fd < 0 && errno == ENOENT && format->run == 0) return NULL; /* is about to be made */
    if (shard_fd < 0) {
        if (errno == ENOENT) snprintf(of_shard, size, "is missing");
        else snprintf(of_shard, size, "cannot be opened (%s)", strerror(errno));
        return of_shard;
    }
    struct identity found;
    bool same;
    enum result loaded = identity_load(shard_fd, &found, &same);
    close(shard_fd);
    return identity_judge(format, number, loaded, &found, of_shard, size);
}

const char *identity_check_shard(int dir_fd, const struct format *format, uint16_t number, char *text, size_t text_size)
{
    int len = snprintf(text, text_size, SHARD_DIRECTORY " ", number);
    ASSERT(len > 0 && (size_t)len < text_size);
    return judge_directory(dir_fd, format, number, text + len, text_size - (size_t)len) == NULL ? NULL : text;
}

/* What is called like a shard's directory and stands for none. */
static const char *find_surplus(int dir_fd, const struct format *format, char *text, size_t text_size)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (entries == NULL) {
        if (fd >= 0) close(fd);
        snprintf(text, text_size, "cannot be listed (%s)", strerror(errno));
        return text;
    }
    const char *found = NULL;
    for (const struct dirent *entry; found == NULL && (entry = readdir(entries)) != NULL;) {
        uint64_t number;
        char name[SHARD_DIRECTORY_SIZE];
        if (strncmp(entry->d_name, "shard-", 6) != 0 || !wholefile_number(entry->d_name + 6, UINT16_MAX, &number)) continue;
        snprintf(name, sizeof name, SHARD_DIRECTORY, (unsigned)number);
        if (strcmp(name, entry->d_name) != 0 || number < format->shards) continue;
        snprintf(text, text_size, "%s is there, but FORMAT says that there are %u shards", name, format->shards);
        found = text;
    }
    closedir(entries);
    return found;
}

const char *identity_check_all(int dir_fd, const struct format *format, char *text, size_t text_size)
{
    const char *wrong = find_surplus(dir_fd, format, text, text_size);
    for (uint32_t i = 0; wrong == NULL && i < format->shards; i++)
        wrong = identity_check_shard(dir_fd, format, (uint16_t)i, text, text_size);
    return wrong;
}

enum result identity_make_directories(int dir_fd, const struct format *format)
{
    bool made = false;
    for (uint32_t i = 0; i < format->shards; i++) {
        char name[SHARD_DIRECTORY_SIZE];
        snprintf(name, sizeof name, SHARD_DIRECTORY, i);
        if (mkdirat(dir_fd, name, 0700) == 0) made = true;
        else if (errno != EEXIST) return result_from_errno(errno);
    }
    return !made || fsync(dir_fd) == 0 ? RESULT_OK : result_from_errno(errno);
}

static enum result store_wanted(int dir_fd, const struct format *format, uint16_t number)
{
    int shard_fd = open_shard_directory(dir_fd, number);
    if (shard_fd < 0) return result_from_errno(errno);
    const struct identity wanted = identity_wanted(format, number);
    struct identity found;
    bool same;
    enum result result = identity_load(shard_fd, &found, &same);
    bool right = result == RESULT_OK && same && found.run == wanted.run && found.mark == wanted.mark;
    result = right ? RESULT_OK : identity_store(shard_fd, &wanted);
    close(shard_fd);
    return result;
}

enum result identity_store_all(int dir_fd, const struct format *format)
{
    enum result result = RESULT_OK;
    for (uint32_t i = 0; i < format->shards && result == RESULT_OK; i++) result = store_wanted(dir_fd, format, (uint16_t)i);
    return result;
}
