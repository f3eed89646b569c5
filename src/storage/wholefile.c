/* storage/wholefile.c - see wholefile.h. */
#include "storage/wholefile.h"
#include "core/check.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- files ---------------------------------------------------------------------------------------------------------- */

static enum result write_all(int fd, const void *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t written = write(fd, (const uint8_t *)data + done, len - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return result_from_errno(errno);
        done += (size_t)written;
    }
    return RESULT_OK;
}

enum result wholefile_write(int dir_fd, const char *name, const void *data, size_t len)
{
    ASSERT(strlen(name) <= WHOLEFILE_NAME_MAX);
    char temporary[WHOLEFILE_NAME_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return result_from_errno(errno);
    enum result result = write_all(fd, data, len);
    if (result == RESULT_OK && fsync(fd) != 0) result = result_from_errno(errno);
    close(fd);
    if (result == RESULT_OK && renameat(dir_fd, temporary, dir_fd, name) != 0) result = result_from_errno(errno);
    if (result == RESULT_OK && fsync(dir_fd) != 0) result = result_from_errno(errno);
    if (result != RESULT_OK) unlinkat(dir_fd, temporary, 0);
    return result;
}

enum result wholefile_read_open(int fd, void *data, size_t size, size_t *len)
{
    *len = 0;
    enum result result = RESULT_OK;
    while (*len < size && result == RESULT_OK) {
        ssize_t got = read(fd, (uint8_t *)data + *len, size - *len);
        if (got == 0) break;
        if (got > 0) *len += (size_t)got;
        else if (errno != EINTR) result = result_from_errno(errno);
    }
    return result;
}

/* O_NONBLOCK: a pipe in the place of the file reads as an empty one, instead of keeping the start waiting. */
enum result wholefile_read(int dir_fd, const char *name, void *data, size_t size, size_t *len)
{
    *len = 0;
    int fd = openat(dir_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return result_from_errno(errno);
    enum result result = wholefile_read_open(fd, data, size, len);
    close(fd);
    return result;
}

/* ---- lines ---------------------------------------------------------------------------------------------------------- */

static void sum_line(const char *text, size_t len, char line[WHOLEFILE_SUM_SIZE + 1])
{
    snprintf(line, WHOLEFILE_SUM_SIZE + 1, "sum=%016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, len));
}

size_t wholefile_seal(char *text, size_t len)
{
    sum_line(text, len, text + len);
    return len + WHOLEFILE_SUM_SIZE;
}

bool wholefile_is_sealed(const char *text, size_t len)
{
    if (len < WHOLEFILE_SUM_SIZE) return false;
    char line[WHOLEFILE_SUM_SIZE + 1];
    sum_line(text, len - WHOLEFILE_SUM_SIZE, line);
    return memcmp(line, text + len - WHOLEFILE_SUM_SIZE, WHOLEFILE_SUM_SIZE) == 0;
}

bool wholefile_lines(char *text, bool (*take)(void *context, const char *key, const char *value), void *context)
{
    for (char *line = strsep(&text, "\n"); line != NULL; line = strsep(&text, "\n")) {
        char *value = strchr(line, '=');
        if (value == NULL) continue;
        *value++ = '\0';
        if (!take(context, line, value)) return false;
    }
    return true;
}

bool wholefile_number(const char *text, uint64_t max, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || value > max) return false;
    *number = value;
    return true;
}

bool wholefile_is_hex(const char *text, size_t len) { return strlen(text) == len && strspn(text, "0123456789abcdef") == len; }
